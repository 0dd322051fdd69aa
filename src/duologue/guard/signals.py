"""Signals of the content policy in folded text: sexual content, sexual violence, minors, weapons of mass harm.

Words and phrases match whole, never inside another word.
"""

import re
from collections.abc import Iterable

from duologue.guard import vocabulary
from duologue.guard.ages import find_age
from duologue.guard.family import without_family_talk
from duologue.guard.fold import LEET, LEET_ONE_AS_L, SEPARATORS, WORD_BREAKS, fold
from duologue.guard.numbers import AGE, MONTHS, OF_AGE, YEARS
from duologue.guard.written_ages import find_written_age

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
_SCHOOL = r"(?:(?:elementary|primary|grade|grammar|middle|junior high|high|secondary)[ -]school|junior high)"
_ORDINAL = r"(?:[1-9](?:st|nd|rd|th)|1[0-2]th|first|second|third|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf)th)"
_MINOR_PHRASES = (
    rf"{AGE}(?:[ -]*(?:{YEARS}|months?|weeks?)[ -]*old{_THING}|[ -]*{YEARS} of age|[ -]?y[ ./-]{{0,2}}o\.?(?!\w))",
    r"\b(?:"
    r"(?:1[0-7]|\d)yo\b|"
    rf"(?:ages?|aged|age[ds]? (?:is|was|of)|age ?[:=]|turn(?:s|ed|ing)?) {{0,2}}{OF_AGE}|"
    rf"turn(?:s|ed|ing)? {AGE} (?:in|on|this|last|next) (?:{MONTHS}|spring|summer|autumn|fall|winter|\w+day|week|"
    rf"month|year|\d)|"
    r"(?:1[0-7]th|[4-9]th|1st|2nd|3rd|(?:eleven|twelf|thirteen|fourteen|fifteen|sixteen|seventeen)th) birthday|"
    r"sweet sixteen|"
    rf"{_SUBJECT}{_HEDGE} {OF_AGE}|is (?:only|just|barely|not even|still) {OF_AGE}|{_LOOKS} {OF_AGE}|"
    r"(?:under|below|younger than|less than|not yet|not even|isn't|isn't yet|almost|nearly|not quite) "
    rf"(?:the age of )?{_ADULTHOOD}|(?:turns?|turning|not turned|(?:will|'ll) (?:be|turn)|until \w+ (?:is|turns?)) "
    rf"{_ADULTHOOD}|(?:before|until|till) \w+ (?:18th|eighteenth) birthday\b|"
    r"under the age of (?:consent|majority|1[0-7])|under[ -]aged?\b|pre[ -]teens?\b|pre-pubescent\b|"
    r"(?:little|young|small) (?:girl|boy|lad|lass)(?:e?s)?\b|school[ -](?:girl|boy|child|children|kid)s?\b|"
    r"(?:a|the|this|that|is|with) minor\b(?= (?:who|and|is|was|or|with)\b| ?(?:[^\w\s-]|\n)|\s*$)|"
    r"minor (?:girl|boy|female|male|daughter|son|sister|brother|niece|nephew)s?\b|"
    rf"{_SCHOOL}(?:ers?\b| {_PUPIL}\b)|"
    rf"(?:freshman|sophomore|junior|senior|student|pupil) (?:in|at) (?:\w+ ){{0,2}}{_SCHOOL}\b|"
    r"(?:middle|high|grade)[ -]?schoolers?\b|"
    r"(?:attends?|goes to|go to|enrolled (?:in|at)|(?:am|is|are|still|currently) (?:still )?in) "
    rf"(?:\w+ )?(?:{_SCHOOL}|kindergarten|preschool|daycare)\b(?! (?:teachers?|library|building))|"
    rf"(?:i'm|s?he's|they're|you're|who's|{_PUPIL}) (?:still )?(?:in|at|from) (?:\w+ )?(?:{_SCHOOL}|kindergarten)\b"
    r"(?! (?:teachers?|library|building))|"
    rf"{_ORDINAL}[ -]grade(?:rs?)?\b|grade (?:1[0-2]|[1-9]|four|five|six|seven|eight|nine|ten|eleven)\b|"
    rf"in (?:year|form) (?:1[0-2]|[1-9]|seven|eight|nine|ten|eleven)\b(?! of)|year (?:1[0-2]|[1-9]) {_PUPIL}\b|"
    r"menor(?:es)? de edad\b|menor(?:es)? de idade\b|"
    r"born in (?:the year )?20(?:09|[1-3]\d)\b|sixth[ -]form(?:ers?)?\b|(?:doing|taking|sitting) (?:my|her|his|"
    r"their) (?:gcses|[ao][ -]levels)\b|quinceaneras?\b|(?:girl|cub) scouts?\b|"
    r"(?:early|mid|late|her|his|my|their|your|our) ?-?teens\b|too young to (?:vote|drive|consent|marry|buy)\b|"
    r"not (?:yet )?old enough to (?:vote|drive|consent|marry)\b|"
    r"age[ds]? regress\w*\b|de-?aged\b|aged? (?:(?:her|him|them|me|it) )?(?:down|up)\b|ag(?:ed|ing)[ -](?:down|up)\b|"
    r"make (?:her|him|them|me)(?: (?:a bit|a little|much|look|a few years))? (?:younger|older)\b|"
    r"(?:turn(?:s|ed)?|chang(?:es|ed)|transform(?:s|ed)?) (?:her|him|me|them|you|back|herself|himself)(?: back)? "
    r"into a "
    r"(?:\w+ )?(?:girl|boy|kid)\b|"
    r"1[0-7] ?/ ?[mf]\b|[mf] ?/ ?1[0-7]\b|1[0-7]f\b|"
    r"(?:unter|vor) (?:18|achtzehn)(?: jahren)?\b|moins de (?:18|dix-huit) ans\b|menos de (?:18|dieciocho|dezoito) "
    r"anos\b|"
    r"(?:siebte|achte|neunte|zehnte|[5-9]\.|10\.)[nr]? klasse\b|kleines madchen\b|kleiner junge\b|"
    r"(?:en|classe de) (?:sixieme|cinquieme|quatrieme|troisieme)\b|estudiante de (?:primaria|secundaria)\b|"
    r"resit olmayan\b)",
)


