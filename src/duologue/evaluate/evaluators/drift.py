"""Whether a character changes over a long dialogue: its voice, its length, its variety, what it says again."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.draws import drawn_interval
from duologue.evaluate.evaluators.heard import Heard, Yardstick, heard
from duologue.evaluate.evaluators.voice import judge_voices, too_few_replies
from duologue.evaluate.evaluators.wording import overlap, windowed_distinct, words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_TURNS = 20
"""Turns that some dialogue of both models must have."""

_BLOCK_TURNS = 5
_EDGE_TURNS = 10  # how many are early, and how many of forty are late
_WINDOW_WORDS = 20
_PER_TURNS = 10.0  # a slope is told per so many turns
_NO_LONG = f"no long case was had with both models over {LEAST_TURNS} turns or more"
_SLOPE = (
    " Least-squares slope over the turns of the long cases, in units per ten turns; blocks of five turns are drawn, "
    "for what follows each other is alike (Kuensch 1989)."
)
_VOICE = Yardstick(
    name="character.drift_voice",
    unit="log-odds/10 turns",
    better="higher",
    same_within=0.02,
    definition="How the voice changes: log-odds of the voice classifier, see character.voice_share." + _SLOPE,
)
_LENGTH = Yardstick(
    name="character.drift_length",
    unit="words/10 turns",
    better="nearer",
    same_within=0.5,
    definition="How the length of replies changes; a character that stays itself is at 0." + _SLOPE,
)
_VARIETY = Yardstick(
    name="character.drift_distinct",
    unit="share/10 turns",
    better="higher",
    same_within=0.01,
    definition=(
        "How the variety within replies changes: distinct-2 in windows of twenty words, of the replies that have them."
        + _SLOPE
    ),
)
_AGAIN = Yardstick(
    name="character.drift_repeats",
    unit="share/10 turns",
    better="lower",
    same_within=0.01,
    definition=(
        "How replies grow alike: largest share of three-word sequences that a reply has in common with any of the ten "
        "before it (Jaccard)." + _SLOPE
    ),
)
_ALL = (_VOICE, _LENGTH, _VARIETY, _AGAIN)

Point = tuple[Heard, float]


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return the slopes of voice, length, variety and repetition over the long dialogues."""
    sides = (heard(base, "long"), heard(tuned, "long"))
    longest = {reply.unit for reply in sides[0] if reply.turn + 1 >= LEAST_TURNS} & {
        reply.unit for reply in sides[1] if reply.turn + 1 >= LEAST_TURNS
    }
    if not longest:
        return tuple(yardstick.unmeasured(_NO_LONG) for yardstick in _ALL)
    kept = [[reply for reply in side if reply.unit in longest] for side in sides]
    return (
        _voice(known, base, tuned, longest),
        _slope(_LENGTH, known, [[(reply, float(len(words_of(reply.text)))) for reply in side] for side in kept]),
        _slope(_VARIETY, known, [_known_points(side, _variety) for side in kept]),
        _slope(_AGAIN, known, [_known_points(side, _alike) for side in kept]),
    )


def _voice(known: Known, base: Observed, tuned: Observed, units: set[str]) -> Measure:
    reason = too_few_replies(known, base, tuned, long=True)
    if reason:
        return _VOICE.unmeasured(reason)
    voice = judge_voices(known, base, tuned, long=True)
    sides = []
    for replies, scores in zip(voice.replies[1:], voice.odds[1:], strict=True):
        found = zip(replies, scores.tolist(), strict=True)
        sides.append([(reply, float(score)) for reply, score in found if reply.unit in units])
    return _slope(_VOICE, known, sides)


def _known_points(replies: Sequence[Heard], number: Callable[[Heard], float | None]) -> list[Point]:
    return [(reply, value) for reply in replies if (value := number(reply)) is not None]


def _variety(reply: Heard) -> float | None:
    total, windows = windowed_distinct(words_of(reply.text), 2, window=_WINDOW_WORDS)
    return total / windows if windows else None


def _alike(reply: Heard) -> float | None:
    words = words_of(reply.text)
    if not reply.earlier or not words:
        return None
    return max(overlap(words, words_of(text)) for text in reply.earlier[-10:])


def _slope(yardstick: Yardstick, known: Known, sides: Sequence[Sequence[Point]]) -> Measure:
    units = sorted({_block(reply) for reply, _ in sides[0]} & {_block(reply) for reply, _ in sides[1]})
    if len(units) < LEAST_TURNS // _BLOCK_TURNS:
        return yardstick.unmeasured("too few turns of the long dialogues have the number")
    tables = [_sums(points, units) for points in sides]
    interval = drawn_interval(tables[0], tables[1], _slope_of, seed=known.seed)
    details = {
        name: {"early": _part(points, late=False), "late": _part(points, late=True), "by_turn": _by_turn(points)}
        for name, points in zip(("base", "tuned"), sides, strict=True)
    }
    reference = 0.0 if yardstick.better == "nearer" else None
    return yardstick.measured(interval, reference=reference, details=details)


def _block(reply: Heard) -> tuple[str, int]:
    return reply.unit, reply.turn // _BLOCK_TURNS


def _sums(points: Sequence[Point], units: Sequence[tuple[str, int]]) -> "NDArray[np.float64]":
    """Return for each block: how many, and the sums of x, y, xx and xy, both held against the means of their dialogue.

    The means are taken out so that dialogues of different levels make no slope when their blocks are drawn unevenly,
    and dialogues of different lengths no flatter one than each of them has (the within estimator of panel data,
    Wooldridge 2010, Econometric Analysis of Cross Section and Panel Data, section 10.5).
    """
    import numpy as np

    row_of = {unit: row for row, unit in enumerate(units)}
    dialogues: dict[tuple[str, int], list[Point]] = {}
    for reply, value in points:
        if _block(reply) in row_of:
            dialogues.setdefault((reply.unit, reply.seed), []).append((reply, value))
    table = np.zeros((len(units), 5))
    for said in dialogues.values():
        mean_x = sum(reply.turn for reply, _ in said) / len(said) / _PER_TURNS
        mean_y = sum(value for _, value in said) / len(said)
        for reply, value in said:
            x, y = reply.turn / _PER_TURNS - mean_x, value - mean_y
            table[row_of[_block(reply)]] += (1.0, x, y, x * x, x * y)
    return table


def _slope_of(sums: "NDArray[np.float64]") -> "NDArray[np.float64]":
    import numpy as np

    num, x, y, xx, xy = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = num * xx - x * x
        found: NDArray[np.float64] = np.where(spread > 1e-9, (num * xy - x * y) / spread, np.nan)
    return found


def _part(points: Sequence[Point], *, late: bool) -> dict[str, float | int | None]:
    """Return the mean of turns 1 to 10, or of those from 31 on, and its standard error."""
    start = 3 * _EDGE_TURNS
    values = [value for reply, value in points if (reply.turn >= start if late else reply.turn < _EDGE_TURNS)]
    if len(values) < 2:
        return {"mean": values[0] if values else None, "standard_error": None, "num": len(values)}
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return {"mean": mean, "standard_error": (variance / len(values)) ** 0.5, "num": len(values)}


def _by_turn(points: Sequence[Point]) -> list[list[float]]:
    """Return the mean of all dialogues at each turn, counted from 1."""
    turns: dict[int, list[float]] = {}
    for reply, value in points:
        turns.setdefault(reply.turn + 1, []).append(value)
    return [[turn, round(sum(values) / len(values), 4)] for turn, values in sorted(turns.items())]


EVALUATOR = Evaluator("drift", 2, measure)
