"""The state of any optimizer as tensors and numbers, and back, each with its own type and on its own device.

`load_state_dict` casts to the type of the parameters, and bitsandbytes keeps large states in memory that the GPU can
page out; so what exists is filled, and only the rest is set.
"""

from collections.abc import Callable
from typing import Any

import torch
from bitsandbytes.optim.optimizer import Optimizer8bit

Numbers = dict[str, dict[str, Any]]


def read_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Numbers]:
    """Return the tensors of the state by `{parameter index}.{name}`, and its plain numbers by index and name."""
    tensors: dict[str, torch.Tensor] = {}
    numbers: Numbers = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, numbers


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], numbers: Numbers) -> None:
    """Give a fresh optimizer over the same parameters a state that was read."""
    places = _places(optimizer)
    by_index: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        by_index.setdefault(int(index), {})[name] = value
    for place, (group_index, at, parameter) in enumerate(places):
        found, plain = by_index.get(place, {}), numbers.get(str(place), {})
        if not found and not plain:
            continue
        if isinstance(optimizer, Optimizer8bit):
            with torch.no_grad():
                optimizer.init_state(optimizer.param_groups[group_index], parameter, group_index, at)
        state = optimizer.state[parameter]
        for name, value in found.items():
            held = state.get(name)
            if isinstance(held, torch.Tensor) and held.shape == value.shape and held.dtype == value.dtype:
                held.copy_(value)
            else:
                is_counter = value.ndim == 0 and not optimizer.param_groups[group_index].get("fused")
                state[name] = value.clone() if is_counter else value.to(parameter.device, copy=True)
        state.update(plain)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of the state; before the first step what it will be, for Adam's two moments."""
    tensors, _ = read_optimizer(optimizer)
    if tensors:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    per_number = _bytes_per_number(optimizer)
    return sum(2 * per_number(parameter) * parameter.numel() for parameter in _parameters(optimizer))


def _bytes_per_number(optimizer: torch.optim.Optimizer) -> Callable[[torch.Tensor], int]:
    if not isinstance(optimizer, Optimizer8bit):
        return lambda parameter: parameter.element_size()
    settings: Any = optimizer
    is_small = settings.args.optim_bits == 8
    smallest = settings.args.min_8bit_size  # below it the moments stay in 32 bit
    return lambda parameter: 1 if is_small and parameter.numel() >= smallest else 4


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for _, _, parameter in _places(optimizer)]


def _places(optimizer: torch.optim.Optimizer) -> list[tuple[int, int, torch.Tensor]]:
    return [
        (group_index, at, parameter)
        for group_index, group in enumerate(optimizer.param_groups)
        for at, parameter in enumerate(group["params"])
    ]
