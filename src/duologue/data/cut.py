"""A conversation longer than an example: cut between turns into several, its beginning only, or left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from duologue.data.label import Labelled, Labeller, Piece, Script
from duologue.data.windows import Window, make_windows, num_leading
from duologue.messages import Message

LongConversations = Literal["windows", "truncate", "drop"]
_MOST_ATTEMPTS = 8  # the lengths of turns are estimates where a template mixes messages, so a cut may need another


@dataclass(frozen=True, slots=True)
class CutNote:
    """What was cut: the place of the message it is about (None: the conversation), the reason and the action."""

    place: int | None
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The pieces of a conversation, and what happened to it."""

    pieces: tuple[Piece, ...]
    notes: tuple[CutNote, ...]


def cut(script: Script, labelled: Labelled, labeller: Labeller, *, limit_tokens: int, mode: LongConversations) -> Cut:
    """Return the pieces of a script whose labelled whole is longer than `limit_tokens`.

    Every piece keeps the system message. No message is cut: a turn that does not fit with the system message is left
    out and noted.

    Raises:
        DataError: The template refuses a part of the conversation.
    """
    found_tokens = len(labelled.whole.ids)
    reason = f"longer than data.max_length_tokens: {found_tokens:,} tokens, the limit is {limit_tokens:,}"
    turns = turns_of(script.messages)
    if mode == "drop" or not turns:
        return Cut((), (CutNote(None, reason, "left out"),))
    starts = labeller.starts(script)
    head_tokens = starts[turns[0].start]
    edges = [*(starts[turn.start] for turn in turns), starts[-1]]
    turn_tokens = [after - before for before, after in pairwise(edges)]
    is_trained = [any(place in script.trained for place in turn) for turn in turns]
    room_tokens = limit_tokens - head_tokens
    for _ in range(_MOST_ATTEMPTS):
        too_long: list[int] = []
        if mode == "windows":
            windows, too_long = make_windows(turn_tokens, is_trained=is_trained, room_tokens=room_tokens)
        else:
            stop = num_leading(turn_tokens, room_tokens=room_tokens)
            windows = [Window(0, 0, stop)] if stop else []
        pieces = _pieces(script, turns, windows, labeller)
        excess = max((len(piece.ids) for piece in pieces), default=0) - limit_tokens
        if excess <= 0:
            break
        room_tokens -= excess
    else:
        pieces, windows = [], []
    trained = [piece for piece in pieces if piece.spans]
    if mode == "windows" or not windows:
        action = f"cut into {len(trained)} example{'s' if len(trained) > 1 else ''}" if trained else "left out"
    else:
        action = f"cut after turn {windows[0].stop} of {len(turns)}"
    notes = [CutNote(None, reason, action)]
    for number in too_long:
        longest = max(turns[number], key=lambda place: len(script.messages[place].content))
        found = f"turn {number + 1} of {len(turns)} has {turn_tokens[number]:,} tokens, and the system message"
        notes.append(
            CutNote(longest, f"{found} {head_tokens:,}; data.max_length_tokens is {limit_tokens:,}", "left out")
        )
    return Cut(tuple(trained), tuple(notes))


def _pieces(script: Script, turns: Sequence[range], windows: Sequence[Window], labeller: Labeller) -> list[Piece]:
    num_head = turns[0].start
    scripts = []
    for window in windows:
        begin, new, end = turns[window.first].start, turns[window.start].start, turns[window.stop - 1].stop
        messages = script.messages[:num_head] + script.messages[begin:end]
        trained = frozenset(place - begin + num_head for place in script.trained if new <= place < end)
        scripts.append(Script(messages, trained))
    return [piece for found in labeller.label(scripts) for piece in (found.whole, *found.apart)]


def turns_of(messages: Sequence[Message]) -> list[range]:
    """Return the places of each turn's messages: a turn ends with a reply, and the system message is in none."""
    turns: list[range] = []
    begin = 1 if messages and messages[0].role == "system" else 0
    for place in range(begin, len(messages)):
        if messages[place].role == "assistant":
            turns.append(range(begin, place + 1))
            begin = place + 1
    return turns
