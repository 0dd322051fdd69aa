"""What a card says of its character, by rules that can be read: name, age, home, work, likes and dislikes.

Three ways of writing are read: attribute lists with brackets (`Age("24")`, known as W++), lines and pairs with a
colon or an equals sign (`Likes: tea, clocks`), and a few forms of sentences (`is a gardener`, `lives in ...`,
`24 years old`). What a card says in other words is not found, and is then not asked for.
"""

import re
from collections.abc import Iterator, Mapping

from duologue.characters import Character
from duologue.evaluate.evaluators.questions import Slot
from duologue.evaluate.evaluators.wording import words_of

_LABELS: Mapping[str, Slot] = {
    "name": "name",
    "full name": "name",
    "nickname": "name",
    "alias": "name",
    "age": "age",
    "home": "home",
    "residence": "home",
    "lives in": "home",
    "location": "home",
    "hometown": "home",
    "from": "home",
    "birthplace": "home",
    "occupation": "occupation",
    "job": "occupation",
    "profession": "occupation",
    "work": "occupation",
    "role": "occupation",
    "likes": "likes",
    "loves": "likes",
    "hobbies": "likes",
    "interests": "likes",
    "enjoys": "likes",
    "dislikes": "dislikes",
    "hates": "dislikes",
}
_LISTS: tuple[Slot, ...] = ("likes", "dislikes")
_LABEL = "|".join(sorted((re.escape(label) for label in _LABELS), key=len, reverse=True))
_BRACKETS = re.compile(rf"\b({_LABEL})\s*\(\s*((?:\"[^\"]*\"\s*[+,]?\s*)+)\)", re.IGNORECASE)
_PAIR = re.compile(rf"(?:^|[\n;\[{{|,])[\s\-*\u2022]*({_LABEL})[\s*]*[:=][\s*]*([^\n;\]}}|]+)", re.IGNORECASE)
_AGE = re.compile(r"\b(\d{1,4}|[a-z]+(?:-[a-z]+)?)[ -]years?[ -]old\b|\baged? (\d{1,4})\b", re.IGNORECASE)
_HOME = re.compile(
    r"\b(?:lives?|living|resides?|dwells?) (?:alone )?(?:in|on|at|near|aboard|above) ([^.;,\n]+)", re.IGNORECASE
)
_WORKS = re.compile(r"\bworks? as (?:an?|the) ([^.;,\n]+)", re.IGNORECASE)
_TURN = r"(?=[.;\n]|$|,? (?:and|but) (?:hates|dislikes|detests|loves|likes|enjoys|works|lives)\b)"  # or another fact
_LIKES = re.compile(rf"\b(?:likes|loves|enjoys|adores|is fond of)\b (?![:=])([^.;\n]+?){_TURN}", re.IGNORECASE)
_DISLIKES = re.compile(rf"\b(?:dislikes|hates|detests|can(?:no|')t stand)\b (?![:=])([^.;\n]+?){_TURN}", re.IGNORECASE)
_OPENING = re.compile(r"^\s*(?:an? |the )?([A-Za-z][^.;,:=(\n]{2,60}?)\s*(?=[.;,\n]|$)")
_SPLIT = re.compile(r"\s*(?:,|\+|/|\band\b|\bbut\b)\s*", re.IGNORECASE)
_VERBS = frozenset(
    words_of(
        "is are was were be has have had you your he she they it i we will would can may likes loves lives works does "
        "do did dislikes hates"
    )
)
_SMALL = frozenset(
    words_of(
        "a an the of and or in on at to for with from by as that this who which his her their its my your very old "
        "young small big new good great little some any all more most than then there here not no own other people "
        "things thing being having when while into over under about after before between through"
    )
)
_ONES = words_of(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_NUMBERS = {word: number for number, word in enumerate(_ONES)}
_TENS = {
    word: 10 * number
    for number, word in enumerate(words_of("ten twenty thirty forty fifty sixty seventy eighty ninety"), 1)
}
_TWO_WORDS = re.compile(rf"\b({'|'.join(_TENS)}) ({'|'.join(_ONES[1:10])})\b")


def facts_of(character: Character) -> dict[Slot, tuple[str, ...]]:
    """Return the values a card gives for each slot, as they are written there; the name is always known."""
    texts = [
        text.replace("{{char}}", character.name)
        for text in (character.description, character.personality, character.scenario)
        if text.strip()
    ]
    found: dict[Slot, list[str]] = {"name": [character.name]}
    if character.nickname:
        found["name"].append(character.nickname)
    for text in texts:
        for slot, value in (*_listed(text), *_told(text, character.name)):
            found.setdefault(slot, []).append(value)
    if "occupation" not in found and character.description:
        opening = _opening(character.description)
        if opening:
            found["occupation"] = [opening]
    return {slot: tuple(dict.fromkeys(values)) for slot, values in found.items() if values}


def keywords(text: str) -> frozenset[str]:
    """Return the words of a value that carry it, their plural taken off."""
    return frozenset(stem(word) for word in words_of(text) if word not in _SMALL and len(word) > 2)


def stem(word: str) -> str:
    """Return a word without the ending of a possessive or a plural."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def number_of(text: str) -> int | None:
    """Return a number that is written in digits, or in English words below one hundred."""
    text = text.strip().lower()
    if text.isdecimal():
        return int(text)
    first, _, second = text.replace(" ", "-").partition("-")
    if not second:
        return _NUMBERS.get(first, _TENS.get(first))
    if first in _TENS and second in _NUMBERS and 0 < _NUMBERS[second] < 10:
        return _TENS[first] + _NUMBERS[second]
    return None


def numbers_in(text: str) -> frozenset[int]:
    """Return the numbers of a text, in digits or English words; `thirty one` is one number."""
    joined = _TWO_WORDS.sub(r"\1-\2", text.lower())
    return frozenset(number for word in words_of(joined) if (number := number_of(word)) is not None)


def _listed(text: str) -> Iterator[tuple[Slot, str]]:
    for match in _BRACKETS.finditer(text):
        for value in re.findall(r'"([^"]*)"', match[2]):
            yield from _values(_LABELS[match[1].lower()], value)
    for match in _PAIR.finditer(text):
        yield from _values(_LABELS[match[1].lower()], match[2].replace('"', " "))


def _told(text: str, name: str) -> Iterator[tuple[Slot, str]]:
    for match in _AGE.finditer(text):
        if number_of(match[1] or match[2]) is not None:
            yield "age", match[1] or match[2]
    rules: tuple[tuple[Slot, re.Pattern[str]], ...] = (
        ("home", _HOME),
        ("occupation", _WORKS),
        ("likes", _LIKES),
        ("dislikes", _DISLIKES),
    )
    for slot, rule in rules:
        for match in rule.finditer(text):
            yield from _values(slot, match[1])
    names = "|".join(re.escape(part) for part in (name, *name.split()))
    for match in re.finditer(rf"\b(?:{names}|he|she|you) (?:is|are) (?:an?|the) ([^.;,\n]+)", text, re.IGNORECASE):
        value = re.split(r"\b(?:who|that|which|living|lives)\b", _AGE.sub("", match[1]))[0].strip()
        if keywords(value):
            yield "occupation", value


def _values(slot: Slot, text: str) -> Iterator[tuple[Slot, str]]:
    """Return what stands in a value: several things for a list, a number for an age."""
    if slot == "age":
        numbers = [
            part for part in re.findall(r"\d{1,4}|[a-z]+(?:-[a-z]+)?", text.lower()) if number_of(part) is not None
        ]
        yield from ((slot, number) for number in numbers[:1])
        return
    for part in _SPLIT.split(text) if slot in _LISTS else [text]:
        if keywords(part):
            yield slot, part.strip(" *\"'.[]{}\t")


def _opening(description: str) -> str:
    """Return the words a description opens with when they name somebody: `Night conductor of the Moth Line, ...`."""
    match = _OPENING.match(description)
    words = match[1].split() if match else []
    return match[1] if match and 1 <= len(words) <= 8 and not _VERBS & {word.lower() for word in words} else ""
