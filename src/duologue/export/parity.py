"""How near an export must be to what was trained before it may leave, for each form it can have."""

import math
from dataclasses import dataclass

from duologue.engine import Parity
from duologue.errors import EngineError


@dataclass(frozen=True, slots=True)
class Bar:
    """What a form of export must reach.

    Attributes:
        mean_kl_nats: Largest mean KL divergence.
        greedy_agreement: Smallest share of positions with the same most likely token.
    """

    mean_kl_nats: float
    greedy_agreement: float


OWN_GGUF = "gguf"  # a base that is a GGUF file itself, with the adapter put on it
# Rounding moves tokens that were nearly as likely; docs/explanation/export.md has what was measured.
BARS = {
    "float32": Bar(1e-4, 0.995),
    "bfloat16": Bar(2e-2, 0.93),
    "float16": Bar(5e-3, 0.97),
    "f32": Bar(2e-2, 0.93),
    "f16": Bar(2e-2, 0.93),
    "bf16": Bar(2e-2, 0.93),
    "q8_0": Bar(3e-2, 0.90),
    "q6_k": Bar(5e-2, 0.88),
    "q5_k_m": Bar(0.1, 0.84),
    "q4_k_m": Bar(0.2, 0.78),
    "q3_k_m": Bar(0.4, 0.70),
    OWN_GGUF: Bar(3e-2, 0.90),
}


def check_parity(parity: Parity, *, form: str, where: str, key: str = "export.dtype") -> None:
    """Refuse an export that is not what was trained.

    Args:
        parity: The figures.
        form: A key of `BARS`.
        where: The export, for the message.
        key: What chooses the form, for the message.

    Raises:
        EngineError: With every figure that misses its bar.
    """
    bar = BARS[form]
    faults = []
    if not parity.ids_equal:
        faults.append("its prompts have other token ids")
    if not parity.stops:
        faults.append("it does not end its replies")
    if not parity.mean_kl_nats <= bar.mean_kl_nats:
        faults.append(f"its probabilities are {parity.mean_kl_nats:.2g} nats away (at most {bar.mean_kl_nats:g})")
    if not parity.greedy_agreement >= bar.greedy_agreement - _by_chance(bar, parity.num_positions):
        same = f"{parity.greedy_agreement:.1%} of its tokens are the same (at least {bar.greedy_agreement:.1%})"
        faults.append(same)
    if faults:
        raise EngineError(
            f"the export is not what was trained: {'; '.join(faults)}",
            where=where,
            needed="an export that talks as the adapter on its base does",
            action=f"Export in another form ({key}): small models lose more than the bar in some of them, as "
            "docs/explanation/export.md shows. If f16 and q8_0 fail too, please report it.",
        )


def _by_chance(bar: Bar, num_positions: int) -> float:
    """How far below its bar an export at the bar can be found: two standard errors of a share of so many positions.

    A held-out set of six tokens would refuse a good export for one token that was nearly as likely as another.
    """
    share = bar.greedy_agreement
    return 2 * math.sqrt(share * (1 - share) / max(1, num_positions))
