"""Activations in system memory between forward and backward: slow, and the last thing to try when a batch does not fit.

`torch.autograd.graph.save_on_cpu` would move the frozen weights as well, once per layer that uses them.
"""

import contextlib
from collections.abc import Iterator

import torch

_SMALLEST_BYTES = 2**20  # below it a copy costs more than it frees
_OnHost = tuple[torch.Tensor, torch.device]


@contextlib.contextmanager
def offloaded(model: torch.nn.Module, *, smallest_bytes: int = _SMALLEST_BYTES) -> Iterator[None]:
    """Keep what the forward inside the block saves for its backward in system memory, weights left where they are."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor | _OnHost:
        is_weight = tensor.untyped_storage().data_ptr() in weights
        if is_weight or tensor.numel() * tensor.element_size() < smallest_bytes:
            return tensor
        on_host = torch.empty(tensor.size(), dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        return on_host.copy_(tensor, non_blocking=True), tensor.device

    def unpack(packed: torch.Tensor | _OnHost) -> torch.Tensor:
        if isinstance(packed, torch.Tensor):
            return packed
        on_host, device = packed
        return on_host.to(device, non_blocking=True)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield
