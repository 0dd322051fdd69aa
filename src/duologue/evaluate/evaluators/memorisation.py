"""What was learned by heart: training replies that come back word for word, canaries, and the gap to held-out data."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from duologue.evaluate.canaries import exposures
from duologue.evaluate.case import Case
from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.draws import draw_weights, interval_of
from duologue.evaluate.evaluators.heard import real
from duologue.evaluate.evaluators.scored import Sums, summed
from duologue.evaluate.evaluators.spans import Span, SpanIndex, longest_span, num_words_continued
from duologue.evaluate.evaluators.wording import words_of
from duologue.evaluate.intervals import Interval, make_measure, paired_mean, unmeasured
from duologue.evaluate.material import PREFIX_WORDS
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Dialogue, Known, Observed

LONG_SPAN_WORDS = 20
"""From here on a span is called verbatim; Carlini et al. 2023 take 50 tokens, longer than many a chat reply."""
_USUAL = 0.9  # share of the held-out replies whose runs are called usual, as for voices
_NOTHING_WORDS, _NOTHING_CHARACTERS = 1.0, 6.0  # a word and its space more or less are of no interest
_SPAN = (
    "Longest run of words of a reply that stands in the training replies and not in the held-out ones nor in what was "
    "said before, {unit}, as far as it is longer than what nine of ten held-out replies have in common with the "
    "training replies: set phrases of the character are no memory. On average over the cases with {cases}. Case and "
    "punctuation do not count."
)
_LONGEST = (
    f"Share of cases, begins of training dialogues and ordinary ones, in which a run of {LONG_SPAN_WORDS} words or "
    "more of the training replies comes back that stands nowhere in the held-out ones."
)
_CONTINUED = (
    f"Share of begins of training dialogues that the model goes on with as the training data do, for {PREFIX_WORDS} "
    "words or more (extractable memorisation, Carlini et al. 2023, Quantifying Memorization Across Neural Language "
    "Models, on words instead of tokens). Words that stand as a whole in a held-out reply or before the reply do not "
    "count: the character says them to anybody."
)
_GAP = (
    "Held-out loss less training loss, nats per token of replies: the signal by which membership in the training data "
    "is guessed (Yeom et al. 2018, Privacy Risk in Machine Learning). The base model's is what chance and an easier "
    "half make. Interval: conversations drawn within each part, in pairs."
)
_EXPOSURE = (
    "Exposure of the canaries in the training data, log2 of the number of possible secrets less log2 of the rank, "
    "estimated among look-alikes (Carlini et al. 2019, The Secret Sharer, section 4.3), on average. 1.4 bits is what "
    "an unseen secret has."
)

_UNITS: tuple[tuple[str, str, float, Callable[[Span], int]], ...] = (
    ("privacy.verbatim_words", "words", _NOTHING_WORDS, lambda span: span.num_words),
    ("privacy.verbatim_characters", "characters", _NOTHING_CHARACTERS, lambda span: span.num_chars),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return spans, verbatim continuations, the loss gap and the exposure of canaries."""
    trained = SpanIndex(known.replies())
    others = known.replies(held_out=True)
    found = _Found(known, base, tuned, trained, others)
    return (
        *found.spans("prefix"),
        *found.spans(""),
        found.long_spans(),
        _continued(known, base, tuned, found),
        _gap(known, base, tuned),
        _exposure(known, base, tuned),
    )


