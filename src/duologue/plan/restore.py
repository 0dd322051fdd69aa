"""Frozen dataclasses from JSON, strictly: every field once, each of its declared type."""

import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from duologue.errors import PlanError

T = TypeVar("T")


def restore(kind: type[T], value: Any, *, where: str) -> T:  # noqa: ANN401 (JSON can be anything)
    """Return `value` as an instance of the dataclass `kind`.

    Args:
        kind: A dataclass whose fields are numbers, texts, tuples of one type, or such dataclasses.
        value: What `json.load` returned.
        where: Path for the error message.

    Raises:
        PlanError: A key is missing or unknown, or a value has the wrong type.
    """
    if not isinstance(value, dict):
        raise _wrong(value, where, "an object")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(cast(Any, kind))]
    odd = sorted(set(names).symmetric_difference(value))
    if odd:
        missing = [name for name in odd if name in names]
        found = f"missing: {', '.join(missing)}" if missing else f"unknown: {', '.join(odd)}"
        raise PlanError(f"the keys are not those of a plan ({found})", where=where)
    return kind(**{name: _restored(hints[name], value[name], f"{where}: {name}") for name in names})


def _restored(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(value, where, "a list")
        return tuple(_restored(arguments[0], item, f"{where}[{at}]") for at, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise _wrong(value, where, f"one of {', '.join(map(repr, arguments))}")
        return value
    if is_dataclass(hint):
        return restore(cast(type[Any], hint), value, where=where)
    accepted = arguments if origin in (Union, types.UnionType) else (hint,)
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) not in accepted and not (int in accepted and len(accepted) > 1 and type(value) is bool):
        raise _wrong(value, where, " or ".join(kind.__name__ for kind in accepted))
    return value


def _wrong(value: Any, where: str, needed: str) -> PlanError:  # noqa: ANN401
    return PlanError(f"found {value!r:.60}", where=where, needed=needed)
