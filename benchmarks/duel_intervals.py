"""How often the intervals of strengths among three runs or more leave out the truth, at any of many looks.

Made-up runs with known strengths are compared by made-up people who pick as Bradley, Terry and Davidson say. After each
of the first 40 picks, then ever more rarely up to 240, the intervals are looked at; a run counts as missed when its
interval leaves out its true strength at any of these looks. All tournaments of a kind go through one NumPy computation;
before that, its strengths are held against those of `duologue.chat` on the same picks.

    python benchmarks/duel_intervals.py --out benchmarks/results/duel_intervals.json
"""

import argparse
import json
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from duologue.chat.strengths import ELO_PER_NAT, Compared, fit

# Axes: t tournaments, k pairs of runs, o outcomes (win, loss, tie), p parameters (strengths, then the weight of ties)
Floats = NDArray[np.float64]
LOOKS = (*range(1, 41), *range(45, 101, 5), *range(110, 241, 10))
LOG_STAKE, MIXTURE_VARIANCE, PRIOR_WINS = math.log(20), math.pi**2 / 3 - 2, 0.5


@dataclass(frozen=True)
class Kind:
    """What a tournament is like.

    Attributes:
        num_runs: Runs, the base among them.
        spread: Standard deviation of the true strengths, in nats; 1 is 174 Elo points.
        ties: Weight of a tie between equals, against 1 for each win.
        pairs: `all` pairs are compared, or each run only with the `base`.
    """

    num_runs: int
    spread: float
    ties: float
    pairs: str

    @property
    def compared(self) -> list[tuple[int, int]]:
        """The pairs; run 0 is the base."""
        runs = range(self.num_runs)
        return [(a, b) for a in runs for b in range(a) if self.pairs == "all" or not b]

    def weights(self) -> Floats:
        """What each outcome weighs in each parameter (kop)."""
        weights = np.zeros((len(self.compared), 3, self.num_runs))
        for at, (one, other) in enumerate(self.compared):
            for run, outcome in ((one, 0), (other, 1)):
                if run:
                    weights[at, outcome, run - 1] = 1.0
                    weights[at, 2, run - 1] = 0.5
        weights[:, 2, -1] = 1.0
        return weights


