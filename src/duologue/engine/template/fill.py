"""`ChatTemplate`: a compiled chat template, filled as transformers fills it, the same way for every engine.

After transformers' `utils/chat_template_utils.py`: same whitespace rules, same functions, same `tojson`. What a
template may reach is a list of names, and what it may cost is counted (`budget`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from duologue.engine.template.budget import Budget, OverBudgetError
from duologue.engine.template.operations import Operations
from duologue.engine.template.rewrite import RefusedTemplateError, rewrite
from duologue.engine.template.words import make_filters, make_tests, make_text_methods, operator_filters
from duologue.errors import DataError, EngineError
from duologue.messages import Message

MAX_TEMPLATE_CHARS = 2**16  # the longest template known, with tools and reasoning, has 40,000
_MAX_TOKENS = 20_000
Value = Any  # whatever a template holds
_MAX_RANGE = 100_000
_MAX_DATE_CHARS = 100
_LOOP_NAMES = frozenset(
    {
        "index",
        "index0",
        "revindex",
        "revindex0",
        "first",
        "last",
        "length",
        "depth",
        "depth0",
        "previtem",
        "nextitem",
        "cycle",
    }
)
_DICT_NAMES = frozenset(dir(dict))
_ANOTHER_MODEL = "Use a model whose chat template is an ordinary one."
# What the code of a template can run into by itself.
_FAULTS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError)


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: The Jinja source.
        tokens: What `bos_token`, `eos_token` and the like stand for in it.
        where: File or model the template comes from, for errors.

    Raises:
        EngineError: There is no template, it is too long, uses what no chat template needs, or does not compile.
    """

    def __init__(self, source: str, *, tokens: Mapping[str, str], where: str) -> None:
        """Compile the template in a sandbox."""
        if not source:
            raise EngineError("the model has no chat template", where=where, action="Use an instruct or chat model.")
        if len(source) > MAX_TEMPLATE_CHARS:
            raise EngineError(
                f"the chat template has {len(source)} characters", where=where, needed=f"at most {MAX_TEMPLATE_CHARS}"
            )
        self._tokens = dict(tokens)
        self._where = where
        self._budget = Budget()
        self._lock = threading.Lock()  # one budget, so one filling at a time
        try:
            self._fill = _compile(source, self._budget)
        except (OverBudgetError, RefusedTemplateError, RecursionError, MemoryError) as error:
            raise self._refusal(error) from error
        except (TemplateError, SyntaxError, ValueError, TypeError, AttributeError) as error:
            raise EngineError(f"the chat template does not compile ({error})", where=where) from error

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled; a process compiles its own."""
        raise TypeError("a compiled chat template stays in its process")

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the filled template.

        Raises:
            DataError: The template refuses these messages.
            EngineError: It asks for more than its budget.
        """
        values: dict[str, Any] = {
            **self._tokens,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            "enable_thinking": False,  # a character replies at once, as in training
        }
        num_chars = sum(len(message.content) for message in messages)
        try:
            with self._lock:
                self._budget.allow(len(messages), num_chars)
                return self._fill(values)
        except (OverBudgetError, RecursionError, MemoryError) as error:
            raise self._refusal(error) from error
        except _FAULTS as error:
            roles = ", ".join(message.role for message in messages)
            raise DataError(
                f"the chat template refuses these messages ({error}); their roles are {roles}",
                where=self._where,
                action="Use conversations that start with the user, or another base model.",
            ) from error

    def _refusal(self, error: Exception) -> EngineError:
        found = "it calls itself too often" if isinstance(error, RecursionError) else str(error) or "memory ran out"
        kind = "does what no chat template needs" if isinstance(error, RefusedTemplateError) else "is not filled"
        return EngineError(
            f"the chat template {kind}: {found}",
            where=self._where,
            needed="a template that asks for no more than real ones do",
            action=_ANOTHER_MODEL,
        )


def _compile(source: str, budget: Budget) -> Callable[[dict[str, Any]], str]:
    environment = _Environment(budget)
    if next(islice(environment.lexer.tokenize(source), _MAX_TOKENS, None), None) is not None:
        raise OverBudgetError(f"it has more than {_MAX_TOKENS} words and signs")
    tree = environment.parse(source)
    rewrite(tree, filters=environment.filters, tests=environment.tests)
    environment.filters |= environment.operators
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None)).render


