"""A GBNF grammar from a JSON schema: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md.

Ours and not llama.cpp's own: depending on how it was built, that one takes no notice of a keyword or a whole schema
that it cannot follow. Here such a schema is refused. What is written has no spaces between its parts, or a small model
could write spaces for ever. Objects hold the properties that the schema names, in its order, and no others.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from duologue.errors import FormError

MAX_SCHEMA_CHARS = 2**16
_MAX_DEPTH = 64
_MAX_REPEATS = 2000  # llama.cpp refuses a grammar that repeats more often
_NOTES = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "format"}
_SHARED = {
    "value": "object | array | string | number | boolean | null",
    "object": r'"{" ( string ":" value ( "," string ":" value )* )? "}"',
    "array": '"[" ( value ( "," value )* )? "]"',
    "string": r'"\"" char* "\""',
    "char": r'[^"\\\x7F\x00-\x1F] | "\\" ( ["\\bfnrt/] | "u" [0-9a-fA-F]{4} )',
    "number": 'integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,3} )?',
    "integer": '"-"? ( "0" | [1-9] [0-9]{0,15} )',
    "boolean": '"true" | "false"',
    "null": '"null"',
}


def json_grammar(schema: str) -> str:
    """Return the grammar of all JSON values that follow a schema.

    Args:
        schema: JSON Schema as text: types, properties, required, items, enum, const, anyOf, oneOf, references to its
            own `$defs`, and the lengths of texts and lists. `true` allows any value.

    Raises:
        FormError: It is no JSON, or it asks for what cannot be held to while writing.
    """
    if len(schema) > MAX_SCHEMA_CHARS:
        raise _refused(f"has {len(schema)} characters; at most {MAX_SCHEMA_CHARS} are taken", "json_schema")
    try:
        tree = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise _refused(f"is no JSON ({error})", "json_schema") from error
    rules = _Rules(tree)
    rules.named["root"] = rules.rule(tree, "json_schema", 0)
    return "\n".join(f"{name} ::= {body}" for name, body in (rules.named | _SHARED).items())


class _Rules:
    """The rules found so far; those of `$defs` are made once, and may refer to themselves."""

    def __init__(self, tree: Any) -> None:  # noqa: ANN401  (any JSON value)
        self._tree = tree
        self._names: dict[str, str] = {}
        self.named: dict[str, str] = {"root": ""}

    def rule(self, schema: Any, where: str, depth: int) -> str:  # noqa: ANN401
        """Return the right side of a rule."""
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise _refused("is no object", where)
        if depth > _MAX_DEPTH:
            raise _refused(f"is nested deeper than {_MAX_DEPTH} times", where)
        asked = set(schema) - _NOTES
        for keyword in ("$ref", "const", "enum", "anyOf", "oneOf"):
            if keyword in schema:
                _only({keyword, "type"} if keyword in ("const", "enum") else {keyword}, asked, where)
                return self._choice(keyword, schema[keyword], where, depth)
        kinds = schema.get("type")
        if isinstance(kinds, list) and kinds:
            alternatives = [{**schema, "type": kind} for kind in kinds]
            return _either([self._typed(each, asked, where, depth) for each in alternatives])
        return self._typed(schema, asked, where, depth)

    def _choice(self, keyword: str, value: Any, where: str, depth: int) -> str:  # noqa: ANN401
        if keyword == "$ref":
            return self._reference(value, where, depth)
        if keyword == "const":
            return _literal(value)
        if not isinstance(value, list) or not value:
            raise _refused(f"has '{keyword}' without choices", where)
        if keyword == "enum":
            return _either([_literal(each) for each in value])
        return _either([self.rule(each, f"{where}.{keyword}[{at}]", depth + 1) for at, each in enumerate(value)])

    def _reference(self, target: Any, where: str, depth: int) -> str:  # noqa: ANN401
        if not isinstance(target, str) or not target.startswith("#"):
            raise _refused(f"refers to '{str(target)[:80]}', which is not in it", where)
        if target in self._names:
            return self._names[target]
        found = self._tree
        for part in target.removeprefix("#").split("/")[1:]:
            if not isinstance(found, dict) or part not in found:
                raise _refused(f"refers to '{target[:80]}', which it does not have", where)
            found = found[part]
        self._names[target] = name = f"ref{len(self._names)}"
        self.named[name] = self.rule(found, target, depth + 1)
        return name

    def _typed(self, schema: Mapping[str, Any], asked: set[str], where: str, depth: int) -> str:
        kind = schema.get("type")
        makers: dict[str, Callable[[Mapping[str, Any], set[str], str, int], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
        }
        if isinstance(kind, str) and kind in makers:
            return makers[kind](schema, asked, where, depth)
        if isinstance(kind, str) and kind in ("number", "integer", "boolean", "null"):
            _only({"type"}, asked, where)
            return kind
        raise _refused(f"has the type {json.dumps(kind)[:80]}", where)

    def _object(self, schema: Mapping[str, Any], asked: set[str], where: str, depth: int) -> str:
        _only({"type", "properties", "required", "additionalProperties"}, asked, where)
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise _refused("has properties that are no object, or required ones that are no list", where)
        if unknown := [name for name in required if name not in properties]:
            raise _refused(f"requires '{str(unknown[0])[:80]}' without saying what it is", where)
        if schema.get("additionalProperties", False) not in (False, True):
            raise _refused("has a schema for additional properties", where)
        if not properties:
            return "object" if schema.get("additionalProperties", True) else '"{}"'
        parts = []
        for name, each in properties.items():
            value = _grouped(self.rule(each, f"{where}.{name}", depth + 1))
            parts.append((f"{_literal(name)} {_quoted(':')} {value}", name in required))
        return f"{_quoted('{')} {_members(parts)} {_quoted('}')}"

    def _array(self, schema: Mapping[str, Any], asked: set[str], where: str, depth: int) -> str:
        _only({"type", "items", "minItems", "maxItems"}, asked, where)
        item = _grouped(self.rule(schema.get("items", True), f"{where}[]", depth + 1))
        least, most = _bounds(schema, "minItems", "maxItems", where)
        if most == 0:
            return '"[]"'
        more = f'( "," {item} ){{{max(0, least - 1)},{"" if most is None else most - 1}}}'
        filled = f"{item} {more}"
        return f'"[" {filled if least else f"( {filled} )?"} "]"'

    def _string(self, schema: Mapping[str, Any], asked: set[str], where: str, depth: int) -> str:  # noqa: ARG002
        _only({"type", "minLength", "maxLength"}, asked, where)
        least, most = _bounds(schema, "minLength", "maxLength", where)
        if least == 0 and most is None:
            return "string"
        return rf'"\"" char{{{least},{"" if most is None else most}}} "\""'


def _members(parts: list[tuple[str, bool]]) -> str:
    """Return the members of an object in their order, commas between those that are there."""
    first_required = next((at for at, (_, is_required) in enumerate(parts) if is_required), None)
    if first_required is not None:
        before = [f"( {part} {_quoted(',')} )?" for part, _ in parts[:first_required]]
        after = [_following(part, is_required=needed) for part, needed in parts[first_required + 1 :]]
        return " ".join([*before, parts[first_required][0], *after])
    ways = []
    for at, (part, _) in enumerate(parts):
        ways.append(" ".join([part, *(_following(other, is_required=False) for other, _ in parts[at + 1 :])]))
    return f"( {' | '.join(ways)} )?"


def _following(part: str, *, is_required: bool) -> str:
    return f"{_quoted(',')} {part}" if is_required else f"( {_quoted(',')} {part} )?"


def _bounds(schema: Mapping[str, Any], least_key: str, most_key: str, where: str) -> tuple[int, int | None]:
    least, most = schema.get(least_key, 0), schema.get(most_key)
    for bound in (least, most if most is not None else 0):
        if not isinstance(bound, int) or isinstance(bound, bool) or not 0 <= bound <= _MAX_REPEATS:
            raise _refused(f"has a length of {json.dumps(bound)[:80]}; lengths go from 0 to {_MAX_REPEATS}", where)
    if most is not None and least > most:
        raise _refused(f"has '{least_key}' above '{most_key}'", where)
    return least, most


def _only(known: set[str], asked: set[str], where: str) -> None:
    if unknown := sorted(asked - known):
        raise _refused(f"has '{unknown[0][:80]}', which cannot be held to while writing", where)


def _either(choices: list[str]) -> str:
    return " | ".join(_grouped(choice) for choice in choices)


def _grouped(body: str) -> str:
    return body if body.isalnum() else f"( {body} )"


def _literal(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    return _quoted(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _refused(what: str, where: str) -> FormError:
    return FormError(f"the JSON schema {what}", where=where)
