"""Habits of writing, held against the data: emoji, actions, quotes, exclamation, capitals, sentences, first words."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.draws import drawn_interval
from duologue.evaluate.evaluators.heard import (
    NO_REPLIES,
    Count,
    Heard,
    Yardstick,
    compare,
    heard,
    ratio,
    real,
    shared_units,
)
from duologue.evaluate.evaluators.wording import sentences_of, words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

_EMOJI = re.compile(
    "[\U0001f300-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff\U0001fa70-\U0001faff"
    "\u2600-\u27bf\u2b50\u2b55\U0001f1e6-\U0001f1ff]"
)
_ACTION = re.compile(r"(?<!\*)\*(?![\s*])[^*\n]+?(?<!\s)\*(?!\*)")
_SPEECH = re.compile(
    r"\"[^\"\n]+\"|\u201c[^\u201d\n]+\u201d|\u201e[^\u201c\u201d\n]+[\u201c\u201d]|\u00ab[^\u00bb\n]+\u00bb"
)
_FIRST = re.compile(r"[^\W_]+(?:['\u2019\-][^\W_]+)*|\S")
_MOST_OPENINGS = 64  # the most frequent ones of the data and the models; the rest is one group

_NEARER = "; nearer to the real replies is better."
_HABITS: tuple[tuple[Yardstick, Callable[[str], tuple[float, float]]], ...] = (
    (
        Yardstick("character.emoji", "per reply", "nearer", "Emoji in a reply, on average" + _NEARER, 0.02),
        lambda text: (float(len(_EMOJI.findall(text))), 1.0),
    ),
    (
        Yardstick(
            "character.actions", "share", "nearer", "Share of replies with an *action* in asterisks" + _NEARER, 0.02
        ),
        lambda text: (float(_ACTION.search(text) is not None), 1.0),
    ),
    (
        Yardstick("character.quotes", "share", "nearer", "Share of replies with speech in quotes" + _NEARER, 0.02),
        lambda text: (float(_SPEECH.search(text) is not None), 1.0),
    ),
    (
        Yardstick("character.exclamation", "per sentence", "nearer", "Exclamation marks per sentence" + _NEARER, 0.02),
        lambda text: (float(text.count("!")), float(len(sentences_of(text)))),
    ),
    (
        Yardstick("character.questions", "per sentence", "nearer", "Question marks per sentence" + _NEARER, 0.02),
        lambda text: (float(text.count("?")), float(len(sentences_of(text)))),
    ),
    (
        Yardstick(
            "character.capitals",
            "share",
            "nearer",
            "Share of letters that are capitals, in scripts that have them" + _NEARER,
            0.005,
        ),
        lambda text: (
            float(sum(letter.isupper() for letter in text)),
            float(sum(letter.isupper() or letter.islower() for letter in text)),
        ),
    ),
    (
        Yardstick("character.sentence_length", "words", "nearer", "Words per sentence" + _NEARER, 0.5),
        lambda text: (float(len(words_of(text))), float(len(sentences_of(text)))),
    ),
)
_OPENING = Yardstick(
    name="character.openings",
    unit="distance",
    better="lower",
    same_within=0.02,
    definition=(
        "How differently replies begin: Jensen-Shannon distance (base 2; Lin 1991) between the shares of first words "
        "or marks, such as an asterisk, of the replies and of the real ones. 0 is alike, 1 shares none. A small sample "
        "is never at 0; the reference is what held-out real replies have to the others."
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return each habit of both models beside that of the data."""
    truth = [reply for reply in real(known) if reply.text.strip()]
    if not truth:
        reason = "the data has no reply of the character to compare with"
        return tuple(yardstick.unmeasured(reason) for yardstick in (*(row[0] for row in _HABITS), _OPENING))
    sides = (_said(heard(base)), _said(heard(tuned)))
    measures = []
    for yardstick, number in _HABITS:
        count = _counted(number)
        measures.append(compare(yardstick, known, sides, count, reference=ratio(truth, count)))
    return (*measures, _openings(known, sides, truth))


def _said(replies: Sequence[Heard]) -> tuple[Heard, ...]:
    """Return the replies that say something: an empty one has no habits."""
    return tuple(reply for reply in replies if reply.text.strip())


def _counted(number: Callable[[str], tuple[float, float]]) -> Count:
    def count(reply: Heard) -> tuple[float, float] | None:
        pair = number(reply.text)
        return pair if pair[1] else None

    return count


def first_of(text: str) -> str:
    """Return how a text begins: its first word in lower case, or the mark in front of it."""
    found = _FIRST.search(text)
    return found[0].lower() if found else ""


def _openings(known: Known, sides: tuple[Sequence[Heard], Sequence[Heard]], truth: Sequence[Heard]) -> Measure:
    import numpy as np

    units = shared_units(*sides)
    if not units:
        return _OPENING.unmeasured(NO_REPLIES)
    counts = Counter(first_of(reply.text) for reply in (*truth, *sides[0], *sides[1]))
    place = {opening: number for number, (opening, _) in enumerate(counts.most_common(_MOST_OPENINGS), start=1)}
    row_of = {unit: row for row, unit in enumerate(units)}
    tables = []
    for side in sides:
        table = np.zeros((len(units), _MOST_OPENINGS + 1))
        for reply in side:
            if reply.unit in row_of:
                table[row_of[reply.unit], place.get(first_of(reply.text), 0)] += 1
        tables.append(table)

    def shares(replies: Sequence[Heard]) -> "np.typing.NDArray[np.float64]":
        places = [place.get(first_of(reply.text), 0) for reply in replies]
        return np.bincount(places, minlength=_MOST_OPENINGS + 1) / max(1, len(places))

    def distance(
        rows: "np.typing.NDArray[np.float64]", wanted: "np.typing.NDArray[np.float64]"
    ) -> "np.typing.NDArray[np.float64]":
        found = rows / rows.sum(axis=1, keepdims=True)
        middle = (found + wanted) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            one = np.where(found > 0, found * np.log2(found / middle), 0.0).sum(axis=1)
            two = np.where(wanted > 0, wanted * np.log2(wanted / middle), 0.0).sum(axis=1)
        result: np.typing.NDArray[np.float64] = np.sqrt(np.maximum(0.0, (one + two) / 2))
        return result

    everyone = shares(truth)
    interval = drawn_interval(tables[0], tables[1], lambda rows: distance(rows, everyone), seed=known.seed)
    held_out = _said(real(known, known.validation))
    others = _said(real(known, known.train))
    reference = float(distance(shares(held_out)[None], shares(others))[0]) if held_out and others else None
    shown = {
        name: dict(Counter(first_of(reply.text) for reply in replies).most_common(5))
        for name, replies in (("base", sides[0]), ("tuned", sides[1]), ("real", truth))
    }
    return _OPENING.measured(interval, reference=reference, details={"most_frequent": shown})


EVALUATOR = Evaluator("habits", 1, measure)
