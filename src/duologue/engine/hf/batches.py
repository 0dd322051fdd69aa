"""The order of the examples: a pure function of seed and step, so a resumed run sees what an uninterrupted one sees."""

import random
from collections.abc import Sequence

import torch

from duologue.engine.base import NOT_TRAINED, Example

_GROUP_BATCHES = 8  # batches sorted by length together: little padding, still a shuffled order


def step_batch(examples: Sequence[Example], step: int, *, batch_size: int, seed: int) -> list[Example]:
    """Return the examples of optimizer step `step` (from 0), longest first.

    Every epoch is shuffled anew; inside a group of eight batches examples of similar length share a batch. The last
    batch of an epoch may be smaller.
    """
    steps_per_epoch = -(-len(examples) // batch_size)
    epoch, at = divmod(step, steps_per_epoch)
    return [examples[index] for index in _epoch_batches(examples, epoch, batch_size, seed)[at]]


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


def _epoch_batches(examples: Sequence[Example], epoch: int, batch_size: int, seed: int) -> list[list[int]]:
    order = list(range(len(examples)))
    shuffle = random.Random(f"{seed}/{epoch}").shuffle
    shuffle(order)
    batches: list[list[int]] = []
    group_size = batch_size * _GROUP_BATCHES
    for start in range(0, len(order), group_size):
        group = sorted(order[start : start + group_size], key=lambda i: (-examples[i].num_tokens, i))
        batches += [group[at : at + batch_size] for at in range(0, len(group), batch_size)]
    shuffle(batches)
    return batches