def simulate(kind: Kind, *, num_tournaments: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the share of runs that were missed at any look, and of tournaments in which any run was."""
    pairs, weights = np.array(kind.compared), kind.weights()
    truth = np.column_stack(
        [np.zeros(num_tournaments), rng.normal(0, kind.spread, (num_tournaments, kind.num_runs - 1))]
    )
    counts = np.zeros((num_tournaments, len(pairs), 3))
    parameters = np.zeros((num_tournaments, kind.num_runs))
    missed = np.zeros((num_tournaments, kind.num_runs - 1), bool)
    every = np.arange(num_tournaments)
    for pick in range(1, LOOKS[-1] + 1):
        which = rng.integers(len(pairs), size=num_tournaments)
        one, other = truth[every, pairs[which, 0]], truth[every, pairs[which, 1]]
        weight = np.stack([np.exp(one), np.exp(other), kind.ties * np.exp((one + other) / 2)], 1)
        ends = (weight / weight.sum(1, keepdims=True)).cumsum(1)
        outcome = (rng.random(num_tournaments)[:, None] > ends).sum(1).clip(0, 2)
        counts[every, which, outcome] += 1
        if pick in LOOKS:
            parameters, half, reached = fitted(counts, pairs, weights, start=parameters)
            missed |= reached & (np.abs(truth[:, 1:] - parameters[:, :-1]) > half)
    check(counts, pairs, parameters, half)
    return {"missed_runs": float(missed.mean()), "missed_tournaments": float(missed.any(1).mean())}


def fitted(
    counts: Floats, pairs: NDArray[np.int64], weights: Floats, *, start: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return parameters, half the intervals' widths, and which runs picks lead to from the base."""
    reached = np.zeros((len(counts), weights.shape[2]), bool)
    reached[:, 0] = True
    is_told = counts.sum(2) > 0
    for _ in range(reached.shape[1]):
        for at, (one, other) in enumerate(pairs):
            either = is_told[:, at] & (reached[:, one] | reached[:, other])
            reached[:, one] |= either
            reached[:, other] |= either
    is_used = is_told & reached[:, pairs[:, 0]]
    counts = np.where(is_used[..., None], counts, 0.0)
    counts[..., :2] += PRIOR_WINS * is_used[..., None]
    has_ties = counts[..., 2].sum(1) > 0
    is_free = np.column_stack([reached[:, 1:], has_ties])
    start = np.where(is_free, start, 0.0)
    parameters, covariance = maximum(counts, weights, start, is_free)
    variance = np.maximum(np.einsum("tpp->tp", covariance)[:, :-1], 1e-12)
    grown = 1 + MIXTURE_VARIANCE / variance
    half = np.sqrt(variance * grown / (grown - 1) * (2 * LOG_STAKE + np.log(grown)))
    return parameters, half, reached[:, 1:]


def maximum(counts: Floats, weights: Floats, parameters: Floats, is_free: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the most likely parameters and their covariance: Newton's method, with steps halved where too far."""
    is_possible = np.ones(counts.shape, bool)
    is_possible[..., 2] = is_free[:, -1:]
    both = is_free[:, :, None] & is_free[:, None, :]
    fixed = np.eye(is_free.shape[1]) * ~is_free[:, :, None]

    def at(point: Floats) -> tuple[Floats, Floats, Floats]:
        logits = np.where(is_possible, np.einsum("kop,tp->tko", weights, point), -np.inf)
        total = np.logaddexp.reduce(logits, axis=2, keepdims=True)
        chances = np.exp(logits - total)
        likelihood = np.where(is_possible, counts * (np.where(is_possible, logits, 0) - total), 0)
        mean = np.einsum("tko,kop->tkp", chances, weights)
        num = counts.sum(2)
        slope = np.einsum("tko,kop->tp", counts, weights) - np.einsum("tk,tkp->tp", num, mean)
        square = np.einsum("tko,kop,koq->tkpq", chances, weights, weights, optimize=True)
        spread = square - mean[..., :, None] * mean[..., None, :]
        information = np.where(both, np.einsum("tk,tkpq->tpq", num, spread), 0) + fixed
        return likelihood.sum((1, 2)), np.where(is_free, slope, 0), information

    likelihood, slope, information = at(parameters)
    for _ in range(100):
        step = np.linalg.solve(information, slope[..., None])[..., 0]
        if (step * slope).sum(1).max() < 1e-9:
            break
        size = np.ones((len(step), 1))
        for _ in range(40):
            tried = at(parameters + size * step)
            is_worse = tried[0] < likelihood - 1e-10
            if not is_worse.any():
                break
            size[is_worse] /= 2
        parameters = parameters + size * step
        likelihood, slope, information = tried
    return parameters, np.linalg.inv(information)


def check(counts: Floats, pairs: NDArray[np.int64], parameters: Floats, half: Floats) -> None:
    """Refuse numbers that are not those of `duologue.chat` on the same picks."""
    for tournament in range(min(3, len(counts))):
        rows = zip(pairs, counts[tournament], strict=True)
        found = fit([Compared(str(a), str(b), *map(int, row)) for (a, b), row in rows], reference="0")
        for each in found.runs:
            if each.run != "0" and found.references[each.group] == "0":
                own, width = (float(table[tournament, int(each.run) - 1]) for table in (parameters, half))
                found_width = (each.high - each.low) / 2 / ELO_PER_NAT
                assert abs(each.elo / ELO_PER_NAT - own) < 1e-3, (each, own)
                assert len(found.runs) < 3 or abs(found_width - width) < 1e-3, (each, width)


def main() -> None:
    """Simulate every kind and print or write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tournaments", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--out", type=Path, help="where the results go")
    arguments = parser.parse_args()
    rows = []
    for choice in product((3, 4, 5), (0.5, 1.0, 2.0), (0.0, 0.7), ("all", "base")):
        kind = Kind(*choice)
        rng = np.random.default_rng([arguments.seed, kind.num_runs, int(10 * kind.spread), int(10 * kind.ties)])
        row = {**vars(kind), **simulate(kind, num_tournaments=arguments.tournaments, rng=rng)}
        rows.append(row)
        if not arguments.json:
            print(*row.values(), sep="\t", flush=True)
    shares = [row["missed_runs"] for row in rows]
    document = {
        "num_tournaments": arguments.tournaments,
        "num_looks": len(LOOKS),
        "num_picks": LOOKS[-1],
        "mean_missed_runs": sum(shares) / len(shares),
        "most_missed_runs": max(shares),
        "kinds": rows,
    }
    if arguments.json:
        print(json.dumps(document))
    if arguments.out:
        arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
