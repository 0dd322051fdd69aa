"""From a character's folder to its feedback: the consented chats are read, checked, merged and counted."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import closing
from pathlib import Path

from duologue.chat import duels
from duologue.chat.cast import Member
from duologue.chat.feedback.evidence import KINDS, Evidence, Found, find_evidence
from duologue.chat.feedback.record import Feedback, FeedbackAccount
from duologue.chat.marks import SessionMarks
from duologue.chat.open import load_folder_character
from duologue.chat.sessions import Sessions
from duologue.config import Config
from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy, Rating, find_crisis, is_surely_harmless
from duologue.messages import Correction, Opinion, Preference

_HERE = "local"  # the account of whoever sits at this machine
_MOST_LOOKS = 3  # at a chat that changes while it is read


def collect_feedback(
    folder: Path, config: Config, *, notify: Callable[[str], None] | None = None, database_url: str = ""
) -> Feedback:
    """Return what people did with a character's replies, in the chats whose people agreed that a model learns from it.

    Args:
        folder: The character's folder.
        config: Its configuration.
        notify: As `Sessions.open` takes it.
        database_url: Address of the PostgreSQL database that has the chats; empty for the file in the folder.

    Raises:
        ConfigError: The card is missing or broken.
        DataError: A database is damaged or cannot be reached.
    """
    member = Member.of(load_folder_character(folder, config))
    rating = config.guard.rating
    found: list[Found] = []
    dropped: Counter[str] = Counter()
    chats: dict[str, int] = {}
    if database_url or (folder / "chats.sqlite").is_file():
        with closing(Sessions.open(database_url or folder / "chats.sqlite", notify=notify)) as sessions:
            chats = sessions.marks.count_consents(character=member.model_id)
            found, dropped = _collect_all(sessions, member, rating=rating)
    found += _checked(_duels(folder, member.model_id, dropped), dropped, rating=rating)
    return _feedback(found, dropped, chats)


def collect_chat(sessions: Sessions, session_id: str, member: Member, *, rating: Rating) -> Feedback:
    """Return what would be learned from one chat; nothing without consent.

    Args:
        sessions: The chats.
        session_id: Which.
        member: The character.
        rating: `guard.rating`.
    """
    evidence, state = _look(sessions, session_id, member, rating=rating), sessions.marks.consent(session_id).state
    return _feedback(evidence.found, evidence.dropped, {state: 1})


def _collect_all(sessions: Sessions, member: Member, *, rating: Rating) -> tuple[list[Found], Counter[str]]:
    """Read every consented chat, and again those that were changed meanwhile, so that nothing removed is handed on."""
    looked: dict[str, tuple[Hashable, Evidence]] = {}
    for _ in range(_MOST_LOOKS):
        ids = sessions.marks.list_consented(character=member.model_id)
        gone = [session_id for session_id in looked if session_id not in ids]
        stale = [each for each in ids if each not in looked or looked[each][0] != _stamp(sessions, each)]
        for session_id in gone:
            looked[session_id] = ((), Evidence(dropped=_withdrawn(looked[session_id][1])))
        if not stale:
            break
        for session_id in stale:
            stamp = _stamp(sessions, session_id)
            looked[session_id] = (stamp, _look(sessions, session_id, member, rating=rating))
    else:
        _drop_changed(sessions, looked, member)
    dropped: Counter[str] = Counter()
    for _, evidence in looked.values():
        dropped.update(evidence.dropped)
    return [found for _, evidence in looked.values() for found in evidence.found], dropped


def _drop_changed(sessions: Sessions, looked: dict[str, tuple[Hashable, Evidence]], member: Member) -> None:
    """Drop what is from chats that changed after the last look at them: they are taken the next time."""
    ids = sessions.marks.list_consented(character=member.model_id)
    for session_id, (stamp, evidence) in looked.items():
        if evidence.found and (session_id not in ids or stamp != _stamp(sessions, session_id)):
            looked[session_id] = ((), Evidence(dropped=_withdrawn(evidence)))


def _withdrawn(evidence: Evidence) -> Counter[str]:
    return Counter({"withdrawn": len(evidence.found)}) + evidence.dropped


def _stamp(sessions: Sessions, session_id: str) -> Hashable:
    """Return what changes with everything that matters here; nothing for a chat that is gone."""
    try:
        tree, marks = sessions.tree(session_id), sessions.marks.read(session_id)
    except DataError:
        return ()
    hidden = tuple(entry.id for entry in tree.messages if entry.is_hidden)
    return hidden, tuple(sorted(tree.chosen.items())), _stamp_of(marks)


def _stamp_of(marks: SessionMarks) -> Hashable:
    numbers = (marks.opinions, marks.picks, marks.text_by, marks.revisions)
    return marks.consent, marks.left_out, frozenset(marks.originals), *(tuple(sorted(each.items())) for each in numbers)


def _look(sessions: Sessions, session_id: str, member: Member, *, rating: Rating) -> Evidence:
    try:
        marks, tree = sessions.marks.read(session_id), sessions.tree(session_id)
    except DataError:  # deleted meanwhile
        return Evidence()
    known = set(marks.text_by)
    if not all(entry.id in known for entry in tree.messages):  # it has grown between the two looks
        marks = sessions.marks.read(session_id)
    evidence = find_evidence(
        tree, marks, session_id=session_id, is_own=lambda speaker: not speaker or member.is_called(speaker)
    )
    evidence.found = _checked(evidence.found, evidence.dropped, rating=rating)
    return evidence


def _checked(found: Iterable[Found], dropped: Counter[str], *, rating: Rating) -> list[Found]:
    """Return what the content policy lets pass, each piece with all that was said before it."""
    passed = []
    for each in found:
        texts = [*(message.content for message in each.piece.context), *_replies(each.piece)]
        if is_surely_harmless(texts):
            passed.append(each)
            continue
        try:
            ContentPolicy(rating).check(texts, where="feedback")
        except GuardError:
            dropped["policy"] += 1
        else:
            passed.append(each)
    return passed


def _replies(piece: Preference | Opinion | Correction) -> tuple[str, ...]:
    if isinstance(piece, Preference):
        return piece.chosen, piece.rejected
    return (piece.reply, piece.before) if isinstance(piece, Correction) else (piece.reply,)


def _feedback(found: Iterable[Found], dropped: Counter[str], chats: dict[str, int]) -> Feedback:
    """Return pieces that each say something else, sorted into their kinds."""
    kept: dict[Hashable, Found] = {}
    num_merged = 0
    for each in found:
        key = _said(each.piece)
        num_merged += key in kept
        kept.setdefault(key, each)
    preferences: dict[Hashable, Preference] = {}
    opinions, corrections = [], []
    for each in kept.values():
        piece = each.piece
        if isinstance(piece, Opinion):
            opinions.append(piece)
            continue
        if isinstance(piece, Correction):
            corrections.append(piece)
            piece = Preference(piece.context, piece.reply, piece.before, piece.source)
        preferences.setdefault(_said(piece), piece)
    used = Counter(each.kind for each in kept.values())
    account = FeedbackAccount(
        chats=chats,
        used={kind: used[kind] for kind in KINDS if used[kind]},
        dropped={reason: num for reason, num in sorted(dropped.items()) if num},
        num_merged=num_merged,
    )
    return Feedback(tuple(preferences.values()), tuple(opinions), tuple(corrections), account, tuple(kept.values()))


def _said(piece: Preference | Opinion | Correction) -> Hashable:
    """Return what a piece says, wherever it is from."""
    is_liked = piece.is_liked if isinstance(piece, Opinion) else None
    return type(piece), piece.context, _replies(piece), is_liked


def _duels(folder: Path, character: str, dropped: Counter[str]) -> list[Found]:
    """Return the duels that were picked at this machine: those of other accounts have nobody's consent."""
    found = []
    for duel in duels.picked(folder, character=character, account=_HERE):
        piece = duels.preference_of(duel)
        if piece is None:
            dropped["unfinished"] += 1
        elif piece.context and find_crisis(piece.context[-1].content):
            dropped["crisis"] += 1
        else:
            found.append(Found("duel", piece))
    return found
