"""Scores of two models paired by what they are about: nats over tokens, or over bytes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duologue.evaluate.evaluators.draws import interval_of
from duologue.evaluate.intervals import Interval, paired_ratio
from duologue.evaluate.observed import Observed, Score, ScoreKind

MAX_LOSS_NATS = 700.0
"""exp() of more overflows; a working model stays below the logarithm of its vocabulary, about 12."""

MOST_OTHER_BYTES = 0.05
"""The first token of a text follows nothing and is not scored; with another tokenizer it may be longer."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What was scored of one source, such as all windows of one conversation."""

    nats: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Scores of both models.

    Attributes:
        sources: What both have, in the base's order.
        base: One per source.
        tuned: One per source.
        num_of_one_side: Sources that only one model has a score of; they are left out.
    """

    sources: tuple[str, ...]
    base: tuple[Sums, ...]
    tuned: tuple[Sums, ...]
    num_of_one_side: int

    @property
    def shares_tokens(self) -> bool:
        """Whether both models cut every text into as many tokens; else only bytes can be compared."""
        pairs = zip(self.base, self.tuned, strict=True)
        return all(first.num_tokens == second.num_tokens for first, second in pairs)

    @property
    def shares_bytes(self) -> bool:
        """Whether both models were scored on the same text: its bytes differ by a first token at the most."""
        base, tuned = (sum(sums.num_bytes for sums in side) for side in (self.base, self.tuned))
        return abs(base - tuned) <= MOST_OTHER_BYTES * max(base, tuned)

    def of(self, is_in: Callable[[str], bool]) -> "Paired":
        """Return the part whose sources are wanted."""
        kept = [at for at, source in enumerate(self.sources) if is_in(source)]
        base, tuned = (tuple(side[at] for at in kept) for side in (self.base, self.tuned))
        return Paired(tuple(self.sources[at] for at in kept), base, tuned, self.num_of_one_side)

    def per_token(self, *, seed: int) -> Interval:
        """Return nats per token."""
        return self._ratio(lambda sums: (sums.nats, float(sums.num_tokens)), seed=seed)

    def per_byte(self, *, seed: int) -> Interval:
        """Return bits per byte: nats / ln 2 / bytes."""
        return self._ratio(lambda sums: (sums.nats / math.log(2), float(sums.num_bytes)), seed=seed)

    def _ratio(self, pair_of: Callable[[Sums], tuple[float, float]], *, seed: int) -> Interval:
        return paired_ratio([pair_of(one) for one in self.base], [pair_of(one) for one in self.tuned], seed=seed)


def paired_scores(base: Observed, tuned: Observed, kind: ScoreKind) -> Paired:
    """Return the scores of one kind that both models have, summed by source."""
    sides = [summed(observed.scores_of(kind)) for observed in (base, tuned)]
    sources = tuple(source for source in sides[0] if source in sides[1])
    num_of_one_side = len(sides[0].keys() ^ sides[1].keys())
    first, second = (tuple(side[source] for source in sources) for side in sides)
    return Paired(sources, first, second, num_of_one_side)


def summed(scores: Sequence[Score]) -> dict[str, Sums]:
    """Return scores summed by source, in the order in which sources come first."""
    sums: dict[str, Sums] = {}
    for score in scores:
        before = sums.get(score.source, Sums(0.0, 0, 0))
        sums[score.source] = Sums(
            before.nats + score.nats, before.num_tokens + score.num_tokens, before.num_bytes + score.num_bytes
        )
    return sums


def exponential(loss: Interval) -> Interval:
    """Return the perplexity of a loss in nats per token, its interval made of the same draws."""
    import numpy as np

    bases, tuneds = (np.exp(np.minimum(np.asarray(side), MAX_LOSS_NATS)) for side in loss.draws)
    return interval_of(_exp(loss.base), _exp(loss.tuned), (bases, tuneds), num=loss.num)


def rise(ratio: Interval, *, is_exponent: bool = False) -> Interval:
    """Return by which fraction the tuned model's number is above the base's: tuned / base - 1, the base's being 0.

    Args:
        ratio: Of both models.
        is_exponent: The numbers are losses, and what is compared is their perplexity: exp(tuned - base) - 1.
    """
    import numpy as np

    bases, tuneds = (np.asarray(side) for side in ratio.draws)
    if is_exponent:
        value = _exp(ratio.tuned - ratio.base) - 1
        drawn = np.exp(np.minimum(tuneds - bases, MAX_LOSS_NATS)) - 1
    else:
        value = ratio.tuned / ratio.base - 1 if ratio.base else math.nan
        with np.errstate(divide="ignore", invalid="ignore"):  # draws that cannot be divided are left out
            drawn = tuneds / bases - 1
    return interval_of(0.0, value, (np.zeros_like(drawn), drawn), num=ratio.num)


def _exp(nats: float) -> float:
    return math.exp(min(nats, MAX_LOSS_NATS))
