"""A GGUF file in llama.cpp beside the adapter on the base it was trained on: the same conversations through both."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duologue.engine.base import Tokenizer
from duologue.engine.chat_text import folded
from duologue.engine.gguf.metadata import GgufMetadata, read_metadata
from duologue.engine.gguf.server import LlamaServer, Loading, seen_gpus
from duologue.engine.gguf.slots import Wearing
from duologue.engine.gguf.tokenizer import GgufTokenizer
from duologue.engine.job import Adapter, Event, Example, OnEvent
from duologue.engine.merging import Parity
from duologue.engine.neutral import neutralise
from duologue.messages import Message

# llama.cpp tells probabilities as JSON. A thousand tokens of them take 15 ms, a whole vocabulary of 49,152 takes 0.7 s.
_NUM_TOLD = 1000
_MAX_POSITIONS = 256  # each is one token of work for llama.cpp
_LEAST_REST = 1e-7  # what is left of a probability of 1 in float32
_FORCED = 1e6  # a logit bias no other token can reach
_MISSED_FRACTION = 0.1  # of the ends, which rounding may move where another token was nearly as likely
_SPARE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class _Expected:
    rows: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # ids, and the places that foretell the replies
    logprobs: tuple[NDArray[np.float32], ...]  # of each row, places x vocabulary
    tokenizer: Tokenizer
    prompts: Sequence[Sequence[Message]]


@dataclass(slots=True)
class _Tally:
    kl: float = 0.0
    largest: float = 0.0
    num_same: int = 0
    num_positions: int = 0
    num_ends: int = 0
    num_missed: int = 0


class _Judged(LlamaServer):
    """llama.cpp with a GGUF file, asked for what it makes of a prompt by itself."""

    worn: Wearing = ()
    _plain_id: int | None = None

    def chat_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids that llama.cpp's own chat endpoint makes of a conversation with the template in the file."""
        rows = [{"role": message.role, "content": message.content} for message in messages]
        text = self._post("/apply-template", {"messages": rows})["prompt"]
        return tuple(self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"])

    def next_token(self, ids: Sequence[int]) -> dict[int, float]:
        """Return the log-probabilities of the likeliest tokens, the best first.

        They are the model's own, whatever is drawn. A plain word is drawn by force, because llama.cpp tells nothing of
        a token that is only a part of a character.
        """
        if self._plain_id is None:
            self._plain_id = self.tokenize(" a")[-1]
        forced = [[self._plain_id, _FORCED]]
        choice = self._greedy(ids, {"max_tokens": 1, "n_probs": _NUM_TOLD, "logit_bias": forced})
        rows = choice["logprobs"]["content"][0]["top_logprobs"]
        return {row["id"]: row["logprob"] for row in rows}

    def ends_with(self, ids: Sequence[int], token_id: int) -> bool:
        """Return whether a reply in which this token is drawn ends there."""
        choice = self._greedy(ids, {"max_tokens": 4, "logit_bias": [[token_id, _FORCED]]})
        return bool(choice["finish_reason"] == "stop")

    def _greedy(self, ids: Sequence[int], more: dict[str, Any]) -> dict[str, Any]:
        request = {"prompt": list(ids), "temperature": 0.0, "samplers": ["temperature"], "cache_prompt": True, **more}
        choice: dict[str, Any] = self.complete(request, wearing=self.worn)["choices"][0]
        return choice


def compare(
    adapter: Adapter,
    files: Sequence[Path],
    examples: Sequence[Example],
    prompts: Sequence[Sequence[Message]],
    *,
    lora: Path | None = None,
    on_event: OnEvent = lambda _: None,
) -> tuple[Parity, ...]:
    """Return how near each GGUF file is, in llama.cpp, to the adapter on its own base.

    The KL divergence is over the thousand tokens that llama.cpp finds likeliest and all others together as one. Joining
    outcomes never raises a divergence, so this is a lower bound; the same bound is what the bars were measured with.

    Args:
        adapter: The reference, on the base as it was quantised for training.
        files: Exported models.
        examples: Conversations, best those that were never trained on; their replies are compared token by token.
        prompts: Messages whose rendered ids are compared: as duologue renders them, and as llama.cpp's own chat
            endpoint does.
        lora: The adapter as a GGUF file, put on each of them.
        on_event: Receives `preparing` events with `done` and `total` tokens.

    Raises:
        EngineError: A model cannot be loaded, or there is nothing to compare.
    """
    from duologue.engine.hf.parity import reference  # torch is not needed to chat

    found = reference(adapter, examples, max_positions=_MAX_POSITIONS)
    logprobs = tuple(_log_softmax(logits.numpy()) for logits in found.logits)
    rows = tuple((row.input_ids, row.places) for row in found.rows)
    expected = _Expected(rows, logprobs, found.tokenizer, prompts)
    report = _reporter(len(files) * sum(len(places) for _, places in rows), on_event)
    return tuple(_compared(file, lora, expected, report) for file in files)


def _reporter(total: int, on_event: OnEvent) -> Callable[[], None]:
    """Return what is called after each compared token."""
    started, done = time.monotonic(), 0

    def report() -> None:
        nonlocal done
        done += 1
        values: dict[str, float | int | str] = {"what": "comparing", "done": done, "total": total}
        on_event(Event("preparing", values={**values, "seconds": time.monotonic() - started}))

    return report


def _compared(file: Path, lora: Path | None, expected: _Expected, report: Callable[[], None]) -> Parity:
    metadata, tokenizer, rows = read_metadata(file), expected.tokenizer, expected.rows
    prompts = [tokenizer.render(messages, add_generation_prompt=True) for messages in expected.prompts]
    longest = max(len(ids) for ids in (*(ids for ids, _ in rows), *prompts))
    loras = (lora,) if lora else ()
    server = _Judged(Loading(file, loras, context_tokens=longest + _SPARE_TOKENS, uses_gpu=bool(seen_gpus())))
    server.worn = (1.0,) * len(loras)
    try:
        own = GgufTokenizer(metadata, server, where=str(file))
        is_equal = _has_same_ends(metadata, tokenizer, rows) and all(
            _has_same_ids(server, own, ids, messages) for ids, messages in zip(prompts, expected.prompts, strict=True)
        )
        first_ids, first_places = rows[0]
        begun = first_ids[: first_places[0] + 1]
        is_ending = all(server.ends_with(begun, token_id) for token_id in sorted(tokenizer.stop_token_ids))
        tally = _Tally()
        for (ids, places), expected_PV in zip(rows, expected.logprobs, strict=True):
            for at, expected_V in zip(places, expected_PV, strict=True):
                _count(tally, server, ids[: at + 1], expected_V, tokenizer.stop_token_ids)
                report()
    finally:
        server.close()
    return Parity(
        mean_kl_nats=max(0.0, tally.kl / tally.num_positions),
        greedy_agreement=tally.num_same / tally.num_positions,
        num_prompts=len(rows),
        num_positions=tally.num_positions,
        ids_equal=is_equal,
        stops=is_ending and tally.num_missed <= _MISSED_FRACTION * tally.num_ends,
        max_logit_difference=tally.largest,
    )


def _count(
    tally: _Tally, server: _Judged, ids: Sequence[int], expected_V: NDArray[np.float32], stops: frozenset[int]
) -> None:
    found = server.next_token(ids)
    wanted, got = int(expected_V.argmax()), next(iter(found))
    tally.num_positions += 1
    if wanted in stops:
        tally.num_ends += 1
        tally.num_missed += got not in stops
    known = [token_id for token_id in found if token_id < len(expected_V)]  # a vocabulary may be filled up at its end
    tally.num_same += wanted == got
    ours = expected_V[known].astype(np.float64)
    theirs = np.maximum(np.array([found[token_id] for token_id in known]), math.log(_LEAST_REST) * 4)
    tally.largest = max(tally.largest, float(np.abs(ours - theirs).max()))
    rest, their_rest = (max(_LEAST_REST, 1.0 - float(np.exp(each).sum())) for each in (ours, theirs))
    tally.kl += float((np.exp(ours) * (ours - theirs)).sum()) + rest * math.log(rest / their_rest)


def _has_same_ends(
    metadata: GgufMetadata, tokenizer: Tokenizer, rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> bool:
    """Tell whether a reply ends at the same tokens, and beyond them only at some that no conversation holds."""
    more = metadata.stop_token_ids - tokenizer.stop_token_ids
    own = {token_id for token_id, text in metadata.control_tokens.items() if text == metadata.eos_token}
    return (
        tokenizer.stop_token_ids <= metadata.stop_token_ids
        and not any(more & set(ids) for ids, _ in rows)
        and bool(own & tokenizer.stop_token_ids)
    )


def _has_same_ids(server: _Judged, own: GgufTokenizer, ids: Sequence[int], messages: Sequence[Message]) -> bool:
    if own.render(messages, add_generation_prompt=True) != tuple(ids):
        return False
    # Where the template has limits, duologue meets them before it fills it, and other programs do not: what they get
    # here is what the template carries. A primer that training put behind the header is duologue's alone.
    if own.traits.reply_primer:
        return True
    plain = [
        Message(each.role, neutralise(each.content, own.special_tokens))
        for each in folded(messages, own.traits, before_reply=True)
    ]
    return server.chat_ids(plain) == tuple(ids)


def _log_softmax(logits_PV: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = logits_PV.max(-1, keepdims=True)
    shifted: NDArray[np.float32] = logits_PV - highest
    sums: NDArray[np.float32] = np.log(np.exp(shifted.astype(np.float64)).sum(-1, keepdims=True)).astype(np.float32)
    return shifted - sums
