"""Keys of lore: plain words, or patterns in JavaScript's notation `/pattern/flags`.

A pattern is somebody else's program. It is searched by `regex`, which can be stopped by the clock, in at most
`MAX_PATTERN_TEXT` characters; each search has `PATTERN_SECONDS` and all searches of one turn together have the
seconds of a `Clock`. A pattern that runs out of time does not match, and the trace says so. Patterns that could call
themselves are refused beforehand.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_PATTERN_CHARS = 1000
MAX_PATTERN_TEXT = 50_000
PATTERN_SECONDS = 0.02
TURN_SECONDS = 0.25

_DELIMITED = re.compile(r"/((?:[^/\\]|\\.)+)/([gimsuy]*)", re.DOTALL)
# What `regex` reads as recursion, a call of another group, a named list or a fuzzy match, and JavaScript does not.
_FOREIGN = re.compile(r"\(\?(?:R|P>|&|[+-]?\d)|\\L<|\)\{[^}\d]|[^\\]\{[eids]<?=?\d*\}")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")  # JavaScript's \w


@dataclass
class Clock:
    """The time that the patterns of one turn may take together.

    Attributes:
        seconds_left: What is left of it.
        now: Tells the time in seconds.
        slow: Patterns that ran out of time.
    """

    seconds_left: float = TURN_SECONDS
    now: Callable[[], float] = time.monotonic
    slow: set[str] = field(default_factory=set)


class ScanText:
    """A text in which keys are looked for: as it is, and in lower case once for all keys.

    Attributes:
        parts: The messages and other texts it is made of, newest first.
    """

    __slots__ = ("_lower", "_raw", "parts")

    def __init__(self, parts: tuple[str, ...]) -> None:
        """Join the parts as SillyTavern does, so that patterns see the same text."""
        self.parts = parts
        self._raw: _Joined | None = None
        self._lower: _Joined | None = None

    def raw(self) -> "_Joined":
        """Return the text as it is."""
        if self._raw is None:
            self._raw = _join(self.parts)
        return self._raw

    def lower(self) -> "_Joined":
        """Return the text in lower case; some letters become two, so its parts start elsewhere."""
        if self._lower is None:
            self._lower = _join(tuple(part.lower() for part in self.parts))
        return self._lower


@dataclass(frozen=True, slots=True)
class _Joined:
    """The parts as one text.

    Attributes:
        text: All of it.
        starts: Where each part begins.
        triples: All runs of three characters: a key that has another one is not in the text.
    """

    text: str
    starts: list[int]
    triples: frozenset[str]


def find_key(
    key: str, text: ScanText, *, case_sensitive: bool, match_whole_words: bool, is_pattern: bool, clock: Clock
) -> int | None:
    """Return the number of the part of `text` in which a key is found first, or None.

    Args:
        key: A word, some words, or `/pattern/flags`.
        text: Where to look.
        case_sensitive: For words; a pattern has its own flag.
        match_whole_words: For a single word: no letter, digit or underscore beside it.
        is_pattern: Whether a key without slashes is a pattern too.
        clock: The time that is left.
    """
    pattern, lower, is_one_word = _prepared(key, is_pattern)
    if pattern is not None:
        raw = text.raw()
        found = _search(pattern, raw.text, clock)
        return None if found is None else _part(raw.starts, found)
    joined, needle = (text.raw(), key) if case_sensitive else (text.lower(), lower)
    # Most keys are not there, and to look up three letters is ten times quicker than to look through the text.
    if len(needle) >= 3 and (needle[:3] not in joined.triples or needle[-3:] not in joined.triples):
        return None
    content = joined.text
    at = content.find(needle)
    if at >= 0 and match_whole_words and is_one_word:
        while at >= 0 and not _stands_alone(content, at, len(needle)):
            at = content.find(needle, at + 1)
    return None if at < 0 or not key else _part(joined.starts, at)


@lru_cache(maxsize=32768)
def _prepared(key: str, is_pattern: bool) -> tuple[str | None, str, bool]:
    """Return the pattern of a key, the key in lower case, and whether it is one word."""
    return as_pattern(key, is_pattern=is_pattern), key.lower(), len(key.split()) == 1


def as_pattern(key: str, *, is_pattern: bool) -> str | None:
    """Return the pattern of a key with its flags in front, as `regex` reads it; None for plain words."""
    match = _DELIMITED.fullmatch(key)
    if match is None:
        return key if is_pattern else None
    body = re.sub(r"\\k<(\w+)>", r"(?P=\1)", match[1].replace("\\/", "/").replace("[^]", r"[\s\S]"))
    flags = "".join(flag for flag in "ims" if flag in match[2])
    return f"(?{flags}){body}" if flags else body


def key_fault(key: str, *, is_pattern: bool) -> str:
    """Return why a key can never match, or an empty text."""
    pattern = as_pattern(key, is_pattern=is_pattern)
    if pattern is None:
        return ""
    compiled = _compile(pattern)
    return compiled if isinstance(compiled, str) else ""


def _search(pattern: str, raw: str, clock: Clock) -> int | None:
    compiled = _compile(pattern)
    if isinstance(compiled, str) or pattern in clock.slow:
        return None
    if clock.seconds_left <= 0:
        clock.slow.add(pattern)
        return None
    begun = clock.now()
    try:
        found = compiled.search(raw[:MAX_PATTERN_TEXT], timeout=min(PATTERN_SECONDS, clock.seconds_left))
    except TimeoutError:
        clock.slow.add(pattern)
        found = None
    clock.seconds_left -= clock.now() - begun
    return None if found is None else int(found.start())


@lru_cache(maxsize=8192)
def _compile(pattern: str) -> Any:  # noqa: ANN401  # the library has no types
    """Return the compiled pattern, or a text that says why there is none."""
    import regex  # type: ignore[import-untyped]

    if len(pattern) > MAX_PATTERN_CHARS:
        return f"it is {len(pattern):,} characters long, at most {MAX_PATTERN_CHARS:,} are searched for"
    if _FOREIGN.search(pattern):
        return "it calls itself, or is not a pattern of JavaScript"
    try:
        return regex.compile(pattern, regex.V0)
    except (regex.error, RecursionError, OverflowError, ValueError, MemoryError) as error:
        return f"it is not a pattern ({error})"


def _stands_alone(content: str, at: int, length: int) -> bool:
    before, after = content[at - 1 : at] if at else "", content[at + length : at + length + 1]
    return before not in _WORD and after not in _WORD


def _join(parts: tuple[str, ...]) -> _Joined:
    starts, at = [], 1
    for part in parts:
        starts.append(at)
        at += len(part) + 2
    text = "\x01" + "\n\x01".join(parts)
    return _Joined(text, starts, frozenset(map("".join, zip(text, text[1:], text[2:], strict=False))))


def _part(starts: list[int], at: int) -> int:
    number = 0
    for number, start in enumerate(starts):
        if start > at:
            return max(0, number - 1)
    return number
