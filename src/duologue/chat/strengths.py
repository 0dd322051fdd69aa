"""How strong each run is, from picks between two at a time; and whether who is ahead is more than luck.

The strengths are those of Bradley and Terry (1952, Biometrika 39, 324-345) with the ties of Davidson (1970, JASA 65,
317-328): a pick between i and j goes to i with weight exp(s_i), to j with weight exp(s_j), and is a tie with weight
nu exp((s_i + s_j) / 2). Ties are not split into half wins: with Davidson the strengths of two runs are the log-odds of
the decided picks, whatever the number of ties, and so the strengths and the verdict below read the same picks.

Somebody who duels looks at the standing after each pick. An interval for one look would call a leader by luck alone
much more often than one time in 20. Both intervals here hold for all looks together (Robbins 1970, Annals of
Mathematical Statistics 41, 1397-1409): a share or a strength is left out once a bet against it, mixed over all others,
has multiplied its stake by 20, and for the true one that ever happens at most one time in 20 (Ville 1939).
Each holds for its own pair or run; of many pairs more than one in 20 standings may be wrong somewhere. The interval of
a share, and so the verdict, is exact. That of a strength among three runs or more is a normal approximation, wider than
need be where a run wins nearly always.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

ELO_PER_NAT = 400 / math.log(10)  # 400 points are odds of 10 to 1 (Elo 1978, "The Rating of Chessplayers")
_LOG_STAKE = math.log(20)  # 95%
# Beta(2, 2) over the shares: the leader of 7 picks in 10 is found after 44 picks in the median, of 6 in 10 after 188.
# Beta(1, 1) needs 47 and 203, Beta(10, 10) 53 and 156.
_MIXTURE = 2.0
# The same for a difference of strengths: the variance of the log-odds of a share that is Beta(2, 2), 2 pi^2 / 6 - 2.
_MIXTURE_VARIANCE = math.pi**2 / 3 - 2
_PRIOR_WINS = 0.5  # of each side of a compared pair (Haldane 1956; Anscombe 1956): who always wins stays finite
_MOST_PICKS = 100_000  # nobody picks so often; what needs more is as good as even
_NEWTON_STEPS = 100
_SMALL = 1e-10


@dataclass(frozen=True, slots=True)
class Compared:
    """What was picked between two runs."""

    first: str
    second: str
    first_wins: int
    second_wins: int
    ties: int = 0
    both_bad: int = 0


@dataclass(frozen=True, slots=True)
class Strength:
    """One run on the scale of its group.

    Attributes:
        run: Its name, or `base`.
        group: Number of its group, from 0; strengths of two groups cannot be compared.
        elo: Elo points above the reference of its group; 400 are odds of 10 to 1.
        low: Lower end with 95% certainty, however often one looks; the reference has no interval.
        high: Upper end.
        standard_error: Of `elo`, from the observed information: `elo` +- 1.96 of it is the interval of a single look.
        share: Expected share of decided picks against the reference.
        share_low: `low` as a share.
        share_high: `high` as a share.
        num_picks: Picks it was part of that count: wins, losses and ties.
        num_both_bad: Picks it was part of in which neither was good; they do not count.
    """

    run: str
    group: int
    elo: float
    low: float
    high: float
    standard_error: float
    share: float
    share_low: float
    share_high: float
    num_picks: int
    num_both_bad: int


@dataclass(frozen=True, slots=True)
class Strengths:
    """All runs that were compared.

    Attributes:
        runs: Group after group, the strongest of each first.
        references: The run that has zero points, by group.
        ties: Weight of a tie between equals, against 1 for each win, by group; 0 where there were none.
    """

    runs: tuple[Strength, ...]
    references: tuple[str, ...]
    ties: tuple[float, ...]

    @property
    def is_connected(self) -> bool:
        """Whether all runs are on one scale, because picks lead from each to each other."""
        return len(self.references) < 2

    def as_json(self) -> dict[str, object]:
        """Return everything, with the unit."""
        runs = [{name: getattr(each, name) for name in each.__slots__} for each in self.runs]
        groups = [[each.run for each in self.runs if each.group == group] for group in range(len(self.references))]
        return {"unit": "Elo points", "runs": runs, "references": list(self.references), "groups": groups}


def fit(pairs: Sequence[Compared], *, reference: str) -> Strengths:
    """Return the strengths of all runs.

    Both sides of each pair get half a win more than they have; for two runs the difference is then
    `log((wins + 1/2) / (losses + 1/2))`, the log-odds of the decided picks.

    Args:
        pairs: What was picked; a pair of which nothing but `both_bad` was picked says nothing of who is stronger.
        reference: The run that has zero points in its group; in a group without it, the one with the most picks has.
    """
    told = [pair for pair in pairs if pair.first_wins + pair.second_wins + pair.ties]
    runs: list[Strength] = []
    references, ties = [], []
    for number, group in enumerate(_groups(told, first=reference)):
        own = [pair for pair in told if pair.first in group]
        zero = reference if reference in group else max(group, key=lambda run: (_num_picks(own, run), run))
        model = _Model.of(own, [zero, *sorted(group - {zero})])
        parameters, covariance = model.fitted()
        found = [
            _strength(run, number, mean, variance, pairs)
            for run, mean, variance in zip(
                model.runs,
                [0.0, *parameters[: len(model.runs) - 1]],
                [0.0, *(covariance[at][at] for at in range(len(model.runs) - 1))],
                strict=True,
            )
        ]
        if len(own) == 1:
            found = [found[0], _exactly(found[1], own[0])]
        runs += sorted(found, key=lambda each: (-each.elo, each.run))
        references.append(zero)
        ties.append(math.exp(parameters[-1]) if model.has_ties else 0.0)
    return Strengths(tuple(runs), tuple(references), tuple(ties))


def share_interval(num_wins: float, num_losses: float) -> tuple[float, float]:
    """Return which shares of wins the picks leave possible, with 95% certainty however often one looks.

    The bet against a share p after w wins and l losses, mixed over Beta(a, a), stands at
    B(a + w, a + l) / (B(a, a) p^w (1 - p)^l).
    """
    if not num_wins + num_losses:
        return 0.0, 1.0
    share = num_wins / (num_wins + num_losses)
    return _edge(num_wins, num_losses, share, 0.0), _edge(num_wins, num_losses, share, 1.0)


def picks_needed(num_wins: int, num_losses: int, *, num_undecided: int = 0) -> int | None:
    """Return about how many more picks until one of two is ahead by more than luck, if things go on as they are.

    "As they are" is the share of wins with half a win more for each side, and the share of undecided picks. It is a
    forecast, not a promise: about half of the time it takes longer.

    Args:
        num_wins: Picks of one.
        num_losses: Picks of the other.
        num_undecided: Ties, and picks of neither.

    Returns:
        0 when one is ahead already; None when nothing is decided yet, both are even, or it would be over 100,000.
    """
    if _is_told(num_wins, num_losses):
        return 0
    num = num_wins + num_losses
    share = (num_wins + _PRIOR_WINS) / (num + 2 * _PRIOR_WINS)

    def is_enough(more: int) -> bool:
        return _is_told(num_wins + more * share, num_losses + more * (1 - share))

    if not num or share == 0.5 or not is_enough(_MOST_PICKS):
        return None
    too_few, enough = 0, _MOST_PICKS
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    needed = math.ceil(enough * (num + num_undecided) / num)
    return needed if needed <= _MOST_PICKS else None


def _is_told(num_wins: float, num_losses: float) -> bool:
    return _log_bet(num_wins, num_losses, 0.5) > _LOG_STAKE


def _log_bet(num_wins: float, num_losses: float, share: float) -> float:
    against = num_wins * math.log(share) if num_wins else 0.0
    against += num_losses * math.log1p(-share) if num_losses else 0.0
    return _log_beta(_MIXTURE + num_wins, _MIXTURE + num_losses) - _log_beta(_MIXTURE, _MIXTURE) - against


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def _edge(num_wins: float, num_losses: float, inside: float, outside: float) -> float:
    """Return the share between one that is possible and an end of the scale at which the bet reaches its stake."""
    if inside == outside:  # all or none was won
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        if _log_bet(num_wins, num_losses, middle) > _LOG_STAKE:
            outside = middle
        else:
            inside = middle
    return (inside + outside) / 2


def _strength(run: str, group: int, mean: float, variance: float, pairs: Sequence[Compared]) -> Strength:
    half = _half_width(variance)
    return Strength(
        run,
        group,
        elo=mean * ELO_PER_NAT,
        low=(mean - half) * ELO_PER_NAT,
        high=(mean + half) * ELO_PER_NAT,
        standard_error=math.sqrt(variance) * ELO_PER_NAT,
        share=_share(mean),
        share_low=_share(mean - half),
        share_high=_share(mean + half),
        num_picks=_num_picks(pairs, run),
        num_both_bad=sum(pair.both_bad for pair in pairs if run in (pair.first, pair.second)),
    )


def _exactly(strength: Strength, pair: Compared) -> Strength:
    """Return a strength of two runs with the interval of their share, where that ends before 0 and 1.

    It needs no approximation, so that it leaves zero just when the verdict of the pair does.
    """
    low, high = share_interval(pair.first_wins, pair.second_wins)
    if pair.first != strength.run:
        low, high = 1 - high, 1 - low
    if low > 0:
        strength = replace(strength, share_low=low, low=ELO_PER_NAT * math.log(low / (1 - low)))
    if high < 1:
        strength = replace(strength, share_high=high, high=ELO_PER_NAT * math.log(high / (1 - high)))
    return strength


def _half_width(variance: float) -> float:
    """Return half the interval that holds for all looks: the normal mixture, with the information as the time."""
    if not variance:
        return 0.0
    grown = 1 + _MIXTURE_VARIANCE / variance
    return math.sqrt(variance * grown / (grown - 1) * (2 * _LOG_STAKE + math.log(grown)))


def _share(difference: float) -> float:
    return 1 / (1 + math.exp(-difference)) if difference > 0 else 1 - 1 / (1 + math.exp(difference))


def _num_picks(pairs: Iterable[Compared], run: str) -> int:
    own = (pair for pair in pairs if run in (pair.first, pair.second))
    return sum(pair.first_wins + pair.second_wins + pair.ties for pair in own)


def _groups(pairs: Sequence[Compared], *, first: str) -> list[set[str]]:
    """Return the runs between which picks lead; the group of `first` first, then the larger ones."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if pair.first in group or pair.second in group]
        groups = [group for group in groups if group not in touched]
        groups.append({pair.first, pair.second}.union(*touched))
    return sorted(groups, key=lambda group: (first not in group, -len(group), min(group)))


