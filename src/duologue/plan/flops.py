"""Arithmetic of one training token: frozen weights need no weight gradient, so 4 FLOPs per parameter instead of 6.

Forward 2P, backward to the inputs 2P, a checkpointed block 2P more; the output projection only for trained tokens;
6 (8) FLOPs per adapter parameter; causal attention forward 2 x width x length per block, backward 2.5 times that.
Sources: EleutherAI Transformer Math 101, Megatron (arXiv 2104.04473).
"""

from dataclasses import dataclass

from duologue.plan.shapes import attention_width, num_adapted_layers, num_adapter_params, num_linear_params
from duologue.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class TokenFlops:
    """FLOPs of one token in the forward pass and in the backward pass with what it recomputes."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both passes."""
        return self.forward + self.backward


def training_flops(workload: Workload) -> TokenFlops:
    """Return the FLOPs of one token of a training step."""
    facts = workload.facts
    share = num_adapted_layers(facts, workload.lora) / facts.num_layers
    linear = 2 * num_linear_params(facts)
    attention = _attention_flops(workload)
    adapter = 2 * num_adapter_params(facts, workload.lora)
    head = 2 * facts.hidden_size * facts.vocab_size * workload.trained_fraction
    backward = share * (linear + 2.5 * attention) + head + 2 * adapter
    if workload.use_gradient_checkpointing:
        backward += share * (linear + attention) + adapter
    return TokenFlops(forward=linear + attention + head + adapter, backward=backward)


def _attention_flops(workload: Workload) -> float:
    return 2 * attention_width(workload.facts) * workload.mean_tokens * workload.facts.num_layers
