"""Who is who: the speakers of a chat log become the user and the character.

A log knows names, not roles. Names come from the person (`--me`, `--as`) or from the card. With one side known the
other follows: everybody who is not the character is the user, and the only speaker beside the user is the character.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from duologue.data.found import Dialogue, Note, RowFault, Turn
from duologue.errors import ConfigError
from duologue.messages import Role

_MOST_SPEAKERS_SHOWN = 8
_LONGEST_NAME_SHOWN = 40
_LONGEST_NAME = 400  # what is longer is no name; ordering a long run of combining marks takes quadratic time
_HOW_TO_SAY = "pass --as NAME (who is the character) or --me NAME (who is the user)"


@dataclass(frozen=True, slots=True)
class Casting:
    """Who is who, as far as it was said.

    Attributes:
        user_names: `data.user_names`: who is the user; empty when not said.
        character_names: `data.character_names`: who is the character; empty when not said.
        card_name: The card's name, used where it is a speaker and `character_names` is empty.
    """

    user_names: tuple[str, ...] = ()
    character_names: tuple[str, ...] = ()
    card_name: str = ""

    def __post_init__(self) -> None:
        """Refuse a name that is on both sides."""
        characters = {fold_name(name) for name in self.character_names}
        both = [name for name in self.user_names if fold_name(name) in characters]
        if both:
            raise ConfigError(
                f"'{both[0]}' is named as the user and as the character",
                where="data.user_names, data.character_names",
                action="Give each name to one side only.",
            )


def cast(dialogue: Dialogue, casting: Casting) -> Dialogue:
    """Return the dialogue with a role for every turn.

    Roles that the file gives stay, except for speakers whom the casting names. Where several characters speak, every
    message of theirs begins with the name; so do the user's messages where several people are the user.

    Raises:
        RowFault: It cannot be known who is the character.
    """
    uncast = count_speakers([dialogue])
    named = _said(casting)
    if not uncast and not (named and any(turn.speaker for turn in dialogue.turns)):
        return _with_names(dialogue)
    parts, notes = _assign(uncast, casting) if uncast else (named, [])
    turns = tuple(_recast(turn, parts, named) for turn in dialogue.turns)
    row = dialogue.row
    noted = tuple(Note(row, "", reason, action) for reason, action in notes)
    return _with_names(replace(dialogue, turns=turns, notes=(*dialogue.notes, *noted)))


def count_speakers(dialogues: Iterable[Dialogue]) -> Counter[str]:
    """Return the speakers who have no role yet, as first spelled, with the number of their messages."""
    spelled: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for dialogue in dialogues:
        for turn in dialogue.turns:
            if turn.role is None:
                counts[spelled.setdefault(fold_name(turn.speaker), turn.speaker)] += 1
    return counts


def find_casting_fault(speakers: Mapping[str, int], casting: Casting) -> str:
    """Return why a file with these speakers cannot be cast, or an empty string when it can.

    For one clear statement about a whole file, or to ask the person before it is read.
    """
    if not speakers:
        return ""
    try:
        _assign(speakers, casting)
    except RowFault as fault:
        return fault.reason
    return ""


def fold_name(name: str) -> str:
    """Return a name for comparison: case, compatibility forms and outer space do not count."""
    if name.isascii() or len(name) > _LONGEST_NAME:
        return name.strip().lower()
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _said(casting: Casting) -> dict[str, Role]:
    parts: dict[str, Role] = {fold_name(name): "user" for name in casting.user_names}
    parts.update({fold_name(name): "assistant" for name in casting.character_names})
    return parts


def _assign(speakers: Mapping[str, int], casting: Casting) -> tuple[dict[str, Role], list[tuple[str, str]]]:
    """Return the role of every speaker by folded name, and what is to be noted.

    Raises:
        RowFault: It cannot be known.
    """
    names = {fold_name(name): name for name in speakers}
    said = _said(casting)
    here = {key: role for key, role in said.items() if key in names}
    card = fold_name(casting.card_name)
    if card and not casting.character_names and card in names and card not in here:
        here[card] = "assistant"
    others = [key for key in names if key not in here]
    if "assistant" in here.values():
        return {**here, **dict.fromkeys(others, "user")}, _notes(casting, here, names, others)
    if casting.character_names:
        wanted = " nor ".join(f"'{_shown(name)}'" for name in casting.character_names)
        raise RowFault("", f"no speaker is called {wanted}; {_list(speakers)}; {_HOW_TO_SAY}")
    if here and len(others) == 1:
        return {**here, others[0]: "assistant"}, _notes(casting, here, names, [])
    raise RowFault("", _why_not(speakers, casting, is_user_known=bool(here), num_others=len(others)))


def _why_not(speakers: Mapping[str, int], casting: Casting, *, is_user_known: bool, num_others: int) -> str:
    if is_user_known and not num_others:
        return f"only the user speaks, so there is no reply to learn from; {_list(speakers)}"
    reason = "who is the character is not said"
    if is_user_known:
        return f"{reason}, and {num_others} speakers are not the user; {_list(speakers)}; pass --as NAME"
    if casting.user_names:
        wanted = " nor ".join(f"'{_shown(name)}'" for name in casting.user_names)
        return f"{reason}, and no speaker is called {wanted}; {_list(speakers)}; {_HOW_TO_SAY}"
    if casting.card_name:
        reason += f", and no speaker has the card's name '{_shown(casting.card_name)}'"
    return f"{reason}; {_list(speakers)}; {_HOW_TO_SAY}"


def _notes(
    casting: Casting, here: Mapping[str, Role], names: Mapping[str, str], others: list[str]
) -> list[tuple[str, str]]:
    missing = [n for n in (*casting.user_names, *casting.character_names) if fold_name(n) not in names]
    notes = [(f"no message is by '{_shown(name)}'", "noticed") for name in missing]
    if others and "user" in here.values():
        listed = ", ".join(_shown(names[key]) for key in others[:_MOST_SPEAKERS_SHOWN])
        notes.append((f"neither the user nor the character by name: {listed}", "taken as the user"))
    return notes


def _recast(turn: Turn, parts: Mapping[str, Role], named: Mapping[str, Role]) -> Turn:
    if turn.role == "system" or (turn.role is not None and not turn.speaker):
        return turn
    key = fold_name(turn.speaker)
    role = parts[key] if turn.role is None else named.get(key, turn.role)
    return turn if role == turn.role else replace(turn, role=role)


def _with_names(dialogue: Dialogue) -> Dialogue:
    """Return the dialogue with names before the messages of a side that has several speakers."""
    if not any(turn.speaker for turn in dialogue.turns):
        return dialogue
    turns = dialogue.turns
    notes = list(dialogue.notes)
    sides: tuple[tuple[Role, str], ...] = (("assistant", "characters"), ("user", "users"))
    for role, word in sides:
        names = dict.fromkeys(_names_of(turns, role))
        if len(names) > 1:
            listed = ", ".join(_shown(name) for name in list(names)[:_MOST_SPEAKERS_SHOWN])
            reason = f"{len(names)} {word} speak: {listed}"
            notes.append(Note(dialogue.row, "", reason, "names put before the messages"))
            turns = tuple(_prefixed(turn) if turn.role == role else turn for turn in turns)
    return dialogue if turns is dialogue.turns else replace(dialogue, turns=turns, notes=tuple(notes))


def _names_of(turns: Iterable[Turn], role: Role) -> Iterator[str]:
    spelled: dict[str, str] = {}
    for turn in turns:
        if turn.role == role and turn.speaker.strip():
            yield spelled.setdefault(fold_name(turn.speaker), turn.speaker.strip())


def _prefixed(turn: Turn) -> Turn:
    name = turn.speaker.strip()
    text = turn.text.strip()
    if not name or not text or text.startswith(f"{name}:"):
        return turn
    return replace(turn, text=f"{name}: {text}")


def _list(speakers: Mapping[str, int]) -> str:
    ranked = sorted(speakers.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_shown(name)} ({count})" for name, count in ranked[:_MOST_SPEAKERS_SHOWN]]
    name, count = ranked[0]
    shown[0] = f"{_shown(name)} ({count} {'message' if count == 1 else 'messages'})"
    more = len(ranked) - len(shown)
    return f"speakers: {', '.join(shown)}{f' and {more} more' if more else ''}"


def _shown(name: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in name).strip()
    cut = plain if len(plain) <= _LONGEST_NAME_SHOWN else plain[: _LONGEST_NAME_SHOWN - 1] + "…"
    return cut or "(no name)"
