"""E-mail addresses, also written as `name (at) example (dot) org`."""

import re
from collections.abc import Iterator

_LONGEST_NAME = 64  # RFC 5321, 4.5.3.1.1
_LONGEST_DOMAIN = 253
_NAME = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]*$")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@])")
_SPELLED_OUT = re.compile(
    r"(?<![\w.])[\w.+-]{1,64} ?[\[({] ?at ?[\])}] ?[\w-]{1,63}(?: ?(?:\.|[\[({] ?dot ?[\])}]) ?[\w-]{2,63}){1,4}",
    re.IGNORECASE,
)
_SPELLED_OUT_MARKS = ("(at", "[at", "{at", "( at", "[ at", "(AT", "[AT")


def may_hold_mail(text: str) -> bool:
    """Whether a text is worth a closer look."""
    return "@" in text or any(mark in text for mark in _SPELLED_OUT_MARKS)


def find_mail(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of e-mail addresses.

    From each `@` the name is read to the left and the domain to the right, both with a limit: a pattern that starts
    anywhere would take quadratic time in a long word.
    """
    at = text.find("@")
    while at >= 0:
        lead = text[max(0, at - _LONGEST_NAME) : at]
        name = _NAME.search(lead[_plain_start(lead) :])
        domain = _DOMAIN.match(text, at + 1, at + 1 + _LONGEST_DOMAIN)
        plain = name[0].strip(".'`*/=?{|}~^!#$%&") if name else ""
        if plain and domain:
            # Signs around the name belong to the sentence: 'a@example.org', *a@example.org*
            start = at - len(plain) if text[at - len(plain) : at] == plain else at
            if start < at:
                yield start, domain.end()
        at = text.find("@", domain.end() if domain else at + 1)
    for match in _SPELLED_OUT.finditer(text) if any(mark in text for mark in _SPELLED_OUT_MARKS) else ():
        yield match.span()


def _plain_start(lead: str) -> int:
    """Return where the last piece without space begins."""
    return max(lead.rfind(" "), lead.rfind("\n"), lead.rfind("\t")) + 1
