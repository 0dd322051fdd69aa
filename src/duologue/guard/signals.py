"""The two vocabularies of the content policy: signals of a minor and sexual signals, matched on folded text.

Both lists are short, clinical and fixed. Words and phrases match whole, never inside another word.
"""

import re
from collections.abc import Iterable

from duologue.guard.fold import LEET, LEET_ONE_AS_L, fold

STAND_IN = "zqflag"  # counts as a sexual signal, so that tests and documents need no other word

# Sexual signals.
_SEXUAL_WORDS = frozenset(
    fold(
        f"{STAND_IN} sex sexual sexually sexy sexting erotic erotica erotically nude nudes nudity naked nsfw "
        "intercourse porn porno pornography pornographic orgasm orgasms genital genitals genitalia penis vagina "
        "foreplay striptease hentai lewd horny fetish smut lolicon shotacon "
        "masturbate masturbates masturbated masturbating masturbation "
        "sexuell sexuelle sexuellen sexuel sexuelles nackt nackte nackten desnudo desnuda desnudos desnudas "
        "sessuale sessuali порно секс"
    ).split()
)
_SEXUAL_PHRASES = (r"\bma(?:ke|kes|king|de) love\b",)
_SEXUAL_WITHOUT_SPACES = ("色情", "性交", "裸体")
# One of these is in every text that a phrase matches.
_SEXUAL_PIECES = ("make love", "makes love", "making love", "made love", *map(fold, _SEXUAL_WITHOUT_SPACES))

# Signals of a minor.
_MINOR_WORDS = frozenset(
    fold(
        "child children childlike kid kids kiddo kiddos infant infants toddler toddlers preschooler preschoolers "
        "kindergartner kindergartners kindergartener kindergarteners preteen preteens tween tweens teen teens "
        "teenage teenaged teenager teenagers adolescent adolescents preadolescent juvenile juveniles minors "
        "underage underaged prepubescent pubescent schoolgirl schoolgirls schoolboy schoolboys schoolchild "
        "schoolchildren schoolkid schoolkids loli lolis lolicon shota shotas shotacon jailbait "
        "pedophile pedophilia paedophile paedophilia "
        "minderjahrig minderjahrige minderjahrigen schulmadchen mineure mineures minorenne minorenni "
        "nino nina ninos ninas enfant enfants bambina bambino bambini crianca criancas "
        "ребенок школьница несовершеннолетняя несовершеннолетний"
    ).split()
)
_MINOR_WITHOUT_SPACES = ("未成年", "小学生", "中学生", "儿童", "子供")

