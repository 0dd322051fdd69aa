"""Macros such as `{{char}}` and `{{random::a::b}}` in card text, lore and notes.

A text is read once. What a macro stands for is put in its place and never read again, so that a name, a message or a
lore entry cannot bring macros of its own; nothing is evaluated. Arguments may hold macros, which are replaced first, up
to `MAX_NESTING` deep. All results together may be `MAX_EXPANDED_CHARS` long; after that macros stay as they are
written, as unknown ones always do (`unknown_macros` lists them).
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from duologue.characters.macro_values import VALUES, Call, MacroContext

__all__ = ["MacroContext", "expand", "scannable", "unknown_macros"]

MAX_NESTING = 16
MAX_EXPANDED_CHARS = 1_000_000

_BRACES = re.compile(r"\{\{(?!\{)|\}\}")
_HEAD = re.compile(r"\s*(//|/?[A-Za-z][\w-]*)\s*(::|:)?", re.ASCII)
_UTC = re.compile(r"\s*time_UTC([+-]\d{1,2})\s*", re.IGNORECASE | re.ASCII)
_ANGLE = re.compile(r"<(user|bot|char)>", re.IGNORECASE)
_SCOPES = ("if", "trim", "//", "comment")
_FALSE = ("", "false", "off", "0")
_TRIM, _BARRIER = "\0trim", "\0noop"  # no card holds U+0000 in front of these words; `_tidy` takes them out


@dataclass(frozen=True, slots=True)
class _Macro:
    """A macro as it is written.

    Attributes:
        raw: The whole of it, braces included.
        start: Where it begins in the text.
        name: In lower case; empty when it has none.
        parts: What stands between the braces.
        args: Its arguments, each of text and macros.
    """

    raw: str
    start: int
    name: str
    parts: "tuple[_Node, ...]"
    args: "tuple[tuple[_Node, ...], ...]"


_Node = str | _Macro


def expand(text: str, context: MacroContext) -> str:
    """Return `text` with its macros replaced; `setvar` and the like change the variables of `context`."""
    if "{{" not in text and "<" not in text:
        return text
    return _Expansion(text, context).run()


def unknown_macros(text: str) -> tuple[str, ...]:
    """Return the macros of a text that `expand` leaves as they are, each once, as they are written."""
    known = {*VALUES, *_SCOPES, "else", "/if", "/trim", "///", "/comment"}
    found = (macro.raw for macro in _all_macros(_parse(text)) if macro.name not in known)
    return tuple(dict.fromkeys(raw if len(raw) <= 60 else f"{raw[:57]}..." for raw in found))


def scannable(text: str) -> str:
    """Return lore as other lore sees it: hidden keys count, comments do not, other macros are as written."""
    if "{{" not in text:
        return text
    pieces = []
    for node in _parse(text):
        if isinstance(node, str):
            pieces.append(node)
        elif node.name == "hidden_key":
            pieces.append("::".join("".join(_raw(part) for part in arg) for arg in node.args).strip())
        elif node.name not in ("//", "comment"):
            pieces.append(node.raw)
    return "".join(pieces)


class _Expansion:
    """One text on its way to its replacement."""

    def __init__(self, text: str, context: MacroContext) -> None:
        self._text = text
        self._context = context
        self._digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
        self._left = MAX_EXPANDED_CHARS

    def run(self) -> str:
        return _tidy(self._nodes(_parse(self._text), depth=0))

    def _nodes(self, nodes: Sequence[_Node], *, depth: int) -> list[str]:
        ends = _scope_ends(nodes)
        out: list[str] = []
        at = 0
        while at < len(nodes):
            node = nodes[at]
            if isinstance(node, str):
                out.append(_ANGLE.sub(self._angle, node))
            elif at in ends:
                out += self._scope(node, nodes[at + 1 : ends[at]], closing=nodes[ends[at]], depth=depth)
                at = ends[at]
            else:
                out.append(self._value(node, depth=depth))
            at += 1
        return out

    def _angle(self, match: re.Match[str]) -> str:
        return self._context.user if match[1].lower() == "user" else self._context.char

    def _scope(self, macro: _Macro, body: Sequence[_Node], *, closing: _Node, depth: int) -> list[str]:
        if depth >= MAX_NESTING:
            return [macro.raw, *(_raw(node) for node in body), _raw(closing)]
        if macro.name == "if":
            return [self._branch(macro.args[0] if macro.args else (), body, depth=depth)]
        if macro.name == "trim":
            return [_tidy(self._nodes(body, depth=depth + 1)).strip()]
        return []  # a comment

    def _branch(self, condition: Sequence[_Node], body: Sequence[_Node], *, depth: int) -> str:
        split = _else_at(body)
        chosen = body[:split] if self._holds(condition, depth=depth) else body[split + 1 :]
        return _tidy(self._nodes(chosen, depth=depth + 1)).strip()

    def _holds(self, condition: Sequence[_Node], *, depth: int) -> bool:
        text = self._arg(condition, depth=depth)
        is_inverted = text.startswith("!")
        text = text.removeprefix("!").strip()
        if text[:1] in (".", "$") and len(text) > 1:
            variables = self._context.variables if text[0] == "." else self._context.global_variables
            text = variables.get(text[1:], "")
        elif text.lower() in VALUES:
            value = VALUES[text.lower()](Call(self._context, (), self._sign("if", 0)))
            text = text if value is None else value
        return (text.strip().lower() not in _FALSE) != is_inverted

    def _value(self, macro: _Macro, *, depth: int) -> str:
        if macro.name in ("trim", "noop"):
            return _TRIM if macro.name == "trim" else _BARRIER
        if macro.name in ("//", "comment"):
            return ""
        if depth >= MAX_NESTING or self._left <= 0:
            return macro.raw
        if macro.name == "if" and len(macro.args) > 1:
            return self._branch(macro.args[0], _joined(macro.args[1:]), depth=depth)
        if macro.name not in VALUES:
            inner = _tidy(self._nodes(macro.parts, depth=depth + 1))
            return f"{{{{{inner}}}}}"
        args = tuple(self._arg(arg, depth=depth) for arg in macro.args)
        value = VALUES[macro.name](Call(self._context, args, self._sign(macro.name, macro.start)))
        if value is None or len(value) > self._left:
            return macro.raw
        self._left -= len(value)
        return value

    def _arg(self, nodes: Sequence[_Node], *, depth: int) -> str:
        return _tidy(self._nodes(nodes, depth=depth + 1)).strip()

    def _sign(self, name: str, start: int) -> str:
        """Return what tells this macro from every other one, for draws that can be repeated."""
        seed = self._context.pick_seed if name == "pick" else self._context.seed
        return f"{seed}:{self._digest}:{start}"


def _parse(text: str) -> list[_Node]:
    """Return text and macros in order. Braces without their partner, and those nested too deep, are text."""
    frames: list[tuple[int, list[_Node]]] = [(0, [])]
    at = num_ignored = 0
    for match in _BRACES.finditer(text):
        if match[0] == "{{":
            if len(frames) > MAX_NESTING:
                num_ignored += 1
                continue
            frames[-1][1].append(text[at : match.start()])
            frames.append((match.start(), []))
        elif num_ignored:
            num_ignored -= 1
            continue
        elif len(frames) == 1:
            continue
        else:
            start, parts = frames.pop()
            parts.append(text[at : match.start()])
            frames[-1][1].append(_macro(text[start : match.end()], start, parts))
        at = match.end()
    frames[-1][1].append(text[at:])
    while len(frames) > 1:
        _, parts = frames.pop()
        frames[-1][1].extend(["{{", *parts])
    return [part for part in frames[0][1] if part]


def _macro(raw: str, start: int, parts: list[_Node]) -> _Macro:
    head = parts[0] if isinstance(parts[0], str) else ""
    zone = _UTC.fullmatch(head)
    if zone and len(parts) == 1:
        return _Macro(raw, start, "time", tuple(parts), ((f"UTC{zone[1]}",),))
    match = _HEAD.match(head)
    if match is None or not (match[2] or match[1] == "//" or head[match.end() :][:1].isspace() or _ends(head, match)):
        return _Macro(raw, start, "", tuple(parts), ())
    rest: list[_Node] = [head[match.end() :], *parts[1:]]
    has_args = match[2] is not None or any(not isinstance(part, str) or part.strip() for part in rest)
    return _Macro(raw, start, match[1].lower(), tuple(parts), _split(rest) if has_args else ())


def _ends(head: str, match: re.Match[str]) -> bool:
    return match.end() == len(head) or head[match.end() - 1].isspace()


def _split(parts: Sequence[_Node]) -> tuple[tuple[_Node, ...], ...]:
    args: list[list[_Node]] = [[]]
    for part in parts:
        if not isinstance(part, str):
            args[-1].append(part)
            continue
        first, *others = part.split("::")
        args[-1].append(first)
        args += [[text] for text in others]
    return tuple(tuple(arg) for arg in args)


def _joined(args: Sequence[tuple[_Node, ...]]) -> list[_Node]:
    nodes: list[_Node] = list(args[0])
    for arg in args[1:]:
        nodes += ["::", *arg]
    return nodes


def _scope_ends(nodes: Sequence[_Node]) -> dict[int, int]:
    """Return where the scopes that open among `nodes` close, for those that do."""
    open_at: dict[str, list[int]] = {}
    ends: dict[int, int] = {}
    for at, node in enumerate(nodes):
        if isinstance(node, str):
            continue
        if node.name in _SCOPES and len(node.args) < 2 and not (node.name in ("//", "comment") and node.args):
            open_at.setdefault(node.name, []).append(at)
        elif node.name.startswith("/") and open_at.get(node.name[1:]):
            ends[open_at[node.name[1:]].pop()] = at
        elif node.raw == "{{///}}" and open_at.get("//"):
            ends[open_at["//"].pop()] = at
    return ends


def _else_at(body: Sequence[_Node]) -> int:
    """Return where the other branch begins: the first `{{else}}` that is not inside another `if`."""
    level = 0
    for at, node in enumerate(body):
        if isinstance(node, str):
            continue
        if node.name == "if" and len(node.args) < 2:
            level += 1
        elif node.name == "/if":
            level -= 1
        elif node.name == "else" and level == 0:
            return at
    return len(body)


def _tidy(pieces: Sequence[str]) -> str:
    """Join the pieces; `{{trim}}` takes the line breaks around it, up to a `{{noop}}`."""
    if _TRIM not in pieces:
        return "".join(piece for piece in pieces if piece != _BARRIER)
    out: list[str] = []
    is_trimming = False
    for piece in pieces:
        if piece == _TRIM:
            while out and out[-1] != _BARRIER:
                out[-1] = out[-1].rstrip("\r\n")
                if out[-1]:
                    break
                out.pop()
            is_trimming = True
        elif piece == _BARRIER:
            out.append(piece)
            is_trimming = False
        else:
            text = piece.lstrip("\r\n") if is_trimming else piece
            is_trimming = is_trimming and not text
            if text:
                out.append(text)
    return "".join(piece for piece in out if piece != _BARRIER)


def _raw(node: _Node) -> str:
    return node if isinstance(node, str) else node.raw


def _all_macros(nodes: Sequence[_Node]) -> Iterator[_Macro]:
    for node in nodes:
        if isinstance(node, _Macro):
            yield node
            yield from _all_macros(node.parts)
