"""A GGUF model that talks and scores."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from duologue.engine.active import PENALTIES, active_settings
from duologue.engine.base import Piece, Sampling
from duologue.engine.bundled import PREFIX, bundled_file
from duologue.engine.gguf.header import Header, not_whole, read_header
from duologue.engine.gguf.lora import check_lora, lora_file
from duologue.engine.gguf.metadata import interpret
from duologue.engine.gguf.request import completion_request, forced_request
from duologue.engine.gguf.room import ContextShape, check_room, context_shape, fitting_slots
from duologue.engine.gguf.server import CacheType, LlamaServer, Loading, seen_gpus
from duologue.engine.gguf.slots import Wearing
from duologue.engine.gguf.tokenizer import GgufTokenizer
from duologue.engine.hardware import detect_hardware
from duologue.engine.job import NOT_TRAINED, Adapter, BaseModel, Example
from duologue.errors import ConfigError, EngineError

DEFAULT_CONTEXT_TOKENS = 8192  # an 8B model keeps 1 GiB of keys and values for it; its full 128k would need 16 GiB
_LEAST_LOGPROB = -104.0  # log of float32's smallest number; llama.cpp writes -3e38 where a probability underflows


class GgufGenerator:
    """A model loaded by llama.cpp. Use `open`. Any thread may use it; `num_slots` replies are made at the same time.

    Args:
        server: The loaded model.
        tokenizer: Its tokenizer.
        loading: How it was loaded.
        loras: Which LoRA belongs to which adapter, by its place among those loaded.
        wearing: The strength of each LoRA in replies of this generator.
        notes: What came out otherwise than asked for while loading.
    """

    def __init__(
        self,
        server: LlamaServer,
        tokenizer: GgufTokenizer,
        *,
        loading: Loading,
        loras: Mapping[Path, int],
        wearing: Wearing = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        """Keep the loaded parts."""
        self._server = server
        self._tokenizer = tokenizer
        self._loading = loading
        self._loras = dict(loras)
        self._wearing = wearing
        self._owns_model = True
        self.notes = notes

    @classmethod
    def open(
        cls,
        base: BaseModel,
        *,
        adapter: Adapter | None = None,
        others: Sequence[Adapter] = (),
        context_tokens: int = DEFAULT_CONTEXT_TOKENS,
        num_slots: int | None = 1,
        cache_type: CacheType = "f16",
        num_threads: int = 0,
    ) -> "GgufGenerator":
        """Load a GGUF model.

        Args:
            base: Its name is a `.gguf` file or a bundled name; the file decides the quantization.
            adapter: Its folder holds one LoRA as a `.gguf` file; None talks to the base model.
            others: Further adapters that are loaded with it, for `wearing`.
            context_tokens: Upper bound of each reply's context; a model made for less keeps its own.
            num_slots: Replies at the same time, each with memory for a whole context; None takes up to four, as the
                free memory allows.
            cache_type: Type of the keys and values that are kept.
            num_threads: Threads that draw tokens; 0 takes what is best on this machine.

        Raises:
            ConfigError: `base.name` is neither a `.gguf` file nor a bundled name.
            EngineError: The files cannot be loaded, an adapter is not a GGUF LoRA of this model, or the context does
                not fit the free memory.
        """
        model = _model_file(base.name)
        header = read_header(model)
        metadata = interpret(header, model)
        folders = dict.fromkeys(each.folder for each in (*((adapter,) if adapter else ()), *others))
        files = tuple(lora_file(folder) for folder in folders)
        for file in files:
            check_lora(file, header, model=model)
        context_tokens = min(context_tokens, metadata.context_tokens or context_tokens)
        wanted = Loading(model, files, context_tokens, cache_type=cache_type, num_threads=num_threads)
        server, loading, notes = _load(wanted, _shape(header, model), num_slots=num_slots)
        try:
            tokenizer = GgufTokenizer(metadata, server, where=str(model))
        except EngineError:
            server.close()
            raise
        loras = {folder: at for at, folder in enumerate(folders)}
        worn = _worn(loras, adapter, strength=1.0)
        return cls(server, tokenizer, loading=loading, loras=loras, wearing=worn, notes=notes)

    def wearing(self, adapter: Adapter | None, *, strength: float = 1.0) -> "GgufGenerator":
        """Return a generator on the same loaded model that talks with another of its adapters, or with none.

        Closing what is returned leaves the model loaded; closing the opened generator frees it for all.

        Args:
            adapter: One of those given to `open`; None talks to the base model.
            strength: How strongly it acts; 1 as it was trained.

        Raises:
            EngineError: The adapter was not loaded.
        """
        other = copy(self)
        other._wearing = _worn(self._loras, adapter, strength=strength)
        other._owns_model = False
        return other

    @property
    def tokenizer(self) -> GgufTokenizer:
        """The tokenizer prompts are rendered with."""
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        return self._loading.context_tokens

    @property
    def num_slots(self) -> int:
        """How many replies are made at the same time; further ones wait in line."""
        return self._loading.num_slots

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one token after `cancel` is set.

        A reply with a fixed seed is made alone: beside others it would be rounded differently.

        Raises:
            FormError: The grammar or the JSON schema cannot be followed.
            EngineError: Prompt and reply do not fit the context, or generation failed.
        """
        wanted = len(prompt_ids) + sampling.max_new_tokens
        if wanted > self.context_tokens:
            raise EngineError(
                f"prompt ({len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens} tokens) need {wanted} tokens",
                needed=f"at most {self.context_tokens}",
                action="Shorten the conversation or lower generation.max_new_tokens.",
            )
        return self._pieces(completion_request(prompt_ids, sampling), cancel, is_alone=sampling.seed >= 0)

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return the penalties where mirostat is on: llama.cpp leaves them out then."""
        return tuple(name for name in active_settings(sampling) if sampling.mirostat and name in PENALTIES)

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        """Return the negative log-likelihood in nats over its trained tokens, and their number, of each example.

        llama.cpp's server tells no likelihoods of a prompt. So each trained token is drawn by force, one request per
        token with the tokens before it as a cached prompt, and the likelihood it had before the force is read. This
        runs at the speed of generation. The first token of an example follows nothing and is not counted.

        Raises:
            EngineError: An example is longer than the context.
        """
        for example in examples:
            if example.num_tokens > self.context_tokens:
                raise EngineError(
                    f"the example has {example.num_tokens} tokens",
                    where=example.source,
                    needed=f"at most {self.context_tokens}",
                )
        return tuple((self._nats(example), example.num_scored_tokens) for example in examples)

    def close(self) -> None:
        """Stop what still runs and free the model; what `wearing` returned leaves it loaded."""
        if self._owns_model:
            self._server.close()

    def _pieces(self, request: dict[str, Any], cancel: threading.Event, *, is_alone: bool) -> Iterator[Piece]:
        num_tokens = num_cached = 0
        stream = self._server.stream(request, wearing=self._wearing, is_alone=is_alone, cancel=cancel)
        with closing(stream) as chunks:
            for chunk in chunks:
                choice = chunk["choices"][0]
                num_tokens, num_cached = chunk["timings"]["predicted_n"], chunk["timings"]["cache_n"]
                if choice["finish_reason"]:
                    yield Piece(choice["text"], num_tokens, choice["finish_reason"], num_cached)
                    return
                if choice["text"]:
                    yield Piece(choice["text"], num_tokens)
        if not cancel.is_set():
            raise EngineError("llama.cpp stopped before the reply was finished", action="Try again.")
        yield Piece("", num_tokens, "cancelled", num_cached)

    def _nats(self, example: Example) -> float:
        targets = [(place, label) for place, label in enumerate(example.labels) if place and label != NOT_TRAINED]
        return -sum(self._logprob(example.input_ids[:place], label) for place, label in targets)

    def _logprob(self, prompt_ids: Sequence[int], token_id: int) -> float:
        answer = self._server.complete(forced_request(prompt_ids, token_id), wearing=self._wearing)
        drawn = answer["choices"][0]["logprobs"]["content"][0]
        assert drawn["id"] == token_id, "a bias this large forces the token"
        return max(float(drawn["logprob"]), _LEAST_LOGPROB)


def _model_file(name: str) -> Path:
    if name.startswith(PREFIX):
        return bundled_file(name)
    path = Path(name)
    if path.suffix != ".gguf":
        raise ConfigError(
            f"the engine 'gguf' cannot open '{name}'",
            where="model.base",
            needed=f"a .gguf file or a name that begins with '{PREFIX}'",
            action="Export the model first: duologue export gguf FOLDER.",
        )
    return path


def _shape(header: Header, model: Path) -> ContextShape:
    try:
        return context_shape(header)
    except ValueError as error:
        raise not_whole(model, error) from error


def _worn(loras: Mapping[Path, int], adapter: Adapter | None, *, strength: float) -> Wearing:
    if adapter is None:
        return (0.0,) * len(loras)
    if adapter.folder not in loras:
        raise EngineError(
            "this adapter was not loaded with the model",
            where=str(adapter.folder),
            needed=", ".join(str(folder) for folder in loras) or "no adapter",
            action="Name it when the model is opened: llama.cpp takes none later.",
        )
    return tuple(strength if at == loras[adapter.folder] else 0.0 for at in range(len(loras)))


def _load(
    wanted: Loading, shape: ContextShape, *, num_slots: int | None
) -> tuple[LlamaServer, Loading, tuple[str, ...]]:
    """Load a model where there is room for it: on the GPUs that llama.cpp sees, or else on the CPU with a note."""
    gpus = seen_gpus()
    free_bytes = detect_hardware(wanted.model.parent, measure_cpu=False).ram_free_bytes
    notes: tuple[str, ...] = ()
    if gpus:
        both_bytes = free_bytes + sum(free for _, free in gpus)
        loading = replace(_placed(wanted, shape, num_slots=num_slots, free_bytes=both_bytes), uses_gpu=True)
        try:
            return LlamaServer(loading), loading, ()
        except EngineError:
            names = ", ".join(name for name, _ in gpus)
            notes = (f"llama.cpp could not load the model on {names}; it runs on the CPU, which is slower.",)
    loading = _placed(wanted, shape, num_slots=num_slots, free_bytes=free_bytes)
    return LlamaServer(loading), loading, notes


def _placed(wanted: Loading, shape: ContextShape, *, num_slots: int | None, free_bytes: int) -> Loading:
    """Return how a model is loaded where so much memory is free; refuse where it does not fit."""
    context_tokens, cache_type = wanted.context_tokens, wanted.cache_type
    if num_slots is None:
        num_slots = fitting_slots(shape, context_tokens=context_tokens, free_bytes=free_bytes, cache_type=cache_type)
    check_room(shape, context_tokens=context_tokens, num_slots=num_slots, free_bytes=free_bytes, cache_type=cache_type)
    return replace(wanted, num_slots=num_slots)
