"""Pauses between the messages of a log that does not say in which order day, month and year stand."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

_DAY_SECONDS = 86400.0
_AFTERNOON = re.compile(r"p\.?\s?m|下午|晚上|午後|오후|م|μ\.?\s?μ", re.IGNORECASE)
_MORNING = re.compile(r"a\.?\s?m|上午|凌晨|早上|午前|오전|ص|π\.?\s?μ", re.IGNORECASE)
_ORDERS = ("day first", "month first", "year first")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Date and time of a message as they stand in the file.

    Attributes:
        date: The three numbers of the date, in their order.
        clock: Hour (0 to 23), minute and second.
    """

    date: tuple[int, int, int]
    clock: tuple[int, int, int]

    @classmethod
    def of(cls, head: re.Match[str]) -> Self:
        """Return the stamp of a message's first line."""
        hour = int(head["hour"])
        around = head["before"] + " " + head["after"]
        if hour <= 12 and _AFTERNOON.search(around):
            hour = hour % 12 + 12
        elif hour == 12 and _MORNING.search(around):
            hour = 0
        date = (int(head["first"]), int(head["second"]), int(head["third"]))
        return cls(date, (hour, int(head["minute"]), int(head["seconds"] or 0)))


class Clock:
    """Tells the pause before each message.

    Each order of day, month and year is followed until a date rules it out: a month 13, or a step back by more than a
    day. As long as several fit, the shortest pause counts: the wrong orders make steps of a day into steps of a month.
    """

    def __init__(self) -> None:
        """Begin before the first message."""
        self._orders = set(_ORDERS)
        self._previous: Stamp | None = None

    def pause_seconds(self, stamp: Stamp) -> float | None:
        """Return the silence since the stamp before; 0 for the first one, None when a date cannot be read."""
        fits = {order for order in self._orders if _seconds(stamp, order) is not None}
        if not fits:
            return None
        previous, self._previous = self._previous, stamp
        if previous is None:
            self._orders = fits
            return 0.0
        pauses = {order: (_seconds(stamp, order) or 0.0) - (_seconds(previous, order) or 0.0) for order in fits}
        forward = {order for order in fits if pauses[order] > -_DAY_SECONDS}
        self._orders = forward or fits
        return max(min((pauses[order] for order in self._orders), default=0.0), 0.0)


def _seconds(stamp: Stamp, order: str) -> float | None:
    first, second, third = stamp.date
    if order == "year first":
        year, month, day = first, second, third
    elif order == "month first":
        year, month, day = third, first, second
    else:
        year, month, day = third, second, first
    try:
        moment = datetime(year + 2000 if year < 100 else year, month, day, *stamp.clock)
    except ValueError:
        return None
    return (moment - datetime(1, 1, 1)).total_seconds()
