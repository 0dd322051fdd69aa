"""Does it sound like the character? A small classifier says how well replies can be told from the real ones.

Limits: it hears style, not sense. With few replies only plain differences are found. Where no held-out reply answers
the same turns, real and generated replies also differ in what they are about, which masking lessens but does not end.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.draws import draw_weights, interval_of
from duologue.evaluate.evaluators.heard import Heard, Yardstick, compare, heard, real, shared_units
from duologue.evaluate.evaluators.voice_model import alike, cross_fit, features, nearness
from duologue.evaluate.evaluators.wording import words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_REPLIES = 20
"""Replies with words that each side and the data must have; with fewer an AUC says next to nothing."""

_NUM_FOLDS = 5
_LEAST_UNITS = 5
_UNLIKE = 0.1  # share of real replies that are unlike the others
_MOST_REAL = 1_000  # real replies that are learned from; of more, so many are drawn by the seed

_AUC = Yardstick(
    name="character.voice_auc",
    unit="AUC",
    better="lower",
    same_within=0.02,
    definition=(
        "How well a small classifier tells a model's replies from the character's real ones: area under the ROC curve "
        "of a logistic regression on masked character and word sequences, cross-fitted by conversation and case "
        "(classifier two-sample test, Lopez-Paz and Oquab 2017). 0.5 is not told apart, 1 is always."
    ),
)
_SHARE = Yardstick(
    name="character.voice_share",
    unit="share",
    better="higher",
    same_within=0.02,
    definition=(
        "Share of replies taken for the character's: the classifier of the real replies against the base model's gives "
        "them to the character, and they are as near to real replies of other conversations as nine of ten real ones "
        "are. Nothing is judged by what learned from its case. The reference is the share of real replies taken so."
    ),
)


@dataclass(frozen=True, slots=True)
class Voice:
    """Replies with what the classifiers say of them.

    Attributes:
        replies: Real ones, the base model's, the tuned model's; each with words.
        odds: How much each sounds like the character and not like the base model, in log-odds.
        is_taken: Whether each is taken for the character's.
    """

    replies: tuple[tuple[Heard, ...], tuple[Heard, ...], tuple[Heard, ...]]
    odds: "tuple[NDArray[np.float64], ...]"
    is_taken: "tuple[NDArray[np.bool_], ...]"


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return how well replies are told from real ones, and how many are taken for the character's."""
    parts = (_learnable(known), _worded(heard(base)), _worded(heard(tuned)))
    reason = _too_few(parts)
    if reason:
        return _AUC.unmeasured(reason), _SHARE.unmeasured(reason)
    voice = judge_voices(known, base, tuned)
    taken = {
        id(reply): bool(is_taken)
        for side in (1, 2)
        for reply, is_taken in zip(voice.replies[side], voice.is_taken[side], strict=True)
    }
    share = compare(
        _SHARE,
        known,
        (voice.replies[1], voice.replies[2]),
        lambda reply: (float(taken[id(reply)]), 1.0),
        reference=float(voice.is_taken[0].mean()),
    )
    return _told_apart(known, parts), share


def judge_voices(known: Known, base: Observed, tuned: Observed, *, long: bool = False) -> Voice:
    """Return what classifiers of the real replies against the base model's say of all replies.

    Args:
        known: Supplies the data and the seed.
        base: What was seen of the base model.
        tuned: What was seen of the tuned model.
        long: Judge the long dialogues; the classifier still learns from the other ones too.
    """
    import numpy as np

    truth = _learnable(known)
    learned = _worded(heard(base, "held_out", "written", "long"))
    wanted = ("long",) if long else ("held_out", "written")
    judged = [_worded(heard(side, *wanted)) for side in (base, tuned)]
    everything = (*truth, *learned, *judged[0], *judged[1])
    rows = features(everything, names=_names(known))
    folds = np.array([_fold(reply.unit, known.seed) for reply in everything])
    place = np.arange(len(everything))
    ends = np.cumsum([len(truth), len(learned), len(judged[0])])
    products = alike(rows)
    is_real = place < ends[0]
    odds = cross_fit(products, is_real, folds, is_learned=place < ends[1])
    near = nearness(products, is_real, folds)
    is_taken = (odds > 0) & (near >= np.quantile(near[is_real], _UNLIKE))
    parts = (slice(0, ends[0]), slice(ends[1], ends[2]), slice(ends[2], None))
    return Voice(
        (truth, judged[0], judged[1]), tuple(odds[part] for part in parts), tuple(is_taken[part] for part in parts)
    )


def too_few_replies(known: Known, base: Observed, tuned: Observed, *, long: bool = False) -> str:
    """Return why voices cannot be judged; empty when they can."""
    wanted = ("held_out", "written", "long") if long else ("held_out", "written")
    return _too_few((_learnable(known), _worded(heard(base, *wanted)), _worded(heard(tuned, *wanted))))


