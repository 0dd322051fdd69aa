"""Personal data in a text: found by its shape and its check digits, and masked by what it is.

Rules read shapes, not meaning: names, birthdays and stories about people are not found. Every pattern takes linear
time, and a text without digits or signs costs a few searches for single characters.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from duologue.data.personal.addresses import find_addresses
from duologue.data.personal.keys import find_keys, find_passwords, may_hold_keys
from duologue.data.personal.mail import find_mail, may_hold_mail
from duologue.data.personal.numbers import (
    find_cards,
    find_ibans,
    find_ip_addresses,
    find_phones,
    holds_digit,
    holds_number,
)

__all__ = ["KINDS", "Finding", "Kind", "find", "may_hold", "redact"]

Kind = Literal["key", "password", "e-mail", "iban", "card", "ip address", "phone", "address"]
KINDS: tuple[Kind, ...] = get_args(Kind)


# What every kind has one of. A random key of twenty letters without a digit (3 in 100) is not seen.
_SIGN = re.compile(r"[0-9@:=(\[{]")


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of personal data.

    Attributes:
        kind: What it is; `[kind]` stands in its place after `redact`.
        start: Position of its first character.
        end: Position after its last one.
    """

    kind: Kind
    start: int
    end: int


def may_hold(text: str) -> bool:
    """Whether a text is worth a closer look; lines may be looked at together, as no number or name goes over two."""
    return holds_digit(text) or may_hold_mail(text) or may_hold_keys(text)


def find(text: str) -> tuple[Finding, ...]:
    """Return the personal data of a text, in order and without overlaps.

    Where two kinds claim the same characters the one with the firmer shape wins: keys before e-mail addresses, check
    digits before phone numbers, postal addresses last.
    """
    if not _SIGN.search(text):
        return ()
    has_digit = holds_digit(text)
    claimed: list[tuple[int, int, Kind]] = []
    if may_hold_keys(text):
        _claim(claimed, "key", find_keys(text))
        _claim(claimed, "password", find_passwords(text))
    if may_hold_mail(text):
        _claim(claimed, "e-mail", find_mail(text))
    if has_digit and holds_number(text):
        _claim(claimed, "iban", find_ibans(text))
        _claim(claimed, "card", find_cards(text))
        _claim(claimed, "ip address", find_ip_addresses(text))
        _claim(claimed, "phone", find_phones(text))
    if has_digit:
        _claim(claimed, "address", find_addresses(text))
    return tuple(Finding(kind, start, end) for start, end, kind in claimed)


def redact(text: str, findings: Iterable[Finding]) -> str:
    """Return the text with `[kind]` in place of each finding."""
    return "".join(_redacted(text, findings))


def _redacted(text: str, findings: Iterable[Finding]) -> Iterator[str]:
    position = 0
    for finding in findings:
        yield text[position : finding.start]
        yield f"[{finding.kind}]"
        position = finding.end
    yield text[position:]


def _claim(claimed: list[tuple[int, int, Kind]], kind: Kind, spans: Iterable[tuple[int, int]]) -> None:
    """Insert the spans that overlap nothing claimed before; of two of one kind the one that begins first."""
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        place = bisect_left(claimed, (start, start))
        is_free_before = place == 0 or claimed[place - 1][1] <= start
        is_free_after = place == len(claimed) or end <= claimed[place][0]
        if is_free_before and is_free_after:
            claimed.insert(place, (start, end, kind))
