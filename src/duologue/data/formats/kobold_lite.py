"""Saved sessions of Kobold Lite: running text in pieces, with marks where the speaker changes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from duologue.data.formats.tally import Tally
from duologue.data.formats.values import JsonObject, object_of, optional_text, required_list, text_of
from duologue.data.found import Dialogue, RowFault, Turn
from duologue.messages import Role

_PLACEHOLDERS: tuple[tuple[str, Role], ...] = (
    ("{{[INPUT]}}", "user"),
    ("{{[OUTPUT]}}", "assistant"),
    ("{{[SYSTEM]}}", "system"),
)
_ENDS = re.compile(r"\{\{\[(?:INPUT|OUTPUT|SYSTEM)_END\]\}\}")
_TAG_KEYS: tuple[tuple[str, Role], ...] = (
    ("instruct_starttag", "user"),
    ("instruct_endtag", "assistant"),
    ("instruct_systag", "system"),
)
_BETWEEN_NAMES = "||$||"


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands in the text where a speaker begins, and whose role and name it is."""

    pattern: re.Pattern[str]
    meanings: dict[str, tuple[Role, str]]


def read_kobold_lite(document: JsonObject, number: int, _: Tally) -> Dialogue:
    """Return the conversation of a saved session.

    The speaker is marked by placeholders, by the instruct tags of the settings, or, in chat mode, by names at the
    beginning of a line. Text before the first mark is the character's: the opening of the story.

    Raises:
        RowFault: A piece is no text, or nothing marks who speaks.
    """
    raw_settings = document.get("savedsettings")
    settings = {} if raw_settings is None else object_of(raw_settings, "savedsettings")
    pieces = list(_pieces(document))
    marks = _marks(settings, [text for _, text in pieces])
    names = _names(settings)
    opening: tuple[Role, str] = ("assistant", names[1][0] if names[1] else "")
    turns: list[Turn] = []
    speaking: tuple[Role, str] | None = None
    for field, text in pieces:
        position = 0
        for match in marks.pattern.finditer(text):
            _say(turns, speaking or opening, text[position : match.start()], at=(number, field))
            speaking = marks.meanings[match.group(1)]
            turns.append(Turn(speaking[0], speaking[1], "", number, field))
            position = match.end()
        _say(turns, speaking or opening, text[position:], at=(number, field))
    spoken = [replace(turn, text=turn.text.strip()) for turn in turns if turn.text.strip()]
    if not spoken:
        raise RowFault("actions", "holds no message with text")
    return Dialogue(number, tuple(spoken))


def _pieces(document: JsonObject) -> Iterator[tuple[str, str]]:
    prompt = optional_text(document, "prompt")
    if prompt:
        yield "prompt", _ENDS.sub("", prompt)
    actions = document.get("actions")
    if actions == [] and prompt:
        return
    for index, action in enumerate(required_list(document, "actions", of="texts")):
        yield f"actions[{index}]", _ENDS.sub("", text_of(action, f"actions[{index}]"))


def _say(turns: list[Turn], speaking: tuple[Role, str], text: str, *, at: tuple[int, str]) -> None:
    """Add text to the turn of the one who speaks, which may have begun in an earlier piece."""
    if not turns:
        turns.append(Turn(*speaking, "", *at))
    last = turns[-1]
    if last.text.strip() or not text.strip():
        turns[-1] = replace(last, text=last.text + text)
    else:
        turns[-1] = Turn(last.role, last.speaker, text, *at)


def _marks(settings: JsonObject, texts: list[str]) -> _Marks:
    """Return the marks that occur in the texts."""
    user, characters = _names(settings)
    marks: list[tuple[str, tuple[Role, str]]] = [
        (mark, (role, _named(role, user, characters))) for mark, role in _PLACEHOLDERS
    ]
    if _occurs(marks, texts):
        return _either(marks, "({})")
    tags = [
        (optional_text(settings, key, "savedsettings.").replace("\\n", "\n").strip(), role) for key, role in _TAG_KEYS
    ]
    marks = [(tag, (role, _named(role, user, characters))) for tag, role in tags if tag]
    if _occurs(marks, texts):
        return _either(marks, "({})")
    marks = [(user, ("user", user))] if user and characters else []
    marks += [(name, ("assistant", name)) for name in characters]
    found = _either(marks, r"(?:^|\n)[ \t]{{0,8}}({}): ?") if marks else None
    if found is None or not any(found.pattern.search(text) for text in texts):
        raise RowFault("actions", "nothing marks who speaks: a story, or a chat whose names are not in savedsettings")
    return found


def _named(role: Role, user: str, characters: list[str]) -> str:
    if role == "system":
        return ""
    return user if role == "user" else (characters[0] if characters else "")


def _occurs(marks: list[tuple[str, tuple[Role, str]]], texts: list[str]) -> bool:
    return any(mark in text for mark, _ in marks for text in texts)


def _either(marks: list[tuple[str, tuple[Role, str]]], around: str) -> _Marks:
    longest_first = sorted((mark for mark, _ in marks), key=len, reverse=True)
    pattern = around.format("|".join(re.escape(mark) for mark in longest_first))
    return _Marks(re.compile(pattern), dict(marks))


def _names(settings: JsonObject) -> tuple[str, list[str]]:
    user = optional_text(settings, "chatname", "savedsettings.").strip()
    opponents = optional_text(settings, "chatopponent", "savedsettings.").split(_BETWEEN_NAMES)
    return user, [name.strip() for name in opponents if name.strip() and name.strip() != user]
