"""What counts as evidence in one chat: rules from a tree of messages and its marks to pieces of feedback.

A version counts as better than those beside it (a swipe) when all of this is so:

- a person turned to it (back or on, to a version that was there) while the others were there to be seen; a reply that
  was only made anew and taken is no evidence, nor is the newest of several that nobody went back and forth between;
- it is still the one that is shown, and afterwards the person said something below it;
- both were made here by the model, to their end, and neither was rewritten or hidden.

A version that came after the person turned is not compared. A greeting is the card's and never counts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal, get_args

from duologue.chat.marks import SessionMarks
from duologue.chat.tree import NO_MESSAGE, SessionTree, TreeMessage
from duologue.guard import find_crisis
from duologue.messages import Correction, Message, Opinion, Preference

Kind = Literal["swipe", "edit", "like", "likes", "duel"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REASONS: Mapping[str, str] = {
    "no_choice": "nobody turned from one version to another",
    "not_gone_on": "the person said nothing after choosing",
    "not_seen": "the version came after the choice",
    "unfinished": "the reply was stopped, cut or withheld",
    "not_the_models": "the reply was not made here by the model alone",
    "hidden": "the message is hidden",
    "text_changed": "the text was changed after the like",
    "original_gone": "what the model had said is not kept any more",
    "no_question": "the reply follows no message of the user",
    "several_speakers": "another character speaks in it",
    "crisis": "the person was in distress",
    "policy": "the content policy refuses it",
    "left_out": "the person removed it",
    "withdrawn": "consent was taken back, or the chat changed, while it was read",
}
_ENDED = ("stop", "length")


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of feedback and where it is from.

    Attributes:
        kind: `swipe`, `edit`, `like` (or dislike), `likes` (a liked and a disliked version) or `duel`.
        piece: The piece; of an edit, the correction.
        session_id: The chat; empty for a duel.
        message_ids: The replies it is about, the better one first; none for a duel.
    """

    kind: Kind
    piece: Preference | Opinion | Correction
    session_id: str = ""
    message_ids: tuple[int, ...] = ()


@dataclass(slots=True)
class Evidence:
    """The pieces of one chat, and how many were dropped, by reason."""

    found: list[Found] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def find_evidence(
    tree: SessionTree, marks: SessionMarks, *, session_id: str, is_own: Callable[[str], bool]
) -> Evidence:
    """Return what the person of a chat showed to think of its replies.

    Args:
        tree: The chat.
        marks: What belongs to it.
        session_id: Its id.
        is_own: Tells whether a speaker's name is that of the character.
    """
    evidence = Evidence()
    if marks.consent.state != "given":
        return evidence
    reading = _Reading(tree, marks, is_own=is_own)
    candidates = [*_swipes(reading, evidence), *_edits(reading, evidence), *_opinions(reading, evidence)]
    for kind, source, ids, contents in candidates:
        reason = "left_out" if source in marks.left_out else reading.fault(ids)
        if reason:
            evidence.dropped[reason] += 1
            continue
        piece = _piece(
            kind, reading.context(ids[0]), contents, source=source, is_liked=marks.opinions.get(ids[0], False)
        )
        evidence.found.append(Found(kind, piece, session_id, ids))
    evidence.dropped["text_changed"] += marks.num_outdated
    return evidence


_Candidate = tuple[Kind, str, tuple[int, ...], tuple[str, ...]]


class _Reading:
    """A tree that is asked for what is above and below a message."""

    def __init__(self, tree: SessionTree, marks: SessionMarks, *, is_own: Callable[[str], bool]) -> None:
        self.tree = tree
        self.marks = marks
        self.by_id = {message.id: message for message in tree.messages}
        self.last_said = _last_said(tree)
        self._is_own = is_own

    def above(self, message_id: int) -> list[TreeMessage]:
        """Return what a message follows, oldest first, without what is hidden and what is not said."""
        path = []
        at = self.by_id[message_id].parent_id
        while at in self.by_id:
            path.append(self.by_id[at])
            at = path[-1].parent_id
        return [entry for entry in reversed(path) if not entry.is_hidden and entry.message.role != "system"]

    def context(self, message_id: int) -> tuple[Message, ...]:
        return tuple(entry.message for entry in self.above(message_id))

    def fault(self, message_ids: tuple[int, ...]) -> str:
        """Return why replies to one message are no examples; empty when they are."""
        entries = [self.by_id[message_id] for message_id in message_ids]
        if any(entry.is_hidden for entry in entries):
            return "hidden"
        above = self.above(message_ids[0])
        if not above or above[-1].message.role != "user":
            return "no_question"
        replies = [entry for entry in above if entry.message.role == "assistant"]
        if not all(self._is_own(entry.speaker) for entry in (*entries, *replies)):
            return "several_speakers"
        if find_crisis(above[-1].message.content):  # such an answer is not the model's to change
            return "crisis"
        return ""

    def is_the_models(self, message_id: int) -> bool:
        return self.marks.text_by.get(message_id) == "model"


