"""Strict JSON (RFC 8259): what Python's own parser lets through is refused, and a fault says what and where it is.

The parsing is done by the C scanner of `json` with a hook that compares the number of keys. Everything slow (the path
of a key that is twice, the depth, the place of a number) is looked for only in a text that is refused.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 200  # brackets inside brackets; real exports stay below 20, and Python's parser gives up near 1,000


class JsonFault(ValueError):
    """A text that is not strict JSON.

    Attributes:
        what: What is wrong, without where.
        position: Index of the character in the text.
        path: Path of the value, such as `messages[2].role`, where it is known; else empty.
        is_cut: Whether the text ends too early, so that more text could have made it right.
    """

    def __init__(self, what: str, position: int, *, path: str = "", is_cut: bool = False) -> None:
        """Store what is wrong and where."""
        super().__init__(what)
        self.what = what
        self.position = position
        self.path = path
        self.is_cut = is_cut

    def located(self, text: str) -> str:
        """Return what is wrong with line and column in the text that was parsed."""
        before = text[: self.position]
        column = len(before) - before.rfind("\n")
        return f"line {before.count(chr(10)) + 1}, column {column}: {self.what}"


def parse(text: str) -> object:
    """Return the value of a text that is one JSON value.

    Raises:
        JsonFault: The text is not JSON as RFC 8259 has it, nests deeper than `MAX_DEPTH`, has a key twice in one
            object, a number that no float can hold, or half of a surrogate pair.
    """
    if not text.isascii():
        _refuse_raw_surrogates(text)
    if _num_openings(text, 0, len(text)) > MAX_DEPTH and _is_too_deep(text):
        raise _located_fault(text, 0)  # before the parser recurses into it
    value, end = _scan(text, skip_space(text, 0))
    end = skip_space(text, end)
    if end != len(text):
        raise JsonFault(f"more text after the end of the value: {_shown(text, end)}{_hint(text, end)}", end)
    return value


def parse_at(text: str, start: int) -> tuple[object, int]:
    """Return the value that begins at an index, and the index after it.

    For text that goes on behind the value: only `parse` is safe whatever Python's recursion limit is, and only `parse`
    looks for characters that stand for bytes that could not be decoded.

    Raises:
        JsonFault: As `parse`; positions count from the beginning of `text`.
    """
    value, end = _scan(text, start)
    if _num_openings(text, start, end) > MAX_DEPTH and _is_too_deep(text[start:end]):
        raise _located_fault(text, start)
    return value, end


def is_safe_to_recurse() -> bool:
    """Return whether Python's recursion limit is low enough that the C parser meets it before the stack ends."""
    return sys.getrecursionlimit() <= 10_000


def skip_space(text: str, position: int) -> int:
    """Return the index of the next character that is not JSON's white space, or the length of the text."""
    match = _SPACE.match(text, position)
    assert match
    return match.end()


_SPACE = re.compile(r"[ \t\n\r]*")
_ESCAPED_SURROGATE = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
_ONLY_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))


