"""A model on another server that talks.

Limits: the context is counted in estimated tokens (see `tokenizer`); a reply's tokens are the server's own count when
it sends one and else the number of its chunks; a model's hidden reasoning is not shown; there are no likelihoods.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from duologue.engine.base import Piece, Sampling
from duologue.engine.job import Adapter, BaseModel, Example
from duologue.engine.remote.client import Chunk, RemoteClient
from duologue.engine.remote.faults import ServerFault
from duologue.engine.remote.replicas import MAX_SECONDS, Replicas, summed_up
from duologue.engine.remote.settings import CONTINUING, Kind, sampler_fields, server_kind, unsupported
from duologue.engine.remote.tokenizer import CONTINUE_MARK, RemoteTokenizer
from duologue.engine.stop_text import StopText
from duologue.errors import ConfigError, EngineError
from duologue.messages import FinishReason

DEFAULT_CONTEXT_TOKENS = 4096  # for servers that do not tell: what the smallest chat models in use hold
TIMEOUT_SECONDS = 120.0  # a CPU server reads a prompt of 2000 tokens in 30 seconds (docs of the field: 65 tokens/s)
_MAX_NAMED_MODELS = 10
_MAX_REPLICAS = 64
# Where servers write their context: vLLM and SGLang, OpenRouter, LM Studio; llama.cpp has it under `meta`.
_CONTEXT_KEYS = ("max_model_len", "context_length", "max_context_length", "n_ctx")
_FINISH: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}


class RemoteGenerator:
    """A model behind one or several OpenAI-compatible servers. Use `open`. Any thread may stream.

    Args:
        replicas: The servers.
        model: The model's name there.
        context_tokens: Longest prompt plus reply, in estimated tokens.
        kind: What the server is.
    """

    def __init__(self, replicas: Replicas, model: str, *, context_tokens: int, kind: Kind = "unknown") -> None:
        """Keep the settings."""
        self._kind = kind
        self._replicas = replicas
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
        max_seconds: float = MAX_SECONDS,
    ) -> "RemoteGenerator":
        """Ask a server, or several with the same model, for a model.

        Args:
            base: Its name is the address and the model, `http(s)://host:port/v1#model`; several addresses are
                separated by commas, `http://one:8000/v1,http://two:8000/v1#model`.
            adapter: Must be None; a server knows an adapter as a model of its own name.
            api_key: Sent as bearer token, to each address.
            timeout_seconds: Longest silence of a server, reading the prompt included.
            max_seconds: Longest time of one reply.

        Raises:
            ConfigError: The name has another form, an adapter is given, or the key cannot be sent.
            EngineError: No server can be reached, or one refuses, does not have the model, or is of another kind than
                the others.
        """
        urls, model = _split(base.name)
        if adapter:
            raise ConfigError(
                "the engine 'remote' cannot load an adapter",
                where=str(adapter.folder),
                action="Start the server with the adapter and write its model name after the #.",
            )
        if not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("the API key holds characters that no HTTP header can carry", needed="printable ASCII")
        clients = [RemoteClient(url, api_key=api_key, timeout_seconds=timeout_seconds) for url in urls]
        replicas = Replicas(clients, model=model, max_seconds=max_seconds)
        entries, faults = [], []
        with ThreadPoolExecutor(len(clients)) as threads:
            for client, found in zip(clients, threads.map(lambda each: _entry(each, model), clients), strict=True):
                if isinstance(found, ServerFault):
                    faults.append(found)
                    replicas.note_failure(client, found)
                else:
                    entries.append((client.url, found))
        if not entries:
            raise summed_up(faults, num_replicas=len(clients))
        return cls(
            replicas,
            model,
            context_tokens=min(_context_tokens(entry) for _, entry in entries),
            kind=_common_kind({url: server_kind(url, entry) for url, entry in entries}),
        )

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
            EngineError: Prompt and reply do not fit the context, the server refuses, falls silent or breaks off, or
                is not known to go on with a reply when the prompt asks for it.
        """
        wanted = len(prompt_ids) + sampling.max_new_tokens
        if wanted > self._context_tokens:
            raise EngineError(
                f"prompt (about {len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens} tokens) need {wanted}",
                needed=f"at most {self._context_tokens}",
                action="Shorten the conversation or lower generation.max_new_tokens.",
            )
        messages = [{"role": m.role, "content": m.content} for m in self._tokenizer.unpack(prompt_ids)]
        request = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": sampling.max_new_tokens,
            **sampler_fields(self._kind, sampling, context_tokens=self._context_tokens),
        }
        if prompt_ids and prompt_ids[-1] == CONTINUE_MARK:
            request |= _continuing(self._kind, messages)
        return self._pieces(request, StopText(sampling.stop), cancel)

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return the settings that this server is known not to honour, and `continues` unless it is known to go on."""
        missing = unsupported(self._kind, sampling)
        return missing if self._kind in CONTINUING else (*missing, "continues")

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
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
        """Nothing is held between replies: every reply opens and closes its own connections."""

    def _pieces(self, request: dict[str, Any], stop_text: StopText, cancel: threading.Event) -> Iterator[Piece]:
        num_tokens, num_cached = 0, -1
        finish_reason: FinishReason | None = None
        with closing(self._replicas.stream(request, cancel=cancel)) as chunks:
            try:
                for chunk in chunks:
                    text, reason = _read_choice(chunk)
                    num_tokens = _counted(chunk, "completion_tokens") or num_tokens + bool(text)
                    num_cached = max(num_cached, _cached(chunk))
                    if finish_reason:
                        continue  # what comes after it is the server's account
                    shown, is_stopped = stop_text.feed(text)
                    if is_stopped:
                        # A server need not know every stop text, so it may still be talking.
                        yield Piece(shown, num_tokens, "stop", num_cached)
                        return
                    if shown:
                        yield Piece(shown, num_tokens)
                    if reason:
                        finish_reason = _FINISH.get(reason, "stop")
            except EngineError:
                if not finish_reason:  # else the reply is whole; only the server's account is missing
                    yield from _kept(stop_text, num_tokens)
                    raise
        if cancel.is_set() and not finish_reason:
            finish_reason = "cancelled"
        if not finish_reason:
            yield from _kept(stop_text, num_tokens)
            raise EngineError("the server ended the reply without a finish reason", action="Try again.")
        yield Piece(stop_text.rest(), num_tokens, finish_reason, num_cached)


def _kept(stop_text: StopText, num_tokens: int) -> Iterator[Piece]:
    """Yield what was held back of a reply that broke off, so that it is kept with the rest."""
    if held := stop_text.rest():
        yield Piece(held, num_tokens)


def _entry(client: RemoteClient, model: str) -> dict[str, Any] | ServerFault:
    """Return what a server says about a model; empty where it has no list, its fault where it does not answer."""
    try:
        models = {entry["id"]: entry for entry in client.list_models()}
    except ServerFault as fault:
        if fault.again != "nowhere":
            return fault
        raise
    if models and model not in models:
        raise EngineError(
            f"the server has no model '{model}'",
            where=client.url,
            needed=" or ".join(f"'{name}'" for name in list(models)[:_MAX_NAMED_MODELS]),
        )
    return models.get(model, {})


def _common_kind(kinds: dict[str, Kind]) -> Kind:
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{url} is {kind}" for url, kind in kinds.items())
        raise EngineError(
            f"the servers are of different kinds ({told}), which take different settings",
            where="model.base",
            needed="the same server software behind every address",
        )
    return next(iter(kinds.values()))


def _split(name: str) -> tuple[tuple[str, ...], str]:
    addresses, _, model = name.partition("#")
    if "@" in addresses:
        raise ConfigError(
            "the server's address holds a user name or a password", where="model.base", needed="an API key"
        )
    urls = tuple(url.strip().rstrip("/") for url in re.split(r",(?=\s*https?://)", addresses))
    if not model or not all(url.startswith(("http://", "https://")) for url in urls):
        raise ConfigError(
            f"the engine 'remote' cannot open '{name}'",
            where="model.base",
            needed="an address and a model, such as 'http://127.0.0.1:8000/v1#my-model'",
        )
    twice = next((url for url in urls if urls.count(url) > 1), "")
    if twice or len(urls) > _MAX_REPLICAS:
        raise ConfigError(
            f"the address {twice} is there twice" if twice else f"there are {len(urls)} addresses",
            where="model.base",
            needed=f"up to {_MAX_REPLICAS} addresses, each once",
        )
    return urls, model


def _context_tokens(entry: dict[str, Any]) -> int:
    meta = entry.get("meta")
    for source in (entry, meta if isinstance(meta, dict) else {}):
        for key in _CONTEXT_KEYS:
            if isinstance(source.get(key), int) and source[key] > 0:
                return int(source[key])
    return DEFAULT_CONTEXT_TOKENS


def _continuing(kind: Kind, messages: list[dict[str, str]]) -> dict[str, Any]:
    """Return the fields that make a server go on with the last message."""
    if kind not in CONTINUING:
        raise EngineError(
            "this server is not known to go on with a reply",
            needed="vLLM, SGLang, llama.cpp's server or TabbyAPI",
            action="Ask for a new reply instead, or use a local engine.",
        )
    if kind == "tabbyapi":
        return {"messages": messages[:-1], "response_prefix": messages[-1]["content"]}
    return {"continue_final_message": True, "add_generation_prompt": False}


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


def _counted(chunk: Chunk, name: str) -> int:
    usage = chunk.get("usage")
    counted = usage.get(name) if isinstance(usage, dict) else 0
    return counted if isinstance(counted, int) else 0


def _cached(chunk: Chunk) -> int:
    """Return how many tokens of the prompt the server had kept; -1 where it does not say."""
    usage = chunk.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return cached if isinstance(cached, int) else -1
