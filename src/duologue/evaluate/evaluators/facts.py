"""Facts of the card: whether a character that is asked for one states it, and whether it states another.

Rules see what is said outright in English, and the name in German too. They do not see what is meant, said in other
words, or true of the character without standing in the card.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from duologue.evaluate.case import CaseKind
from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.card_facts import facts_of, keywords, number_of, numbers_in, stem
from duologue.evaluate.evaluators.heard import Heard, Yardstick, compare, examples, heard, named, ratio, real
from duologue.evaluate.evaluators.questions import SLOTS, Slot, asked
from duologue.evaluate.evaluators.refusal import is_machine, says_it_is_a_model
from duologue.evaluate.evaluators.wording import words_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

_KINDS: tuple[CaseKind, ...] = ("held_out", "written", "long")
_NAMED = re.compile(
    r"\b(?:my name(?:'s| is)|call me|i am called|i'm called|they call me|i go by|ich hei(?:\u00df|ss)e|mein name ist)"
    r"\s+((?-i:[A-Z])[\w\-]+)",
    re.IGNORECASE,
)
_I_AM = re.compile(
    r"(?:^|[.!?*,]\s*|\b(?:hello|hi)\W+)(?:I am|I'm|Ich bin) ([A-Z][a-z\-]{2,})(?=[.,!?]|\s+[A-Z][a-z]+\b|$)"
)
_NO_NAME = re.compile(
    r"(?:an|ish|ese|ing|ed|ly)$|^(?:Sorry|Here|Fine|Good|Happy|Glad|Sure|Well|Not|Just|Your|The|Very|Too)$"
)
_AGE_SAID = re.compile(
    r"\b(?:i am|i'm|i turned|ich bin) (?:about |almost |nearly |now |only )?"
    r"(\d{1,4}|[a-z]+(?:[ \-](?:one|two|three|four|five|six|seven|eight|nine))?)"
    r"(?P<unit> years? (?:old|of age)| jahre alt)?(?=[\s.,!?;]|$)",
    re.IGNORECASE,
)
_WORK_SAID = re.compile(
    r"\bi (?:work|earn my living) as an? ([^.,;!?\n]+)"
    r"|\bmy (?:job|occupation|profession) is (?:being )?(?:an? )?([^.,;!?\n]+)"
    r"|\bi(?:'m| am) an? ([^.,;!?\n]+?) (?:by trade|by profession|for a living)",
    re.IGNORECASE,
)
_HOME_SAID = re.compile(
    r"\bI (?:live|come|am|grew up)\b (?:in|on|at|from|near) ((?:the )?[A-Z][\w\-]+(?: [A-Z][\w\-]+)*)"
)
_NOT_LIKED = re.compile(
    r"\bi (?:do not|don't|really don't) (?:like|love|enjoy) ([^.,;!?\n]+)|\bi (?:hate|dislike|detest) ([^.,;!?\n]+)",
    re.IGNORECASE,
)
_LIKED = re.compile(r"\bi (?:really |just )?(?:like|love|enjoy|adore) ([^.,;!?\n]+)", re.IGNORECASE)

_KEPT = Yardstick(
    name="character.facts_kept",
    unit="share",
    better="higher",
    same_within=0.03,
    definition=(
        "Share of the facts asked for (name, age, home, work, likes, dislikes, where the card has them) that the reply "
        "states: the name or a part of it, the number, or a word that carries the card's value. Facts of the card and "
        "questions are told by rules of words."
    ),
)
_CONTRADICTED = Yardstick(
    name="character.facts_contradicted",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies that state something else than the card: another name or age for oneself, another "
        "occupation, a home that neither card nor data names, the contrary of a like or dislike, or being a language "
        "model. Only plain statements in the first person are seen."
    ),
)


@dataclass(frozen=True, slots=True)
class CardKnowledge:
    """What replies are held against.

    Attributes:
        facts: Values by slot, as the card has them.
        familiar: All words of card and data: a place among them is no invention.
        is_machine: Whether the card is of a machine, which may call itself one.
    """

    facts: Mapping[Slot, tuple[str, ...]]
    familiar: frozenset[str]
    is_machine: bool


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return the share of asked facts that are kept, and of replies that contradict the card."""
    card = card_knowledge(known)
    sides = (heard(base, *_KINDS), heard(tuned, *_KINDS))
    truth = real(known)

    def kept(reply: Heard) -> tuple[float, float] | None:
        slots = [slot for slot in asked(reply.question) if slot in card.facts]
        return (float(sum(states(reply.text, slot, card) for slot in slots)), float(len(slots))) if slots else None

    def against(reply: Heard) -> tuple[float, float]:
        return float(bool(contradictions(reply, card))), 1.0

    missing = [slot for slot in SLOTS if slot not in card.facts]
    shown = {
        "card": {slot: list(values) for slot, values in card.facts.items()},
        "not_in_card": missing,
        "by_fact": {name: _by_slot(side, card) for name, side in zip(("base", "tuned"), sides, strict=True)},
    }
    kinds = {
        name: dict(Counter(kind for reply in side for kind in contradictions(reply, card)))
        for name, side in zip(("base", "tuned"), sides, strict=True)
    }
    found = examples(sides[1], lambda reply: bool(contradictions(reply, card)))
    return (
        compare(_KEPT, known, sides, kept, reference=ratio(truth, kept), details=shown),
        compare(
            _CONTRADICTED,
            known,
            sides,
            against,
            reference=ratio(truth, against),
            details={"kinds": kinds, "examples": found},
        ),
    )