class _Refused(ValueError):
    """Raised by the hooks, which do not know where they are."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused
    return found


def _refuse_constant(_: str) -> None:
    raise _Refused


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Refused
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite)


def _scan(text: str, start: int) -> tuple[object, int]:
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _syntax_fault(text, error.msg, error.pos) from None
    except (ValueError, RecursionError):  # a hook, an integer with too many digits, or too many brackets
        raise _located_fault(text, start) from None
    if text.find("\\", start, end) >= 0 and _has_lone_escape(text, start, end):
        raise _located_fault(text, start)
    return value, end


def _num_openings(text: str, start: int, end: int) -> int:
    return text.count("[", start, end) + text.count("{", start, end)


def _is_too_deep(text: str) -> bool:
    """Count brackets outside strings; of valid JSON exact, of anything else near enough."""
    data = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = 0
    for sign in re.sub(rb'"[^"]*"?', b"", data.translate(None, _ONLY_BRACKETS)):
        if sign in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def _has_lone_escape(text: str, start: int, end: int) -> bool:
    if text.find("\\ud", start, end) < 0 and text.find("\\uD", start, end) < 0:
        return False
    return any(match[1] for match in _ESCAPED_SURROGATE.finditer(text, start, end))


def _refuse_raw_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise JsonFault("half of a surrogate pair", error.start) from None


# ----------------------------------------------------------------------------------------------- what the parser said


def _syntax_fault(text: str, message: str, position: int) -> JsonFault:
    """Translate a message of the C scanner."""
    if message.startswith("Unterminated string"):
        return JsonFault("the string that begins here is never closed", position, is_cut=True)
    if message.startswith("Illegal trailing comma"):  # Python 3.13 points at the comma, 3.11 and 3.12 behind it
        is_object = message.endswith("object")
        message = "Expecting property name enclosed in double quotes" if is_object else "Expecting value"
        position = skip_space(text, position + 1)
    if message.startswith("Invalid control character"):
        code = ord(text[position])
        written = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code, f"\\u{code:04x}")
        return JsonFault(f"the control character U+{code:04X} inside a string; JSON writes it as {written}", position)
    if position >= len(text):
        return JsonFault("the text ends in the middle of a value", position, is_cut=True)
    if message.startswith("Invalid \\"):
        position -= text[position] != "\\"  # 3.11 points behind the backslash of \\u
        is_cut = position + 6 > len(text) and '"' not in text[position:]
        return JsonFault(f"an escape that JSON does not have: {_shown(text, position)}", position, is_cut=is_cut)
    needed = {
        "Expecting value": "a value",
        "Expecting property name enclosed in double quotes": "a key in double quotes",
        "Expecting ':' delimiter": "':' after the key",
        "Expecting ',' delimiter": "',' or a closing bracket",
    }.get(message, message)
    return JsonFault(f"found {_shown(text, position)}, expected {needed}{_hint(text, position)}", position)


def _hint(text: str, position: int) -> str:
    for found, hint in _HINTS.items():
        if text.startswith(found, position):
            return f" ({hint})"
    return ""


_HINTS = {
    "'": "JSON has double quotes; this looks like Python",
    "None": "JSON writes null",
    "True": "JSON writes true",
    "False": "JSON writes false",
    "undefined": "JSON writes null",
    "nan": "JSON has no such number",
    "inf": "JSON has no such number",
    "//": "JSON has no comments",
    "/*": "JSON has no comments",
    "#": "JSON has no comments",
    ",": "is there a comma too many?",
    "}": "is there a comma too many before it?",
    "]": "is there a comma too many before it?",
}


def _shown(text: str, position: int) -> str:
    """Return a character or a short word in quotes, with nothing in it that a terminal would act on."""
    if position >= len(text):
        return "the end"
    match = _WORD.match(text, position)
    return ascii(match[0] if match else text[position])


_WORD = re.compile(r"[A-Za-z]{2,12}|\\u[0-9a-fA-F]{0,4}|\\.|//|/\*", re.DOTALL)

# -------------------------------------------------------------------------------------------- where the hooks refused

_PIECE = re.compile(
    r'[ \t\n\r]*(?:(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)'
    r'|(?P<word>[^ \t\n\r,:\[\]{}"]+))',
    re.DOTALL,
)
_MAX_DIGITS = 40  # of a number that is shown


@dataclass(slots=True)
class _Frame:
    """A bracket that is open."""

    is_object: bool
    index: int = 0
    key: str | None = None
    keys: set[str] = field(default_factory=set)


def _located_fault(text: str, start: int) -> JsonFault:
    """Return the first thing in a text that the hooks refuse, with its path."""
    stack: list[_Frame] = []
    for kind, position, piece in _pieces(text, start):
        if kind == "open":
            stack.append(_Frame(piece == "{"))
            if len(stack) > MAX_DEPTH:
                return JsonFault(f"nested more than {MAX_DEPTH} brackets deep", position)
        elif kind == "close" and stack:
            stack.pop()
        elif kind == "comma" and stack:
            stack[-1].index += 1
            stack[-1].key = None
        what = _refusal(kind, piece, stack)
        if what:
            return JsonFault(what, position, path=_path(stack))
        if not stack and kind != "comma":
            break
    return JsonFault("a value that strict JSON does not allow", start)


def _pieces(text: str, start: int) -> Iterator[tuple[str, int, str]]:
    while match := _PIECE.match(text, start):
        kind = match.lastgroup
        assert kind
        yield kind, match.start(kind), match[kind]
        start = match.end()


def _refusal(kind: str, piece: str, stack: list[_Frame]) -> str:
    """Return why a piece is refused, or nothing; notes the key when it is one."""
    if kind == "string":
        if _has_lone_escape(piece, 0, len(piece)):
            return "half of a surrogate pair, written as an escape"
        frame = stack[-1] if stack else None
        if frame and frame.is_object and frame.key is None:
            frame.key = _unquoted(piece)
            if frame.key in frame.keys:
                return f"the key {frame.key[:60]!a} is twice in one object"
            frame.keys.add(frame.key)
        return ""
    return _number_refusal(piece) if kind == "word" else ""


def _number_refusal(word: str) -> str:
    if word in {"NaN", "Infinity", "-Infinity"}:
        return f"{word}, which JSON does not have"
    shown = word if len(word) <= _MAX_DIGITS else f"{word[:_MAX_DIGITS]}... ({len(word):,} characters)"
    try:
        number = float(word) if any(sign in word for sign in ".eE") else int(word)
    except ValueError:
        return f"a number with too many digits: {shown}" if word.lstrip("-").isdigit() else ""
    return f"a number that is too large: {shown}" if number in {math.inf, -math.inf} else ""


def _unquoted(piece: str) -> str:
    try:
        return str(json.loads(piece))
    except ValueError:
        return piece[1:-1]


def _path(stack: list[_Frame]) -> str:
    path = ""
    for frame in stack:
        if not frame.is_object:
            path += f"[{frame.index}]"
        elif frame.key:
            path += f".{frame.key[:60]}" if path else frame.key[:60]
    return path
