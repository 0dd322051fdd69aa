"""Replies in their places, of models and of the real data, and numbers of them paired by case."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from duologue.characters import Character
from duologue.config import Config
from duologue.evaluate.case import CaseKind
from duologue.evaluate.intervals import Interval, make_measure, paired_ratio, unmeasured
from duologue.evaluate.measure import Better, Measure
from duologue.evaluate.observed import Dialogue, Known, Observed
from duologue.messages import Conversation, FinishReason

MOST_CONVERSATIONS = 2_000
"""Real conversations that references are made of; of more, so many are drawn by the seed."""
NO_REPLIES = "no dialogue was had with both models; the suite needs written or held-out cases"


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply and where it was said.

    Attributes:
        unit: The case, or the source of a real conversation: what happened independently.
        seed: Of the dialogue; 0 for a real one.
        turn: Its number in the dialogue, counted from 0.
        question: What it answers; empty for a greeting.
        text: The reply.
        earlier: The character's replies before it.
        finish_reason: Why it ended; a real one ended by itself.
    """

    unit: str
    seed: int
    turn: int
    question: str
    text: str
    earlier: tuple[str, ...] = ()
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a measure of replies is called and held against; see `Measure`."""

    name: str
    unit: str
    better: Better
    definition: str
    same_within: float = 0.0

    def unmeasured(self, reason: str) -> Measure:
        """Return the measure without numbers."""
        return unmeasured(self.name, unit=self.unit, better=self.better, definition=self.definition, reason=reason)

    def measured(
        self, interval: Interval, *, reference: float | None = None, details: dict[str, Any] | None = None
    ) -> Measure:
        """Return the measure with its numbers."""
        return make_measure(
            interval,
            name=self.name,
            unit=self.unit,
            better=self.better,
            definition=self.definition,
            reference=reference,
            same_within=self.same_within,
            details=details,
        )


def heard(observed: Observed, *kinds: CaseKind) -> tuple[Heard, ...]:
    """Return all replies of some kinds of cases; of the held-out and the written ones when none is named."""
    return tuple(
        Heard(
            unit=dialogue.case.id,
            seed=dialogue.seed,
            turn=turn,
            question=dialogue.case.user_turns[turn],
            text=spoken.text,
            earlier=(*_opening(dialogue), *(reply.text for reply in dialogue.replies[:turn])),
            finish_reason=spoken.finish_reason,
        )
        for dialogue in observed.dialogues_of(*kinds)
        for turn, spoken in enumerate(dialogue.replies)
    )


def _opening(dialogue: Dialogue) -> tuple[str, ...]:
    return tuple(message.content for message in dialogue.case.opening if message.role == "assistant")


def real(known: Known, conversations: Sequence[Conversation] | None = None) -> tuple[Heard, ...]:
    """Return the character's real replies, of the given conversations or of all (at most `MOST_CONVERSATIONS`)."""
    found = list((*known.train, *known.validation) if conversations is None else conversations)
    if len(found) > MOST_CONVERSATIONS:
        found = random.Random(f"{known.seed}/real").sample(found, MOST_CONVERSATIONS)
    out: list[Heard] = []
    for conversation in found:
        question = ""
        earlier: list[str] = []
        for message in conversation.messages:
            if message.role == "user":
                question = message.content
            elif message.role == "assistant":
                out.append(
                    Heard(conversation.source, 0, len(earlier), question, message.content, earlier=tuple(earlier))
                )
                earlier.append(message.content)
                question = ""
    return tuple(out)


def named(text: str, character: Character, config: Config) -> str:
    """Return a text with the plain macros for the two names replaced."""
    for mark, name in (("{{char}}", character.name), ("{{user}}", config.character.user_name)):
        text = text.replace(mark, name)
    return text


Count = Callable[[Heard], tuple[float, float] | None]


def share_of(is_so: Callable[[Heard], bool]) -> Count:
    """Return what counts replies of which something is true."""
    return lambda reply: (float(is_so(reply)), 1.0)


def mean_of(number: Callable[[Heard], float | None]) -> Count:
    """Return what adds up a number of the replies that have one."""

    def count(reply: Heard) -> tuple[float, float] | None:
        value = number(reply)
        return None if value is None else (value, 1.0)

    return count


def ratio(replies: Iterable[Heard], count: Count) -> float | None:
    """Return the sum of the first numbers over the sum of the second; None when there is nothing to divide by."""
    above, below = _sums(replies, count)
    return above / below if below else None


def compare(
    yardstick: Yardstick,
    known: Known,
    sides: tuple[Sequence[Heard], Sequence[Heard]],
    count: Count,
    *,
    details: dict[str, Any] | None = None,
    reference: float | None = None,
) -> Measure:
    """Return the ratio of what `count` says of both models' replies, paired by case.

    Args:
        yardstick: What it is called.
        known: Supplies the seed.
        sides: Replies of the base and of the tuned model; cases that only one of them has are left out and counted.
        count: Numerator and denominator of one reply; None leaves it out.
        details: Added to the measure's.
        reference: The same number of the real data.
    """
    units = shared_units(*sides)
    base, tuned = (_by_unit(side, units, count) for side in sides)
    if not sum(pair[1] for pair in base) or not sum(pair[1] for pair in tuned):
        return yardstick.unmeasured(NO_REPLIES if not units else "no reply of both models could be counted")
    interval = paired_ratio(base, tuned, seed=known.seed)
    more = {
        "num_counted": {"base": sum(pair[1] for pair in base), "tuned": sum(pair[1] for pair in tuned)},
        "num_cases_of_one_side": len({reply.unit for side in sides for reply in side}) - len(units),
    }
    return yardstick.measured(interval, reference=reference, details={**more, **(details or {})})


def shared_units(base: Iterable[Heard], tuned: Iterable[Heard]) -> list[str]:
    """Return the cases that both models went through, in the order of the base's."""
    other = {reply.unit for reply in tuned}
    return list(dict.fromkeys(reply.unit for reply in base if reply.unit in other))


def examples(replies: Iterable[Heard], is_so: Callable[[Heard], bool], *, most: int = 3) -> list[dict[str, Any]]:
    """Return the first replies of which something is true, each of another case, for the report."""
    found: dict[str, dict[str, Any]] = {}
    for reply in replies:
        if len(found) < most and reply.unit not in found and is_so(reply):
            found[reply.unit] = {"case": reply.unit, "turn": reply.turn + 1, "reply": reply.text[:240]}
    return list(found.values())


def _by_unit(replies: Sequence[Heard], units: Sequence[str], count: Count) -> list[tuple[float, float]]:
    rows: dict[str, list[Heard]] = {unit: [] for unit in units}
    for reply in replies:
        if reply.unit in rows:
            rows[reply.unit].append(reply)
    return [_sums(rows[unit], count) for unit in units]


def _sums(replies: Iterable[Heard], count: Count) -> tuple[float, float]:
    pairs = [pair for reply in replies if (pair := count(reply)) is not None]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
