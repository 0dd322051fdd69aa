"""What the operators of a chat template do: as jinja2 does it, counted before it is done."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

from jinja2.exceptions import TemplateError
from jinja2.runtime import Undefined
from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter

from duologue.engine.template.budget import Budget, OverBudgetError

Value = Any  # whatever a template holds
_MAX_INT_BITS = 4_096
_MAX_WIDTH_DIGITS = 3
_PERCENT = re.compile(r"%(?:\([^)]*\))?([^a-zA-Z%]*)[a-zA-Z%]")
_COMPARED: dict[str, Callable[[Value, Value], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
}


class Operations:
    """The operators, for one template's budget.

    Args:
        budget: Where they take off what they cost.
    """

    def __init__(self, budget: Budget) -> None:
        """Keep the budget."""
        self._budget = budget

    def text(self, value: Value) -> str:
        """Return a value as text.

        Raises:
            TemplateError: It is a function, a loop or the like.
        """
        if isinstance(value, str):
            return value
        if not isinstance(value, int | float | list | tuple | dict | Undefined | type(None)):
            raise TemplateError(f"a {type(value).__name__} cannot be written out")
        num_chars = self._budget.size(value)
        self._budget.take_text(num_chars)
        return str(value)

    def output(self, value: Value) -> Value:
        """Return what is written out, taken off."""
        return self._budget.made(self.text(value))

    def add(self, left: Value, right: Value) -> Value:
        """`left + right`."""
        if isinstance(left, str) and isinstance(right, str):
            self._budget.take_text(len(left) + len(right), is_ascii=left.isascii() and right.isascii())
        elif isinstance(left, Sized) and isinstance(right, Sized):
            num_items = len(left) + len(right)
            self._budget.spend(num_items >> 2, 8 * num_items + 64)
        return left + right

    def multiply(self, left: Value, right: Value) -> Value:
        """`left * right`."""
        for value, times in ((left, right), (right, left)):
            if isinstance(value, Sized) and isinstance(times, int) and times > 0:
                num_items = len(value) * times
                if isinstance(value, str):
                    self._budget.take_text(num_items, is_ascii=value.isascii())
                else:
                    self._budget.spend(num_items >> 2, 8 * num_items + 64)
        if isinstance(left, int) and isinstance(right, int):
            _require_bits(left.bit_length() + right.bit_length())
        return left * right

    def power(self, left: Value, right: Value) -> Value:
        """`left ** right`."""
        if isinstance(left, int) and isinstance(right, int):
            _require_bits(left.bit_length() * abs(right))
        return left**right

    def modulo(self, left: Value, right: Value) -> Value:
        """`left % right`, which fills in a text when the left side is one."""
        if not isinstance(left, str):
            return left % right
        given = right if isinstance(right, tuple) else (right,)
        return self.fill_percent(left, right, given)

    def fill_percent(self, layout: str, values: Value, given: Sequence[Value]) -> str:
        """Return a text with its `%` fields filled.

        Args:
            layout: The text.
            values: What Python is given.
            given: The single values in it.
        """
        for options in _PERCENT.findall(layout):
            _require_narrow(options)
        largest = max((self._budget.size(value) for value in given), default=0)
        self._budget.take_text(len(layout) + layout.count("%") * (largest + 1_000))
        return str(layout % values)

    def format_method(self, environment: SandboxedEnvironment) -> Callable[..., str]:
        """Return what stands for `str.format`."""
        formatter = _Formatter(environment, self)

        def run(layout: str, *args: Value, **kwargs: Value) -> str:
            self._budget.made(layout)
            return str(formatter.vformat(layout, args, kwargs))

        return run

    def field(self, value: Value, options: str) -> str:
        """Return one field of `str.format`."""
        _require_narrow(options)
        self._budget.take_text(self._budget.size(value) + 1_000)
        return format(value, options)

    def join(self, values: Sequence[Value]) -> str:
        """`a ~ b`."""
        texts = [self.text(value) for value in values]
        self._budget.take_text(sum(map(len, texts)), is_ascii=all(map(str.isascii, texts)))
        return "".join(texts)

    def compare(self, left: Value, name: str, right: Value) -> bool:
        """`left == right` and the others, by jinja2's names for them."""
        if name in ("in", "notin"):
            return self.contains(right, left) == (name == "in")
        if isinstance(left, str) and isinstance(right, str):
            self._budget.spend(min(len(left), len(right)) >> 6)
        elif isinstance(left, Sized) and isinstance(right, Sized):
            self._budget.size(left)
            self._budget.size(right)
        return _COMPARED[name](left, right)

    def contains(self, whole: Value, part: Value) -> bool:
        """`part in whole`."""
        if isinstance(whole, str) and isinstance(part, str):
            self._budget.take_search(whole, part)
        elif isinstance(whole, Mapping):
            self.key(part)
        elif isinstance(whole, Sized):
            self._budget.spend(len(whole) >> 1)
            if isinstance(part, Sized):
                self._budget.size(whole)
                self._budget.size(part)
        return part in whole

    def slice(self, value: Value, start: Value, stop: Value, step: Value) -> Value:
        """`value[start:stop:step]`."""
        if isinstance(value, str):
            self._budget.take_text(len(value), is_ascii=value.isascii())
            self._budget.spend(len(value) >> 4 if step is not None else 0)
        elif isinstance(value, Sized):
            self._budget.spend(len(value) >> 2, 8 * len(value) + 64)
        return value[start:stop:step]

    def key(self, value: Value) -> Value:
        """Return a key of a mapping, which may not hold others."""
        if isinstance(value, tuple):
            raise TemplateError("a tuple cannot be a key")
        return value


class _Formatter(SandboxedFormatter):
    """`str.format` with narrow fields and counted values."""

    def __init__(self, environment: SandboxedEnvironment, operations: Operations) -> None:
        super().__init__(environment)
        self._operations = operations

    def convert_field(self, value: Value, conversion: Value) -> Value:
        if conversion is None:
            return value
        return super().convert_field(self._operations.text(value), conversion)

    def format_field(self, value: Value, format_spec: str) -> str:
        return self._operations.field(value, format_spec)


def _require_bits(num_bits: int) -> None:
    if num_bits > _MAX_INT_BITS:
        raise OverBudgetError(f"a number has more than {_MAX_INT_BITS} bits")


def _require_narrow(options: str) -> None:
    if "*" in options or any(len(digits) > _MAX_WIDTH_DIGITS for digits in re.findall(r"\d+", options)):
        raise OverBudgetError(f"the width '{options[:20]}' of a field")
