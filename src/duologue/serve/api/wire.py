"""The OpenAI-compatible wire format: requests checked, completions, chunks and errors written.

Shapes follow the OpenAI API reference (chat completions); clients read `error.code` as a text or null.
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from duologue.engine import Sampling
from duologue.messages import FinishReason, Message, Reply, Role
from duologue.serve.refusal import ApiError

T = TypeVar("T")
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class TextPart(_Wire):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(_Wire):
    """A message of the request."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    def as_message(self) -> Message:
        """Return the message with its text parts joined."""
        parts = self.content if isinstance(self.content, list) else []
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in parts)
        return Message(_ROLES[self.role], text)


class StreamOptions(_Wire):
    """What a stream carries besides text."""

    include_usage: bool = False


class ChatRequest(_Wire):
    """The body of POST /v1/chat/completions; unknown fields are ignored."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=3)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**20)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**20)] | None = None
    stop: Annotated[list[str], Field(max_length=16)] | str | None = None
    seed: Annotated[int, Field(ge=-1, lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None

    @field_validator("messages")
    @classmethod
    def _has_a_user_message(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if not any(message.role == "user" for message in messages):
            raise ValueError("there is no message with role 'user'")
        return messages

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts the tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def conversation(self) -> tuple[Message, ...]:
        """Return the messages as every chat template takes them: one system message, first; nothing empty inside.

        Clients put system messages anywhere, even last, and send empty replies along; few templates accept that.
        """
        messages = [message.as_message() for message in self.messages]
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        spoken = [message for message in messages if message.role != "system"]
        said = (message for message in spoken[:-1] if message.content.strip())
        head = (Message("system", system),) if system.strip() else ()
        return (*head, *said, spoken[-1])

    def sampling(self, default: Sampling) -> Sampling:
        """Return how to draw: what the request says, else the character's own settings."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return replace(
            default,
            max_new_tokens=_given(self.max_completion_tokens, _given(self.max_tokens, default.max_new_tokens)),
            temperature=_given(self.temperature, default.temperature),
            top_p=_given(self.top_p, default.top_p),
            top_k=max(0, _given(self.top_k, default.top_k)),  # some clients say -1 for all
            min_p=_given(self.min_p, default.min_p),
            repetition_penalty=_given(self.repetition_penalty, default.repetition_penalty),
            stop=tuple(text for text in stop if text) or default.stop,
            seed=_given(self.seed, default.seed),
        )


def parse_request(body: bytes) -> ChatRequest:
    """Return the checked request.

    Raises:
        ApiError: 400 with every fault and the first faulty field.
    """
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        faults = {_field(detail["loc"]): detail["msg"] for detail in reversed(details)}
        # A text or a list of parts: only the fault that lies deeper says which one was meant.
        deepest = [field for field in reversed(faults) if not any(other.startswith(f"{field}.") for other in faults)]
        message = "; ".join(f"{field or 'body'}: {faults[field]}" for field in deepest)
        raise ApiError(400, message, param=deepest[0]) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What every part of one answer repeats.

    Attributes:
        model: The model's name, as the client asked for it.
        id: Identifier of the completion.
        created: Unix time in seconds.
    """

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        message = {"role": "assistant", "content": reply.text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply.finish_reason)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(reply)}

    def chunk(self, delta: Mapping[str, str], *, finish: FinishReason | None = None) -> dict[str, Any]:
        """Return one chunk of a stream; only the last one has a finish reason."""
        finish_reason = _finish(finish) if finish else None
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self, reply: Reply) -> dict[str, Any]:
        """Return the chunk after the last one, which counts the tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(reply)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def frame(document: Mapping[str, Any]) -> bytes:
    """Return a server-sent event; JSON escapes line breaks and half surrogates, so no text can break the frame."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _field(location: Iterable[int | str]) -> str:
    names = [str(part) for part in location if not str(part).startswith(("list[", "constrained-", "str", "function-"))]
    return ".".join(names)


def _usage(reply: Reply) -> dict[str, Any]:
    num_tokens = reply.num_prompt_tokens + reply.num_reply_tokens
    usage: dict[str, Any] = {
        "prompt_tokens": reply.num_prompt_tokens,
        "completion_tokens": reply.num_reply_tokens,
        "total_tokens": num_tokens,
    }
    if reply.num_cached_tokens >= 0:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.num_cached_tokens}
    return usage


def _finish(reason: FinishReason) -> str:
    return "stop" if reason == "cancelled" else reason
