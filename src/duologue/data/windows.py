"""Which turns of a long conversation stand together in an example."""

from collections.abc import Sequence
from dataclasses import dataclass

_CONTEXT_SHARE = 4  # a window after the first begins with earlier turns in up to this part (a quarter) of its room


@dataclass(frozen=True, slots=True)
class Window:
    """Turns that stand in one example.

    Attributes:
        first: The earliest turn in it.
        start: Turns before it are context only; they are trained in an earlier window.
        stop: One past its last turn.
    """

    first: int
    start: int
    stop: int


def make_windows(
    turn_tokens: Sequence[int], *, is_trained: Sequence[bool], room_tokens: int
) -> tuple[list[Window], list[int]]:
    """Return windows in which every trained turn is trained once, and the trained turns that fit none.

    A window begins with the turns just before its first new one: the last of them when it fits, and more up to a
    quarter of the room. Then come as many new turns as fit; what is left of the room goes to still earlier turns, so
    the windows are full and few. The turns of a window follow each other without a gap.

    Args:
        turn_tokens: Length of each turn.
        is_trained: Whether a turn has something to learn.
        room_tokens: What the turns of a window may take together, the system message left out.
    """
    windows: list[Window] = []
    too_long: list[int] = []
    at = 0
    while at < len(turn_tokens):
        if not is_trained[at]:
            at += 1
            continue
        if turn_tokens[at] > room_tokens:
            too_long.append(at)
            at += 1
            continue
        window = _window(turn_tokens, is_trained, at, room_tokens)
        windows.append(window)
        at = window.stop
    return windows, too_long


def num_leading(turn_tokens: Sequence[int], *, room_tokens: int) -> int:
    """Return how many whole turns from the beginning fit."""
    used = 0
    for number, tokens in enumerate(turn_tokens):
        used += tokens
        if used > room_tokens:
            return number
    return len(turn_tokens)


def _window(turn_tokens: Sequence[int], is_trained: Sequence[bool], start: int, room_tokens: int) -> Window:
    first, stop = start, start + 1
    used = turn_tokens[start]
    context = 0
    while first > 0 and used + turn_tokens[first - 1] <= room_tokens:
        context += turn_tokens[first - 1]
        if first < start and context > room_tokens // _CONTEXT_SHARE:
            break
        first -= 1
        used += turn_tokens[first]
    while stop < len(turn_tokens) and used + turn_tokens[stop] <= room_tokens:
        used += turn_tokens[stop]
        stop += 1
    while not is_trained[stop - 1]:
        stop -= 1
        used -= turn_tokens[stop]
    while first > 0 and used + turn_tokens[first - 1] <= room_tokens:
        first -= 1
        used += turn_tokens[first]
    return Window(first, start, stop)
