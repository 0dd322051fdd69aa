"""Generation with transformers, one token at a time.

The loop is our own: cancelling takes effect within one token, and the cache of the last prompt serves the next.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from duologue.engine.base import Adapter, BaseModel, Example, Piece, Sampling
from duologue.engine.hf.batches import collate
from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer
from duologue.engine.hf.loss import summed_loss
from duologue.engine.hf.merge import attach
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.stop_text import StopText
from duologue.errors import EngineError
from duologue.messages import FinishReason

_SCORE_BATCH = 4


class HfGenerator:
    """A loaded model that yields tokens. One stream at a time."""

    def __init__(self, model: HfModel, tokenizer: HfTokenizer) -> None:
        """Wrap a loaded model."""
        self._model = model
        self._tokenizer = tokenizer
        self._cache = DynamicCache()
        self._cached_ids: list[int] = []
        self._lock = threading.Lock()

    @classmethod
    def open(cls, base: BaseModel, *, adapter: Adapter | None) -> "HfGenerator":
        """Load base and adapter; on an unquantised base the adapter is folded in, which decodes faster.

        Raises:
            EngineError: Loading failed or the adapter does not fit the base.
        """
        model = load_model(base)
        if adapter is not None:
            peft_model = attach(model, adapter)
            model = peft_model.merge_and_unload() if base.quantization == "none" else peft_model.get_base_model()
        return cls(model.eval(), load_tokenizer(base))

    @property
    def tokenizer(self) -> HfTokenizer:
        """The tokenizer prompts are rendered with."""
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        return int(self._model.config.max_position_embeddings)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one token after `cancel` is set.

        Raises:
            EngineError: Prompt and reply do not fit the context, or memory ran out.
        """
        if len(prompt_ids) + sampling.max_new_tokens > self.context_tokens:
            raise EngineError(
                f"prompt ({len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens}) are longer than the context",
                needed=f"at most {self.context_tokens} tokens together",
            )
        with self._lock:
            try:
                yield from self._stream(list(prompt_ids), sampling, cancel)
            except (torch.OutOfMemoryError, MemoryError) as error:
                self._forget_cache()
                raise EngineError("memory ran out while replying", action="Lower generation.context_tokens.") from error

    def score(self, examples: Sequence[Example]) -> tuple[float, int]:
        """Return the summed negative log-likelihood in nats over all trained tokens, and their number."""
        total, count = 0.0, 0
        ordered = sorted(examples, key=lambda example: example.num_tokens)
        with self._lock, torch.inference_mode():
            for at in range(0, len(ordered), _SCORE_BATCH):
                part = ordered[at : at + _SCORE_BATCH]
                batch = collate(part, pad_token_id=self._tokenizer.pad_token_id, device=device())
                total += float(summed_loss(self._model, batch))
                count += sum(example.num_trained_tokens for example in part)
        return total, count

    def close(self) -> None:
        """Free the model."""
        self._forget_cache()
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _stream(self, ids: list[int], sampling: Sampling, cancel: threading.Event) -> Iterator[Piece]:
        draw = _Draw(sampling)
        stop_text = StopText(sampling.stop)
        replied: list[int] = []
        shown = 0
        reason: FinishReason = "length"
        for _ in range(sampling.max_new_tokens):
            if cancel.is_set():
                reason = "cancelled"
                break
            token = draw.next(self._logits(ids), ids)
            if token in self._tokenizer.stop_token_ids:
                reason = "stop"
                break
            ids.append(token)
            replied.append(token)
            text = self._tokenizer.decode(replied)
            if text.endswith("�"):
                continue  # a character of several tokens is not complete yet
            piece, is_stopped = stop_text.feed(text[shown:])
            shown = len(text)
            if piece:
                yield Piece(piece, len(replied))
            if is_stopped:
                reason = "stop"
                break
        yield Piece(stop_text.rest(), len(replied), reason)

    @torch.inference_mode()
    def _logits(self, ids: list[int]) -> torch.Tensor:
        """Return the logits after `ids`, shape (1, V); the cache is kept where it agrees with `ids`."""
        agreeing = 0
        for old, new in zip(self._cached_ids, ids[:-1], strict=False):
            if old != new:
                break
            agreeing += 1
        if agreeing < len(self._cached_ids) and not self._crop(len(self._cached_ids) - agreeing):
            self._forget_cache()
            agreeing = 0
        new_BT = torch.tensor([ids[agreeing:]], device=device())
        output = self._model(input_ids=new_BT, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._cached_ids = list(ids)
        return output.logits[:, -1].float()

    def _crop(self, num_tokens: int) -> bool:
        """Remove the cache's last tokens; False when this model's attention does not allow it (sliding windows)."""
        try:
            self._cache.crop(-num_tokens)
        except (ValueError, RuntimeError, NotImplementedError):
            return False
        return True

    def _forget_cache(self) -> None:
        self._cache = DynamicCache()
        self._cached_ids = []


class _Draw:
    """Draws one token after another by the sampling settings."""

    def __init__(self, sampling: Sampling) -> None:
        self._is_greedy = sampling.temperature == 0
        self._random = torch.Generator(device=device())
        if sampling.seed >= 0:
            self._random.manual_seed(sampling.seed)
        else:
            self._random.seed()
        steps = LogitsProcessorList()
        if sampling.repetition_penalty != 1:
            steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if not self._is_greedy:
            steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k:
                steps.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                steps.append(TopPLogitsWarper(sampling.top_p))
            if sampling.min_p:
                steps.append(MinPLogitsWarper(sampling.min_p))
        self._steps = steps

    def next(self, logits_1V: torch.Tensor, ids: list[int]) -> int:
        ids_1T = cast(torch.LongTensor, torch.tensor([ids], device=logits_1V.device))
        scores_1V = self._steps(ids_1T, cast(torch.FloatTensor, logits_1V))
        if self._is_greedy:
            return int(scores_1V.argmax())
        return int(torch.multinomial(scores_1V.softmax(dim=-1), 1, generator=self._random))