def _too_few(parts: Sequence[Sequence[Heard]]) -> str:
    for name, part in zip(("the data", "the base model", "the tuned model"), parts, strict=True):
        units = {reply.unit for reply in part}
        if len(part) < LEAST_REPLIES or len(units) < _LEAST_UNITS:
            return (
                f"{len(part)} replies with words in {len(units)} dialogues of {name}; "
                f"{LEAST_REPLIES} in {_LEAST_UNITS} are needed"
            )
    return ""


def _learnable(known: Known) -> tuple[Heard, ...]:
    """Return the real replies: all that were held out, and of the others as many as are learned from."""
    kept = _worded(real(known, known.validation))
    others = _worded(real(known, known.train))
    room = max(0, _MOST_REAL - len(kept))
    if len(others) > room:
        others = tuple(random.Random(f"{known.seed}/voice").sample(others, room))
    return (*kept, *others)


def _worded(replies: Sequence[Heard]) -> tuple[Heard, ...]:
    return tuple(reply for reply in replies if words_of(reply.text))


def _names(known: Known) -> frozenset[str]:
    return frozenset(words_of(f"{known.character.name} {known.character.nickname} {known.config.character.user_name}"))


def _fold(unit: str, seed: int) -> int:
    return hashlib.blake2b(f"{seed}/{unit}".encode(errors="replace"), digest_size=4).digest()[0] % _NUM_FOLDS


def _told_apart(known: Known, parts: tuple[Sequence[Heard], Sequence[Heard], Sequence[Heard]]) -> Measure:
    """Return the AUC of either model against the real replies, cross-fitted, with an interval over cases.

    Where enough real replies answer the turns of held-out cases, only those cases are judged.
    """
    import numpy as np

    truth, *models = parts
    held_out = {reply.unit for reply in truth} & set(shared_units(*models))
    matched = [[reply for reply in part if reply.unit in held_out] for part in parts]
    is_matched = len(held_out) >= _LEAST_UNITS and min(map(len, matched)) >= LEAST_REPLIES
    units = sorted(held_out) if is_matched else shared_units(*models)
    real_units = units if is_matched else list(dict.fromkeys(reply.unit for reply in truth))
    wins = [_wins(known, truth, model, (real_units, units)) for model in models]
    weights = draw_weights(len(units), seed=known.seed)
    real_weights = weights if is_matched else draw_weights(len(real_units), seed=known.seed + 1)
    one = [np.ones((1, len(side))) for side in (real_units, units)]
    values = [float(_auc(table, one[0], one[1])[0]) for table in wins]
    draws = tuple(_auc(table, real_weights, weights) for table in wins)
    details = {
        "judged_on": "held-out turns, which real replies answer too" if is_matched else "all dialogues; topics differ",
        "num_replies": {
            name: len(matched[at] if is_matched else parts[at]) for at, name in enumerate(("real", "base", "tuned"))
        },
    }
    interval = interval_of(values[0], values[1], (draws[0], draws[1]), num=len(units))
    return _AUC.measured(interval, reference=0.5, details=details)


def _wins(
    known: Known, truth: Sequence[Heard], model: Sequence[Heard], units: tuple[Sequence[str], Sequence[str]]
) -> "NDArray[np.float64]":
    """Return, for each pair of units of one fold, pairs of replies of which the real one scores higher, and all pairs.

    Scores of two folds come from two classifiers and are not compared.
    """
    import numpy as np

    everything = (*truth, *model)
    rows = features(everything, names=_names(known))
    is_real = np.arange(len(everything)) < len(truth)
    folds = np.array([_fold(reply.unit, known.seed) for reply in everything])
    row_of = [{unit: row for row, unit in enumerate(side)} for side in units]
    places = np.array(
        [row_of[0 if here else 1].get(reply.unit, -1) for here, reply in zip(is_real, everything, strict=True)]
    )
    table = np.zeros((2, len(units[0]), len(units[1])))
    scores = cross_fit(alike(rows), is_real, folds)
    is_judged = (places >= 0) & np.isfinite(scores)
    for fold in range(_NUM_FOLDS):
        one = np.flatnonzero((folds == fold) & is_judged & is_real)
        other = np.flatnonzero((folds == fold) & is_judged & ~is_real)
        won = (scores[one, None] > scores[None, other]) + 0.5 * (scores[one, None] == scores[None, other])
        pair = np.ix_(places[one], places[other])
        np.add.at(table[0], pair, won)
        np.add.at(table[1], pair, 1.0)
    return table


def _auc(
    table: "NDArray[np.float64]", real_weights: "NDArray[np.float64]", weights: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    import numpy as np

    won, all_pairs = (((real_weights @ part) * weights).sum(axis=1) for part in table)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = won / all_pairs
    return found


EVALUATOR = Evaluator("voice", 1, measure)