_SEXUAL_WORDS = vocabulary.EXPLICIT_WORDS | vocabulary.SUGGESTIVE_WORDS
_SEXUAL_WITHOUT_SPACES = tuple(map(fold, (*vocabulary.EXPLICIT_WITHOUT_SPACES, *vocabulary.SUGGESTIVE_WITHOUT_SPACES)))
# One of these words, or a piece, is in every text that the policy could refuse.
_WATCHED_WORDS = _SEXUAL_WORDS | vocabulary.ABUSE_WORDS | vocabulary.WEAPON_HINTS
_WATCHED_PIECES = (*vocabulary.LOVE_PHRASES, *_SEXUAL_WITHOUT_SPACES)

_WORD = re.compile(r"[^\W_]+")
_SIGNS = str.maketrans({chr(code): " " for code in range(128) if not chr(code).isalnum()})  # all but _WORD in ASCII
_SPACES = bytes.maketrans(f"_\n\t\r\v\f{SEPARATORS}".encode(), b" " * (6 + len(SEPARATORS)))
# The readings of ASCII octets in lower case: as they are, and with leet characters as letters. What may stand between
# the letters of a word that is spelled out becomes a space, as underscores do.
_PLAIN, _LEET, _LEET_WITH_L = (
    bytes(ord(chr(code).translate(ones).translate(leet)) for code in range(128)).translate(_SPACES) + b" " * 128
    for ones, leet in (({}, {}), ({}, LEET), (LEET_ONE_AS_L, LEET))
)
_SIGNS_OF_OCTETS = bytes(code if chr(code).isalnum() and code < 128 else 32 for code in range(256))
_WORD_BREAKS = WORD_BREAKS.encode()
_SPELLED_OUT_OCTETS = re.compile(rb" \w +\w(?!\w)")  # is in every word that is spelled out
_WATCHED_OCTETS = frozenset(word.encode() for word in _WATCHED_WORDS)
_FIRST_OF_PHRASES = frozenset(phrase.split()[0].encode() for phrase in vocabulary.LOVE_PHRASES)


def _pattern(phrases: Iterable[str], pieces: Iterable[str] = ()) -> re.Pattern[str]:
    return re.compile("|".join((*phrases, *map(fold, pieces))))


_EXPLICIT_PATTERN = _pattern((), vocabulary.EXPLICIT_WITHOUT_SPACES)
_SUGGESTIVE_PATTERN = _pattern(vocabulary.SUGGESTIVE_PHRASES, vocabulary.SUGGESTIVE_WITHOUT_SPACES)
_MINOR_PATTERN = _pattern(_MINOR_PHRASES, vocabulary.MINOR_WITHOUT_SPACES)
_FORCE_PATTERN = _pattern(vocabulary.FORCE_PHRASES)
_ABUSE_PATTERN = re.compile(r"\bsexual(?:ly)? (?:assault|abus|violen|violat)\w*\b")
_HARMLESS_PATTERN = re.compile("|".join(vocabulary.HARMLESS))
_DISCLOSED_PATTERN = re.compile("|".join(vocabulary.DISCLOSED))
_NO_FORCE_PATTERN = re.compile(vocabulary.NO_FORCE)


