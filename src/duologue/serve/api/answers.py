"""The bodies of answers, and the frames of streams; shapes follow the OpenAI API reference."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from duologue.messages import FinishReason, Reply

FinishName = Literal["stop", "length", "content_filter"]


class ErrorDetails(BaseModel):
    """What was refused, and why."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer with a status of 400 and above."""

    error: ErrorDetails


class TokenDetails(BaseModel):
    """Tokens of the prompt that the engine still had."""

    cached_tokens: int


class Usage(BaseModel):
    """Tokens of one reply."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails | None = None


class OwnFacts(BaseModel):
    """A field of duologue's own: fields of the request that did nothing."""

    ignored: list[str]


class ChatMessageOut(BaseModel):
    """The reply."""

    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    """The one choice."""

    index: Literal[0]
    message: ChatMessageOut
    logprobs: None
    finish_reason: FinishName


class ChatCompletion(BaseModel):
    """A whole reply to a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    duologue: OwnFacts | None = None


class TextChoice(BaseModel):
    """The one choice."""

    index: Literal[0]
    text: str
    logprobs: None
    finish_reason: FinishName


class TextCompletion(BaseModel):
    """What the model wrote behind a raw prompt."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    duologue: OwnFacts | None = None


class LlamaCompletion(BaseModel):
    """What the model wrote behind a raw prompt, as llama.cpp's server tells it."""

    index: Literal[0]
    content: str
    tokens: list[int]
    id_slot: int
    stop: bool
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    truncated: bool
    stop_type: Literal["eos", "limit"]
    stopping_word: str
    finish_reason: FinishName
    duologue: OwnFacts | None = None


class Shape(Protocol):
    """How one kind of answer is written."""

    @property
    def says_done(self) -> bool:
        """Whether a stream ends with `[DONE]`."""
        ...

    def whole(self, reply: Reply, text: str, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        ...

    def opening(self) -> dict[str, Any] | None:
        """Return the first chunk of a stream, if there is one before any text."""
        ...

    def piece(self, text: str) -> dict[str, Any]:
        """Return a chunk with more text."""
        ...

    def closing(self, reply: Reply, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the last chunk, which says why the reply ended."""
        ...

    def counts(self, reply: Reply) -> dict[str, Any]:
        """Return the chunk behind the last one, which counts the tokens."""
        ...


@dataclass(frozen=True, slots=True)
class ChatShape:
    """Chat completions.

    Attributes:
        model: The model's name, as the client asked for it.
        id: Identifier of the completion.
        created: Unix time in seconds.
        says_done: Whether a stream ends with `[DONE]`.
    """

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    says_done: bool = field(default=True, init=False)

    def whole(self, reply: Reply, text: str, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply.finish_reason)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(reply), **_own(ignored)}

    def opening(self) -> dict[str, Any]:
        """Return the chunk with the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> dict[str, Any]:
        """Return a chunk with more text."""
        return self._chunk({"content": text})

    def closing(self, reply: Reply, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the last chunk, which says why the reply ended."""
        return {**self._chunk({}, finish=reply.finish_reason), **_own(ignored)}

    def counts(self, reply: Reply) -> dict[str, Any]:
        """Return the chunk behind the last one, which counts the tokens."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(reply)}

    def _chunk(self, delta: Mapping[str, str], *, finish: FinishReason | None = None) -> dict[str, Any]:
        finish_reason = _finish(finish) if finish else None
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class TextShape:
    """Text completions; the attributes are those of `ChatShape`."""

    model: str
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    says_done: bool = field(default=True, init=False)

    def whole(self, reply: Reply, text: str, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        return {**self._chunk(text, finish=reply.finish_reason), "usage": _usage(reply), **_own(ignored)}

    def opening(self) -> None:
        """Nothing comes before the text."""

    def piece(self, text: str) -> dict[str, Any]:
        """Return a chunk with more text."""
        return self._chunk(text)

    def closing(self, reply: Reply, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the last chunk, which says why the reply ended."""
        return {**self._chunk("", finish=reply.finish_reason), **_own(ignored)}

    def counts(self, reply: Reply) -> dict[str, Any]:
        """Return the chunk behind the last one, which counts the tokens."""
        return {**self._head(), "choices": [], "usage": _usage(reply)}

    def _chunk(self, text: str, *, finish: FinishReason | None = None) -> dict[str, Any]:
        finish_reason = _finish(finish) if finish else None
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head(), "choices": [choice]}

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Completions of llama.cpp's server: flat frames with `content` and `stop`, and no `[DONE]` at the end.

    Source: llama.cpp, tools/server/README.md, "POST /completion". What ended the text we know only as far as OpenAI's
    API tells it, so a text of `stop` is an `eos` here, and `stopping_word` is empty.

    Attributes:
        model: The model's name.
        says_done: Whether a stream ends with `[DONE]`.
    """

    model: str
    says_done: bool = field(default=False, init=False)

    def whole(self, reply: Reply, text: str, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the body of a reply that is not streamed."""
        return {
            **self._part(text, has_ended=True),
            "id_slot": 0,
            "model": self.model,
            "tokens_predicted": reply.num_reply_tokens,
            "tokens_evaluated": reply.num_prompt_tokens,
            "truncated": False,  # a prompt that does not fit is refused
            "stop_type": "limit" if reply.finish_reason == "length" else "eos",
            "stopping_word": "",
            "finish_reason": _finish(reply.finish_reason),
            **_own(ignored),
        }

    def opening(self) -> None:
        """Nothing comes before the text."""

    def piece(self, text: str) -> dict[str, Any]:
        """Return a frame with more text."""
        return self._part(text, has_ended=False)

    def closing(self, reply: Reply, ignored: Sequence[str]) -> dict[str, Any]:
        """Return the last frame, which counts the tokens as well."""
        return self.whole(reply, "", ignored)

    def counts(self, reply: Reply) -> dict[str, Any]:
        """Return the last frame: there is none behind it."""
        return self.whole(reply, "", ())

    def _part(self, text: str, *, has_ended: bool) -> dict[str, Any]:
        return {"index": 0, "content": text, "tokens": [], "stop": has_ended}


def frame(document: Mapping[str, Any]) -> bytes:
    """Return a server-sent event; JSON escapes line breaks and half surrogates, so no text can break the frame."""
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def _own(ignored: Sequence[str]) -> dict[str, Any]:
    return {"duologue": {"ignored": list(ignored)}} if ignored else {}


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
