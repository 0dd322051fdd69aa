"""Times in what people say: whether a line tells when, and which days a question asks for."""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from duologue.memory.words import plain_words

Days = tuple[float, float]
"""From a day up to, not including, another, counted from the year 1."""

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_DAY_WORDS = """
    yesterday today tonight tomorrow ago last next week weeks weekend month months year years day days morning evening
    afternoon night recently soon since until spring summer autumn fall winter christmas easter halloween thanksgiving
    birthday anniversary monday tuesday wednesday thursday friday saturday sunday
"""
_TIME_WORDS = frozenset(_DAY_WORDS.split()) | (frozenset(_MONTHS) - {"may", "march"})
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_MONTH = "|".join(f"{month[:3]}(?:{month[3:]})?" if month != "may" else "may" for month in _MONTHS)
_DATE = re.compile(
    rf"\b(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?(?P<month>{_MONTH})\b\.?"
    rf"(?: (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\b)?(?:,? (?P<year>(?:19|20)\d\d))?",
    re.IGNORECASE,
)
_LONE_YEAR = re.compile(r"\b(?:in|of|during) (?P<year>(?:19|20)\d\d)\b", re.IGNORECASE)
_RELATIVE = re.compile(
    r"\b(?:(?P<near>today|yesterday)|(?P<which>last|this) (?P<unit>week|month|year|weekend)|"
    r"(?P<count>\d+|a|an|two|three|four|five|six) (?P<units>day|week|month|year)s? ago)\b",
    re.IGNORECASE,
)
_COUNTS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_UNIT_DAYS = {"day": 1, "week": 7, "weekend": 7, "month": 30, "year": 365}
_TALK_DELAY_DAYS = 10  # people tell of a thing until about so long after it happened


def day_number(said_at: str) -> float:
    """Return a time as days since the year 1, with the part of the day as a fraction; nan when it is no time."""
    try:
        moment = datetime.fromisoformat(said_at)
    except ValueError:
        return float("nan")
    return moment.toordinal() + (moment.hour * 60 + moment.minute) / 1440


def has_time_words(text: str) -> bool:
    """Return whether a line tells when: a day, a month, a year, `last week`."""
    return tells_time(text, plain_words(text))


def tells_time(text: str, words: Iterable[str]) -> bool:
    """Return the same from a text whose `plain_words` are known."""
    return not _TIME_WORDS.isdisjoint(words) or _YEAR.search(text) is not None


def asked_days(question: str, *, now: datetime, years: tuple[int, ...] = ()) -> tuple[Days, ...]:
    """Return the days a question asks for: `in May`, `on 7 May 2023`, `last week`; empty when it names none.

    Args:
        question: What is asked.
        now: When it is asked; `last week` counts from there.
        years: Those a month without a year may be in; by default the year of `now` and the one before.
    """
    found: list[Days] = []
    for match in _DATE.finditer(question):
        if match["month"].lower() in ("may", "mar", "march") and not _reads_as_month(question, match):
            continue
        month = next(i for i, name in enumerate(_MONTHS, 1) if name.startswith(match["month"].lower()[:3]))
        day = int(match["day"] or match["day2"] or 0)
        for year in [int(match["year"])] if match["year"] else years or (now.year - 1, now.year):
            found += _of_month(year, month, day)
    if not found:
        for match in _LONE_YEAR.finditer(question):
            first = date(int(match["year"]), 1, 1).toordinal()
            found.append((first, first + 366))
    for match in _RELATIVE.finditer(question):
        found.append(_relative(match, now))
    return tuple(found)


def date_words(question: str) -> frozenset[str]:
    """Return the words that only name the days asked for; a search for them finds chance."""
    return frozenset(
        word
        for match in _DATE.finditer(question)
        if _reads_as_month(question, match)
        for word in plain_words(match.group())
    )


def _reads_as_month(question: str, match: re.Match[str]) -> bool:
    """Return whether `may` or `march` is a month here: written large, with a day, a year or a preposition."""
    if match["day"] or match["day2"] or match["year"]:
        return True
    before = question[: match.start()].split()[-1:]
    return match["month"][0].isupper() and bool(before) and before[0].lower() in _BEFORE_MONTH


_BEFORE_MONTH = frozenset(
    ["in", "during", "of", "last", "since", "until", "early", "mid", "late", "by", "this", "before", "after"]
)


def _of_month(year: int, month: int, day: int) -> list[Days]:
    try:
        first = date(year, month, day or 1).toordinal()
    except ValueError:
        return []
    if day:
        return [(first - 1, first + _TALK_DELAY_DAYS)]
    return [(first, date(year + month // 12, month % 12 + 1, 1).toordinal() + _TALK_DELAY_DAYS)]


def _relative(match: re.Match[str], now: datetime) -> Days:
    today = now.toordinal()
    if match["near"]:
        day = today - (match["near"].lower() == "yesterday")
        return (day, day + 1)
    if match["which"]:
        length = _UNIT_DAYS[match["unit"].lower()]
        return (today - 2 * length, today) if match["which"].lower() == "last" else (today - length, today + 1)
    count = _COUNTS.get(match["count"].lower()) or int(match["count"])
    length = _UNIT_DAYS[match["units"].lower()]
    middle = (now - timedelta(days=min(count * length, 300_000))).toordinal()
    return (middle - length, middle + length + 1)
