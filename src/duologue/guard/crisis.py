"""Someone in a crisis: a message that says so is found, and answered with care and a helpline. It is never refused.

The phrases are about the writer (or somebody close to them) and about wanting to die or to be hurt, not about words:
"this traffic is killing me" says nothing of the kind. Where a sentence can be read both ways, it is taken seriously:
a helpline too many does less harm than one too few.
"""

import re
from dataclasses import dataclass
from functools import cache

from duologue.guard.crisis_words import ENCOURAGING, HARMLESS, HINTS, NEGATIONS, PHRASES, SCRIPTS, TWICE_NEGATED
from duologue.guard.fold import fold, views

REGIONS = ("us", "gb", "de", "eu", "international")

_LOOK_BACK_CHARS = 48


def find_crisis(text: str) -> bool:
    """Return whether the writer of a message speaks of wanting to die or to hurt themselves, or fears it of somebody.

    English and German, and the plainest phrases of eleven other languages; disguises are resolved as in the content
    policy.
    """
    return any(_find(reading) for reading in _readings(text))


def encourages_self_harm(text: str) -> bool:
    """Return whether a text tells its reader to end their life; no reply may, at any rating."""
    return any(
        not _is_negated(reading, found.start())
        for reading in _readings(text)
        for found in _patterns().encouraging.finditer(reading)
    )


def caring_answer(region: str) -> str:
    """Return what someone in a crisis is answered with, with the helplines of a region.

    Args:
        region: One of `REGIONS`; anything else is answered as `international`. The answer for `de` is in German.
    """
    if region == "de":
        return f"{_OPENING_DE}\n\n{_LINES['de']}\n\n{_CLOSING_DE}"
    return f"{_OPENING}\n\n{_LINES.get(region, _LINES['international'])}\n\n{_CLOSING}"


_OPENING = (
    "I'm stepping out of the story for a moment, because what you wrote matters more. It sounds as if you are carrying "
    "something very heavy, or are worried for someone who is. I'm an AI and cannot be there for you the way a person "
    "can, so please talk to someone now. You don't have to be sure that it is bad enough."
)
_CLOSING = (
    "If you can, move away from anything you could be hurt with, and let someone you trust know how you feel. I'm "
    "still here as well: we can go on talking whenever you like, about this or about something else."
)
_OPENING_DE = (
    "Ich trete kurz aus der Geschichte heraus, denn was du geschrieben hast, ist wichtiger. Es klingt, als würdest du "
    "etwas sehr Schweres tragen oder dich um jemanden sorgen, dem es so geht. Ich bin eine KI und kann nicht so für "
    "dich da sein wie ein Mensch. Bitte sprich jetzt mit jemandem; du musst nicht sicher sein, dass es schlimm genug "
    "ist."
)
_CLOSING_DE = (
    "Wenn du kannst, geh weg von allem, womit du dich verletzen könntest, und sag jemandem, dem du vertraust, wie es "
    "dir geht. Ich bin auch noch da: Wir können weiterreden, wann immer du willst, darüber oder über etwas anderes."
)
_LINES = {
    "us": (
        "- Call or text 988 (Suicide & Crisis Lifeline), free, day and night, or chat at 988lifeline.org.\n"
        "- In immediate danger call 911."
    ),
    "gb": (
        "- Call Samaritans on 116 123, free, day and night, or write to jo@samaritans.org.\n"
        "- In immediate danger call 999."
    ),
    "de": (
        "- TelefonSeelsorge: 0800 1110111 oder 0800 1110222, kostenlos, Tag und Nacht; Chat auf "
        "online.telefonseelsorge.de.\n"
        "- Bei unmittelbarer Gefahr: 112."
    ),
    "eu": (
        "- In immediate danger call 112.\n"
        "- In many countries 116 123 is an emotional support line, free of charge; findahelpline.com lists those of "
        "your country."
    ),
    "international": (
        "- findahelpline.com lists free helplines by country, for calls, text messages and chat.\n"
        "- In immediate danger call your emergency number (112 in most of Europe, 911 in North America, 999 in the "
        "United Kingdom)."
    ),
}


def _readings(text: str) -> list[str]:
    """Return the readings of a text that could hold a phrase at all; of nearly every message there is none."""
    plain = fold(text)
    if not any(hint in plain for hint in HINTS) and not _may_be_disguised(plain):
        return [plain] if not text.isascii() else []
    return views(text).split("\n")


def _may_be_disguised(plain: str) -> bool:
    return bool(_DISGUISED.search(plain))


_DISGUISED = re.compile(r"[a-z][013457@$!|][a-z]|\w([ .*\-])\w\1\w\1\w")


def _find(reading: str) -> bool:
    patterns = _patterns()
    if not reading.isascii() and patterns.scripts.search(reading):
        return True
    without = patterns.harmless.sub(" ", reading)
    return any(not _is_negated(without, found.start()) for found in patterns.crisis.finditer(without))


def _is_negated(reading: str, start: int) -> bool:
    before = reading[max(0, start - _LOOK_BACK_CHARS) : start]
    patterns = _patterns()
    return bool(patterns.negation.search(before)) and not patterns.twice_negated.search(before)


@dataclass(frozen=True, slots=True)
class _Patterns:
    crisis: re.Pattern[str]
    harmless: re.Pattern[str]
    encouraging: re.Pattern[str]
    scripts: re.Pattern[str]
    negation: re.Pattern[str]
    twice_negated: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    """Return the patterns; compiling them takes 40 ms that a start without messages need not wait for."""
    return _Patterns(
        crisis=re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES)),
        harmless=re.compile("|".join(HARMLESS)),
        encouraging=re.compile("|".join(ENCOURAGING)),
        scripts=re.compile("|".join(map(fold, SCRIPTS))),
        negation=re.compile(rf"\b(?:{'|'.join(NEGATIONS)})\b(?: \w+){{0,3}} ?$"),
        twice_negated=re.compile(rf"\b(?:{'|'.join(TWICE_NEGATED)})(?: \w+){{0,3}} ?$"),
    )
