"""A model on another server that talks.

Limits: the context is counted in estimated tokens (see `tokenizer`); a reply's tokens are the server's own count when
it sends one and else the number of its chunks; a model's hidden reasoning is not shown; there are no likelihoods.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from duologue.engine.base import Adapter, BaseModel, Example, Piece, Sampling
from duologue.engine.remote.client import Chunk, RemoteClient
from duologue.engine.remote.tokenizer import RemoteTokenizer
from duologue.errors import ConfigError, EngineError
from duologue.messages import FinishReason

DEFAULT_CONTEXT_TOKENS = 4096  # for servers that do not tell: what the smallest chat models in use hold
TIMEOUT_SECONDS = 120.0  # a CPU server reads a prompt of 2000 tokens in 30 seconds (docs of the field: 65 tokens/s)
_MAX_NAMED_MODELS = 10
# Where servers write their context: vLLM and SGLang, OpenRouter, LM Studio; llama.cpp has it under `meta`.
_CONTEXT_KEYS = ("max_model_len", "context_length", "max_context_length", "n_ctx")
_FINISH: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}


class RemoteGenerator:
    """A model behind an OpenAI-compatible server. Use `open`.

    Args:
        client: The server.
        model: The model's name there.
        context_tokens: Longest prompt plus reply, in estimated tokens.
    """

    def __init__(self, client: RemoteClient, model: str, *, context_tokens: int) -> None:
        """Keep the settings."""
        self._client = client
        self._model = model
        self._context_tokens = context_tokens
        self._tokenizer = RemoteTokenizer()

    @classmethod
    def open(
        cls,
        base: BaseModel,
        *,
        adapter: Adapter | None = None,
        api_key: str = "",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> "RemoteGenerator":
        """Ask a server for a model.

        Args:
            base: Its name is the address and the model, `http(s)://host:port/v1#model`.
            adapter: Must be None; a server knows an adapter as a model of its own name.
            api_key: Sent as bearer token.
            timeout_seconds: Longest silence of the server, reading the prompt included.

        Raises:
            ConfigError: The name has another form, an adapter is given, or the key cannot be sent.
            EngineError: The server cannot be reached, refuses, or does not have the model.
        """
        url, model = _split(base.name)
        if adapter:
            raise ConfigError(
                "the engine 'remote' cannot load an adapter",
                where=str(adapter.folder),
                action="Start the server with the adapter and write its model name after the #.",
            )
        if not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("the API key holds characters that no HTTP header can carry", needed="printable ASCII")
        client = RemoteClient(url, api_key=api_key, timeout_seconds=timeout_seconds)
        models = {entry["id"]: entry for entry in client.list_models()}
        if models and model not in models:
            raise EngineError(
                f"the server has no model '{model}'",
                where=url,
                needed=" or ".join(f"'{name}'" for name in list(models)[:_MAX_NAMED_MODELS]),
            )
        return cls(client, model, context_tokens=_context_tokens(models.get(model, {})))

    @property
    def tokenizer(self) -> RemoteTokenizer:
        """Packs messages; the server renders them."""
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply; prompts are measured in the tokenizer's estimated tokens."""
        return self._context_tokens

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply as the server sends it; closes the connection once `cancel` is set.

        Raises:
            EngineError: Prompt and reply do not fit the context, the server refuses, falls silent or breaks off.
        """
        wanted = len(prompt_ids) + sampling.max_new_tokens
        if wanted > self._context_tokens:
            raise EngineError(
                f"prompt (about {len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens} tokens) need {wanted}",
                needed=f"at most {self._context_tokens}",
                action="Shorten the conversation or lower generation.max_new_tokens.",
            )
        messages = [{"role": m.role, "content": m.content} for m in self._tokenizer.unpack(prompt_ids)]
        return self._pieces(_request(self._model, messages, sampling), cancel)

    def score(self, examples: Sequence[Example]) -> tuple[float, int]:
        """Refuse: chat servers tell no likelihoods of given text.

        Raises:
            EngineError: Always.
        """
        raise EngineError(
            f"a remote server cannot score ({len(examples)} examples)",
            needed="a local engine",
            action="Use --engine hf.",
        )

    def close(self) -> None:
        """Nothing is held between replies: every reply opens and closes its own connection."""

    def _pieces(self, request: dict[str, Any], cancel: threading.Event) -> Iterator[Piece]:
        num_tokens = 0
        finish_reason: FinishReason | None = None
        with closing(self._client.stream(request, cancel=cancel)) as chunks:
            for chunk in chunks:
                text, reason = _read_choice(chunk)
                num_tokens = _counted(chunk) or num_tokens + bool(text)
                if text and not finish_reason:
                    yield Piece(text, num_tokens)
                if reason:
                    finish_reason = _FINISH.get(reason, "stop")
        if cancel.is_set() and not finish_reason:
            finish_reason = "cancelled"
        if not finish_reason:
            raise EngineError("the server ended the reply without a finish reason", action="Try again.")
        yield Piece("", num_tokens, finish_reason)


def _split(name: str) -> tuple[str, str]:
    url, _, model = name.partition("#")
    if "@" in url:
        raise ConfigError(
            "the server's address holds a user name or a password", where="model.base", needed="an API key"
        )
    if not url.startswith(("http://", "https://")) or not model:
        raise ConfigError(
            f"the engine 'remote' cannot open '{name}'",
            where="model.base",
            needed="an address and a model, such as 'http://127.0.0.1:8000/v1#my-model'",
        )
    return url.rstrip("/"), model


def _context_tokens(entry: dict[str, Any]) -> int:
    meta = entry.get("meta")
    for source in (entry, meta if isinstance(meta, dict) else {}):
        for key in _CONTEXT_KEYS:
            if isinstance(source.get(key), int) and source[key] > 0:
                return int(source[key])
    return DEFAULT_CONTEXT_TOKENS


def _request(model: str, messages: list[dict[str, str]], sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if stop := [text for text in sampling.stop if text]:
        body["stop"] = stop
    if sampling.seed >= 0:
        body["seed"] = sampling.seed
    # Not in OpenAI's API, so only sent when they do something.
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.min_p:
        body["min_p"] = sampling.min_p
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty  # vLLM, SGLang
        body["repeat_penalty"] = sampling.repetition_penalty  # llama.cpp
    return body


def _read_choice(chunk: Chunk) -> tuple[str, str]:
    try:
        choice: dict[str, Any] = next(iter(chunk["choices"]), {})
        text = choice.get("delta", {}).get("content") or ""
        reason = choice.get("finish_reason") or ""
    except (KeyError, AttributeError, TypeError) as error:
        raise EngineError("the server sent a chunk that is not a chat completion", needed="choices[].delta") from error
    if not (isinstance(text, str) and isinstance(reason, str)):
        raise EngineError("the server sent a chunk whose content is not text")
    return text, reason


def _counted(chunk: Chunk) -> int:
    usage = chunk.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else 0
    return counted if isinstance(counted, int) else 0
