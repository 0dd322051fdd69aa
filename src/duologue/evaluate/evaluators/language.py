"""How well the held-out replies are foretold: loss, perplexity, bits per byte, over all and for each data file."""

from functools import partial

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.scored import Paired, exponential, paired_scores
from duologue.evaluate.intervals import make_measure, unmeasured
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

OTHER_TOKENS = "the two models cut text into different tokens; only bits per byte can be compared"
NO_SCORES = "no held-out reply was scored by both models"
_LOSS = (
    "Mean negative log-likelihood of the tokens of held-out replies, each behind the real dialogue before it, the end "
    "of the reply among them. Interval: conversations drawn in pairs."
)
_PERPLEXITY = (
    "exp of the held-out loss: how many equally likely next tokens the model hesitates between (perplexity, Jelinek "
    "et al. 1977). Interval: conversations drawn in pairs."
)
_BITS = (
    "Bits the model needs per byte of held-out reply, nats / ln 2 / bytes in UTF-8 (The Pile, Gao et al. 2020, section "
    "3.1): comparable between models with different tokenizers. Interval: conversations drawn in pairs."
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return loss, perplexity and bits per byte, and bits per byte of each file where there are several."""
    scores = paired_scores(base, tuned, "held_out")
    if not scores.sources:
        return tuple(
            unmeasured(name, unit=unit, better="lower", definition=text, reason=NO_SCORES)
            for name, unit, text in (
                ("language.loss", "nats/token", _LOSS),
                ("language.perplexity", "", _PERPLEXITY),
                ("language.bits_per_byte", "bits/byte", _BITS),
            )
        )
    return (*_per_token(known, scores), _bits(known, scores), *_by_file(known, scores))


def _per_token(known: Known, scores: Paired) -> tuple[Measure, Measure]:
    if not scores.shares_tokens:
        return (
            unmeasured("language.loss", unit="nats/token", better="lower", definition=_LOSS, reason=OTHER_TOKENS),
            unmeasured("language.perplexity", unit="", better="lower", definition=_PERPLEXITY, reason=OTHER_TOKENS),
        )
    loss = scores.per_token(seed=known.seed)
    num_better = sum(second.nats < first.nats for first, second in zip(scores.base, scores.tuned, strict=True))
    details = {
        "num_tokens": sum(sums.num_tokens for sums in scores.base),
        "num_conversations_better": num_better,
        "num_sources_of_one_side": scores.num_of_one_side,
    }
    return (
        make_measure(loss, name="language.loss", unit="nats/token", better="lower", definition=_LOSS, details=details),
        make_measure(exponential(loss), name="language.perplexity", unit="", better="lower", definition=_PERPLEXITY),
    )


def _bits(known: Known, scores: Paired, *, part: str = "") -> Measure:
    name, unit = "language.bits_per_byte", "bits/byte"
    num_bytes = sum(sums.num_bytes for sums in scores.base)
    if not num_bytes or not scores.shares_bytes:
        reason = "the two models were not scored on the same bytes" if num_bytes else "no scored reply has a text"
        return unmeasured(name, unit=unit, better="lower", definition=_BITS, reason=reason, part=part)
    return make_measure(
        scores.per_byte(seed=known.seed),
        name=name,
        unit=unit,
        better="lower",
        definition=_BITS,
        part=part,
        details={"num_bytes": num_bytes, "num_sources_of_one_side": scores.num_of_one_side},
    )


def _by_file(known: Known, scores: Paired) -> list[Measure]:
    names = list(dict.fromkeys(map(_file_of, scores.sources)))
    if len(names) < 2:
        return []
    return [_bits(known, scores.of(partial(_is_of, name)), part=name) for name in names]


def _is_of(name: str, source: str) -> bool:
    return _file_of(source) == name


def _file_of(source: str) -> str:
    return source.rpartition(":")[0] or source


EVALUATOR = Evaluator("language", 1, measure)
