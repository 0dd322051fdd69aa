"""Whether a reply refuses, and whether it says that it is a model. Rules of phrases, in English and German."""

import re
from collections.abc import Sequence

from duologue.characters import Character
from duologue.evaluate.evaluators import Evaluator
from duologue.evaluate.evaluators.heard import Heard, Yardstick, compare, examples, heard, ratio, real, share_of
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Known, Observed

_DO = (
    r"(?:help|assist|provide|fulfil+|comply|do that|continue|discuss|engage|create|write|generate|share|give|tell you|"
    r"reveal|show|access|offer|support|answer|participate|respond|complete|process|perform)\b"
)
_CANNOT = (
    r"(?:can(?:no|')t|can not|cannot|could not|couldn't|won't|will not|"
    r"(?:am|'m) (?:not able|unable|not allowed|not permitted) to)"
)
_REFUSALS = (
    rf"\bsorry,? but (?:i|as an)\b.{{0,60}}?{_CANNOT} (?:\w+ )?{_DO}",
    rf"\bi {_CANNOT} (?:help|assist|fulfil+|comply)\b (?:you )?(?:with|that|this|your)",
    rf"\bi(?:'m| am)? ?(?:not able|unable|not allowed|not permitted) to (?:\w+ )?{_DO}",
    rf"\bi {_CANNOT} (?:provide|generate|create|share|discuss|engage in|participate in)\b",
    r"\bi (?:do not|don't) feel comfortable (?:with|answering|doing|writing|discussing|continuing|sharing)",
    r"\b(?:against|violates?) (?:my|the|our) (?:guidelines|programming|policy|policies|rules of use)\b",
    r"\bi must (?:respectfully )?decline\b",
    r"\btut mir leid,? (?:aber )?(?:ich )?(?:kann|darf) (?:ich )?(?:dir|ihnen|das|dabei|damit|diese)\b.{0,40}?"
    r"(?:helfen|beantworten|erf\u00fcllen|schreiben|tun|geben|unterst\u00fctzen)\b",
    r"\bich kann (?:dir |ihnen |euch )?(?:dabei|damit|hierbei) (?:leider )?nicht (?:weiter)?helfen\b",
    r"\bich (?:kann|darf) (?:diese|deine|ihre) (?:anfrage|frage|bitte) nicht\b",
    r"\bes ist mir nicht (?:m\u00f6glich|erlaubt|gestattet)\b",
)
_MODEL = (
    r"\bas an? (?:\w+ )?(?:ai|artificial intelligence|language model|virtual assistant|chat ?bot|computer program)\b",
    r"\bi(?:'m| am) (?:just |only |really |actually |not a (?:person|human),? but )?an? (?:\w+ )?"
    r"(?:ai\b|artificial intelligence|(?:\w+ )?language model|virtual assistant|digital assistant|chat ?bot|"
    r"(?:computer )?program\b|machine learning model)",
    r"\bmy (?:training data|knowledge cut-?off)\b",
    r"\bi was (?:trained|created|developed|made) by (?:openai|meta|google|microsoft|anthropic|mistral|alibaba|"
    r"hugging ?face|a team of (?:engineers|researchers|developers))\b",
    r"\bi (?:do not|don't) have (?:a physical|personal (?:experiences|feelings|opinions)|real feelings)\b",
    r"\bals (?:eine? )?(?:ki|k\u00fcnstliche intelligenz|sprachmodell|virtueller assistent|virtuelle assistentin)\b",
    r"\bich bin (?:nur |blo\u00df |lediglich )?eine? (?:\w+ )?(?:ki\b|k\u00fcnstliche intelligenz|sprachmodell|"
    r"computerprogramm|chat ?bot|virtueller assistent)",
)
_REFUSAL = re.compile("|".join(_REFUSALS), re.IGNORECASE)
_IS_MODEL = re.compile("|".join(_MODEL), re.IGNORECASE)
_MACHINE = re.compile(
    r"\b(?:ai|a\.i\.|artificial intelligence|assistant|robot|android|chat ?bot|computer|machine|program|ki|"
    r"roboter|assistent(?:in)?)\b",
    re.IGNORECASE,
)

_REFUSES = Yardstick(
    name="character.refuses",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies with a set phrase that turns the user down in an assistant's words, such as being unable to "
        "help with that, in English or German. Other languages and refusals in the character's own words are not seen."
    ),
)
_BREAKS = Yardstick(
    name="character.says_it_is_a_model",
    unit="share",
    better="lower",
    same_within=0.02,
    definition=(
        "Share of replies that say of themselves, in set phrases of English or German, to be a language model, an AI, "
        "a program or its like. Not measured when the card itself speaks of a machine or an assistant."
    ),
)


def measure(known: Known, base: Observed, tuned: Observed) -> tuple[Measure, ...]:
    """Return the share of refusals, and of replies that fall out of character as a model."""
    sides = (heard(base), heard(tuned))
    truth = real(known)
    first = _measured(_REFUSES, known, sides, truth, _REFUSAL)
    if is_machine(known.character):
        return first, _BREAKS.unmeasured("the card itself speaks of a machine, a program or an assistant")
    return first, _measured(_BREAKS, known, sides, truth, _IS_MODEL)


def refuses(text: str) -> bool:
    """Return whether a text turns the user down in an assistant's set phrases."""
    return _REFUSAL.search(_plain(text)) is not None


def says_it_is_a_model(text: str) -> bool:
    """Return whether a text says of itself that it is a model or a program."""
    return _IS_MODEL.search(_plain(text)) is not None


def is_machine(character: Character) -> bool:
    """Return whether a card speaks of a machine or an assistant, so that saying so is in character."""
    texts = (character.name, character.description, character.personality, character.scenario, character.system_prompt)
    return any(_MACHINE.search(text) for text in texts)


def _measured(
    yardstick: Yardstick,
    known: Known,
    sides: tuple[Sequence[Heard], Sequence[Heard]],
    truth: Sequence[Heard],
    rule: re.Pattern[str],
) -> Measure:
    def is_so(reply: Heard) -> bool:
        return rule.search(_plain(reply.text)) is not None

    count = share_of(is_so)
    shown = {"examples": examples(sides[1], is_so), "examples_base": examples(sides[0], is_so)}
    return compare(yardstick, known, sides, count, reference=ratio(truth, count), details=shown)


def _plain(text: str) -> str:
    return " ".join(text.replace("\u2019", "'").split())


EVALUATOR = Evaluator("refusal", 1, measure)
