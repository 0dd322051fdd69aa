"""The bodies of requests: checked once, with every fault named."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from duologue.chat import last_turn
from duologue.errors import GuardError
from duologue.guard import check_json
from duologue.messages import Message, Role
from duologue.serve.api.forms import Formed
from duologue.serve.api.names import shown
from duologue.serve.api.samplers import Samplers, Wire
from duologue.serve.refusal import ApiError

R = TypeVar("R", bound=Wire)
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MAX_MESSAGES = 2000
MAX_PARTS = 256  # of one message
MAX_TEXTS = 256  # texts in one request for embeddings
_MAX_CHARS = 200_000
# Named in one answer. Of a long list only the first is looked for (`fail_fast`): a megabyte has room for 300,000, which
# to collect takes seconds, and nobody else is answered meanwhile.
_MAX_FAULTS = 8
# A template is a program that would run here: a client brings none, wherever in the body it hides it.
_TEMPLATE_FIELDS = frozenset({"chat_template", "chat_template_kwargs", "chat_template_args"})
_OTHER_FORMS = ("regex_pattern", "structured_outputs", "guided_regex", "guided_choice")


class TextPart(Wire):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(Wire):
    """A message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None

    def as_message(self) -> Message:
        """Return the message with its text parts joined."""
        parts = self.content if isinstance(self.content, list) else []
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in parts)
        return Message(_ROLES[self.role], text)


class StreamOptions(Wire):
    """What a stream carries besides text."""

    include_usage: bool = False


class Asking(Samplers, Formed):
    """What every request for a reply has."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts the tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def last_said(self) -> str:
        """The user's message that is to be answered; empty for none."""
        raise NotImplementedError


class ChatRequest(Asking):
    """The body of POST /v1/chat/completions; unknown fields are ignored."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    memory: bool | None = None
    """A field of duologue's own: false recalls nothing for this reply."""

    @field_validator("messages")
    @classmethod
    def _has_a_user_message(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if not any(message.role == "user" for message in _with_instruction(messages)):
            raise ValueError("there is no message with role 'user'")
        return messages

    @model_validator(mode="after")
    def _begins_or_goes_on(self) -> "ChatRequest":
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message and add_generation_prompt cannot both be true")
        if not self._spoken():
            raise ValueError("a system message alone is nothing to go on with (continue_final_message)")
        return self

    @property
    def goes_on(self) -> bool:
        """Whether a reply at the end is gone on with, as llama.cpp does it, or answered with another one."""
        return self.continue_final_message is not False and not self.add_generation_prompt

    @property
    def is_opened(self) -> bool:
        """Whether there is a reply to go on with."""
        return self.goes_on and self._spoken()[-1].role == "assistant"

    def conversation(self) -> tuple[Message, ...]:
        """Return the messages as every chat template takes them: one system message, first; nothing empty inside.

        Clients put system messages anywhere, even last, and send empty replies along; few templates accept that.
        """
        spoken = self._spoken()
        system = "\n\n".join(message.content for message in self._read() if message.role == "system")
        said = (message for message in spoken[:-1] if message.content.strip())
        head = (Message("system", system),) if system.strip() else ()
        return (*head, *said, spoken[-1])

    @property
    def last_said(self) -> str:
        """As for every request."""
        spoken = self._spoken()
        last = spoken[-2] if len(spoken) > 1 and spoken[-1].role == "assistant" else spoken[-1]
        return last.content if last.role == "user" else ""

    def _spoken(self) -> list[Message]:
        return [message for message in self._read() if message.role != "system"]

    def _read(self) -> list[Message]:
        if self.continue_final_message:  # asked for in so many words
            return [message.as_message() for message in self.messages]
        return _with_instruction(self.messages)


class RawRequest(Asking):
    """The body of POST /completion, as clients of llama.cpp send it: a raw prompt, and seldom the name of a model."""

    model: str | None = None
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def last_said(self) -> str:
        """The last turn, where the prompt is a chat in one text."""
        return last_turn(self.text)


class CompletionRequest(RawRequest):
    """The body of POST /v1/completions: a raw prompt for the model itself, without card, lore and memory.

    SillyTavern names no model where it takes this server for text-generation-webui or tabbyAPI.
    """

    echo: Literal[False] | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None


class EmbeddingsRequest(Wire):
    """The body of POST /v1/embeddings."""

    model: str
    input: (
        Annotated[str, Field(min_length=1, max_length=_MAX_CHARS)]
        | Annotated[
            list[Annotated[str, Field(min_length=1, max_length=_MAX_CHARS)]],
            Field(min_length=1, max_length=MAX_TEXTS),
        ]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None

    @property
    def texts(self) -> list[str]:
        """The texts, one or more."""
        return [self.input] if isinstance(self.input, str) else self.input


class TokenizeRequest(Wire):
    """The body of POST /tokenize, with the text under the name that llama.cpp, vLLM or tabbyAPI has for it."""

    model: str | None = None
    content: Annotated[str, Field(max_length=_MAX_CHARS)] = Field(
        validation_alias=AliasChoices("content", "prompt", "text")
    )


class DetokenizeRequest(Wire):
    """The body of POST /detokenize."""

    model: str | None = None
    tokens: Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], Field(max_length=_MAX_CHARS, fail_fast=True)]


