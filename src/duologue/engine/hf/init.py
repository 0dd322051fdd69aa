"""How an adapter starts: at the base's largest singular values (PiSSA), or at what quantisation lost (LoftQ)."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import bitsandbytes.functional as bits
import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from duologue.engine.hf.load import HfModel, load_model
from duologue.engine.job import TrainingJob
from duologue.errors import EngineError

_NAME = "default"
_LARGEST_EXACT = 1024  # the smaller side of a matrix; beyond it the singular values are found by a random projection
_NUM_ITERATIONS = 8  # of that projection; PiSSA's authors use 4 to 16
# O outputs, I inputs, R rank


def start_pissa(layers: Iterable[HfModel], *, rank: int) -> None:
    """Start the first half of each adapter at the base's largest singular values and hold the second at their negative.

    So the adapter starts at zero, on a base of any format, and training moves what PiSSA moves (Meng 2024).

    Args:
        layers: Adapted layers, of rank 2 x `rank`.
        rank: Singular values that are trained.
    """
    for layer in layers:
        a, b = layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight
        a_RI, b_OR = _halves(_base_weight(layer), rank=rank, scale=layer.scaling[_NAME])
        a.data.copy_(torch.cat([a_RI, a_RI]))
        b.data.copy_(torch.cat([b_OR, -b_OR], dim=1))
        a.register_hook(_first_rows(rank))
        b.register_hook(_first_columns(rank))


def start_loftq(model: HfModel, job: TrainingJob) -> None:
    """Start each adapter at the largest singular values of what 4-bit quantisation took from the layer (Li 2023).

    One round: the quantised weights stay as they are, so the adapter is valid on the base as it was loaded.

    Raises:
        EngineError: The base is not quantised to 4 bit.
    """
    if job.base.quantization != "nf4":
        raise EngineError(
            f"LoftQ starts at what 4-bit quantisation lost, and the base is held as '{job.base.quantization}'",
            where="lora.init_weights",
            needed='model.quantization = "nf4"',
            action='Set model.quantization to "nf4", or lora.init_weights to "default".',
        )
    exact = _exact_weights(job)
    layers: list[tuple[str, HfModel]] = [
        (name, module) for name, module in model.get_base_model().named_modules() if isinstance(module, LoraLayer)
    ]
    for name, layer in layers:
        lost_OI = exact(name) - _base_weight(layer)
        a_RI, b_OR = _halves(lost_OI, rank=job.lora.rank, scale=layer.scaling[_NAME])
        layer.lora_A[_NAME].weight.data.copy_(a_RI)
        layer.lora_B[_NAME].weight.data.copy_(b_OR)


def fixes_half(job: TrainingJob) -> bool:
    """Tell whether half of each matrix must never move, not by weight decay either."""
    return job.lora.init_weights == "pissa"


def _halves(weight_OI: torch.Tensor, *, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return A and B with scale x B A the best approximation of the weight at this rank."""
    if min(weight_OI.shape) <= _LARGEST_EXACT:
        left, values, right = torch.linalg.svd(weight_OI, full_matrices=False)
    else:
        left, values, right_t = torch.svd_lowrank(weight_OI, q=min(2 * rank, *weight_OI.shape), niter=_NUM_ITERATIONS)
        right = right_t.T
    roots_R = (values[:rank] / scale).sqrt()
    a_RI, b_OR = roots_R[:, None] * right[:rank], left[:, :rank] * roots_R
    missing = rank - len(roots_R)  # a layer narrower than the rank
    if missing > 0:
        a_RI, b_OR = nn.functional.pad(a_RI, (0, 0, 0, missing)), nn.functional.pad(b_OR, (0, missing))
    return a_RI, b_OR


def _base_weight(layer: HfModel) -> torch.Tensor:
    """Return the weights that the layer multiplies with, in float32."""
    base: HfModel = layer.get_base_layer()
    weight = base.weight
    if (state := getattr(weight, "quant_state", None)) is not None:
        dequantised: torch.Tensor = bits.dequantize_4bit(weight.data, state)
        return dequantised.float()
    if weight.dtype is torch.int8:
        scales = weight.SCB if weight.SCB is not None else base.state.SCB  # moved there by the first forward
        weight = weight.data.float() * (scales.float() / 127)[:, None]
    exact: torch.Tensor = weight.data.float()
    return exact


def _exact_weights(job: TrainingJob) -> Callable[[str], torch.Tensor]:
    """Return a function from a layer's name to its weights before quantisation.

    The base is loaded once more as it is on disk, into system memory.
    """
    exact = load_model(replace(job.base, quantization="none"), on=torch.device("cpu"))

    def weight(name: str) -> torch.Tensor:
        values: torch.Tensor = exact.get_submodule(name).weight.data
        return values.float()

    return weight


def _first_rows(rank: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def keep(gradient: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(gradient[:rank], (0, 0, 0, len(gradient) - rank))

    return keep


def _first_columns(rank: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def keep(gradient: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(gradient[:, :rank], (0, gradient.shape[1] - rank))

    return keep
