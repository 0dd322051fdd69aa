"""A model as a judge: which of two replies is nearer to the character. Optional, and only as good as the judge is.

The caller opens it and passes `Known.more["judge"]`, a function that takes messages and returns the answer's text.
Judges favour what they see first (Zheng et al. 2023, Judging LLM-as-a-Judge), so each pair is shown in both orders. An
answer that is not one of three words is not guessed at but counted.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from duologue.errors import DuologueError
from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.facts import CardKnowledge, card_knowledge, contradictions
from duologue.evaluate.evaluators.form import find_breaks
from duologue.evaluate.evaluators.heard import Heard, Yardstick, heard
from duologue.evaluate.evaluators.loops import loops, repeats_earlier
from duologue.evaluate.evaluators.refusal import refuses
from duologue.evaluate.evaluators.user_speech import speaks_for, user_marks
from duologue.evaluate.evaluators.voice import judge_voices, too_few_replies
from duologue.evaluate.intervals import paired_mean
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed
from duologue.messages import Message

Ask = Callable[[Sequence[Message]], str]
Choice = Literal["base", "tuned", "tie"]

MOST_PAIRS = 40
"""Pairs that are shown; of more, so many are drawn by the seed."""

_MOST_CARD_CHARS = 2_000
_SURE_LOG_ODDS = 0.5  # a smaller difference of voice is a tie
_ANSWER = re.compile(r"\W*(?:answer\W+)?(first|second|equal)\W*", re.IGNORECASE)
_RUBRIC = (
    "You compare two replies of a character in a chat. Decide which of them this character would rather give: who "
    "speaks as described, keeps to what is known of the character, answers what was said, does not speak for the other "
    "person, and does not repeat itself. Length alone is no merit. Reply with one word: FIRST, SECOND or EQUAL."
)
_PREFERENCE = Yardstick(
    name="judge.preference",
    unit="share",
    better="higher",
    definition=(
        "Share of pairs of replies to the same first turn that a judge model gives to each side, shown in both orders; "
        "a pair on which the two orders disagree, or that is called equal, counts half for each (Zheng et al. 2023)."
    ),
)
_KAPPA = (
    "Agreement of the judge with the rules on which reply is better, beyond chance (Cohen 1960, kappa over tuned, base "
    "and tie). By the rules the reply with fewer faults is better, and of equals the one that sounds more like the "
    "character to the voice classifier."
)
_POSITION = "Share of the judge's choices that fell on the reply shown first; 0.5 is a judge without a favourite place."


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a judge said of one pair: of the tuned reply shown second, and of it shown first."""

    pair: tuple[Heard, Heard]
    answers: tuple[str, str]

    @property
    def choice(self) -> Choice | None:
        picked = _side(self.answers[0], tuned_first=False), _side(self.answers[1], tuned_first=True)
        if None in picked:
            return None
        return picked[0] if picked[0] == picked[1] else "tie"


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return the judge's preference, its bias for a place, and its agreement with the rules; nothing without one."""
    ask = known.more.get("judge")
    if ask is None:
        return ()
    pairs = _pairs(known, base, tuned)
    faults: list[str] = []
    verdicts = [_judge(known, ask, pair, faults) for pair in pairs]
    judged = [(verdict, choice) for verdict in verdicts if (choice := verdict.choice) is not None]
    counts = {
        "num_pairs": len(pairs),
        "num_unparsable": sum(answer == "unparsable" for verdict in verdicts for answer in verdict.answers),
        "num_failed": sum(answer == "failed" for verdict in verdicts for answer in verdict.answers),
        "faults": list(dict.fromkeys(faults))[:3],
    }
    if not judged:
        reason = (
            f"no pair was judged in both orders: {counts}" if pairs else "no first turn was answered by both models"
        )
        return (_PREFERENCE.unmeasured(reason),)
    rules = _rule_choices(known, base, tuned, [verdict.pair for verdict, _ in judged])
    return (
        _preference(known, judged, counts),
        _shown("judge.first_place", "share", _POSITION, *_first_share(verdicts)),
        _shown("judge.agreement", "kappa", _KAPPA, kappa([choice for _, choice in judged], rules), len(judged)),
    )


def parse_answer(text: str) -> Literal["first", "second", "equal", "unparsable"]:
    """Return what a judge answered; anything but one of the three words alone is unparsable."""
    match = _ANSWER.fullmatch(text.strip())
    words: dict[str, Literal["first", "second", "equal"]] = {"first": "first", "second": "second", "equal": "equal"}
    return words[match[1].lower()] if match else "unparsable"


def kappa(one: Sequence[Choice], other: Sequence[Choice]) -> float | None:
    """Return Cohen's kappa of two raters; None when chance alone would make them agree always."""
    num = len(one)
    agreed = sum(first == second for first, second in zip(one, other, strict=True)) / num
    counts = Counter(one), Counter(other)
    chance = sum(counts[0][choice] * counts[1][choice] for choice in ("base", "tuned", "tie")) / num**2
    return (agreed - chance) / (1 - chance) if chance < 1 else None