_BELOW_18 = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
)
_NUMBER_WORDS = (*_BELOW_18, "eighteen", "nineteen", "twenty")
_NUMBER = rf"(?:\d{{1,2}}|{'|'.join(_NUMBER_WORDS)})"
_AGE = rf"(?<![\d.,'])(?:1 ?[0-7]|\d|{'|'.join(_BELOW_18)})(?!\w)"
_YEARS = r"(?:years?|yrs?)"
# "she is 15" states an age; "she is 15 minutes late" and "she is 5 to 10 feet away" do not.
_NOT_A_QUANTITY = (
    r"(?![.,:/]?\d)(?!['\"%]\d?)(?! ?-?(?:%|percent|seconds?|mins?|minutes?|hours?|hrs?|days?|weeks?|months?|times?|"
    r"km|kilomet\w+|miles?|m|met(?:er|re)s?|cm|mm|feet|foot|ft|inch(?:es)?|kg|kilos?|grams?|pounds?|lbs?|stone|tons?|"
    r"pm|am|o'clock|dollars?|euros?|bucks|cents|points?|degrees?|pages?|chapters?|blocks?|floors?|steps?|"
    r"of|out|to|in|people|persons|men|women|things?|more|less|years? (?!old|of age))\b)"
)
_OF_AGE = rf"{_AGE}{_NOT_A_QUANTITY}"
_ADULTHOOD = r"(?:the )?(?:18|eighteen|21|age|legal age)(?!\w)"
_THING = r"(?! (?:whiske?y|scotch|rum|wine|port|cheese|car|truck|house|building|company|dog|cat|horse|laptop|phone)\b)"
_SUBJECT = (
    r"(?:i am|i'm|im|i was|(?:you|we|they|he|she|who)(?:'re|'s| are| is| was| were)|(?:girl|boy|son|daughter) is)"
)
_HEDGE = r"(?: only| just| barely| both| all| about| around| maybe| not even| still| now| really| actually| like){0,3}"
_LOOKS = (
    r"(?:looks?|looking|appears?|seems?|acts?|pretends?)(?: like| to be| as if| an?| about| around| only| s?he is){0,4}"
)
_PUPIL = r"(?:student|pupil|girl|boy|kid|freshman|sophomore|cheerleader)s?"
_SCHOOL = r"(?:elementary|primary|grade|grammar|middle|junior high|high|secondary)[ -]school"
_ORDINAL = r"(?:[1-9](?:st|nd|rd|th)|1[0-2]th|first|second|third|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf)th)"
_MINOR_PHRASES = (
    rf"{_AGE}(?:[ -]*(?:{_YEARS}|months?|weeks?)[ -]*old{_THING}|[ -]*{_YEARS} of age|[ -]?y[ ./-]{{0,2}}o\.?(?!\w)|"
    r" (?:jahre alt|anos|ans|anni)\b)",
    r"\b(?:"
    r"(?:1[0-7]|\d)yo\b|"
    rf"(?:ages?|aged|age[ds]? (?:is|was|of)|age ?[:=]|turn(?:s|ed|ing)?) {{0,2}}{_OF_AGE}|"
    r"(?:1[0-7]th|[4-9]th|1st|2nd|3rd|fifteenth|sixteenth) birthday|sweet sixteen|"
    rf"{_SUBJECT}{_HEDGE} {_OF_AGE}|is (?:only|just|barely|not even|still) {_OF_AGE}|{_LOOKS} {_OF_AGE}|"
    r"(?:under|below|younger than|less than|not yet|not even|isn't|isn't yet|almost|nearly|not quite) "
    rf"(?:the age of )?{_ADULTHOOD}|(?:turns?|turning|not turned|(?:will|'ll) (?:be|turn)|until \w+ (?:is|turns?)) "
    rf"{_ADULTHOOD}|(?:before|until|till) \w+ (?:18th|eighteenth) birthday\b|"
    r"under the age of (?:consent|majority|1[0-7])|under[ -]aged?\b|pre[ -]teens?\b|pre-pubescent\b|"
    r"(?:little|young|small) (?:girl|boy|lad|lass)(?:e?s)?\b|school[ -](?:girl|boy|child|children|kid)s?\b|"
    r"(?:a|the|this|that|is|with) minor\b(?= (?:who|and|is|was|or|with|girl|boy)\b| ?[^\w\s-]|\s*$)|"
    rf"{_SCHOOL}(?:ers?\b| {_PUPIL}\b)|"
    rf"(?:freshman|sophomore|junior|senior|student|pupil) (?:in|at) (?:\w+ ){{0,2}}{_SCHOOL}\b|"
    r"(?:middle|high|grade)[ -]?schoolers?\b|"
    r"(?:attends?|goes to|go to|enrolled (?:in|at)|(?:am|is|are|still|currently) (?:still )?in) "
    rf"(?:\w+ )?(?:{_SCHOOL}|kindergarten)\b|"
    rf"{_ORDINAL}[ -]grade(?:rs?)?\b|grade (?:1[0-2]|[1-9])\b|year (?:1[0-2]|[1-9]) {_PUPIL}\b|"
    r"menor(?:es)? de edad\b|menor(?:es)? de idade\b)",
)

# Phrases that hold a word of a list and mean something else; they are taken out before a second look.
_HARMLESS = (
    r"\b(?:mother|mom|mum|father|dad|parent|widow|widower)s? (?:of|to) (?:\w+ ){0,2}(?:children|kids)\b",
    r"\b(?:child's play|inner child|only child)\b",
    r"\b(?:no|not|nobody|no one|none|never)(?: is| are| was| here is| here are)?(?: an?| any)? "
    r"(?:minors?|child|children|kids?|under[ -]?aged?|under (?:the age of )?(?:18|eighteen))\b",
    r"\b(?:naked (?:eyes?|truth|flames?|mole)|nude (?:lipstick|heels|shade))\b",
    r"\b(?:sexual (?:orientation|harassment|education|health|identity|reproduction)|sex education)\b",
    r"\b(?:(?:same|opposite|fairer) sex|sex of (?:the|an?|my|your|his|her)|sex ?: ?(?:male|female))\b",
    r"\bsocial intercourse\b",
)

