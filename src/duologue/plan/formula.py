"""Formulas of a claims file: arithmetic over named numbers, and nothing else."""

import ast
import math
import re
from collections.abc import Callable, Mapping

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.Pow: math.pow,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max, "log": math.log, "exp": math.exp}
_MAX_LENGTH = 400
_MAX_EXPONENT = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def evaluate(formula: str, numbers: Mapping[str, float]) -> float:
    """Return the value of a formula.

    Args:
        formula: `+ - * / **`, brackets, `min max log exp`, numbers, and the names in `numbers`.
        numbers: Value by name.

    Raises:
        ValueError: The formula has no value; the message says why.
    """
    try:
        value = _value(_parsed(formula), numbers)
    except ZeroDivisionError as error:
        raise ValueError("it divides by zero") from error
    except OverflowError as error:
        raise ValueError("its value is too large") from error
    if not math.isfinite(value):
        raise ValueError("its value is not a number")
    return value


def names_in(formula: str) -> tuple[str, ...]:
    """Return the names a formula uses, each once.

    Raises:
        ValueError: The formula cannot be read.
    """
    names = [node.id for node in ast.walk(_parsed(formula)) if isinstance(node, ast.Name)]
    return tuple(name for name in dict.fromkeys(names) if name not in _FUNCTIONS)


def with_values(formula: str, shown: Mapping[str, str]) -> str:
    """Return the formula with every name replaced by its value as a text."""
    return _NAME.sub(lambda match: shown.get(match[0], match[0]), formula)


def _parsed(formula: str) -> ast.expr:
    if len(formula) > _MAX_LENGTH:
        raise ValueError(f"it has {len(formula)} characters; at most {_MAX_LENGTH} are read")
    try:
        return ast.parse(formula, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("it is not arithmetic") from error


def _value(node: ast.expr, numbers: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.Name(id=name) if name in numbers:
            return numbers[name]
        case ast.Name(id=name):
            raise ValueError(f"'{name}' is not among its numbers")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, numbers)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second = _value(left, numbers), _value(right, numbers)
            if isinstance(op, ast.Pow) and abs(second) > _MAX_EXPONENT:
                raise ValueError(f"an exponent is above {_MAX_EXPONENT}")
            return _BINARY[type(op)](first, second)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            try:
                return float(_FUNCTIONS[name](*(_value(argument, numbers) for argument in arguments)))
            except TypeError as error:
                raise ValueError(f"{name} does not take {len(arguments)} values") from error
    raise ValueError("only + - * / **, brackets, min, max, log, exp, numbers and names can be used")