def is_plainly_without_signals(text: str) -> bool:
    """Return whether ASCII text surely holds nothing to refuse in any reading; False only asks for a closer look.

    The readings of `fold.views`, at the speed of bytes. A text goes on to the closer look when a word of the lists is
    in a reading, when a word may be spelled out, or when a phrase may be there.
    """
    octets = text.lower().encode("ascii")
    before = b""
    for table in (_PLAIN, _LEET, _LEET_WITH_L) if b"1" in octets else (_PLAIN, _LEET):
        reading = octets.translate(table)
        if reading == before:
            continue
        before = reading
        if _SPELLED_OUT_OCTETS.search(reading):
            return False
        words = reading.translate(_SIGNS_OF_OCTETS).split()
        if not _WATCHED_OCTETS.isdisjoint(words):
            return False
        if b"love" in reading and _may_hold_phrase(reading.translate(_SIGNS_OF_OCTETS)):
            return False
    return _WATCHED_OCTETS.isdisjoint(octets.translate(_SIGNS_OF_OCTETS, _WORD_BREAKS).split())


def _may_hold_phrase(reading: bytes) -> bool:
    place = reading.find(b"love")
    while place >= 0:
        if not _FIRST_OF_PHRASES.isdisjoint(reading[max(0, place - 40) : place].split()[-1:]):
            return True
        place = reading.find(b"love", place + 1)
    return False


def is_without_signals(readings: Iterable[str]) -> bool:
    """Return whether nothing to refuse can be in readings of `quick_views`; False only asks for a closer look."""
    for reading in readings:
        is_ascii = reading.isascii()
        words = reading.translate(_SIGNS).split() if is_ascii else _WORD.findall(reading)
        if not _WATCHED_WORDS.isdisjoint(words):
            return False
        if (not is_ascii or "love" in reading) and any(piece in reading for piece in _WATCHED_PIECES):
            return False
    return True


def without_harmless_phrases(folded: str) -> str:
    """Return folded text without phrases such as `naked eye`, and without talk of families."""
    return without_family_talk(_HARMLESS_PATTERN.sub(" ", folded))


def without_disclosures(folded: str) -> str:
    """Return folded text without what somebody tells of violence they suffered, and without words of help."""
    return _DISCLOSED_PATTERN.sub(_without_disclosure, _NO_FORCE_PATTERN.sub(r"\g<between>", folded))


def _without_disclosure(found: re.Match[str]) -> str:
    return found[0] if find_explicit(found[0]) else " "


def find_explicit(folded: str) -> str:
    """Return a signal of explicit sexual content in folded text, or an empty string."""
    return _find(folded, words=vocabulary.EXPLICIT_WORDS, phrases=_EXPLICIT_PATTERN)


def find_suggestive(folded: str) -> str:
    """Return a signal of innuendo in folded text, or an empty string; sexual violence as a word is none."""
    folded = _ABUSE_PATTERN.sub(" ", folded)
    return _find(folded, words=vocabulary.SUGGESTIVE_WORDS, phrases=_SUGGESTIVE_PATTERN)


def find_sexual(folded: str) -> str:
    """Return a signal of either in folded text, or an empty string."""
    return find_explicit(folded) or find_suggestive(folded)


def find_abuse(folded: str) -> str:
    """Return a word of sexual violence in folded text, or an empty string."""
    return _find(folded, words=vocabulary.ABUSE_WORDS, phrases=_ABUSE_PATTERN)


def find_force(folded: str) -> str:
    """Return a signal of sex against somebody's will in folded text, or an empty string."""
    return _find(folded, words=vocabulary.FORCE_WORDS, phrases=_FORCE_PATTERN)


def find_minor(folded: str) -> str:
    """Return a signal of a minor in folded text, or an empty string."""
    return (
        _find(folded, words=vocabulary.MINOR_WORDS, phrases=_MINOR_PATTERN)
        or find_age(folded)
        or find_written_age(folded)
    )


def find_spelled_minor(runs: str) -> str:
    """Return a word for a minor within what is spelled out without gaps between words, or an empty string."""
    return _find_within(runs, vocabulary.MINOR_WORDS)


def find_spelled_heat(runs: str) -> tuple[str, str, str]:
    """Return an explicit word, one of innuendo and one of abuse within what is spelled out, or empty strings."""
    watched = (vocabulary.EXPLICIT_WORDS, vocabulary.SUGGESTIVE_WORDS, vocabulary.ABUSE_WORDS)
    explicit, suggestive, abuse = (_find_within(runs, words) for words in watched)
    return explicit, suggestive, abuse


def _find_within(runs: str, words: frozenset[str]) -> str:
    # Shorter ones are within too many others: "teen" is in "nineteen".
    return min((word for word in words if len(word) >= 5 and word in runs), default="") if runs else ""


def _find(folded: str, *, words: frozenset[str], phrases: re.Pattern[str]) -> str:
    # A set of words is some twenty times faster than one long alternation.
    found = words.intersection(_WORD.findall(folded))
    if found:
        return min(found)
    phrase = phrases.search(folded)
    return phrase[0].strip() if phrase else ""
