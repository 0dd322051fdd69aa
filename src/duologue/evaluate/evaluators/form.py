"""The outward form of replies: how long they are, whether they end by themselves, and whether they are text at all."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.draws import drawn_interval
from duologue.evaluate.evaluators.heard import (
    NO_REPLIES,
    Heard,
    Yardstick,
    compare,
    examples,
    heard,
    mean_of,
    ratio,
    real,
    share_of,
    shared_units,
)
from duologue.evaluate.evaluators.wording import words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

_LONGEST_WORDS = 1_000  # longer replies count as so long
_LEAST_TEXT = 0.5  # share of a reply's visible characters that must be letters, digits or common punctuation
_MARKERS = re.compile(
    r"<\|[a-z_]{2,24}\|?>|<\|?(?:start|end)_of_turn\|?>|<(?:start|end)_header_id>|\[/?INST\]|<</?SYS>>"
    r"|</?s>|<(?:bos|eos|pad|unk)>|<turn\|>|^\s*###\s*(?:Instruction|Response|Input|User|Assistant)\s*:"
    r"|^\s*(?:ASSISTANT|SYSTEM)\s*:|\{\{(?:char|user)\}\}"
    r"|^[ \t]*(?:user|assistant|system|model)[ \t]*$",  # what is left of a header whose own tokens are not shown
    re.MULTILINE,
)
_LIST_ITEM = re.compile(r"^\s*\*\s+(?!\*)|\*(?:\s*\*){2,}", re.MULTILINE)  # or a line of stars, which parts scenes
_QUOTES = (("\u201c", "\u201d"), ("\u00ab", "\u00bb"))
_PLAIN = frozenset(" \t\n.,!?;:'\"()-*_/\u2019\u2018\u201c\u201d\u2026\u2013\u2014~#%&+=$\u20ac\u00a3")
_EMOJI_CATEGORIES = ("So", "Sk", "Cf", "Mn", "Me")

_WORDS = Yardstick(
    name="character.length_words",
    unit="words",
    better="nearer",
    same_within=1.0,
    definition="Words of a reply, on average; nearer to the real replies is better.",
)
_DISTANCE = Yardstick(
    name="character.length_distance",
    unit="words",
    better="lower",
    same_within=1.0,
    definition=(
        "Distance between the lengths of the replies and of the real ones, in words (first Wasserstein distance, the "
        "area between the two cumulative distributions; Ramdas et al. 2017, On Wasserstein Two-Sample Testing). A "
        "reply that was cut off counts with what it has."
    ),
)
_ENDS = Yardstick(
    name="character.ends_by_itself",
    unit="share",
    better="higher",
    same_within=0.02,
    definition=(
        "Share of replies that the model ended itself, before it ran out of tokens. Replies that were stopped from "
        "outside are not counted."
    ),
)
_BROKEN = Yardstick(
    name="character.broken",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies that are empty, hold replacement or control characters, hold marks of a chat template (a "
        "line that is a role's bare name is one) or unfilled macros, are mostly no text, or leave an asterisk or a "
        "quotation mark open although the model ended the reply itself."
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return lengths, the share that ends by itself, and the share that is broken."""
    sides = (heard(base), heard(tuned))
    truth = real(known)
    length = mean_of(lambda reply: float(len(words_of(reply.text))))
    broken = share_of(lambda reply: bool(find_breaks(reply)))
    kinds = {
        name: dict(Counter(kind for reply in side for kind in find_breaks(reply)))
        for name, side in zip(("base", "tuned"), sides, strict=True)
    }
    shown = examples(sides[1], lambda reply: bool(find_breaks(reply)))
    return (
        compare(_WORDS, known, sides, length, reference=ratio(truth, length)),
        _distance(known, sides, truth),
        compare(_ENDS, known, sides, mean_of(_ended)),
        compare(
            _BROKEN, known, sides, broken, reference=ratio(truth, broken), details={"kinds": kinds, "examples": shown}
        ),
    )


def find_breaks(reply: Heard) -> tuple[str, ...]:
    """Return what is broken about a reply, in words; nothing when it is well."""
    text = reply.text
    if not text.strip():
        return ("empty",)
    tests = {
        "replacement or control characters": _has_odd_characters(text),
        "marks of a template": bool(_MARKERS.search(text)),
        "mostly no text": not _is_text(text),
        "an open asterisk or quotation mark": reply.finish_reason == "stop" and is_unbalanced(text),
    }
    return tuple(name for name, is_so in tests.items() if is_so)


def is_unbalanced(text: str) -> bool:
    """Return whether an asterisk or a quotation mark is opened and not closed; list items and sums do not count."""
    plain = re.sub(r"(?<=\d)\s*\*\s*(?=\d)", " ", _LIST_ITEM.sub("", text))
    if plain.count("*") % 2:
        return True
    plain = re.sub(r"(?<=\d)\s?\"", "", plain)  # inches
    if plain.count('"') % 2:
        return True
    return any(plain.count(opening) > plain.count(closing) for opening, closing in _QUOTES)


def _has_odd_characters(text: str) -> bool:
    return any(
        character == "\ufffd" or (character not in "\n\t\r" and unicodedata.category(character) in ("Cc", "Cs", "Co"))
        for character in text
    )


def _is_text(text: str) -> bool:
    """Return whether at least half of what is visible is letters, digits, common punctuation or emoji."""
    visible = [character for character in text if not character.isspace()]
    usual = sum(
        character.isalnum() or character in _PLAIN or unicodedata.category(character) in (*_EMOJI_CATEGORIES, "Mc")
        for character in visible
    )
    has_word = any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) in _EMOJI_CATEGORIES for c in visible)
    return has_word and usual >= _LEAST_TEXT * len(visible)


def _ended(reply: Heard) -> float | None:
    return float(reply.finish_reason == "stop") if reply.finish_reason in ("stop", "length") else None


def _distance(known: Known, sides: tuple[Sequence[Heard], Sequence[Heard]], truth: Sequence[Heard]) -> Measure:
    import numpy as np

    units = shared_units(*sides)
    if not units:
        return _DISTANCE.unmeasured(NO_REPLIES)
    if not truth:
        return _DISTANCE.unmeasured("the data has no reply of the character to compare with")
    lengths = [[min(len(words_of(reply.text)), _LONGEST_WORDS) for reply in part] for part in (*sides, truth)]
    size = max(max(part) for part in lengths) + 1
    wanted = np.cumsum(np.bincount(lengths[2], minlength=size)) / len(truth)
    row_of = {unit: row for row, unit in enumerate(units)}
    histograms = []
    for side, part in zip(sides, lengths, strict=False):
        table = np.zeros((len(units), size))
        for reply, length in zip(side, part, strict=True):
            if reply.unit in row_of:
                table[row_of[reply.unit], length] += 1
        histograms.append(table)

    def distance(counts: "np.typing.NDArray[np.float64]") -> "np.typing.NDArray[np.float64]":
        shares = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
        found: np.typing.NDArray[np.float64] = np.abs(shares - wanted).sum(axis=1)
        return found

    interval = drawn_interval(histograms[0], histograms[1], distance, seed=known.seed)
    quarters = {
        name: [float(np.quantile(part, share)) for share in (0.25, 0.5, 0.75)]
        for name, part in zip(("base", "tuned", "real"), lengths, strict=True)
    }
    return _DISTANCE.measured(interval, reference=0.0, details={"quartiles": quarters})


EVALUATOR = Evaluator("form", 2, measure)
