"""Frozen layers with an adapter, computed in fewer passes over memory: the same mathematics, exact up to rounding.

Three parts, each put in place only where it applies, and tried against the layer it replaces:

- A linear layer and its adapter are one function. Layers that read the same input (query, key and value; gate and up)
  are one function together, so their first matrices are one product, and so are the parts of the input's gradient.
- RMSNorm with a frozen weight.
- The gate of a feed-forward block, silu(gate) x up.

Nothing is written in a kernel language; it is torch on any device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import bitsandbytes.functional as bits
import torch
from bitsandbytes.nn.modules import Linear4bit
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit
from torch import nn
from torch.nn import functional

from duologue.engine.hf.load import Context, HfModel

_NAME = "default"
_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
# N tokens, I inputs, O outputs, R rank


def fuse(model: HfModel) -> tuple[str, ...]:
    """Put the quick functions in place in a model with a fresh adapter; return what could not be, in sentences."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    reasons = {_fault(layer) for layer in layers}
    for module in model.modules():
        children = dict(module.named_children())
        for names in _SAME_INPUT:
            found = [children[name] for name in names if isinstance(children.get(name), LoraLayer)]
            if len(found) == len(names) and not any(_fault(layer) for layer in found):
                _join(found)
    for layer in layers:
        if not _fault(layer) and "forward" not in vars(layer):
            _join([layer])
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            _replace(module, _norm_forward, width=_width(module))
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            _replace(module, _gated_forward, width=getattr(module.gate_proj, "in_features", 0))
    return tuple(f"linear layers and adapters are computed apart: {reason}" for reason in sorted(reasons) if reason)


def num_fused(model: HfModel) -> dict[str, int]:
    """Return how many layers of each kind are computed by a quick function."""
    counts = {"linear": 0, "norm": 0, "gate": 0}
    for module in model.modules():
        if "forward" in vars(module):
            kind = "linear" if isinstance(module, LoraLayer) else "gate" if hasattr(module, "act_fn") else "norm"
            counts[kind] += 1
    return counts


def _fault(layer: LoraLayer) -> str:
    """Return why a layer and its adapter cannot be one function; empty when they can."""
    base = layer.get_base_layer()
    if layer.lora_variant:
        return "DoRA"
    if any(isinstance(dropout, nn.Dropout) and dropout.p > 0 for dropout in layer.lora_dropout.values()):
        return "dropout at the adapter's input"
    if type(layer) is LoraLinear and type(base) is nn.Linear:
        return ""
    if type(layer) is LoraLinear4bit and isinstance(base, Linear4bit):
        return ""
    return f"the base's layers are {type(base).__name__}"


# ------------------------------------------------------------------------------------------------------------- linear


@dataclass(slots=True)
class _Joined:
    """Layers that read the same input, and their outputs from when the first of them was called."""

    layers: list[Any]
    input: torch.Tensor | None = None
    outputs: dict[int, torch.Tensor] = field(default_factory=dict)

    def output(self, place: int, x: torch.Tensor) -> torch.Tensor:
        if self.input is not x or place not in self.outputs:
            self.outputs = dict(enumerate(_adapted(self.layers, x)))
            self.input = x
        output = self.outputs.pop(place)
        if not self.outputs:
            self.input = None
        return output


def _join(layers: Sequence[Any]) -> None:
    joined = _Joined(list(layers))
    for place, layer in enumerate(layers):
        layer.forward = MethodType(_linear_forward(joined, place, type(layer).forward), layer)


