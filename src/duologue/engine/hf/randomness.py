"""The state of every random generator that training may draw from, as tensors that a checkpoint can hold."""

import math
import random

import numpy as np
import torch

_CUDA = "cuda"  # the first GPU; further ones are cuda1, cuda2, ...


def seed_all(seed: int) -> None:
    """Set the generators of Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, torch.Tensor]:
    """Return the states of all generators by name."""
    _, numbers, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "cpu": torch.get_rng_state(),
        "python": torch.tensor(numbers, dtype=torch.int64),
        "python_gauss": torch.tensor(math.nan if gauss is None else gauss, dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_position": torch.tensor([position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor(cached, dtype=torch.float64),
    }
    if torch.cuda.is_available():
        for index, cuda in enumerate(torch.cuda.get_rng_state_all()):
            state[f"{_CUDA}{index or ''}"] = cuda
    return state


def restore_random(state: dict[str, torch.Tensor]) -> None:
    """Set all generators to a state; a GPU that is not there is left out."""
    torch.set_rng_state(state["cpu"])
    gauss = float(state["python_gauss"])
    random.setstate((3, tuple(state["python"].tolist()), None if math.isnan(gauss) else gauss))
    position, has_gauss = state["numpy_position"].tolist()
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, float(state["numpy_gauss"])))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if (name := f"{_CUDA}{index or ''}") in state:
                torch.cuda.set_rng_state(state[name], index)
