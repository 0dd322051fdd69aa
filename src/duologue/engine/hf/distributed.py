"""Several processes that train one run: how they meet, what they send each other, and what happens when one is lost.

Every process holds the whole adapter and its optimizer; after each step's backward passes the adapter's gradients are
summed over all of them. The loss of a step is divided by the trained tokens of the whole global batch before that, so
the sum is the gradient that one process alone would have found (data parallelism without the mean over processes, which
is wrong where their tokens differ in number). The frozen base is whole in every process, or sharded over them (FSDP2):
then each holds a part of every block and gathers a block while it is used.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from duologue.engine.hf.fast_path import usable_cores
from duologue.engine.hf.load import HfModel
from duologue.engine.job import Place
from duologue.errors import EngineError, InterruptedRun

T = TypeVar("T")
PATIENCE = datetime.timedelta(minutes=30)  # a process may load, evaluate or save for so long before it counts as lost


class Together:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        num_processes: How many train together.
        is_sharded: Whether each holds only a part of the base.
    """

    def __init__(self, place: Place, *, is_sharded: bool = False) -> None:
        """Take a place whose process group is open."""
        self.rank = place.rank
        self.num_processes = place.num_processes
        self.is_sharded = is_sharded

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints and speaks for all."""
        return self.rank == 0

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a global batch; the longest come first, so every n-th is an even part."""
        return items[self.rank :: self.num_processes]

    def total(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        return float(self._reduced(torch.tensor(number, dtype=torch.float64), dist.ReduceOp.SUM))

    def any(self, is_so: bool) -> bool:
        """Return whether it is so in any process."""
        return bool(self._reduced(torch.tensor(int(is_so)), dist.ReduceOp.MAX))

    def most(self, number: int) -> int:
        """Return the largest of a number over all processes."""
        return int(self._reduced(torch.tensor(number), dist.ReduceOp.MAX))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make every process's gradients the sum over all; a process without examples adds nothing."""
        trained = list(parameters)
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten().float() for p in trained if p.grad is not None])
        self._reduced(flat, dist.ReduceOp.SUM)
        at = 0
        for parameter in trained:
            assert parameter.grad is not None
            part = flat[at : at + parameter.numel()]
            parameter.grad.copy_(part.view_as(parameter))
            at += parameter.numel()

    def gathered(self, items: Sequence[T]) -> list[T]:
        """Return the items of all processes, in the order of their ranks."""
        found: list[Any] = [None] * self.num_processes
        with peers_expected():
            dist.all_gather_object(found, list(items))
        return [item for part in found for item in part]

    def all_random(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the generators' states of all processes by name, for a checkpoint."""
        found = self.gathered([{name: tensor.cpu() for name, tensor in state.items()}])
        return {f"{_prefix(rank)}{name}": tensor for rank, part in enumerate(found) for name, tensor in part.items()}

    def own_random(self, states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return this process's generators' states out of a checkpoint's."""
        prefix = _prefix(self.rank)
        if not prefix:
            return {name: tensor for name, tensor in states.items() if "/" not in name}
        return {name.removeprefix(prefix): tensor for name, tensor in states.items() if name.startswith(prefix)}

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.total(0.0)

    def share(self, thing: T) -> T:
        """Return what the main process gave, in every process."""
        box = [thing]
        with peers_expected():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def spread(self, model: HfModel) -> HfModel:
        """Return a model with an adapter on it, ready for this group: one adapter for all, the base sharded if asked.

        Raises:
            EngineError: An int8 base is to be sharded.
        """
        adapter = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in adapter:
            with peers_expected():
                dist.broadcast(parameter.data, src=0)
        if self.is_sharded:
            _shard(model, adapter, num_processes=self.num_processes)
        return model

    def _reduced(self, tensor: torch.Tensor, operation: Any) -> torch.Tensor:  # noqa: ANN401 (torch has no type for it)
        with peers_expected():
            dist.all_reduce(tensor, op=operation)
        return tensor


@contextmanager
def group(place: Place, *, is_sharded: bool = False) -> Iterator[Together]:
    """Meet the other processes; part from them at the end.

    Raises:
        InterruptedRun: Not all of them came.
    """
    backend = "cpu:gloo"
    threads = torch.get_num_threads()
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    else:  # threads that wait for a core which another process uses cost more than they bring
        torch.set_num_threads(max(1, usable_cores() // place.num_processes))
    with peers_expected():
        dist.init_process_group(
            backend,
            init_method=place.init_method,
            rank=place.rank,
            world_size=place.num_processes,
            timeout=PATIENCE,
        )
    try:
        yield Together(place, is_sharded=is_sharded)
    finally:
        dist.destroy_process_group()
        torch.set_num_threads(threads)


@contextmanager
def peers_expected() -> Iterator[None]:
    """Say it in words when another process is gone.

    Raises:
        InterruptedRun: It is; the last checkpoint is whole.
    """
    try:
        yield
    except RuntimeError as error:  # torch raises this for a closed connection and its subclass DistError for the rest
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise InterruptedRun(
            f"another process of this run is gone ({str(error).strip().splitlines()[0][:160]})",
            needed="all of them",
            action="Look at its last words above, then go on from the last checkpoint with the same number of "
            "processes: duologue train FOLDER --resume --num-processes N",
        ) from error


def _shard(model: HfModel, adapter: Sequence[torch.nn.Parameter], *, num_processes: int) -> None:
    """Shard the frozen weights of every block over the processes (FSDP2); adapter, embedding and head stay whole."""
    if getattr(model.get_base_model(), "is_loaded_in_8bit", False):
        raise EngineError(
            "an int8 base cannot be sharded: its layers keep their scales in the weight itself",
            where="model.quantization",
            needed='"nf4" or "none"',
        )
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (num_processes,))
    blocks = model.get_base_model().get_decoder().layers
    for block in blocks:  # each by itself: by default such a one would stay gathered after its first use
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=set(adapter))


def _prefix(rank: int) -> str:
    return f"{rank}/" if rank else ""