def _linear_forward(joined: _Joined, place: int, plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def forward(layer: HfModel, x: torch.Tensor, *args: object, **settings: object) -> torch.Tensor:
        if args or settings or any(other.disable_adapters or other.merged for other in joined.layers):
            return plain(layer, x, *args, **settings)
        return joined.output(place, x)

    return forward


def _adapted(layers: Sequence[Any], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    matrices = [layer.lora_A[_NAME].weight for layer in layers] + [layer.lora_B[_NAME].weight for layer in layers]
    with torch.autocast(kind, enabled=False):
        outputs: tuple[torch.Tensor, ...] = _Adapted.apply(
            x.to(dtype),
            [layer.get_base_layer() for layer in layers],
            [layer.scaling[_NAME] for layer in layers],
            *matrices,
        )
    return outputs


def _weight(base: HfModel, dtype: torch.dtype) -> torch.Tensor:
    weight: HfModel = base.weight
    if isinstance(base, Linear4bit):
        # A sharded weight that was gathered for its use is a plain tensor; the layer keeps the state as well.
        weight = bits.dequantize_4bit(weight.data, getattr(weight, "quant_state", None) or base.quant_state)
    typed: torch.Tensor = weight.to(dtype)
    return typed


class _Adapted(torch.autograd.Function):
    """x -> x W' + scale x A' B' for each of several frozen layers W with adapters (A, B) on one input."""

    @staticmethod
    def forward(
        ctx: Context, x: torch.Tensor, bases: list[Any], scales: list[float], *matrices: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        x_NI = x.reshape(-1, x.shape[-1])
        firsts, seconds = matrices[: len(bases)], matrices[len(bases) :]
        a_RI = _cat(firsts, x.dtype)
        inner_NR = x_NI @ a_RI.t()
        outputs = []
        parts = inner_NR.split([len(first) for first in firsts], dim=1)
        for base, scale, second, part_NR in zip(bases, scales, seconds, parts, strict=True):
            bias = None if base.bias is None else base.bias.to(x.dtype)
            output_NO = functional.linear(x_NI, _weight(base, x.dtype), bias)
            output_NO.addmm_(part_NR, second.to(x.dtype).t(), alpha=scale)
            outputs.append(output_NO.view(*x.shape[:-1], output_NO.shape[-1]))
        ctx.save_for_backward(x_NI, inner_NR, *matrices)
        ctx.bases, ctx.scales, ctx.shape = bases, scales, x.shape
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_NI, inner_NR, *matrices = ctx.saved_tensors
        firsts, seconds = matrices[: len(ctx.bases)], matrices[len(ctx.bases) :]
        widths = [len(first) for first in firsts]
        d_inner_NR = torch.empty_like(inner_NR)
        d_seconds: list[torch.Tensor] = []
        d_x_NI = None
        rows = zip(ctx.bases, ctx.scales, seconds, inner_NR.split(widths, 1), d_inner_NR.split(widths, 1), strict=True)
        for (base, scale, second, part_NR, d_part_NR), gradient in zip(rows, gradients, strict=True):
            gradient_NO = gradient.reshape(-1, gradient.shape[-1])
            d_seconds.append((gradient_NO.t() @ part_NR).mul_(scale).to(second.dtype))
            torch.mul(gradient_NO @ second.to(x_NI.dtype), scale, out=d_part_NR)
            if ctx.needs_input_grad[0]:
                weight_OI = _weight(base, x_NI.dtype)
                d_x_NI = gradient_NO @ weight_OI if d_x_NI is None else d_x_NI.addmm_(gradient_NO, weight_OI)
        d_firsts = (d_inner_NR.t() @ x_NI).split(widths)
        if d_x_NI is not None:
            d_x_NI.addmm_(d_inner_NR, _cat(firsts, x_NI.dtype))
            d_x_NI = d_x_NI.view(ctx.shape)
        typed = [d_first.to(first.dtype) for d_first, first in zip(d_firsts, firsts, strict=True)]
        return d_x_NI, None, None, *typed, *d_seconds


def _cat(matrices: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    return (matrices[0] if len(matrices) == 1 else torch.cat(list(matrices))).to(dtype)


# --------------------------------------------------------------------------------------------------------- norm, gate


def _norm_forward(module: HfModel, x: torch.Tensor) -> torch.Tensor:
    if x.device.type == "cpu" and x.dtype is torch.float32:
        normed: torch.Tensor = _Norm.apply(x, module.weight, module.variance_epsilon)
        return normed
    return functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)


class _Norm(torch.autograd.Function):
    """x -> weight x / rms(x) with a frozen weight; only x and a number per token are kept."""

    @staticmethod
    def forward(ctx: Context, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        inverse = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return torch.mul(x, inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        d_normed = gradients[0] * weight
        along = torch.linalg.vecdot(d_normed, x)[..., None]
        along.mul_(inverse.pow(3)).div_(-x.shape[-1])
        return d_normed.mul_(inverse).addcmul_(x, along), None, None


def _gated_forward(module: HfModel, x: torch.Tensor) -> torch.Tensor:
    gated: torch.Tensor = _Gated.apply(module.gate_proj(x), module.up_proj(x))
    down: torch.Tensor = module.down_proj(gated)
    return down


class _Gated(torch.autograd.Function):
    """(gate, up) -> silu(gate) x up; the product's first factor is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Context, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        d_up = functional.silu(gate).mul_(gradients[0])
        return torch.ops.aten.silu_backward(gradients[0] * up, gate), d_up


def _width(module: nn.Module) -> int:
    weight = getattr(module, "weight", None)
    is_plain = weight is not None and not weight.requires_grad and hasattr(module, "variance_epsilon")
    return int(weight.shape[0]) if is_plain and weight is not None else 0


@torch.no_grad()
def _replace(module: HfModel, forward: Callable[[Any, torch.Tensor], torch.Tensor], *, width: int) -> None:
    """Put a quick function in place where it gives what the module gives."""
    if not width:
        return
    parameter = next(module.parameters())
    dtype = parameter.dtype if parameter.dtype.is_floating_point else torch.float32
    numbers = torch.linspace(-2, 2, 3 * width, device=parameter.device).reshape(1, 3, width)
    try:
        x = numbers.to(dtype)
        expected, found = module(x), forward(module, x)
    except (AttributeError, RuntimeError, TypeError):
        return
    allowed = 1e-5 if dtype is torch.float32 else 2e-2
    is_same = expected.shape == found.shape and expected.dtype == found.dtype
    if is_same and float((expected - found).abs().max()) <= allowed * float(expected.abs().max()):
        module.forward = MethodType(forward, module)
