"""Reading a table that a person wrote: every fault is collected, none ends the reading."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Table:
    """One table of a TOML file with its place, which every fault names.

    Attributes:
        values: What was read.
        where: Such as `claim 3 (line 41)`.
        faults: Shared by all tables of a file.
    """

    values: Mapping[str, Any]
    where: str
    faults: list[str]
    _used: set[str] = field(default_factory=set)

    def fault(self, text: str) -> None:
        """Note a fault of this table."""
        self.faults.append(f"{self.where}: {text}")

    def has(self, key: str) -> bool:
        """Whether the key is given."""
        return key in self.values

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text; without a default it is required and not empty."""
        value = self._take(key, required=default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str) or (default is None and not value.strip()):
            self.fault(f"'{key}' is {value!r:.60}; expected a text")
            return default or ""
        return value

    def choice(self, key: str, choices: Sequence[str], *, default: str | None = None) -> str:
        """Return one of some words; a wrong one suggests the nearest."""
        value = self.text(key, default=default)
        if value in choices or (not value and default is None):
            return value
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; expected one of {', '.join(choices)}"
        self.fault(f"'{key}' is '{value}'{hint}")
        return default if default is not None else ""

    def number(self, key: str, *, default: float | None = None) -> float:
        """Return a number that is not negative."""
        value = self._take(key, required=default is None)
        if value is None:
            return default or 0.0
        found = _number(value)
        if found is None:
            self.fault(f"'{key}' is {value!r:.60}; expected a number that is not negative")
        return default or 0.0 if found is None else found

    def count(self, key: str) -> int:
        """Return a whole number; 0 when it is not given."""
        value = self._take(key, required=False)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.fault(f"'{key}' is {value!r:.60}; expected a whole number from 1")
            return 0
        return value

    def span(self, key: str) -> tuple[float, float]:
        """Return a claimed value as (low, high): a number, or two in a list."""
        value = self._take(key, required=True)
        if value is None:
            return (0.0, 0.0)
        found = as_span(value)
        if found is None:
            self.fault(f"'{key}' is {value!r:.60}; expected a number that is not negative, or [low, high]")
        return found or (0.0, 0.0)

    def spans(self, key: str) -> tuple[tuple[float, float], ...]:
        """Return a list of claimed values."""
        value = self._take(key, required=False)
        if value is None:
            return ()
        found = [as_span(item) for item in value] if isinstance(value, list) else [None]
        if None in found or not found:
            self.fault(f"'{key}' is {value!r:.60}; expected a list of numbers or of [low, high]")
            return ()
        return tuple(item for item in found if item is not None)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._take(key, required=False)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fault(f"'{key}' is {value!r:.60}; expected a list of texts")
            return ()
        return tuple(value)

    def tables(self, key: str, *, label: str) -> list["Table"]:
        """Return a list of tables."""
        value = self._take(key, required=False)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fault(f"'{key}' is {value!s:.60}; expected tables")
            return []
        return [Table(item, f"{self.where}, {label} {at}", self.faults) for at, item in enumerate(value, start=1)]

    def table(self, key: str) -> "Table | None":
        """Return a table of its own, or None with a fault when it is missing."""
        value = self._take(key, required=True)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fault(f"'{key}' is {value!r:.60}; expected a table")
            return None
        return Table(value, f"{self.where}, {key}", self.faults)

    def raw(self, key: str) -> Any:  # noqa: ANN401 (the caller looks at the type)
        """Return whatever stands there; it is required."""
        return self._take(key, required=True)

    def end(self) -> None:
        """Note the keys that nobody asked for."""
        for key in self.values:
            if key not in self._used:
                near = difflib.get_close_matches(key, sorted(self._used), n=1)
                self.fault(f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""))

    def _take(self, key: str, *, required: bool) -> Any:  # noqa: ANN401
        self._used.add(key)
        if key not in self.values and required:
            self.fault(f"'{key}' is missing")
        return self.values.get(key)


def as_span(value: object) -> tuple[float, float] | None:
    """Return a number as (number, number) and a list of two in order as it is; None for anything else."""
    if isinstance(value, list):
        ends = [_number(item) for item in value]
        if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            return None
        return ends[0], ends[1]
    found = _number(value)
    return None if found is None else (found, found)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e18 and math.isfinite(value) else None