def _pairs(known: Known, base: Observed, tuned: Observed) -> list[tuple[Heard, Heard]]:
    """Return replies to the first turns, which both models heard alike; one per case and seed."""
    other = {(reply.unit, reply.seed): reply for reply in heard(tuned) if reply.turn == 0}
    found = [
        (reply, other[reply.unit, reply.seed])
        for reply in heard(base)
        if reply.turn == 0 and (reply.unit, reply.seed) in other
    ]
    return found if len(found) <= MOST_PAIRS else random.Random(f"{known.seed}/judge").sample(found, MOST_PAIRS)


def _judge(known: Known, ask: Ask, pair: tuple[Heard, Heard], faults: list[str]) -> _Verdict:
    base, tuned = pair
    answers: list[str] = []
    for first, second in ((base, tuned), (tuned, base)):
        try:
            answers.append(parse_answer(ask(_question(known, first, second))))
        except (DuologueError, OSError, RuntimeError, ValueError) as error:
            faults.append(f"{type(error).__name__}: {error}"[:200])
            answers.append("failed")
    return _Verdict(pair, (answers[0], answers[1]))


def _question(known: Known, first: Heard, second: Heard) -> tuple[Message, ...]:
    card = known.character
    about = "\n".join(part for part in (card.description, card.personality, card.scenario) if part.strip())
    about = about.replace("{{char}}", card.name).replace("{{user}}", known.config.character.user_name)
    text = (
        f"The character is {card.name}.\n{about[:_MOST_CARD_CHARS]}\n\n"
        f"{known.config.character.user_name} says:\n{first.question}\n\n"
        f"FIRST reply:\n{first.text}\n\nSECOND reply:\n{second.text}\n\nFIRST, SECOND or EQUAL?"
    )
    return Message("system", _RUBRIC), Message("user", text)


def _side(answer: str, *, tuned_first: bool) -> Choice | None:
    if answer == "equal":
        return "tie"
    if answer not in ("first", "second"):
        return None
    return "tuned" if (answer == "first") == tuned_first else "base"


def _preference(known: Known, judged: Sequence[tuple[_Verdict, Choice]], counts: dict[str, object]) -> Measure:
    worth = {"tuned": 1.0, "tie": 0.5, "base": 0.0}
    by_case: dict[str, list[float]] = {}
    for verdict, choice in judged:
        by_case.setdefault(verdict.pair[0].unit, []).append(worth[choice])
    means = [sum(values) / len(values) for values in by_case.values()]
    interval = paired_mean([1 - value for value in means], means, seed=known.seed)
    choices = dict(Counter(choice for _, choice in judged))
    return _PREFERENCE.measured(interval, details={**counts, "choices": choices})


def _first_share(verdicts: Sequence[_Verdict]) -> tuple[float | None, int]:
    chosen = [answer for verdict in verdicts for answer in verdict.answers if answer in ("first", "second")]
    return (chosen.count("first") / len(chosen) if chosen else None), len(chosen)


def _rule_choices(known: Known, base: Observed, tuned: Observed, pairs: Sequence[tuple[Heard, Heard]]) -> list[Choice]:
    scores: dict[tuple[str, int, int, bool], float] = {}
    if not too_few_replies(known, base, tuned):
        voice = judge_voices(known, base, tuned)
        for is_tuned, replies, row in (
            (False, voice.replies[1], voice.odds[1]),
            (True, voice.replies[2], voice.odds[2]),
        ):
            for reply, score in zip(replies, row.tolist(), strict=True):
                scores[reply.unit, reply.seed, reply.turn, is_tuned] = score
    card, marks = card_knowledge(known), user_marks(known)
    out: list[Choice] = []
    for pair in pairs:
        difference = _num_faults(pair[0], card, marks) - _num_faults(pair[1], card, marks)
        if not difference:
            keys = [(reply.unit, reply.seed, reply.turn, is_tuned) for is_tuned, reply in enumerate(pair)]
            voices = [scores.get((unit, seed, turn, bool(side)), 0.0) for unit, seed, turn, side in keys]
            apart = voices[1] - voices[0]
            difference = 0 if abs(apart) < _SURE_LOG_ODDS else 1 if apart > 0 else -1
        out.append("tuned" if difference > 0 else "base" if difference < 0 else "tie")
    return out


def _num_faults(reply: Heard, card: CardKnowledge, marks: Sequence[str]) -> int:
    faults = [loops(reply), repeats_earlier(reply), speaks_for(reply.text, marks), refuses(reply.text)]
    return sum(faults) + len(find_breaks(reply)) + len(contradictions(reply, card))


def _shown(name: str, unit: str, definition: str, value: float | None, num: int) -> Measure:
    """Return a number that compares no models: of the judge itself."""
    verdict: Literal["only shown", "not measured"] = "not measured" if value is None else "only shown"
    fault = "both raters always say the same one thing, or nothing" if value is None else ""
    return Measure(name, unit, "neither", None, value, None, None, verdict, num, definition, fault=fault)


EVALUATOR = Evaluator("judge", 1, measure)
