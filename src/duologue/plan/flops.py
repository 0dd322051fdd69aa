"""Arithmetic of one training token: frozen weights need no weight gradient, so 4 FLOPs per parameter instead of 6.

Forward 2P, backward to the inputs 2P, a checkpointed block 2P more; the output projection only for trained tokens;
6 (8) FLOPs per adapter parameter; causal attention forward 2 x width x length per block, backward 2.5 times that.
Sources: EleutherAI Transformer Math 101, Megatron (arXiv 2104.04473).
"""

from dataclasses import dataclass

from duologue.plan.shapes import attention_width, num_active_params, num_adapted_layers, num_adapter_params
from duologue.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class TokenFlops:
    """FLOPs of one token in the forward pass and in the backward pass with what it recomputes.

    `attention_forward` and `attention_backward` are the part of each that is attention between tokens.
    """

    forward: float
    backward: float
    attention_forward: float
    attention_backward: float

    @property
    def total(self) -> float:
        """Both passes."""
        return self.forward + self.backward


def training_flops(workload: Workload) -> TokenFlops:
    """Return the FLOPs of one token of a training step."""
    facts = workload.facts
    share = num_adapted_layers(facts, workload.lora) / facts.num_layers
    linear = 2 * num_active_params(facts)
    attention = _attention_flops(workload)
    adapter = 2 * num_adapter_params(facts, workload.lora)
    with_logits = 1.0 if workload.profile.are_all_logits_computed else workload.trained_fraction
    head = 2 * facts.hidden_size * facts.vocab_size * with_logits
    recomputed = 1.0 if workload.use_gradient_checkpointing else 0.0
    attention_backward = share * (2.5 + recomputed) * attention
    backward = share * (1 + recomputed) * linear + attention_backward + head + (2 + recomputed) * adapter
    return TokenFlops(
        forward=linear + attention + head + adapter,
        backward=backward,
        attention_forward=attention,
        attention_backward=attention_backward,
    )


def _attention_flops(workload: Workload) -> float:
    return 2 * attention_width(workload.facts) * workload.mean_tokens * workload.facts.num_layers
