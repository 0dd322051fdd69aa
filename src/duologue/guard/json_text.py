"""JSON from strangers, checked before anything is built from it: depth, numbers, keys given twice, half characters."""

import json
import math
import re
from typing import Any, NoReturn

from duologue.errors import GuardError

MAX_DEPTH = 32  # brackets inside brackets; what clients of a chat API send stays below 10
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_HALF = re.compile("[\ud800-\udfff]")
_MAX_DIGITS = 300  # a number with more digits than any float has


def check_json(content: str | bytes, max_depth: int = MAX_DEPTH, *, where: str = "body") -> Any:  # noqa: ANN401 (JSON)
    """Return the document of a JSON text that is strict (RFC 8259) and not deeper than allowed.

    Args:
        content: The text, or its bytes in UTF-8.
        max_depth: Brackets that may be open at the same time.
        where: What is checked, for the message.

    Raises:
        GuardError: With reason `invalid_json` (no JSON, NaN or Infinity, a key given twice, a number that no float
            holds, half a surrogate pair, not UTF-8) or `too_deep`.
    """
    text = _decoded(content, where)
    # Before the parser, which recurses; only brackets outside strings count.
    if text.count("[") + text.count("{") > max_depth and _depth(text) > max_depth:
        raise GuardError(
            "the JSON is nested too deep", reason="too_deep", where=where, needed=f"at most {max_depth} levels"
        )
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite, parse_int=_short
        )
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at line {error.lineno}, column {error.colno}", where) from None
    except (_Refused, RecursionError) as error:
        raise _invalid(str(error) or "it is nested too deep", where) from None
    if "\\u" in text and _has_half(document):
        raise _invalid("a text holds half a character (a lone surrogate)", where)
    return document


class _Refused(Exception):
    """What a hook of the parser found."""


def _decoded(content: str | bytes, where: str) -> str:
    if isinstance(content, bytes):
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _invalid(f"byte {error.start + 1} is not UTF-8", where) from None
    if _HALF.search(content):
        raise _invalid("a text holds half a character (a lone surrogate)", where)
    return content


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"the key {twice[:60]!a} is given twice in one object")
    return document


def _no_number(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Refused(f"the number {digits[:20]} is too large")
    return number


def _short(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _Refused(f"a number has {len(digits):,} digits; at most {_MAX_DIGITS}")
    return int(digits)


def _has_half(document: object) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and _HALF.search(value):
            return True
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
    return False


def _invalid(what: str, where: str) -> GuardError:
    return GuardError(
        f"this is not valid JSON: {what}", reason="invalid_json", where=where, action="Send strict JSON in UTF-8."
    )