def card_knowledge(known: Known) -> CardKnowledge:
    """Return what replies are held against: the card's facts, and every word of card and data."""
    card = known.character
    texts = [
        *(card.name, card.description, card.personality, card.scenario, card.greeting, card.example_dialogue),
        *card.alternate_greetings,
        *(reply.text for reply in real(known)),
    ]
    familiar = frozenset(stem(word) for text in texts for word in words_of(named(text, card, known.config)))
    return CardKnowledge(facts_of(card), familiar, is_machine(card))


def states(text: str, slot: Slot, card: CardKnowledge) -> bool:
    """Return whether a reply states a fact of the card."""
    said = {stem(word) for word in words_of(text)}
    values = card.facts[slot]
    if slot == "age":
        return any(number_of(value) in numbers_in(text) for value in values)
    if slot == "name":
        return any(stem(word) in said for value in values for word in words_of(value) if len(word) > 1)
    return any(keywords(value) & said for value in values)


def contradictions(reply: Heard, card: CardKnowledge) -> tuple[str, ...]:
    """Return what a reply states against the card, by kind."""
    text = " ".join(reply.text.replace("\u2019", "'").split())
    slots = asked(reply.question)
    tests = {
        "name": _other_name(text, card, is_asked="name" in slots),
        "age": _other_age(text, card, is_asked="age" in slots),
        "home": _other_home(text, card),
        "occupation": _other_work(text, card),
        "likes": _contrary(text, card, "likes", _NOT_LIKED),
        "dislikes": _contrary(text, card, "dislikes", _LIKED),
        "says it is a model": not card.is_machine and says_it_is_a_model(text),
    }
    return tuple(kind for kind, is_so in tests.items() if is_so)


def _other_name(text: str, card: CardKnowledge, *, is_asked: bool) -> bool:
    own = {stem(word) for value in card.facts["name"] for word in words_of(value)}
    said = [match[1] for match in _NAMED.finditer(text)]
    if is_asked:
        said += [match[1] for match in _I_AM.finditer(text) if not _NO_NAME.search(match[1])]
    return any(stem(name.lower()) not in own and stem(name.lower()) not in _titles(card) for name in said)


def _titles(card: CardKnowledge) -> frozenset[str]:
    """Return words of the card's occupation: `I am Conductor Quill` is no other name."""
    return frozenset(word for value in card.facts.get("occupation", ()) for word in keywords(value))


def _other_age(text: str, card: CardKnowledge, *, is_asked: bool) -> bool:
    if "age" not in card.facts:
        return False
    own = {number_of(value) for value in card.facts["age"]}
    said = [number_of(match[1]) for match in _AGE_SAID.finditer(text) if is_asked or match["unit"]]
    return any(number is not None and number not in own for number in said)


def _other_home(text: str, card: CardKnowledge) -> bool:
    if "home" not in card.facts:
        return False
    places = [match[1] for match in _HOME_SAID.finditer(text)]
    return any(not {stem(word) for word in words_of(place)} - {"the"} & card.familiar for place in places)


def _other_work(text: str, card: CardKnowledge) -> bool:
    if "occupation" not in card.facts:
        return False
    own = frozenset(word for value in card.facts["occupation"] for word in keywords(value))
    said = [next(part for part in match.groups() if part) for match in _WORK_SAID.finditer(text)]
    return any(keywords(work) and not keywords(work) & own for work in said)


def _contrary(text: str, card: CardKnowledge, slot: Slot, rule: re.Pattern[str]) -> bool:
    own = frozenset(word for value in card.facts.get(slot, ()) for word in keywords(value))
    said = [next(part for part in match.groups() if part) for match in rule.finditer(text)]
    return any(keywords(thing) and keywords(thing) <= own for thing in said)


def _by_slot(replies: Sequence[Heard], card: CardKnowledge) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for reply in replies:
        for slot in asked(reply.question):
            if slot in card.facts:
                row = counts.setdefault(slot, {"asked": 0, "kept": 0})
                row["asked"] += 1
                row["kept"] += states(reply.text, slot, card)
    return counts


EVALUATOR = Evaluator("facts", 1, measure)