def _last_said(tree: SessionTree) -> dict[int, int]:
    """Return the newest message of the user below each message, where there is one."""
    last: dict[int, int] = {}
    for entry in sorted(tree.messages, key=lambda entry: entry.id, reverse=True):  # what follows is always newer
        own = entry.id if entry.message.role == "user" and not entry.is_hidden else NO_MESSAGE
        newest = max(own, last.get(entry.id, NO_MESSAGE))
        last[entry.parent_id] = max(newest, last.get(entry.parent_id, NO_MESSAGE))
    return last


def _swipes(reading: _Reading, evidence: Evidence) -> Iterator[_Candidate]:
    for parent_id, versions in reading.tree.children().items():
        replies = [entry for entry in versions if entry.message.role == "assistant"]
        if parent_id == NO_MESSAGE or len(replies) < 2:
            continue
        kept = reading.by_id[reading.tree.chosen.get(parent_id, versions[0].id)]
        others = [entry for entry in replies if entry.id != kept.id]
        reason = _why_not_kept(reading, kept)
        for other in others:
            why = reason or _why_not_rejected(reading, kept, other)
            if why:
                evidence.dropped[why] += 1
            else:
                contents = kept.message.content, other.message.content
                yield "swipe", f"swipe {kept.id} over {other.id}", (kept.id, other.id), contents


def _why_not_kept(reading: _Reading, kept: TreeMessage) -> str:
    seen_id = reading.marks.picks.get(kept.id)
    if seen_id is None:
        return "no_choice"
    if reading.last_said.get(kept.id, NO_MESSAGE) <= seen_id:
        return "not_gone_on"
    if kept.finish_reason != "stop":
        return "unfinished"
    return "" if reading.is_the_models(kept.id) else "not_the_models"


def _why_not_rejected(reading: _Reading, kept: TreeMessage, other: TreeMessage) -> str:
    if other.id > reading.marks.picks[kept.id]:
        return "not_seen"
    if other.finish_reason not in _ENDED:
        return "unfinished"
    return "" if reading.is_the_models(other.id) else "not_the_models"


def _edits(reading: _Reading, evidence: Evidence) -> Iterator[_Candidate]:
    for entry in reading.tree.messages:
        text_by = reading.marks.text_by.get(entry.id, "")
        if text_by not in ("person", "mixed"):
            continue
        before = reading.marks.originals.get(entry.id)
        if text_by == "mixed":
            evidence.dropped["not_the_models"] += 1
        elif before is None:
            evidence.dropped["original_gone"] += 1
        elif entry.finish_reason == "content_filter":
            evidence.dropped["unfinished"] += 1
        elif before.strip() != entry.message.content.strip():
            yield "edit", f"edit {entry.id}", (entry.id,), (entry.message.content, before)


def _opinions(reading: _Reading, evidence: Evidence) -> Iterator[_Candidate]:
    by_parent: dict[int, list[TreeMessage]] = {}
    for message_id, is_liked in reading.marks.opinions.items():
        entry = reading.by_id.get(message_id)
        if entry is None:
            continue
        is_whole = entry.finish_reason == "stop" or (not is_liked and entry.finish_reason == "length")
        is_foreign = (
            not entry.finish_reason and not reading.marks.text_by[message_id]
        )  # imported: nobody says how it ended
        if is_whole or is_foreign:
            by_parent.setdefault(entry.parent_id, []).append(entry)
        else:
            evidence.dropped["unfinished"] += 1
    for entries in by_parent.values():
        liked = [entry for entry in entries if reading.marks.opinions[entry.id]]
        disliked = [entry for entry in entries if not reading.marks.opinions[entry.id]]
        for one, other in product(liked, disliked):
            contents = one.message.content, other.message.content
            yield "likes", f"likes {one.id} over {other.id}", (one.id, other.id), contents
        if not (liked and disliked):
            for entry in entries:
                yield "like", f"like {entry.id}", (entry.id,), (entry.message.content,)


def _piece(
    kind: Kind, context: tuple[Message, ...], contents: tuple[str, ...], *, source: str, is_liked: bool
) -> Preference | Opinion | Correction:
    if kind == "like":
        return Opinion(context, contents[0], is_liked, source)
    if kind == "edit":
        return Correction(context, contents[1], contents[0], source)
    return Preference(context, contents[0], contents[1], source)
