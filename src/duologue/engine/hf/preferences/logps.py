"""Log-probabilities of replies behind their prompts, with a prompt that several replies share read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from duologue.engine.hf.attention import Document, no_mask, takes_documents
from duologue.engine.hf.load import HfModel
from duologue.engine.hf.loss import find_head, head_loss
from duologue.engine.hf.rows import adds_noise
from duologue.engine.preference_job import LEAST_SHARED_TOKENS

Ids = tuple[int, ...]
# B batch, T tokens, H hidden size, N tokens of one reply, V vocabulary, R replies


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and replies to it."""

    prompt: Ids
    replies: tuple[Ids, ...]


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where the tokens stand that predict a reply: row, first of them, and the reply."""

    row: int
    begin: int
    reply: Ids


def reply_logps(model: HfModel, asked: Sequence[Asked], *, pad_token_id: int) -> torch.Tensor:
    """Return the summed log-probability in nats of each reply, of shape (R,), in the order of `asked`.

    Args:
        model: The causal language model with adapter layers inside.
        asked: Prompts with their replies.
        pad_token_id: Fills short rows, where the model cannot take rows without padding.
    """
    weight = model.get_input_embeddings().weight
    if takes_documents(model):
        inputs, spots = _row(asked, weight, shares=not adds_noise(model))
    else:
        inputs, spots = _padded(asked, weight, pad_token_id)
    head = find_head(model)
    if head.fault:
        logits_BTV = model(**inputs, use_cache=False).logits
        return torch.stack([-_cross_entropy(logits_BTV[s.row, s.begin : s.begin + len(s.reply)], s) for s in spots])
    hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
    projection = model.get_output_embeddings()
    sums = []
    for spot in spots:
        hidden_NH = hidden_BTH[spot.row, spot.begin : spot.begin + len(spot.reply)]
        sums.append(-head_loss(projection, hidden_NH, _labels(spot, hidden_NH), head=head))
    return torch.stack(sums)


def _cross_entropy(logits_NV: torch.Tensor, spot: _Spot) -> torch.Tensor:
    return functional.cross_entropy(logits_NV.float(), _labels(spot, logits_NV), reduction="sum")


def _labels(spot: _Spot, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(spot.reply, device=like.device)


def _row(asked: Sequence[Asked], weight: torch.Tensor, *, shares: bool) -> tuple[dict[str, Any], list[_Spot]]:
    """All sequences behind each other; the second reply to a prompt sees the prompt of the first."""
    ids: list[int] = []
    positions: list[int] = []
    documents: list[Document] = []
    spots: list[_Spot] = []
    for question in asked:
        # The last token of the prompt predicts another first token for each reply, so each has it for itself.
        num_shared = len(question.prompt) - 1
        if not shares or num_shared < LEAST_SHARED_TOKENS:
            num_shared = 0
        first = len(ids)
        for number, reply in enumerate(question.replies):
            skipped = num_shared if number else 0
            begin = len(ids)
            sequence = (*question.prompt, *reply)
            ids += sequence[skipped:]
            positions += range(skipped, len(sequence))
            seen = (first, first + skipped) if skipped else (0, 0)
            documents.append(Document(begin, len(ids), *seen))
            spots.append(_Spot(0, begin + len(question.prompt) - 1 - skipped, reply))
    inputs = {
        "input_ids": torch.tensor([ids], device=weight.device),
        "position_ids": torch.tensor([positions], device=weight.device),
        "attention_mask": no_mask(weight),
        "documents": tuple(documents),
    }
    return inputs, spots


def _padded(asked: Sequence[Asked], weight: torch.Tensor, pad_token_id: int) -> tuple[dict[str, Any], list[_Spot]]:
    sequences = list(_sequences(asked))
    longest = max(len(prompt) + len(reply) for prompt, reply in sequences)
    ids_BT = torch.full((len(sequences), longest), pad_token_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    spots: list[_Spot] = []
    for row, (prompt, reply) in enumerate(sequences):
        length = len(prompt) + len(reply)
        ids_BT[row, :length] = torch.tensor((*prompt, *reply))
        mask_BT[row, :length] = 1
        spots.append(_Spot(row, len(prompt) - 1, reply))
    mask = None if bool(mask_BT.all()) else mask_BT.to(weight.device)
    return {"input_ids": ids_BT.to(weight.device), "attention_mask": mask}, spots


def _sequences(asked: Sequence[Asked]) -> Iterator[tuple[Ids, Ids]]:
    for question in asked:
        for reply in question.replies:
            yield question.prompt, reply
