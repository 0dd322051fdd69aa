"""The chat template that a GGUF file brings, filled as transformers fills it, so that both engines render alike.

After transformers' `utils/chat_template_utils.py`: same sandbox, same whitespace rules, same functions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duologue.errors import DataError, EngineError
from duologue.messages import Message

MAX_TEMPLATE_CHARS = 2**18  # the longest template in use, with tools and reasoning, has about 2**14


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: The Jinja source.
        bos_token: What `bos_token` stands for in it.
        eos_token: What `eos_token` stands for in it.
        where: File the template comes from, for errors.

    Raises:
        EngineError: There is no template, it is too long, or it does not compile.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str, where: str) -> None:
        """Compile the template in a sandbox."""
        if not source:
            raise EngineError("the model has no chat template", where=where, action="Use an instruct or chat model.")
        if len(source) > MAX_TEMPLATE_CHARS:
            raise EngineError(
                f"the chat template has {len(source)} characters", where=where, needed=f"at most {MAX_TEMPLATE_CHARS}"
            )
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
        )
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _strftime_now}
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._where = where
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise EngineError(f"the chat template does not compile ({error})", where=where) from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the filled template.

        Raises:
            DataError: The template refuses these messages.
        """
        values: dict[str, Any] = {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            "enable_thinking": False,  # a character replies at once, as in training
            **self._tokens,
        }
        try:
            return self._template.render(values)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            roles = ", ".join(message.role for message in messages)
            raise DataError(
                f"the chat template refuses these messages ({error}); their roles are {roles}",
                where=self._where,
                action="Check the order of the roles.",
            ) from error


class _GenerationBlock(Extension):
    """`{% generation %}` marks trained text in some templates; here it only stands for its content."""

    tags = {"generation"}  # noqa: RUF012  (the name and kind that jinja2 asks for)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)