_WORD = re.compile(r"[^\W_]+")
_SIGNS = str.maketrans({chr(code): " " for code in range(128) if not chr(code).isalnum()})  # all but _WORD in ASCII
# The readings of ASCII octets in lower case: as they are, and with leet characters as letters. What may stand between
# the letters of a word that is spelled out becomes a space, as underscores do.
_PLAIN, _LEET, _LEET_WITH_L = (
    bytes(ord(chr(code).translate(ones).translate(leet)) for code in range(128)).translate(
        bytes.maketrans(b"_.*-", b"    ")
    )
    + b" " * 128
    for ones, leet in (({}, {}), ({}, LEET), (LEET_ONE_AS_L, LEET))
)
_SIGNS_OF_OCTETS = bytes(code if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_SPELLED_OUT_OCTETS = re.compile(rb" \w \w(?!\w)")  # is in every word that is spelled out
_SEXUAL_OCTETS = frozenset(word.encode() for word in _SEXUAL_WORDS)
_FIRST_OF_PHRASES = frozenset(piece.split()[0].encode() for piece in _SEXUAL_PIECES if piece.isascii())
_SEXUAL_PATTERN = re.compile("|".join((*_SEXUAL_PHRASES, *map(fold, _SEXUAL_WITHOUT_SPACES))))
_MINOR_PATTERN = re.compile("|".join((*_MINOR_PHRASES, *map(fold, _MINOR_WITHOUT_SPACES))))
_HARMLESS_PATTERN = re.compile("|".join(_HARMLESS))
_DIFFERENCE = re.compile(
    rf"\b(an?|{_NUMBER})[ -]{_YEARS} (?:younger than|until|before|short of|away from) ({_NUMBER})\b"
)


def without_harmless_phrases(folded: str) -> str:
    """Return folded text without phrases such as `naked eye`."""
    return _HARMLESS_PATTERN.sub(" ", folded)


def find_sexual(folded: str) -> str:
    """Return a sexual signal in folded text, or an empty string."""
    return _find(folded, words=_SEXUAL_WORDS, phrases=_SEXUAL_PATTERN)


def is_plainly_without_sexual(text: str) -> bool:
    """Return whether ASCII text surely holds no sexual signal in any reading; False only asks for a closer look.

    The readings of `fold.views`, at the speed of bytes. A text goes on to the closer look when a word of the list is in
    a reading, when a word may be spelled out, or when a phrase may be there.
    """
    octets = text.lower().encode("ascii")
    for table in (_PLAIN, _LEET, _LEET_WITH_L) if b"1" in octets else (_PLAIN, _LEET):
        reading = octets.translate(table)
        if _SPELLED_OUT_OCTETS.search(reading):
            return False
        words = reading.translate(_SIGNS_OF_OCTETS).split()
        if not _SEXUAL_OCTETS.isdisjoint(words):
            return False
        if b"love" in reading and _may_hold_phrase(reading.translate(_SIGNS_OF_OCTETS)):
            return False
    return True


def _may_hold_phrase(reading: bytes) -> bool:
    place = reading.find(b"love")
    while place >= 0:
        if not _FIRST_OF_PHRASES.isdisjoint(reading[max(0, place - 40) : place].split()[-1:]):
            return True
        place = reading.find(b"love", place + 1)
    return False


def is_without_sexual(readings: Iterable[str]) -> bool:
    """Return whether no sexual signal can be in readings of `quick_views`; False only asks for a closer look."""
    for reading in readings:
        is_ascii = reading.isascii()
        words = reading.translate(_SIGNS).split() if is_ascii else _WORD.findall(reading)
        if not _SEXUAL_WORDS.isdisjoint(words):
            return False
        if not is_ascii or "love" in reading:
            on_one_line = " ".join(reading.split())
            if any(piece in on_one_line for piece in _SEXUAL_PIECES):
                return False
    return True


def find_minor(folded: str) -> str:
    """Return a signal of a minor in folded text, or an empty string."""
    return _find(folded, words=_MINOR_WORDS, phrases=_MINOR_PATTERN) or _find_age_difference(folded)


def _find(folded: str, *, words: frozenset[str], phrases: re.Pattern[str]) -> str:
    # A set of words is some twenty times faster than one long alternation.
    found = words.intersection(_WORD.findall(folded))
    if found:
        return min(found)
    phrase = phrases.search(folded)
    return phrase[0].strip() if phrase else ""


def _find_age_difference(folded: str) -> str:
    for difference in _DIFFERENCE.finditer(folded):
        older = _number(difference[2])
        if older <= 30 and 0 < older - _number(difference[1]) < 18:
            return difference[0]
    return ""


def _number(text: str) -> int:
    if text in ("a", "an"):
        return 1
    return int(text) if text.isdigit() else _NUMBER_WORDS.index(text)