class _Environment(ImmutableSandboxedEnvironment):
    """Hands templates plain data, the listed names, and nothing that is not counted."""

    def __init__(self, budget: Budget) -> None:
        operations = Operations(budget)
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationBlock, loopcontrols],
            optimized=False,  # nothing is worked out while compiling
            finalize=operations.output,
            cache_size=0,
        )
        self._budget = budget
        self._operations = operations
        self.filters = make_filters(budget, operations)
        self.tests = make_tests(operations)
        self.operators = operator_filters(budget, operations)
        functions: dict[str, Value] = {
            "raise_exception": _refuse,
            "strftime_now": _strftime_now,
            "dict": self._make_dict,
            "namespace": _Namespace,
            "range": _range,
        }
        self.globals = {**functions}
        self._functions = tuple(self.globals.values())
        self._text_methods = make_text_methods(budget)
        self._text_methods["format"] = operations.format_method(self)

    def getattr(self, obj: Value, attribute: str) -> Value:
        """`obj.attribute`, with attributes before items, as jinja2 has it."""
        if type(obj) is dict:
            if attribute in _DICT_NAMES:
                return self._dict_method(obj, attribute)
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, str) and attribute in self._text_methods:
            return partial(self._text_methods[attribute], obj)
        if isinstance(obj, list | tuple) and attribute in ("index", "count"):
            return partial(self._look_up, obj, attribute)
        if _is_open(obj, attribute):
            found = super().getattr(obj, attribute)
            return partial(found) if attribute == "cycle" and isinstance(obj, LoopContext) else found
        if hasattr(type(obj), attribute):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Value, argument: Value) -> Value:
        """`obj[argument]`, with items before attributes."""
        if isinstance(obj, dict | list | tuple | str) and not isinstance(argument, tuple):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        elif isinstance(obj, Undefined):
            return super().getitem(obj, argument)
        return self.getattr(obj, argument) if isinstance(argument, str) else self.undefined(obj=obj, name=argument)

    def call(__self, __context: Context, __obj: Value, *args: Value, **kwargs: Value) -> Value:  # noqa: N805
        """Call a method handed out by `getattr`, a macro, a loop or one of the functions."""
        if type(__obj) is partial or any(__obj is function for function in __self._functions):
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return __obj(*args, **kwargs)
        if isinstance(__obj, Macro | LoopContext | Undefined):
            return __context.call(__obj, *args, **kwargs)
        raise SecurityError(f"a {type(__obj).__name__} is not callable")

    def _dict_method(self, obj: dict[Value, Value], attribute: str) -> Value:
        if attribute in ("items", "keys", "values"):
            return partial(getattr(obj, attribute))
        if attribute == "get":
            return partial(self._get, obj)
        return self.unsafe_undefined(obj, attribute)

    def _get(self, obj: dict[Value, Value], key: Value, default: Value = None) -> Value:
        return obj.get(self._operations.key(key), default)

    def _look_up(self, obj: list[Value] | tuple[Value, ...], attribute: str, value: Value) -> Value:
        self._budget.size(obj)
        self._budget.size(value)
        return getattr(obj, attribute)(value)

    def _make_dict(self, *args: Value, **kwargs: Value) -> dict[Value, Value]:
        for given in args:
            pairs = given.items() if isinstance(given, dict) else self._budget.items(given)
            for key, _value in pairs:
                self._budget.spend(10, 100)
                self._operations.key(key)
        return dict(*args, **kwargs)


class _Namespace(Namespace):
    """A namespace whose names do not begin with an underscore."""

    def __init__(*args: Value, **kwargs: Value) -> None:
        self, rest = args[0], args[1:]
        given = dict(*rest, **kwargs)
        for name in given:
            _require_public(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Value) -> None:
        _require_public(name)
        super().__setitem__(name, value)


class _GenerationBlock(Extension):
    """`{% generation %}` marks trained text in some templates; here it only stands for its content."""

    tags = {"generation"}  # noqa: RUF012  (the name and kind that jinja2 asks for)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _is_open(obj: Value, attribute: str) -> bool:
    if isinstance(obj, LoopContext):
        return attribute in _LOOP_NAMES
    return isinstance(obj, Undefined) or (isinstance(obj, Namespace) and not attribute.startswith("_"))


def _require_public(name: object) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError(f"a namespace has no name such as {str(name)[:40]!r}")


def _refuse(message: object) -> NoReturn:
    raise TemplateError(str(message) if isinstance(message, str) else "")


def _strftime_now(layout: str) -> str:
    if len(layout) > _MAX_DATE_CHARS or any(char.isdigit() for char in layout):
        raise OverBudgetError(f"the date format '{layout[:20]}'")
    return datetime.now().astimezone().strftime(layout)


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > _MAX_RANGE:
        raise OverBudgetError(f"a range of {len(numbers)} numbers")
    return numbers