@dataclass(frozen=True, slots=True)
class _Model:
    """The likelihood of one group. Parameters: the strength of each run but the first, then log nu if there are ties.

    Attributes:
        runs: The first has strength 0.
        outcomes: For each pair the three outcomes, each as its count and what it weighs per parameter.
        has_ties: Whether there are any.
    """

    runs: list[str]
    outcomes: list[list[tuple[float, Mapping[int, float]]]]
    has_ties: bool

    @classmethod
    def of(cls, pairs: Sequence[Compared], runs: list[str]) -> "_Model":
        has_ties = any(pair.ties for pair in pairs)
        outcomes = []
        for pair in pairs:
            one, other = runs.index(pair.first) - 1, runs.index(pair.second) - 1
            half = {at: 0.5 for at in (one, other) if at >= 0} | {len(runs) - 1: 1.0}
            weighed: list[tuple[float, Mapping[int, float]]] = [
                (pair.first_wins + _PRIOR_WINS, {one: 1.0} if one >= 0 else {}),
                (pair.second_wins + _PRIOR_WINS, {other: 1.0} if other >= 0 else {}),
            ]
            outcomes.append([*weighed, (float(pair.ties), half)] if has_ties else weighed)
        return cls(runs, outcomes, has_ties)

    def fitted(self) -> tuple[list[float], list[list[float]]]:
        """Return the most likely parameters and their covariance, by Newton's method with halved steps.

        The likelihood is a multinomial logit, so it is concave, and the half wins make its maximum finite.
        """
        parameters = [0.0] * (len(self.runs) - 1 + self.has_ties)
        likelihood, slope, information = self._at(parameters)
        for _ in range(_NEWTON_STEPS):
            covariance = _inverse(information)
            step = [sum(a * b for a, b in zip(row, slope, strict=True)) for row in covariance]
            size, gain = 1.0, sum(a * b for a, b in zip(step, slope, strict=True))
            if gain < _SMALL:
                return [value + change for value, change in zip(parameters, step, strict=True)], covariance
            while True:
                tried = [value + size * change for value, change in zip(parameters, step, strict=True)]
                reached = self._at(tried)
                if reached[0] > likelihood:
                    break
                if size < _SMALL:  # as near as rounding lets it come
                    return parameters, covariance
                size /= 2
            parameters, (likelihood, slope, information) = tried, reached
        raise AssertionError("a concave function has its maximum")

    def _at(self, parameters: Sequence[float]) -> tuple[float, list[float], list[list[float]]]:
        """Return log-likelihood, its slope and the observed information."""
        num = len(parameters)
        likelihood, slope = 0.0, [0.0] * num
        information = [[0.0] * num for _ in range(num)]
        for outcomes in self.outcomes:
            logits = [sum(weight * parameters[at] for at, weight in weights.items()) for _, weights in outcomes]
            top = max(logits)
            total = top + math.log(sum(math.exp(logit - top) for logit in logits))
            count = sum(number for number, _ in outcomes)
            mean: dict[int, float] = {}
            for (number, weights), logit in zip(outcomes, logits, strict=True):
                likelihood += number * (logit - total)
                chance = math.exp(logit - total)
                for at, weight in weights.items():
                    slope[at] += (number - count * chance) * weight
                    mean[at] = mean.get(at, 0.0) + chance * weight
                    for to, other in weights.items():
                        information[at][to] += count * chance * weight * other
            for at, weight in mean.items():
                for to, other in mean.items():
                    information[at][to] -= count * weight * other
        return likelihood, slope, information


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the inverse of a positive definite matrix (Gauss-Jordan); no array library is needed for a dozen runs."""
    num = len(matrix)
    rows = [[*row, *(1.0 if at == other else 0.0 for other in range(num))] for at, row in enumerate(matrix)]
    for at in range(num):
        pivot = max(range(at, num), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        scale = rows[at][at]
        assert scale, "runs of one group are linked"
        rows[at] = [value / scale for value in rows[at]]
        for other in range(num):
            if other != at and (factor := rows[other][at]):
                rows[other] = [value - factor * own for value, own in zip(rows[other], rows[at], strict=True)]
    return [row[num:] for row in rows]
