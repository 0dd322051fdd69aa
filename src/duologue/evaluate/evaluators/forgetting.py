"""What was forgotten: how much worse general texts, which have nothing to do with the character, are foretold."""

from typing import Any

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.language import OTHER_TOKENS
from duologue.evaluate.evaluators.scored import Paired, exponential, paired_scores, rise
from duologue.evaluate.intervals import Interval, make_measure, unmeasured
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

CLAIM = 0.05
"""'Less than 5% quality loss', as projects of this kind claim; the rises are held against it."""

_NO_SCORES = "no general text was scored by both models"
_TEXTS = "the general texts that come with duologue, which no character says; texts are drawn in pairs."
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("language.general_bits_per_byte", "bits/byte", f"Bits per byte (nats / ln 2 / bytes) of {_TEXTS}"),
    ("language.general_perplexity", "", f"exp of the mean negative log-likelihood per token of {_TEXTS}"),
    (
        "language.general_rise",
        "share",
        f"Rise of bits per byte over the base model's, tuned / base - 1, on {_TEXTS} What fine-tuning lost of what was "
        "known before (catastrophic forgetting, McCloskey and Cohen 1989; measured so by Biderman et al. 2024, LoRA "
        "Learns Less and Forgets Less, on other texts).",
    ),
    (
        "language.general_perplexity_rise",
        "share",
        f"Rise of perplexity over the base model's, exp(tuned loss - base loss) - 1, on {_TEXTS} Stricter than the "
        "rise of bits per byte.",
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return bits per byte and perplexity of the general texts, and by which fraction each rises."""
    scores = paired_scores(base, tuned, "general")
    if not scores.sources:
        return tuple(_unmeasured(row, _NO_SCORES) for row in range(len(_ROWS)))
    bits, per_token = _bits(known, scores), _per_token(known, scores)
    return (bits[0], per_token[0], bits[1], per_token[1])


def _bits(known: Known, scores: Paired) -> tuple[Measure, Measure]:
    if not scores.shares_bytes:
        reason = "the two models were not scored on the same bytes"
        return _unmeasured(0, reason), _unmeasured(2, reason)
    ratio = scores.per_byte(seed=known.seed)
    rises = rise(ratio)
    return _measure(0, ratio, details=_counts(scores)), _measure(2, rises, details=_claim(rises))


def _per_token(known: Known, scores: Paired) -> tuple[Measure, Measure]:
    if not scores.shares_tokens:
        return _unmeasured(1, OTHER_TOKENS), _unmeasured(3, OTHER_TOKENS)
    loss = scores.per_token(seed=known.seed)
    rises = rise(loss, is_exponent=True)
    return _measure(1, exponential(loss)), _measure(3, rises, details=_claim(rises))


def _claim(rises: Interval) -> dict[str, Any]:
    """Return whether 'less than 5%' holds: true or false only where the whole interval says so."""
    holds = True if rises.high < CLAIM else False if rises.low >= CLAIM else None
    return {"claimed_below": CLAIM, "claim_holds": holds}


def _counts(scores: Paired) -> dict[str, Any]:
    return {
        "num_bytes": sum(sums.num_bytes for sums in scores.base),
        "num_sources_of_one_side": scores.num_of_one_side,
    }


def _measure(row: int, interval: Interval, *, details: dict[str, Any] | None = None) -> Measure:
    name, unit, definition = _ROWS[row]
    return make_measure(interval, name=name, unit=unit, better="lower", definition=definition, details=details)


def _unmeasured(row: int, reason: str) -> Measure:
    name, unit, definition = _ROWS[row]
    return unmeasured(name, unit=unit, better="lower", definition=definition, reason=reason)


EVALUATOR = Evaluator("forgetting", 1, measure)
