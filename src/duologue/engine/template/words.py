"""The filters, tests and text methods a chat template may use: jinja2's and Python's, counted before they run."""

import json
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import wraps
from typing import Any

from jinja2.filters import FILTERS
from jinja2.runtime import Undefined
from jinja2.tests import TESTS

from duologue.engine.template.budget import Budget, OverBudgetError
from duologue.engine.template.operations import Operations

Value = Any  # whatever a template holds
Function = Callable[..., Value]

_PLAIN_FILTERS = ("default", "d", "abs", "first", "last", "length", "count")
_TEXT_FILTERS = ("trim", "upper", "lower", "capitalize", "escape", "e", "forceescape", "safe")
_LIST_FILTERS = ("map", "select", "reject", "selectattr", "rejectattr", "items", "reverse")
_ORDER_FILTERS = ("sort", "dictsort", "min", "max")
_TESTS = (
    *("odd", "even", "divisibleby", "defined", "undefined", "none", "boolean", "false", "true", "integer", "float"),
    *("lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "sameas", "escaped"),
)
_COMPARING_TESTS = {
    **dict.fromkeys(("==", "eq", "equalto"), "eq"),
    **dict.fromkeys(("!=", "ne"), "ne"),
    **dict.fromkeys((">", "gt", "greaterthan"), "gt"),
    **dict.fromkeys(("<", "lt", "lessthan"), "lt"),
    ">=": "gteq",
    "ge": "gteq",
    "<=": "lteq",
    "le": "lteq",
    "in": "in",
}
_PLAIN_METHODS = (
    *("startswith", "endswith", "removeprefix", "removesuffix", "upper", "lower", "title", "capitalize", "swapcase"),
    *("casefold", "isdigit", "isnumeric", "isdecimal", "isalpha", "isalnum", "isspace", "isupper", "islower"),
    *("istitle", "isascii"),
)
_SEARCHING_METHODS = ("find", "index", "count", "partition")
_BACKWARD_METHODS = ("rfind", "rindex", "rpartition")
_SPLITTING_METHODS = ("split", "rsplit", "splitlines")
_STRIPPING_METHODS = ("strip", "lstrip", "rstrip")
_MOST_GROWTH = 6  # "&" becomes "&amp;", "ß" becomes "SS"
_MAX_INDENT = 64
_MAX_NUMBER_CHARS = 400
_MAX_STRIPPED_KINDS = 256
_MAX_DIGITS = 30


def make_tests(operations: Operations) -> dict[str, Value]:
    """Return the tests by name."""
    tests: dict[str, Value] = {name: TESTS[name] for name in _TESTS}
    return tests | {name: _comparing(operations, compared) for name, compared in _COMPARING_TESTS.items()}


def _comparing(operations: Operations, compared: str) -> Function:
    def run(value: Value, other: Value) -> bool:
        return operations.compare(value, compared, other)

    return run


def make_filters(budget: Budget, operations: Operations) -> dict[str, Function]:
    """Return the filters that templates may name."""
    own = _OwnFilters(budget, operations)
    filters: dict[str, Function] = {name: FILTERS[name] for name in _PLAIN_FILTERS}
    filters |= {name: _counted(FILTERS[name], own.before_text, budget.made) for name in _TEXT_FILTERS}
    filters |= {name: _counted(FILTERS[name], own.before_list, own.listed) for name in _LIST_FILTERS}
    filters |= {name: _counted(FILTERS[name], own.before_order, own.listed) for name in _ORDER_FILTERS}
    filters |= {name: _counted(FILTERS[name], own.before_number) for name in ("int", "float", "round")}
    filters["join"] = _counted(FILTERS["join"], own.before_join)
    filters["replace"] = _counted(FILTERS["replace"], own.before_replace)
    filters["unique"] = _counted(FILTERS["unique"], own.before_unique, own.listed)
    filters["title"] = _counted(FILTERS["title"], own.before_title, budget.made)
    filters["indent"] = _counted(FILTERS["indent"], own.before_indent)
    filters["sum"] = _counted(FILTERS["sum"], own.before_sum)
    filters |= {"string": operations.output, "list": budget.items, "format": own.format, "tojson": own.tojson}
    return filters


def operator_filters(budget: Budget, operations: Operations) -> dict[str, Function]:
    """Return the filters that `rewrite` puts in place of operators."""
    return {
        "_spend": budget.spend,
        "_count": budget.count,
        "_add": operations.add,
        "_multiply": operations.multiply,
        "_modulo": operations.modulo,
        "_power": operations.power,
        "_join": operations.join,
        "_compare": operations.compare,
        "_slice": operations.slice,
        "_key": operations.key,
    }


def make_text_methods(budget: Budget) -> dict[str, Function]:
    """Return the methods of a text that templates may call; each takes the text first."""
    own = _OwnMethods(budget)
    groups: tuple[tuple[tuple[str, ...], Callable[[str], Function]], ...] = (
        (_PLAIN_METHODS, own.plain),
        (_SEARCHING_METHODS, own.searching),
        (_BACKWARD_METHODS, own.backward),
        (_SPLITTING_METHODS, own.splitting),
        (_STRIPPING_METHODS, own.stripping),
    )
    methods = {name: make(name) for names, make in groups for name in names}
    return methods | {"replace": own.replace, "join": own.join}


def _counted(function: Function, before: Function, after: Function | None = None) -> Function:
    """Return a filter that counts its value and arguments first, and its result after."""
    passed = int(hasattr(function, "jinja_pass_arg"))  # jinja2 hands some of them its environment first

    @wraps(function)
    def run(*args: Value, **kwargs: Value) -> Value:
        given = before(*args[passed:], **kwargs)
        result = function(*args[:passed], given, *args[passed + 1 :], **kwargs)
        return after(result) if after else result

    return run


class _OwnFilters:
    """What each kind of filter costs; `before_…` returns the value, made countable."""

    def __init__(self, budget: Budget, operations: Operations) -> None:
        self._budget = budget
        self._operations = operations

    def before_text(self, value: Value, chars: str | None = None) -> Value:
        text = value if isinstance(value, str) else self._operations.text(value)
        self._budget.take_text(len(text) * _MOST_GROWTH, is_ascii=text.isascii())
        if chars is not None:
            _require_few(chars)
            self._budget.spend(len(text) * len(chars) >> 3)
        return text

    def before_title(self, value: Value) -> Value:
        text = self._operations.text(value)
        self._budget.spend(8 * len(text), 64 * len(text))  # it is split into words
        return text

    def before_list(self, value: Value, *_args: Value, **_kwargs: Value) -> Value:
        if isinstance(value, Undefined | str | Mapping):
            self._budget.spend(20 * len(value), 64 * len(value))
            return value
        return self._budget.items(value) if isinstance(value, Iterable) else value

    def listed(self, result: Value) -> Value:
        if isinstance(result, str):
            return self._budget.made(result)
        return result if isinstance(result, Sized) or not isinstance(result, Iterable) else self._budget.items(result)

    def before_order(self, value: Value, *_args: Value, **_kwargs: Value) -> Value:
        found = value if isinstance(value, Mapping | Undefined) else self._budget.items(value)
        num_chars = self._budget.size(found)
        rounds = len(found).bit_length()
        self._budget.spend((num_chars >> 3) * rounds + 20 * len(found) * rounds)
        return found

    def before_unique(self, value: Value, *_args: Value, **_kwargs: Value) -> Value:
        return [self._operations.key(item) for item in self._budget.items(value)]

    def before_number(self, value: Value, *args: Value, **kwargs: Value) -> Value:
        if isinstance(value, str) and len(value) > _MAX_NUMBER_CHARS:
            raise OverBudgetError(f"a number has {len(value)} characters")
        for option in (*args, *kwargs.values()):
            if isinstance(option, int) and abs(option) > _MAX_DIGITS + 6:  # digits of `round`, base of `int`
                raise OverBudgetError(f"a number is rounded to {option} digits")
        return value

    def before_join(self, value: Value, d: str = "", attribute: Value = None) -> Value:
        values = self._budget.items(value)
        between = self._operations.text(d)
        if attribute is None:
            values = [part if hasattr(part, "__html__") else self._operations.text(part) for part in values]
            self._budget.take_text(sum(map(len, values)) + len(between) * len(values))
        else:
            self._budget.take_text(self._budget.size(values) + len(between) * len(values))
        return values

    def before_replace(self, value: Value, old: Value, new: Value, *_args: Value, **_kwargs: Value) -> Value:
        text = self._operations.text(value)
        _take_replaced(self._budget, text, self._operations.text(old), self._operations.text(new))
        return text

    def before_indent(self, value: Value, width: int | str = 4, *_args: Value, **_kwargs: Value) -> Value:
        text = self._operations.text(value)
        num_chars = width if isinstance(width, int) else len(width)
        self._budget.take_text(len(text) + num_chars * (text.count("\n") + 2))
        self._budget.spend(len(text) >> 2, len(text) * 8)  # it is split into lines
        return text

    def before_sum(self, value: Value, attribute: Value = None, start: Value = 0) -> Value:
        values = self._budget.items(value)
        is_number = isinstance(start, int | float)
        if not is_number or attribute is not None or any(isinstance(part, Sized) for part in values):
            raise OverBudgetError("only numbers are summed")
        return values

    def format(self, value: Value, *args: Value, **kwargs: Value) -> str:
        layout = self._operations.text(value)
        return self._operations.fill_percent(layout, kwargs or args, (*args, *kwargs.values()))

    def tojson(
        self,
        value: Value,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Return JSON as transformers writes it for templates: without HTML's escapes."""
        num_chars = self._budget.size(value)
        width = len(indent) if isinstance(indent, str) else indent or 0
        if width > _MAX_INDENT or any(len(text) > _MAX_INDENT for text in separators or ()):
            raise OverBudgetError(f"JSON is indented by more than {_MAX_INDENT} characters")
        self._budget.take_text(num_chars * (2 + width))
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _OwnMethods:
    """Makes the methods of a text."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def plain(self, name: str) -> Function:
        method = getattr(str, name)

        def run(text: str, *args: Value) -> Value:
            self._budget.take_text(3 * len(text), is_ascii=text.isascii())
            return method(text, *args)

        return run

    def searching(self, name: str) -> Function:
        method = getattr(str, name)

        def run(text: str, sought: str, *args: Value) -> Value:
            self._budget.take_search(text, sought)
            self._budget.take_text(len(text), is_ascii=text.isascii())
            return method(text, sought, *args)

        return run

    def backward(self, name: str) -> Function:
        method = getattr(str, name)

        def run(text: str, sought: str, *args: Value) -> Value:
            self._budget.spend(len(text) * len(sought) >> 3)  # Python's search from the end is quadratic
            self._budget.take_text(len(text), is_ascii=text.isascii())
            return method(text, sought, *args)

        return run

    def splitting(self, name: str) -> Function:
        method = getattr(str, name)

        def run(text: str, *args: Value, **kwargs: Value) -> Value:
            sought = args[0] if args and isinstance(args[0], str) else ""
            if name == "rsplit":
                self._budget.spend(len(text) * len(sought) >> 3)
            self._budget.take_search(text, sought)
            num_parts = text.count(sought) if sought else len(text) // 2
            self._budget.spend(num_parts, 64 * num_parts + 4 * len(text))
            return method(text, *args, **kwargs)

        return run

    def stripping(self, name: str) -> Function:
        method = getattr(str, name)

        def run(text: str, chars: str | None = None) -> str:
            if chars is not None:
                _require_few(chars)
                self._budget.spend(len(text) * len(chars) >> 3)
            self._budget.take_text(len(text), is_ascii=text.isascii())
            return str(method(text, chars))

        return run

    def replace(self, text: str, old: str, new: str, count: int = -1) -> str:
        _take_replaced(self._budget, text, old, new)
        return text.replace(old, new, count)

    def join(self, text: str, values: Iterable[str]) -> str:
        parts = self._budget.items(values)
        self._budget.take_text(sum(len(part) for part in parts) + len(text) * len(parts))
        return text.join(parts)


def _take_replaced(budget: Budget, text: str, old: str, new: str) -> None:
    budget.take_search(text, old)
    num_found = text.count(old) if old else len(text) + 1
    is_ascii = text.isascii() and new.isascii()
    budget.take_text(len(text) + num_found * max(0, len(new) - len(old)), is_ascii=is_ascii)


def _require_few(chars: str) -> None:
    if len(chars) > _MAX_STRIPPED_KINDS:
        raise OverBudgetError(f"{len(chars)} kinds of characters are stripped")
