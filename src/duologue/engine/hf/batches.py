"""The order of the examples: a pure function of seed and step, so a resumed run sees what an uninterrupted one sees.

A step's examples go through the model in micro-batches: side by side, the shorter ones padded, or packed, one behind
the other in a row. A packed example sees nothing of its neighbours: its positions begin at 0 again, by which
transformers tells the examples of a row apart, in the mask it builds for SDPA and eager attention and in the lengths it
hands to a flash attention kernel alike. `packing_gap` measures that on the model at hand.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from duologue.engine.job import NOT_TRAINED, Example
from duologue.engine.packing import pack

_GROUP_BATCHES = 8  # batches sorted by length together: little padding, still a shuffled order


class Order(Protocol):
    """Which examples make up each optimizer step."""

    def batch(self, step: int) -> list[int]:
        """Return the places of the examples of optimizer step `step` (from 0)."""
        ...


class BatchOrder:
    """Which examples make up each optimizer step, from their lengths alone.

    Every epoch is shuffled anew; inside a group of eight batches examples of similar length share a batch. The last
    batch of an epoch may be smaller.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        """Keep the lengths in tokens; an epoch is ordered when its first batch is asked for."""
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._batches: list[list[int]] = []

    def batch(self, step: int) -> list[int]:
        """Return the places of the examples of optimizer step `step` (from 0), longest first."""
        epoch, at = divmod(step, -(-len(self._lengths) // self._batch_size))
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._ordered(epoch)
        return self._batches[at]

    def _ordered(self, epoch: int) -> list[list[int]]:
        order = list(range(len(self._lengths)))
        shuffle = random.Random(f"{self._seed}/{epoch}").shuffle
        shuffle(order)
        batches: list[list[int]] = []
        group_size = self._batch_size * _GROUP_BATCHES
        for start in range(0, len(order), group_size):
            group = sorted(order[start : start + group_size], key=lambda i: (-self._lengths[i], i))
            batches += [group[at : at + self._batch_size] for at in range(0, len(group), self._batch_size)]
        shuffle(batches)
        return batches


def step_batch(examples: Sequence[Example], step: int, *, batch_size: int, seed: int) -> list[Example]:
    """Return the examples of one optimizer step (from 0), longest first; for many steps keep a `BatchOrder`."""
    order = BatchOrder([example.num_tokens for example in examples], batch_size=batch_size, seed=seed)
    return [examples[place] for place in order.batch(step)]


def micro_batches(
    examples: Sequence[Example],
    *,
    micro_batch_size: int,
    pack_length_tokens: int,
    pad_token_id: int,
    device: torch.device,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the inputs of each forward of a step.

    Args:
        examples: Of the step, in the order of `BatchOrder.batch`.
        micro_batch_size: Examples side by side, when they are not packed.
        pack_length_tokens: Tokens of a packed row; 0 pads instead. A longer example has a row of its own.
        pad_token_id: What to fill up with.
        device: Where the tensors go.
    """
    if not pack_length_tokens:
        for at in range(0, len(examples), micro_batch_size):
            yield collate(examples[at : at + micro_batch_size], pad_token_id=pad_token_id, device=device)
        return
    lengths = [example.num_tokens for example in examples]
    for row in pack(lengths, max(pack_length_tokens, *lengths), seed=0):
        yield collate_packed([examples[place] for place in row], device=device)


def score_batches(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Return the places of examples that are read together: alike in length, so that little is filled up.

    Args:
        lengths: Of the examples, in tokens.
        max_tokens: Of a batch, with what it is filled up with; a longer example has a batch of its own.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if batches and lengths[place] * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def collate(examples: Sequence[Example], *, pad_token_id: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `attention_mask` and `labels`, each of shape (batch, longest), padded on the right.

    Labels are shifted here: `labels[b, t]` is the target predicted from position t.
    """
    longest = max(example.num_tokens for example in examples)
    ids_BT = torch.full((len(examples), longest), pad_token_id, dtype=torch.long)
    mask_BT = torch.zeros((len(examples), longest), dtype=torch.long)
    labels_BT = torch.full((len(examples), longest), NOT_TRAINED, dtype=torch.long)
    for row, example in enumerate(examples):
        length = example.num_tokens
        ids_BT[row, :length] = torch.tensor(example.input_ids)
        mask_BT[row, :length] = 1
        labels_BT[row, : length - 1] = torch.tensor(example.labels[1:])
    batch = {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT}
    return {name: tensor.to(device) for name, tensor in batch.items()}


def collate_packed(examples: Sequence[Example], *, device: torch.device) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `position_ids` and `labels` of one row, each of shape (1, tokens of all examples).

    Labels are shifted inside each example: its last token predicts nothing, least of all its neighbour's first.
    """
    ids = [token for example in examples for token in example.input_ids]
    positions = [position for example in examples for position in range(example.num_tokens)]
    labels = [label for example in examples for label in (*example.labels[1:], NOT_TRAINED)]
    row = {"input_ids": ids, "position_ids": positions, "labels": labels}
    return {name: torch.tensor([numbers], dtype=torch.long, device=device) for name, numbers in row.items()}