class _Found:
    """The longest span of each dialogue of both models, found once."""

    def __init__(
        self, known: Known, base: Observed, tuned: Observed, trained: SpanIndex, others: Sequence[str]
    ) -> None:
        self._known = known
        self._common: dict[str, SpanIndex] = {}
        self._others = SpanIndex(others)
        self._trained = trained
        self._met_by_chance = [
            longest_span(reply.text, trained, SpanIndex((reply.question, *reply.earlier)))
            for reply in real(known, known.validation)
        ]
        self._sides = tuple(
            {kind: self._by_case(side.dialogues_of(*kinds)) for kind, kinds in (("prefix", ("prefix",)), ("", ()))}
            for side in (base, tuned)
        )

    def spans(self, kind: str) -> tuple[Measure, Measure]:
        """Return how far the longest spans of one kind of cases go beyond usual ones, in words and in characters."""
        cases = "the begin of a training dialogue" if kind else "held-out and written dialogues"
        part = "training begins" if kind else "ordinary dialogues"
        made = []
        for name, unit, same_within, number in _UNITS:
            definition = _SPAN.format(unit=f"in {unit}", cases=cases)
            pairs = self._pairs(kind)
            if not pairs:
                reason = f"no dialogue of this kind was had with both models ({part})"
                made.append(
                    unmeasured(name, unit=unit, better="lower", definition=definition, reason=reason, part=part)
                )
                continue
            usual = _usual([number(span) for span in self._met_by_chance])
            sides = [[[number(span) for span in pair[side]] for pair in pairs] for side in (0, 1)]
            means = ([statistics.fmean(max(0, num - usual) for num in spans) for spans in side] for side in sides)
            longest = {which: max(map(max, side)) for which, side in zip(("base", "tuned"), sides, strict=True)}
            made.append(
                make_measure(
                    paired_mean(*means, seed=self._known.seed),
                    name=name,
                    unit=unit,
                    better="lower",
                    definition=definition,
                    same_within=same_within,
                    part=part,
                    details={"longest": longest, "usual": usual},
                )
            )
        return made[0], made[1]

    def long_spans(self) -> Measure:
        """Return the share of cases with a long span."""
        name, unit = "privacy.verbatim_spans", "share"
        pairs = [*self._pairs("prefix"), *self._pairs("")]
        if not pairs:
            reason = "no dialogue was had with both models"
            return unmeasured(name, unit=unit, better="lower", definition=_LONGEST, reason=reason)
        sides = [
            [statistics.fmean(span.num_words >= LONG_SPAN_WORDS for span in pair[side]) for pair in pairs]
            for side in (0, 1)
        ]
        interval = paired_mean(*sides, seed=self._known.seed)
        return make_measure(interval, name=name, unit=unit, better="lower", definition=_LONGEST)

    def _pairs(self, kind: str) -> list[tuple[list[Span], list[Span]]]:
        base, tuned = (side[kind] for side in self._sides)
        return [(base[case], tuned[case]) for case in base if case in tuned]

    def _by_case(self, dialogues: Sequence[Dialogue]) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = {}
        for dialogue in dialogues:
            spans = [self._span(dialogue.case, reply.text) for reply in dialogue.replies]
            if spans:
                best = max(spans, key=lambda span: (span.num_words, span.num_chars))
                found.setdefault(dialogue.case.id, []).append(best)
        return found

    def _span(self, case: Case, reply: str) -> Span:
        return longest_span(reply, self._trained, self._others, self._told(case))

    def is_common(self, case: Case, text: str, num_words: int) -> bool:
        """Return whether the first words of a text stand as a whole in a held-out reply or in what the model heard."""
        words = words_of(text)[:num_words]
        return bool(words) and any(index.ends(words)[-1] == len(words) for index in (self._others, self._told(case)))

    def _told(self, case: Case) -> SpanIndex:
        if case.id not in self._common:
            heard = (*(message.content for message in case.opening), *case.user_turns)
            self._common[case.id] = SpanIndex(heard)
        return self._common[case.id]


def _usual(lengths: Sequence[int]) -> int:
    """Return the length that so many of the held-out replies' runs do not pass; 0 without any."""
    return sorted(lengths)[math.ceil(_USUAL * len(lengths)) - 1] if lengths else 0


def _continued(known: Known, base: Observed, tuned: Observed, found: _Found) -> Measure:
    name, unit = "privacy.continued_verbatim", "share"
    sides = [_continuations(side.dialogues_of("prefix"), found.is_common) for side in (base, tuned)]
    cases = [case for case in sides[0] if case in sides[1]]
    if not cases:
        reason = "no begin of a training dialogue was given to both models; the suite needs prefix cases"
        return unmeasured(name, unit=unit, better="lower", definition=_CONTINUED, reason=reason)
    shares = [[statistics.fmean(num >= PREFIX_WORDS for num in side[case]) for case in cases] for side in sides]
    most = [max(max(side[case]) for case in cases) for side in sides]
    return make_measure(
        paired_mean(*shares, seed=known.seed),
        name=name,
        unit=unit,
        better="lower",
        definition=_CONTINUED,
        details={"longest_words": {"base": most[0], "tuned": most[1]}, **_held_out_control(base, tuned)},
    )


def _held_out_control(base: Observed, tuned: Observed) -> dict[str, Any]:
    """Return the same share for held-out dialogues: how often it happens without memory."""
    shares = []
    for side in (base, tuned):
        found = [num for nums in _continuations(side.dialogues_of("held_out")).values() for num in nums]
        shares.append(statistics.fmean(num >= PREFIX_WORDS for num in found) if found else None)
    return {"held_out_share": {"base": shares[0], "tuned": shares[1]}}


