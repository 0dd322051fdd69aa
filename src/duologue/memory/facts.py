"""Statements a user makes about themselves, drawn from their own words by rules; rather none than a wrong one.

Only plain statements in the present count: no questions, quotes, wishes, `if`, stories, or actions between asterisks.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from duologue.memory.words import plain_words, stem


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement about the user or theirs.

    Attributes:
        text: The clause as it was said.
        slot: What it tells about, such as `user.home`; a later fact of the same slot takes its place.
        value: What it says.
    """

    text: str
    slot: str
    value: str


def find_facts(text: str) -> tuple[Fact, ...]:
    """Return the facts a user states in a message, in order, each once."""
    found: dict[tuple[str, str], Fact] = {}
    for clause in _clauses(_own_words(text)):
        for pattern, to_slot in _RULES:
            match = pattern.search(clause)
            if match is None or _is_denied(clause, match):
                continue
            slot, value = to_slot(match)
            if slot and value:
                said = match.group().strip(" ,;-")
                found.setdefault((slot, value.casefold()), Fact(said[0].upper() + said[1:], slot, value))
                break
    return tuple(found.values())


def _any_of(words: str) -> str:
    """Return a pattern for any of the words between commas."""
    return "|".join(word.strip() for word in words.split(","))


_NOT_OWN = re.compile(
    r"```.*?```|`[^`]*`|\*[^*\n]+\*|_{2}[^_\n]+_{2}|\"[^\"]*\"|\u201c[^\u201d]*\u201d|\u00ab[^\u00bb]*\u00bb"
    r"|(?<!\w)'[^'\n]+'(?!\w)|\(\([^)]*\)\)|^\s*>.*$|<[^<>\n]+>",
    re.DOTALL | re.MULTILINE,
)
_SENTENCE = re.compile(r"[^.!?\n…]+(?:\.(?=\w)[^.!?\n…]+)*[.!?…]*")
_CLAUSE = re.compile(
    r"\s*(?:;|\u2014| - |, (?:and|but|so|while|because|though)\b|\b(?:and|but) (?=(?:I|my|I'm|i'm)\b))\s*"
)
_NOT_PLAIN = re.compile(
    r"\b(?:"
    + _any_of(
        """
        if, unless, would, wouldn't, could, couldn't, might, may be, maybe, perhaps, probably, wish, wished, hope,
        imagine, imagining, suppose, supposing, pretend, pretending, dream, dreamt, dreamed, let's say, what about,
        as though, almost, nearly, should, used to, was, were, had, joking, kidding, jk, lying, lied, lie, story,
        stories, novel, movie, film, game, character, role, roleplay, fictional, said, says, say, told, tell,
        thinks, thought, think, guess, asked, quote, quoted, claims, claimed, remember, someone, anyone, never mind,
        no longer, any ?more, not, in another life, act as, acting, sometimes feel, feel like, ooc
        """
    )
    + r")\b",
    re.IGNORECASE,
)
_ENDS_ASKING = re.compile(r"[?\uff1f]\s*$|,\s*(?:right|no|huh|eh)[.!]*\s*$", re.IGNORECASE)

