"""What a merge is measured by: the merged model beside its base with the adapter on it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Onto = Literal["original", "trained"]


@dataclass(frozen=True, slots=True)
class Parity:
    """How near an exported model is to the adapter on the base it was trained on.

    Attributes:
        mean_kl_nats: Mean KL divergence of its next-token probabilities from the reference's, over compared positions.
        greedy_agreement: Share of the positions where both find the same token most likely.
        num_prompts: Conversations that were compared.
        num_positions: Positions of their replies.
        ids_equal: Whether rendered prompts give the same token ids.
        stops: Whether the export ends a reply where the reference does, at nine of ten such places.
        max_logit_difference: Largest absolute difference of two logits; for llama.cpp, which tells none, of the
            log-probabilities of two tokens.
    """

    mean_kl_nats: float
    greedy_agreement: float
    num_prompts: int
    num_positions: int
    ids_equal: bool
    stops: bool
    max_logit_difference: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)