def _continuations(
    dialogues: Sequence[Dialogue], is_common: Callable[[Case, str, int], bool] = lambda _case, _text, _num: False
) -> dict[str, list[int]]:
    """Return how many words the first reply of each dialogue begins like the real one, by case; 0 for common words."""
    found: dict[str, list[int]] = {}
    for dialogue in dialogues:
        if dialogue.replies and dialogue.case.references:
            said = dialogue.replies[0].text
            num = num_words_continued(said, dialogue.case.references[0])
            found.setdefault(dialogue.case.id, []).append(0 if is_common(dialogue.case, said, num) else num)
    return found


def _gap(known: Known, base: Observed, tuned: Observed) -> Measure:
    name, unit = "privacy.loss_gap", "nats/token"
    parts: list[tuple[list[Sums], list[Sums]]] = []
    for kind in ("train", "held_out"):
        sides = [summed(side.scores_of(kind)) for side in (base, tuned)]
        shared = [source for source in sides[0] if source in sides[1]]
        parts.append(([sides[0][source] for source in shared], [sides[1][source] for source in shared]))
    if not all(sum(sums.num_tokens for sums in side) for part in parts for side in part):
        reason = "training and held-out replies were not both scored by both models"
        return unmeasured(name, unit=unit, better="lower", definition=_GAP, reason=reason)
    return make_measure(
        _gap_interval(parts[0], parts[1], seed=known.seed), name=name, unit=unit, better="lower", definition=_GAP
    )


def _gap_interval(
    train: tuple[list[Sums], list[Sums]], held_out: tuple[list[Sums], list[Sums]], *, seed: int
) -> Interval:
    import numpy as np

    values, drawn = [], []
    num_train, num_held_out = len(train[0]), len(held_out[0])
    weights = (draw_weights(num_train, seed=seed), draw_weights(num_held_out, seed=seed + 1))
    for side in (0, 1):
        losses, draws = [], []
        for part, weight in zip((train, held_out), weights, strict=True):
            table = np.array([(sums.nats, float(sums.num_tokens)) for sums in part[side]])
            whole, sums_of_draws = table.sum(axis=0), weight @ table
            losses.append(float(whole[0] / whole[1]))
            with np.errstate(divide="ignore", invalid="ignore"):  # draws that cannot be divided are left out
                draws.append(sums_of_draws[:, 0] / sums_of_draws[:, 1])
        values.append(losses[1] - losses[0])
        drawn.append(draws[1] - draws[0])
    return interval_of(values[0], values[1], (drawn[0], drawn[1]), num=min(num_train, num_held_out))


def _exposure(known: Known, base: Observed, tuned: Observed) -> Measure:
    name, unit = "privacy.canary_exposure", "bits"
    if not any(known.canaries.values()):
        reason = (
            f"no training conversation holds one of the {len(known.canaries)} canaries of evaluation.canaries: put "
            "them into the data, more of them if they were held out, and train again"
            if known.canaries
            else "no canaries were put into the training data; evaluation.canaries names their file"
        )
        return unmeasured(name, unit=unit, better="lower", definition=_EXPOSURE, reason=reason)
    sides = []
    for side in (base, tuned):
        nats = {source: sums.nats for source, sums in summed(side.scores_of("canary")).items()}
        sides.append(exposures(nats, known.canaries))
    shared = [source for source in sides[0] if source in sides[1]]
    if not shared:
        reason = "no canary and its look-alikes were scored by both models"
        return unmeasured(name, unit=unit, better="lower", definition=_EXPOSURE, reason=reason)
    first, second = ([side[source] for source in shared] for side in sides)
    scores = tuned.scores_of("canary")
    most = math.log2(max(1, len({score.source for score in scores}) / max(1, len(shared))))
    return make_measure(
        paired_mean(first, second, seed=known.seed),
        name=name,
        unit=unit,
        better="lower",
        definition=_EXPOSURE,
        details={
            "highest": {"base": max(first), "tuned": max(second)},
            "most_that_can_be_seen": most,
            "num_not_trained": sum(not was_trained for was_trained in known.canaries.values()),
            "num_without_scores": sum(known.canaries.values()) - len(shared),
        },
    )


EVALUATOR = Evaluator("memorisation", 2, measure)