_NAME = r"(?-i:[A-Z][\w'\u2019-]*(?: (?!I\b|And\b|But\b)[A-Z][\w'\u2019-]*){0,2})"
_PLACE = rf"(?:the )?{_NAME}(?:, {_NAME})?"
_LEAD = r"\b(?:I|i)"
_AM = rf"{_LEAD}(?:['\u2019]m| am)"
_OFTEN = r"(?: (?:really|just|still|now|currently|actually|also|absolutely|truly|recently|finally|always))*"
_ONE_KIN = _any_of(
    """
    husband, wife, partner, boyfriend, girlfriend, fiancé, fiancée, fiance, fiancee, mother, mum, mom, father,
    dad, boss, flatmate, roommate
    """
)
_MANY_KIN = _any_of(
    """
    sister, brother, son, daughter, cousin, aunt, uncle, niece, nephew, grandmother, grandma, grandfather,
    grandpa, best friend, friend, colleague, neighbour, neighbor, twin sister, twin brother, little sister,
    little brother, big sister, big brother
    """
)
_PETS = _any_of(
    """
    cat, dog, puppy, kitten, parrot, hamster, rabbit, horse, pony, tortoise, turtle, goldfish, guinea pig,
    ferret, lizard, snake, budgie
    """
)
_JOBS = _any_of(
    """
    nurse, doctor, teacher, engineer, software engineer, programmer, developer, lawyer, chef, cook, baker,
    carpenter, plumber, electrician, accountant, architect, artist, painter, musician, writer, journalist,
    photographer, designer, dentist, vet, veterinarian, farmer, gardener, florist, librarian, pilot, bus driver,
    taxi driver, truck driver, train driver, police officer, firefighter, paramedic, pharmacist, physicist,
    chemist, biologist, scientist, researcher, student, professor, translator, waiter, waitress, barista,
    bartender, hairdresser, tailor, mechanic, builder, postman, mail carrier, salesperson, cashier, secretary,
    manager, therapist, psychologist, social worker, soldier, sailor, fisherman, actor, actress, dancer, singer,
    tour guide, flight attendant, data analyst, park ranger, potter, beekeeper, welder, midwife, surgeon,
    optician, judge, civil servant, consultant, analyst, stay-at-home mum, stay-at-home dad, retired teacher,
    retired nurse, primary school teacher, kindergarten teacher, marine biologist
    """
)
_JOB = rf"(?:an?|the) (?P<value>(?:{_JOBS}))\b(?!'s| by (?:heart|nature)| of (?:sorts|words))"
_END = r"(?=\s*(?:[,.!;:)\u2026]|$|\b(?:and|but|so|now|because|though|with|when|in the|at)\b))"
_NO_THING = _any_of(
    """
    it, that, this, you, him, her, them, to, how, what, when, where, who, the way, your, being, us, these, those,
    myself, everything, anything, nothing
    """
)
_AFTER_THING = _any_of("and, but, so, because, though, with, when, that, at, too, as, very, you, is, are")
_THING = (
    rf"(?P<value>(?!(?:{_NO_THING})\b)[\w'\u2019-]+"
    rf"(?: (?!(?:{_AFTER_THING})\b)[\w'\u2019-]+){{0,3}}){_END}"
)
_MONTHS = _any_of(
    """
    January, February, March, April, May, June, July, August, September, October, November, December
    """
)
_DAY = rf"(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{_MONTHS})|(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?"
_WHEN = (
    rf"(?:tomorrow|tonight|next \w+|this (?:summer|autumn|winter|spring|weekend|evening)|in (?:{_MONTHS})|on \w+day)"
)
_LIKES = "love|like|enjoy|adore"
_DISLIKES = "hate|dislike|can't stand|cannot stand|detest|don't like|do not like"
_TOPICS = _any_of(
    """
    colou?r, food, dish, book, film, movie, song, band, season, animal, drink, place, city, game, sport, number,
    subject, flower, author, dessert, tea, singer
    """
)

_ToSlot = Callable[[re.Match[str]], tuple[str, str]]


def _value(slot: str) -> _ToSlot:
    return lambda match: (slot, _clean(match["value"]))


def _each(slot: str) -> _ToSlot:
    """Return a slot of its own for every value: there may be many, and none ends another."""
    return lambda match: (f"{slot}.{_key(match['value'])}", _clean(match["value"]))


def _of_kin(attribute: str) -> _ToSlot:
    return lambda match: (f"user.{_key(match['kin'])}.{attribute}", _clean(match["value"]))


def _each_of_kin(match: re.Match[str]) -> tuple[str, str]:
    return f"user.{_key(match['kin'])}.{_key(match['value'])}", _clean(match["value"])


def _each_of_kin_at(attribute: str) -> _ToSlot:
    return lambda match: (f"user.{_key(match['kin'])}.{attribute}.{_key(match['value'])}", _clean(match["value"]))


def _favourite(match: re.Match[str]) -> tuple[str, str]:
    topic = _key(match["topic"])
    return f"user.favourite.{'color' if topic in ('colour', 'color') else topic}", _clean(match["value"])


def _taste(verdict: str) -> _ToSlot:
    """Return a slot per thing, whose value is the verdict: who now dislikes tea no longer likes it."""
    return lambda match: (f"user.taste.{_key(match['value'])}", verdict)


def _age(match: re.Match[str]) -> tuple[str, str]:
    return ("user.age", match["value"]) if 3 <= int(match["value"]) <= 120 else ("", "")


