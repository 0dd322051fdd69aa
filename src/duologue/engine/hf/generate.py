"""Generation with transformers, one token at a time.

The loop is our own: cancelling takes effect within one token, and the cache of the last prompt serves the next.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from transformers import DynamicCache

from duologue.engine.active import active_constraints
from duologue.engine.base import Piece, Sampling
from duologue.engine.hf.batches import collate, score_batches
from duologue.engine.hf.breakers import Breakers, find_breakers
from duologue.engine.hf.draw import Draw
from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer
from duologue.engine.hf.loss import example_losses
from duologue.engine.hf.merge import attach
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.job import Adapter, BaseModel, Example
from duologue.engine.stop_text import StopText
from duologue.errors import EngineError
from duologue.messages import FinishReason

_SCORE_TOKENS = 4096  # of a batch, with what it is filled up with; a longer example has one of its own
_PROMPT_TOKENS = 512  # a cancelled prompt stops at the next multiple
_TAIL_TOKENS = 4
_INCOMPLETE = "\ufffd"  # what stands for the first bytes of a character


class Seat(Protocol):
    """A generator's way to a model, which it may share with others."""

    def turn(self) -> AbstractContextManager[HfModel]:
        """Have the model to oneself, with the right adapter on it."""
        ...

    def make_room(self) -> bool:
        """Free what others keep in memory without using it now; return False when there is nothing."""
        ...

    def leave(self) -> None:
        """Need the model no more."""
        ...


class OwnSeat:
    """The way to a model that nobody else uses."""

    def __init__(self, model: HfModel) -> None:
        """Wrap a loaded model."""
        self._model = model

    def turn(self) -> AbstractContextManager[HfModel]:
        """Return the model."""
        return nullcontext(self._model)

    def make_room(self) -> bool:
        """Return False: nobody else keeps anything."""
        return False

    def leave(self) -> None:
        """Free the model."""
        del self._model


class HfGenerator:
    """A loaded model that yields tokens. One stream at a time."""

    def __init__(self, model: HfModel, tokenizer: HfTokenizer, *, seat: Seat | None = None) -> None:
        """Wrap a loaded model; its seat is needed where it is shared."""
        self._context_tokens = int(model.config.max_position_embeddings)
        self._seat = seat or OwnSeat(model)
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
        return self._context_tokens

    @property
    def num_cached_tokens(self) -> int:
        """Tokens of the last prompt and reply whose keys and values are kept for the next prompt."""
        return len(self._cached_ids)

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
                self.forget_cache()
                raise EngineError("memory ran out while replying", action="Lower generation.context_tokens.") from error

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return what would hold the reply to a grammar; every sampler is honoured."""
        return active_constraints(sampling)

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        """Return the negative log-likelihood in nats over its trained tokens, and their number, of each example.

        The first token of an example follows nothing and is not counted.

        Raises:
            EngineError: An example is longer than the context, or memory ran out.
        """
        for example in examples:
            if example.num_tokens > self.context_tokens:
                raise EngineError(
                    f"the example has {example.num_tokens} tokens",
                    where=example.source,
                    needed=f"at most {self.context_tokens}",
                )
        nats = [0.0] * len(examples)
        try:
            for places in score_batches([example.num_tokens for example in examples], max_tokens=_SCORE_TOKENS):
                part = [examples[place] for place in places]
                batch = collate(part, pad_token_id=self._tokenizer.pad_token_id, device=device())
                with self._lock, self._seat.turn() as model, torch.inference_mode():
                    losses = example_losses(model, batch).tolist()
                for place, loss in zip(places, losses, strict=True):
                    nats[place] = loss
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise EngineError(
                "memory ran out while scoring", action="Close other programs, or lower data.max_length_tokens."
            ) from error
        return tuple((nats[place], example.num_scored_tokens) for place, example in enumerate(examples))

    def close(self) -> None:
        """Free the model."""
        self.forget_cache()
        self._seat.leave()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def forget_cache(self) -> None:
        """Free the keys and values of the last prompt; the next prompt is read from its beginning."""
        self._cache = DynamicCache()
        self._cached_ids = []

    def _stream(self, ids: list[int], sampling: Sampling, cancel: threading.Event) -> Iterator[Piece]:
        with self._seat.turn():
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
                self.forget_cache()
        return len(self._cached_ids)

    @torch.inference_mode()
    def _logits(self, ids: list[int], cancel: threading.Event) -> torch.Tensor | None:
        """Return the logits after `ids`, shape (V,); None when `cancel` is set before they are there."""
        while not cancel.is_set():
            try:
                with self._seat.turn() as model:
                    logits_V = self._read_on(model, ids)
            except (torch.OutOfMemoryError, MemoryError):
                if not self._seat.make_room():
                    raise
                continue  # from the beginning, with more room
            if logits_V is not None:
                return logits_V
        return None

    def _read_on(self, model: HfModel, ids: list[int]) -> torch.Tensor | None:
        """Read the next part of `ids`; return the logits, shape (V,), behind the last part."""
        done = len(self._cached_ids)
        part = ids[done : done + _PROMPT_TOKENS]
        new_BT = torch.tensor([part], device=device())
        try:
            output = model(input_ids=new_BT, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        except BaseException:
            self.forget_cache()  # some of its layers may be longer than others
            raise
        self._cached_ids += part
        return output.logits[0, -1].float() if len(self._cached_ids) == len(ids) else None

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
