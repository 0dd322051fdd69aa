"""A GGUF model that talks and scores."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from duologue.engine.active import PENALTIES, active_settings
from duologue.engine.base import Piece, Sampling
from duologue.engine.bundled import PREFIX, bundled_file
from duologue.engine.gguf.metadata import read_metadata
from duologue.engine.gguf.server import LlamaServer
from duologue.engine.gguf.tokenizer import GgufTokenizer
from duologue.engine.job import NOT_TRAINED, Adapter, BaseModel, Example
from duologue.errors import ConfigError, EngineError

DEFAULT_CONTEXT_TOKENS = 8192  # an 8B model keeps 1 GiB of keys and values for it; its full 128k would need 16 GiB
_SAMPLERS = ("penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")  # llama.cpp's own order
_NO_BREAKER = ""  # llama.cpp refuses an empty list and leaves out an empty text
_RANDOM_SEED = 2**32 - 1  # llama.cpp's mark for drawing differently each time
_FORCED = 1e6  # a logit bias no other token can reach
_LEAST_LOGPROB = -104.0  # log of float32's smallest number; llama.cpp writes -3e38 where a probability underflows


class GgufGenerator:
    """A model loaded by llama.cpp. Use `open`.

    Args:
        server: The loaded model.
        tokenizer: Its tokenizer.
        context_tokens: Longest prompt plus reply.
    """

    def __init__(self, server: LlamaServer, tokenizer: GgufTokenizer, *, context_tokens: int) -> None:
        """Keep the loaded parts."""
        self._server = server
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens

    @classmethod
    def open(
        cls, base: BaseModel, *, adapter: Adapter | None = None, context_tokens: int = DEFAULT_CONTEXT_TOKENS
    ) -> "GgufGenerator":
        """Load a GGUF model.

        Args:
            base: Its name is a `.gguf` file or a bundled name; the file decides the quantization.
            adapter: Its folder holds one LoRA as a `.gguf` file; None talks to the base model.
            context_tokens: Upper bound of the context; a model made for less keeps its own.

        Raises:
            ConfigError: `base.name` is neither a `.gguf` file nor a bundled name.
            EngineError: The files cannot be loaded, or the adapter is not a GGUF LoRA.
        """
        model = _model_file(base.name)
        lora = _lora_file(adapter.folder) if adapter else None
        metadata = read_metadata(model)
        context_tokens = min(context_tokens, metadata.context_tokens or context_tokens)
        server = LlamaServer(model, lora=lora, context_tokens=context_tokens)
        try:
            tokenizer = GgufTokenizer(metadata, server, where=str(model))
        except EngineError:
            server.close()
            raise
        return cls(server, tokenizer, context_tokens=context_tokens)

    @property
    def tokenizer(self) -> GgufTokenizer:
        """The tokenizer prompts are rendered with."""
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        return self._context_tokens

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one token after `cancel` is set.

        Raises:
            EngineError: Prompt and reply do not fit the context, or generation failed.
        """
        wanted = len(prompt_ids) + sampling.max_new_tokens
        if wanted > self._context_tokens:
            raise EngineError(
                f"prompt ({len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens} tokens) need {wanted} tokens",
                needed=f"at most {self._context_tokens}",
                action="Shorten the conversation or lower generation.max_new_tokens.",
            )
        return self._pieces(_request(prompt_ids, sampling), cancel)

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return the penalties where mirostat is on: llama.cpp leaves them out then."""
        return tuple(name for name in active_settings(sampling) if sampling.mirostat and name in PENALTIES)

    def score(self, examples: Sequence[Example]) -> tuple[float, int]:
        """Return the summed negative log-likelihood in nats over all trained tokens, and their number.

        llama.cpp's server tells no likelihoods of a prompt. So each trained token is drawn by force, one request per
        token with the tokens before it as a cached prompt, and the likelihood it had before the force is read. This
        runs at the speed of generation. The first token of an example follows nothing and is not counted.

        Raises:
            EngineError: An example is longer than the context.
        """
        total, num_tokens = 0.0, 0
        for example in examples:
            if example.num_tokens > self._context_tokens:
                raise EngineError(
                    f"the example has {example.num_tokens} tokens",
                    where=example.source,
                    needed=f"at most {self._context_tokens}",
                )
            for position, label in enumerate(example.labels):
                if position and label != NOT_TRAINED:
                    total -= self._logprob(example.input_ids[:position], label)
                    num_tokens += 1
        return total, num_tokens

    def close(self) -> None:
        """Stop what still runs and free the model."""
        self._server.close()

    def _pieces(self, request: dict[str, Any], cancel: threading.Event) -> Iterator[Piece]:
        num_tokens = num_cached = 0
        with closing(self._server.stream(request, cancel=cancel)) as chunks:
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

    def _logprob(self, prompt_ids: Sequence[int], token_id: int) -> float:
        request = {
            "prompt": list(prompt_ids),
            "max_tokens": 1,
            "temperature": 0.0,
            "samplers": ["temperature"],
            "logit_bias": [[token_id, _FORCED]],
            "n_probs": 1,
        }
        drawn = self._server.complete(request)["choices"][0]["logprobs"]["content"][0]
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


def _lora_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    raise EngineError(
        f"the adapter's folder holds {len(files)} .gguf files",
        where=str(folder),
        needed="one LoRA in GGUF form",
        action="llama.cpp cannot read a PEFT adapter: export it first, or chat with --engine hf.",
    )


def _request(prompt_ids: Sequence[int], sampling: Sampling) -> dict[str, Any]:
    whole = len(prompt_ids) + sampling.max_new_tokens
    return {
        "prompt": list(prompt_ids),
        "max_tokens": sampling.max_new_tokens,
        "samplers": _SAMPLERS,
        "logit_bias": [[token, value] for token, value in sampling.logit_bias],
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": whole,
        "dry_multiplier": sampling.dry_multiplier,
        "dry_base": sampling.dry_base,
        "dry_allowed_length": sampling.dry_allowed_length_tokens,
        "dry_penalty_last_n": whole if sampling.dry_window_tokens < 0 else sampling.dry_window_tokens,
        "dry_sequence_breakers": list(sampling.dry_sequence_breakers) or [_NO_BREAKER],
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "typical_p": sampling.typical_p,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "xtc_probability": sampling.xtc_probability,
        "xtc_threshold": sampling.xtc_threshold,
        "mirostat": sampling.mirostat,
        "mirostat_tau": sampling.mirostat_tau,
        "mirostat_eta": sampling.mirostat_eta,
        "seed": sampling.seed % _RANDOM_SEED if sampling.seed >= 0 else _RANDOM_SEED,
        "stop": [text for text in sampling.stop if text],
        # A prompt continued from the cache is rounded differently (by up to 0.1 in a log-probability, because llama.cpp
        # rounds activations to 8 bits), and a fixed seed must repeat the same reply.
        "cache_prompt": sampling.seed < 0,
        "timings_per_token": True,
        "return_progress": True,  # so that a cancelled prompt can stop between two batches
    }
