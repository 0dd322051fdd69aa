"""Generation with transformers, one token at a time.

The loop is our own: cancelling takes effect within one token, and the cache of the last prompt serves the next.
"""

import threading
from collections.abc import Iterator, Sequence

import torch
from transformers import DynamicCache

from duologue.engine.base import Piece, Sampling
from duologue.engine.hf.batches import collate
from duologue.engine.hf.breakers import Breakers, find_breakers
from duologue.engine.hf.draw import Draw
from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer
from duologue.engine.hf.loss import summed_loss
from duologue.engine.hf.merge import attach
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.job import Adapter, BaseModel, Example
from duologue.engine.stop_text import StopText
from duologue.errors import EngineError
from duologue.messages import FinishReason

_SCORE_BATCH = 4
_PROMPT_TOKENS = 512  # a cancelled prompt stops at the next multiple
_TAIL_TOKENS = 4
_INCOMPLETE = "\ufffd"  # what stands for the first bytes of a character


class HfGenerator:
    """A loaded model that yields tokens. One stream at a time."""

    def __init__(self, model: HfModel, tokenizer: HfTokenizer) -> None:
        """Wrap a loaded model."""
        self._model = model
        self._tokenizer = tokenizer
        self._cache = DynamicCache()
        self._cached_ids: list[int] = []
        self._known_breakers: dict[tuple[str, ...], Breakers] = {}
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

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:  # noqa: ARG002  (the Protocol's signature)
        """Return nothing: every setting is honoured."""
        return ()

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
        num_cached = self._reuse(ids)
        draw = Draw(sampling, ids, breakers=self._breakers(sampling), device=device())
        stop_text = StopText(sampling.stop)
        reply = _ReplyText(self._tokenizer, ids)
        reason: FinishReason = "length"
        for _ in range(sampling.max_new_tokens):
            logits_V = self._logits(ids, cancel)
            if logits_V is None:
                reason = "cancelled"
                break
            token = draw.next(logits_V)
            if token in self._tokenizer.stop_token_ids:
                reason = "stop"
                break
            ids.append(token)
            piece, is_stopped = stop_text.feed(reply.add(token))
            if is_stopped:
                yield Piece(piece, reply.num_tokens, "stop", num_cached)
                return
            if piece:
                yield Piece(piece, reply.num_tokens)
        piece, is_stopped = stop_text.feed(reply.rest())
        if is_stopped:
            reason = "stop"
        yield Piece(piece + stop_text.rest(), reply.num_tokens, reason, num_cached)

    def _reuse(self, ids: list[int]) -> int:
        """Cut the cache down to what agrees with `ids`, all but their last; return how many tokens that are."""
        agreeing = 0
        for old, new in zip(self._cached_ids, ids[:-1], strict=False):
            if old != new:
                break
            agreeing += 1
        if agreeing < len(self._cached_ids):
            if self._crop(len(self._cached_ids) - agreeing):
                del self._cached_ids[agreeing:]
            else:
                self._forget_cache()
        return len(self._cached_ids)

    @torch.inference_mode()
    def _logits(self, ids: list[int], cancel: threading.Event) -> torch.Tensor | None:
        """Return the logits after `ids`, shape (V,); None when `cancel` is set before they are there."""
        while not cancel.is_set():
            done = len(self._cached_ids)
            part = ids[done : done + _PROMPT_TOKENS]
            new_BT = torch.tensor([part], device=device())
            try:
                output = self._model(input_ids=new_BT, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            except BaseException:
                self._forget_cache()  # some of its layers may be longer than others
                raise
            self._cached_ids += part
            if len(self._cached_ids) == len(ids):
                return output.logits[0, -1].float()
        return None

    def _breakers(self, sampling: Sampling) -> Breakers:
        """Return DRY's breakers as tokens; they are looked up once, because it takes a walk over the vocabulary."""
        if not sampling.dry_multiplier:
            return Breakers()
        texts = sampling.dry_sequence_breakers
        if texts not in self._known_breakers:
            vocabulary = self._tokenizer.token_texts()
            self._known_breakers = {texts: find_breakers(texts, vocabulary, self._tokenizer.encode)}
        return self._known_breakers[texts]

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


class _ReplyText:
    """The text of a growing reply, in whole characters.

    Some vocabularies drop the space of a text's first word, so the reply is read behind the end of the prompt.
    """

    def __init__(self, tokenizer: HfTokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tail = list(prompt_ids[-_TAIL_TOKENS:])
        self._ids = list(self._tail)
        self._num_shown = len(tokenizer.decode(self._tail))

    @property
    def num_tokens(self) -> int:
        return len(self._ids) - len(self._tail)

    def add(self, token: int) -> str:
        """Return what a token adds; nothing while a character of several tokens is not complete."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        return "" if text.endswith(_INCOMPLETE) else self._show(text)

    def rest(self) -> str:
        """Return what is left at the end, without a character that was not completed."""
        return self._show(self._tokenizer.decode(self._ids).rstrip(_INCOMPLETE))

    def _show(self, text: str) -> str:
        new = text[self._num_shown :]
        self._num_shown = max(self._num_shown, len(text))
        return new
