"""Repetition: within a reply, and of what was said before in the same dialogue."""

from collections.abc import Sequence

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.heard import (
    Count,
    Heard,
    Yardstick,
    compare,
    examples,
    heard,
    mean_of,
    ratio,
    real,
    share_of,
)
from duologue.evaluate.evaluators.wording import has_loop, longest_repeat, overlap, windowed_distinct, words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

WINDOW_WORDS = 40
"""Words in which distinct-n is counted: few enough that two short replies of a dialogue fill them."""
ALIKE = 0.6
"""Share of three-word sequences from which on two replies are the same one, said again."""

_DISTINCT = (
    "Different sequences of {n} word(s) over all of them (distinct-{n}, Li et al. 2016, A Diversity-Promoting "
    "Objective Function), in every window of {window} words of a dialogue's replies put behind each other, so that it "
    "does not depend on their length (Covington and McFall 2010). Nearer to the real dialogues is better."
)
_RUN = Yardstick(
    name="character.longest_repeat",
    unit="words",
    better="nearer",
    same_within=0.25,
    definition="Longest sequence of words that stands twice in one reply, on average over the replies with words.",
)
_LOOPS = Yardstick(
    name="character.loops",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies in which some words stand three times behind themselves over eight words or more, or fewer "
        "than half of the sequences of four words differ."
    ),
)
_AGAIN = Yardstick(
    name="character.repeats_itself",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies, from a dialogue's second on, that are an earlier reply of it again: equal words, or three "
        "of five sequences of three words that either has are in both (Jaccard of 0.6 or more)."
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return distinct-1, -2 and -3, the longest repeat, loops, and repeats of earlier replies."""
    sides = (heard(base), heard(tuned))
    truth = real(known)
    return (
        *(_distinct(known, sides, truth, length) for length in (1, 2, 3)),
        _measured(_RUN, known, sides, truth, mean_of(_repeat)),
        _measured(_LOOPS, known, sides, truth, share_of(loops)),
        _measured(_AGAIN, known, sides, truth, mean_of(_again)),
    )


def loops(reply: Heard) -> bool:
    """Return whether a reply goes round in circles."""
    return has_loop(words_of(reply.text))


def repeats_earlier(reply: Heard) -> bool:
    """Return whether a reply is an earlier one of its dialogue again."""
    words = words_of(reply.text)
    return bool(words) and any(overlap(words, words_of(text)) >= ALIKE for text in reply.earlier)


def _distinct(known: Known, sides: tuple[Sequence[Heard], Sequence[Heard]], truth: Sequence[Heard], n: int) -> Measure:
    yardstick = Yardstick(
        name=f"character.distinct_{n}",
        unit="share",
        better="nearer",
        same_within=0.02,
        definition=_DISTINCT.format(n=n, window=WINDOW_WORDS),
    )

    def count(reply: Heard) -> tuple[float, float]:
        return windowed_distinct(words_of(reply.text), n, window=WINDOW_WORDS)

    whole = (_whole(sides[0]), _whole(sides[1]))
    return compare(yardstick, known, whole, count, reference=ratio(_whole(truth), count))


def _whole(replies: Sequence[Heard]) -> tuple[Heard, ...]:
    """Return one reply per dialogue: all of them, one behind the other."""
    texts: dict[tuple[str, int], list[str]] = {}
    for reply in replies:
        texts.setdefault((reply.unit, reply.seed), []).append(reply.text)
    return tuple(Heard(unit, seed, 0, "", "\n".join(parts)) for (unit, seed), parts in texts.items())


def _measured(
    yardstick: Yardstick,
    known: Known,
    sides: tuple[Sequence[Heard], Sequence[Heard]],
    truth: Sequence[Heard],
    count: Count,
) -> Measure:
    shown = {} if yardstick is _RUN else {"examples": examples(sides[1], lambda reply: _counts(count, reply))}
    return compare(yardstick, known, sides, count, reference=ratio(truth, count), details=shown)


def _counts(count: Count, reply: Heard) -> bool:
    pair = count(reply)
    return pair is not None and pair[0] > 0


def _repeat(reply: Heard) -> float | None:
    words = words_of(reply.text)
    return float(longest_repeat(words)) if words else None


def _again(reply: Heard) -> float | None:
    return float(repeats_earlier(reply)) if reply.earlier and words_of(reply.text) else None


EVALUATOR = Evaluator("loops", 1, measure)