def parse_request(kind: type[R], body: bytes) -> tuple[R, dict[str, Any]]:
    """Return the checked request, and the document as it came.

    Raises:
        ApiError: 400 with every fault and the first faulty field, or with what this server does not do.
    """
    document = _read(body)
    _refuse_what_is_not_there(document)
    try:
        return kind.model_validate(document), document
    except ValidationError as error:
        faults: dict[str, ErrorDetails] = {}
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            known = faults.setdefault(_field(detail["loc"]), detail)
            # A text or a list of parts: of a list that is wrong, that it is no text says nothing.
            if known["type"].endswith("_type") and not detail["type"].endswith("_type"):
                faults[_field(detail["loc"])] = detail
        # For the same reason only the faults that lie deepest are told.
        above = {name for field in faults for name in accumulate(field.split(".")[:-1], "{}.{}".format)}
        deepest = [field for field in faults if field not in above]
        named = [f"{field or 'body'}: {faults[field]['msg'].removeprefix('Value error, ')}" for field in deepest]
        if len(named) > _MAX_FAULTS:
            named = [*named[:_MAX_FAULTS], f"and {len(named) - _MAX_FAULTS} more"]
        raise ApiError(400, "; ".join(named), param=deepest[0]) from error


def _with_instruction(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return the messages, with an instruction that stands behind a reply as what the user says.

    SillyTavern asks so for the user's next message, for a summary, and for the next speaker of a group: with a system
    message at the end. At the head of the prompt it would be read as a rule, and the reply before it be gone on with.
    """
    found = [message.as_message() for message in messages]
    given = [at for at, message in enumerate(found) if message.role == "user" or message.content.strip()]
    spoken = [at for at in given if found[at].role != "system"]
    if spoken and found[spoken[-1]].role == "user":
        return found
    asked = [at for at in given if at > spoken[-1]] if spoken else given[-1:]
    if not asked:
        return found
    text = "\n\n".join(found[at].content for at in asked)
    return [*found[: asked[0]], Message("user", text)]


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = check_json(body)
    except GuardError as error:
        raise ApiError(400, error.sentence(), code=error.reason) from error
    if not isinstance(document, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    return document


def _refuse_what_is_not_there(document: Mapping[str, Any]) -> None:
    """Refuse what would make another reply than the client expects; what only makes it a little worse is reported."""
    template = _find_template({name: value for name, value in document.items() if name != "messages"})
    if template:
        message = f"{template}: a request cannot bring a chat template; the model's own is used"
        raise ApiError(400, message, code="chat_template_refused", param=template)
    if document.get("tools") and document.get("tool_choice") != "none":
        raise ApiError(400, "tools: this server calls no tools; leave them out", code="unsupported", param="tools")
    if document.get("functions"):
        raise ApiError(400, "functions: this server calls none", code="unsupported", param="functions")
    modalities = document.get("modalities")
    if modalities and modalities != ["text"]:
        raise ApiError(400, "modalities: only 'text' is there", code="unsupported", param="modalities")
    for name in _OTHER_FORMS:
        if document.get(name):
            message = f"{name}: a reply can follow a grammar, json_schema or response_format"
            raise ApiError(400, message, code="unsupported", param=name)
    if document.get("suffix"):
        raise ApiError(400, "suffix: text cannot be filled in before one", code="unsupported", param="suffix")


def _find_template(value: object) -> str:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _TEMPLATE_FIELDS and inner:
                return str(name)
            if found := _find_template(inner):
                return found
    elif isinstance(value, list):
        return next((found for inner in value if (found := _find_template(inner))), "")
    return ""


def _field(location: Iterable[int | str]) -> str:
    """Return a field's name, without the kinds of value that pydantic puts between where there are several."""
    kinds = ("list[", "constrained-", "function-", "literal[", "dict[", "lax-or-strict")
    parts = [str(part) for part in location]
    return ".".join(shown(part) for part in parts if part not in ("str", "bool") and not part.startswith(kinds))
