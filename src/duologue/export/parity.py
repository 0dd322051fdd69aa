"""How near an export must be to what was trained before it may leave, for each form it can have."""

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


# Rounding to 16 bit moves tokens that were nearly as likely; docs/LOG.md has what was measured.
BARS = {
    "float32": Bar(1e-4, 0.995),
    "bfloat16": Bar(2e-2, 0.93),
    "float16": Bar(5e-3, 0.97),
}


def check_parity(parity: Parity, *, form: str, where: str) -> None:
    """Refuse an export that is not what was trained.

    Args:
        parity: The figures.
        form: A key of `BARS`.
        where: The export, for the message.

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
    if not parity.greedy_agreement >= bar.greedy_agreement:
        same = f"{parity.greedy_agreement:.1%} of its tokens are the same (at least {bar.greedy_agreement:.1%})"
        faults.append(same)
    if faults:
        raise EngineError(
            f"the export is not what was trained: {'; '.join(faults)}",
            where=where,
            needed="an export that talks as the adapter on its base does",
            action="Export in another form (export.dtype); if that fails as well, please report it.",
        )
