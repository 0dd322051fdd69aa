"""Replies drawn while a run goes, and three checks that a loss cannot make: loops, ends, and who speaks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import DynamicCache

from duologue.engine.hf.load import HfModel
from duologue.engine.job import SampleRequest

# V vocabulary
_TEMPERATURE = 0.8  # as people chat by default: the most likely token every time loops in models that do not
_MIN_P = 0.05
_LEAST_REPEATS = 3
_SHORTEST_LOOP_TOKENS = 8
_GRAM = 4
_FEWEST_GRAMS = 12
_LEAST_DISTINCT = 0.5


class Decoder(Protocol):
    """What is needed of a tokenizer."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        ...


@dataclass(frozen=True, slots=True)
class SampledReply:
    """One reply and what the checks say.

    Attributes:
        prompt: What the user said.
        text: The reply.
        num_tokens: Its length, the end token left out.
        has_ended: Whether it ended by itself.
        is_looping: Whether it goes round in circles.
        distinct_share: Different sequences of four tokens over all of them; 1 for a short reply.
        speaks_for_user: Whether it writes the user's next line too.
    """

    prompt: str
    text: str
    num_tokens: int
    has_ended: bool
    is_looping: bool
    distinct_share: float
    speaks_for_user: bool

    @property
    def passes(self) -> bool:
        """Whether all three checks are well."""
        return self.has_ended and not self.is_looping and not self.speaks_for_user and self.num_tokens > 0

    @property
    def faults(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        said = {
            "is empty": not self.num_tokens,
            "does not end": not self.has_ended,
            "goes round in circles": self.is_looping,
            "speaks for the user": self.speaks_for_user,
        }
        return ", ".join(words for words, is_so in said.items() if is_so)


def draw_replies(model: HfModel, decoder: Decoder, request: SampleRequest, *, seed: int) -> tuple[SampledReply, ...]:
    """Return a reply to each prompt, with their checks; the generators that training draws from stay as they are.

    Args:
        model: The causal language model in evaluation mode.
        decoder: Its tokenizer.
        request: The prompts.
        seed: Of the draws: equal weights give equal replies.
    """
    replies = []
    for number, (prompt, prompt_ids) in enumerate(request.prompts):
        ids, has_ended = _draw(model, prompt_ids, request.max_new_tokens, decoder.stop_token_ids, seed + number)
        text = decoder.decode(ids).strip()
        distinct = distinct_share(ids)
        replies.append(
            SampledReply(
                prompt=prompt,
                text=text,
                num_tokens=len(ids),
                has_ended=has_ended,
                is_looping=has_loop(ids) or distinct < _LEAST_DISTINCT,
                distinct_share=distinct,
                speaks_for_user=speaks_for(text, request.user_marks),
            )
        )
    return tuple(replies)


def has_loop(ids: Sequence[int]) -> bool:
    """Return whether some sequence stands three times or more behind itself, over eight tokens or more."""
    for length in range(1, len(ids) // _LEAST_REPEATS + 1):
        needed = max(_LEAST_REPEATS * length, _SHORTEST_LOOP_TOKENS) - length  # tokens equal to the one a length before
        run = 0
        for at in range(length, len(ids)):
            run = run + 1 if ids[at] == ids[at - length] else 0
            if run >= needed:
                return True
    return False


def distinct_share(ids: Sequence[int]) -> float:
    """Return the share of sequences of four tokens that differ (distinct-4, Li 2016); 1 for fewer than twelve."""
    grams = [tuple(ids[at : at + _GRAM]) for at in range(len(ids) - _GRAM + 1)]
    return len(set(grams)) / len(grams) if len(grams) >= _FEWEST_GRAMS else 1.0


def speaks_for(text: str, user_marks: Sequence[str]) -> bool:
    """Return whether a line of the reply begins with a mark of the user, such as the name and a colon."""
    return any(mark and re.search(rf"^[\s*_\"'(\[]*{re.escape(mark)}", text, re.MULTILINE) for mark in user_marks)


@torch.no_grad()
def _draw(
    model: HfModel, prompt_ids: Sequence[int], max_new_tokens: int, stop_ids: frozenset[int], seed: int
) -> tuple[list[int], bool]:
    """The tokens of a reply, and whether it ended by itself."""
    random = torch.Generator().manual_seed(seed)
    device = model.get_input_embeddings().weight.device
    cache = DynamicCache()
    new_BT = torch.tensor([list(prompt_ids)], device=device)
    ids: list[int] = []
    while len(ids) < max_new_tokens:
        output = model(input_ids=new_BT, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = _next(output.logits[0, -1], random)
        if token in stop_ids:
            return ids, True
        ids.append(token)
        new_BT = torch.tensor([[token]], device=device)
    return ids, False


def _next(logits_V: torch.Tensor, random: torch.Generator) -> int:
    share_V = (logits_V.float().cpu() / _TEMPERATURE).softmax(dim=-1)
    share_V[share_V < _MIN_P * share_V.max()] = 0
    return int(torch.multinomial(share_V, 1, generator=random))
