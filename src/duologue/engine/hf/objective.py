"""What a step minimises: how its examples go through the model, and by what their summed loss is divided."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from duologue.engine.hf.batches import micro_batches
from duologue.engine.hf.load import HfModel
from duologue.engine.hf.loss import summed_loss
from duologue.engine.job import Example, TrainingJob

MicroBatch = Any  # what an objective makes of some examples; nobody else looks into it


class Objective(Protocol):
    """A loss that is a sum over examples, so that it does not matter how a step is cut into micro-batches."""

    def size(self, examples: Sequence[Example]) -> int:
        """Return what the summed loss of the examples is divided by."""
        ...

    def micro_batches(self, examples: Sequence[Example], job: TrainingJob) -> Iterator[MicroBatch]:
        """Yield what goes through the model at a time."""
        ...

    def summed(self, model: HfModel, micro_batch: MicroBatch) -> torch.Tensor:
        """Return the summed loss of a micro-batch."""
        ...


class CrossEntropy:
    """Cross entropy in nats, over the trained tokens."""

    def __init__(self, *, pad_token_id: int, device: torch.device) -> None:
        """Take what short rows are filled with, and where the tensors go."""
        self._pad_token_id = pad_token_id
        self._device = device

    def size(self, examples: Sequence[Example]) -> int:
        """Return the number of trained tokens."""
        return sum(example.num_trained_tokens for example in examples)

    def micro_batches(self, examples: Sequence[Example], job: TrainingJob) -> Iterator[MicroBatch]:
        """Yield the examples side by side, or packed."""
        return micro_batches(
            examples,
            micro_batch_size=job.micro_batch_size,
            pack_length_tokens=job.pack_length_tokens,
            pad_token_id=self._pad_token_id,
            device=self._device,
        )

    def summed(self, model: HfModel, micro_batch: MicroBatch) -> torch.Tensor:
        """Return the summed cross entropy."""
        return summed_loss(model, micro_batch)
