"""What differs when several processes train one run: who it is, its part of a batch, and sums over all of them."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import torch

from duologue.engine.hf.load import HfModel

T = TypeVar("T")


class Processes(Protocol):
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        num_processes: How many train together.
        is_sharded: Whether each holds only a part of the base, so that all must do the same number of forwards.
    """

    rank: int
    num_processes: int
    is_sharded: bool

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints and speaks for all."""
        ...

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a global batch."""
        ...

    def total(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        ...

    def most(self, number: int) -> int:
        """Return the largest of a number over all processes."""
        ...

    def any(self, is_so: bool) -> bool:
        """Return whether it is so in any process."""
        ...

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make every process's gradients the sum over all."""
        ...

    def gathered(self, items: Sequence[T]) -> list[T]:
        """Return the items of all processes."""
        ...

    def all_random(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the random generators' states of all processes by name, for a checkpoint."""
        ...

    def own_random(self, states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return this process's states out of a checkpoint's."""
        ...

    def spread(self, model: HfModel) -> HfModel:
        """Return a model with an adapter on it, ready to be trained by all."""
        ...

    def barrier(self) -> None:
        """Wait until every process is here."""
        ...


class Alone:
    """One process by itself: its part is the whole, and every sum is its own number."""

    rank = 0
    num_processes = 1
    is_sharded = False
    is_main = True

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return all of them."""
        return items

    def total(self, number: float) -> float:
        """Return the number."""
        return number

    def most(self, number: int) -> int:
        """Return the number."""
        return number

    def any(self, is_so: bool) -> bool:
        """Return it."""
        return is_so

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Leave them as they are."""

    def gathered(self, items: Sequence[T]) -> list[T]:
        """Return all of them."""
        return list(items)

    def all_random(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the state."""
        return state

    def own_random(self, states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the state."""
        return states

    def spread(self, model: HfModel) -> HfModel:
        """Return the model."""
        return model

    def barrier(self) -> None:
        """Go on."""