_RULES: tuple[tuple[re.Pattern[str], _ToSlot], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), to_slot)
    for pattern, to_slot in (
        (rf"\bmy (?:first )?name(?: is|['\u2019]s) (?P<value>{_NAME}){_END}", _value("user.name")),
        (rf"\b(?:please |you can )?call me (?P<value>{_NAME}){_END}", _value("user.name")),
        (rf"{_AM}{_OFTEN} (?P<value>\d{{1,3}})(?: years old)?{_END}(?! (?:%|percent|minutes|hours|km|miles))", _age),
        (rf"{_LEAD}{_OFTEN} turned (?P<value>\d{{1,3}}){_END}", _age),
        (rf"\bmy birthday is (?:on )?(?P<value>{_DAY}){_END}", _value("user.birthday")),
        (rf"{_LEAD}{_OFTEN} live in (?P<value>{_PLACE})", _value("user.home")),
        (rf"{_LEAD}(?:['\u2019]ve| have)?{_OFTEN} moved (?:back )?to (?P<value>{_PLACE})", _value("user.home")),
        (rf"{_AM}(?: originally)? from (?P<value>{_PLACE})", _value("user.origin")),
        (rf"{_LEAD} (?:grew up|come from) (?:in )?(?P<value>{_PLACE})", _value("user.origin")),
        (rf"{_LEAD}{_OFTEN} work as {_JOB}", _value("user.work")),
        (rf"{_AM}{_OFTEN} {_JOB}{_END}", _value("user.work")),
        (rf"{_LEAD}{_OFTEN} work (?:at|for) (?P<value>(?:the |a |an )?{_NAME}){_END}", _value("user.employer")),
        (
            rf"(?:{_LEAD}{_OFTEN} study|{_AM}{_OFTEN} studying)"
            rf" (?P<value>(?!for\b|hard\b|at\b|in\b|to\b)[a-z]+(?: [a-z]+)?){_END}",
            _value("user.studies"),
        ),
        (rf"{_AM}{_OFTEN} married to (?P<value>{_NAME}){_END}", _value("user.spouse.name")),
        (
            rf"\bmy (?P<kin>{_ONE_KIN})(?:['\u2019]s name)?(?:,| is|['\u2019]s) (?:called |named )?"
            rf"(?P<value>{_NAME}){_END}",
            _of_kin("name"),
        ),
        (
            rf"\bmy (?P<kin>{_MANY_KIN}|{_PETS})(?:['\u2019]s name)? is (?:called |named )?(?P<value>{_NAME}){_END}",
            _each_of_kin,
        ),
        (
            rf"{_LEAD}{_OFTEN} have an? (?:\w+ )?(?P<kin>{_PETS}|{_MANY_KIN}) (?:called|named)"
            rf" (?P<value>{_NAME}){_END}",
            _each_of_kin,
        ),
        (rf"\bmy (?P<kin>{_ONE_KIN}) lives in (?P<value>{_PLACE})", _of_kin("home")),
        (rf"\bmy (?P<kin>{_ONE_KIN}) (?:is|works as) {_JOB}{_END}", _of_kin("work")),
        (rf"\bmy (?P<kin>{_MANY_KIN}) (?:{_NAME} )?lives in (?P<value>{_PLACE})", _each_of_kin_at("home")),
        (rf"\bmy (?P<kin>{_MANY_KIN}) (?:{_NAME} )?(?:is|works as) {_JOB}{_END}", _each_of_kin_at("work")),
        (
            rf"\bmy favou?rite (?P<topic>{_TOPICS}) is"
            rf" (?P<value>(?!when\b|that\b|the one\b)[\w'\u2019-]+(?: [\w'\u2019-]+){{0,4}}){_END}",
            _favourite,
        ),
        (rf"{_AM}{_OFTEN} allergic to (?P<value>[\w-]+(?: [\w-]+)?){_END}", _each("user.allergy")),
        (rf"{_AM}{_OFTEN} (?:an? )?(?P<value>vegetarian|vegan|pescatarian){_END}", _value("user.diet")),
        (rf"{_LEAD}{_OFTEN} play the (?P<value>[a-z]+){_END}", _each("user.plays")),
        (rf"{_LEAD}{_OFTEN} speak (?P<value>(?-i:[A-Z][a-z]+)){_END}", _each("user.speaks")),
        (
            rf"{_AM}{_OFTEN} (?:going|flying|travelling|traveling|driving|moving) to (?P<value>{_PLACE}) {_WHEN}",
            _each("user.plan"),
        ),
        (rf"{_LEAD}{_OFTEN} (?:{_DISLIKES}) {_THING}", _taste("dislikes")),
        (rf"{_LEAD}{_OFTEN} (?:{_LIKES}) {_THING}", _taste("likes")),
    )
)  # fmt: skip


def _own_words(text: str) -> str:
    return _NOT_OWN.sub(" \u2014 ", text)


def _clauses(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.findall(text):
        if _ENDS_ASKING.search(sentence):
            continue
        yield from (clause for clause in _CLAUSE.split(sentence) if clause)


def _is_denied(clause: str, match: re.Match[str]) -> bool:
    """Return whether the words around a match make it something other than a plain statement."""
    around = f"{clause[: match.start()]} \u2014 {clause[match.end() :]}"
    return _NOT_PLAIN.search(around) is not None


def _clean(value: str) -> str:
    return " ".join(value.split()).rstrip("'\u2019-")


def _key(value: str) -> str:
    return "-".join(stem(word) for word in plain_words(value) if word not in ("the", "a", "an"))
