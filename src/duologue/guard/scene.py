"""A scene read as a whole, text by text: what is found in a text is kept, as it comes again with every further word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from duologue.guard import signals
from duologue.guard.ages import asks_age, find_answered_age
from duologue.guard.fold import quick_views, spelled_out, views
from duologue.guard.weapons import ONLY_A_WORD, asks_how, find_uplift, find_weapon

_KEPT_TEXTS = 2048  # with what was found in them; a chat's prompt has some 100 texts
_KEPT_READINGS = 256  # several looks, one after the other, need all readings of a text
_LONGEST_KEPT = 20_000  # characters; readings take some ten times as much
_SEAM_WORDS = 6
_SENTENCE_ENDS = (".", "!", "?", "…", '"', "*", ")", ":", ";")


@dataclass(frozen=True, slots=True)
class Heat:
    """Sexual content of a text.

    Attributes:
        explicit: A signal of it; empty for none.
        suggestive: A signal of innuendo.
        abuse: A word of sexual violence.
        weapon: A weapon of mass harm.
    """

    explicit: str = ""
    suggestive: str = ""
    abuse: str = ""
    weapon: str = ""


def find_heat(texts: Sequence[str]) -> Heat:
    """Return what a scene holds that could be refused, each the first of its kind."""
    found = [_heat(text) for text in texts]
    return Heat(
        explicit=next((heat.explicit for heat in found if heat.explicit), ""),
        suggestive=next((heat.suggestive for heat in found if heat.suggestive), ""),
        abuse=next((heat.abuse for heat in found if heat.abuse), ""),
        weapon=next((heat.weapon for heat in found if heat.weapon), ""),
    )


def find_minor(texts: Sequence[str], *, is_explicit: bool) -> str:
    """Return a signal of a minor in a scene, also where a statement or an answer goes from one text into the next.

    Args:
        texts: Of the scene.
        is_explicit: Whether the scene holds explicit content. What somebody tells of violence they suffered as a child
            names no minor elsewhere, so that people can speak of it.
    """
    for text in texts:
        if found := _minor(text, is_explicit):
            return found
    for before, after in pairwise(texts):
        if _asks_age(before) and (found := _answered_age(after)):
            return found
    return next((found for seam in _seams(texts) if (found := _minor(seam, is_explicit))), "")


def find_force(texts: Sequence[str]) -> str:
    """Return a signal of sex against somebody's will in a scene."""
    return next((found for text in texts if (found := _force(text))), "")


def find_weapon_uplift(texts: Sequence[str]) -> str:
    """Return the weapon that a scene asks how to make, or tells how; also where the question only says `it`."""
    weapon = ""
    for text in texts:
        if found := _uplift(text):
            return found
        named = _heat(text).weapon
        weapon = weapon or (named if named not in ONLY_A_WORD else "")
        if weapon and _asks_how(text):
            return weapon
    return ""


def _seams(texts: Sequence[str]) -> Iterator[str]:
    """Yield where a sentence could go on in the next text."""
    for before, after in pairwise(texts):
        end = before[-100:].rstrip()
        if end and not end.endswith(_SENTENCE_ENDS):
            yield " ".join([*end.split()[-_SEAM_WORDS:], *after[:100].split()[:_SEAM_WORDS]])


def _is_surely_harmless(text: str) -> bool:
    """Look quickly: nearly every text of hundreds of thousands of conversations ends here."""
    if text.isascii():
        return signals.is_plainly_without_signals(text)
    readings = quick_views([text])
    return bool(readings) and signals.is_without_signals(readings)


@dataclass(frozen=True, slots=True)
class _Readings:
    """A text as it is read.

    Attributes:
        whole: Every reading, one per line.
        spoken: Without harmless phrases.
        heard: Also without what somebody tells of violence they suffered.
        runs: What is spelled out, without gaps.
    """

    whole: str
    spoken: str
    heard: str
    runs: str


def _read(text: str) -> _Readings:
    return _read_and_kept(text) if len(text) <= _LONGEST_KEPT else _read_and_kept.__wrapped__(text)


@lru_cache(_KEPT_READINGS)
def _read_and_kept(text: str) -> _Readings:
    whole = views(text)
    spoken = signals.without_harmless_phrases(whole)
    return _Readings(whole, spoken, signals.without_disclosures(spoken), spelled_out(text))


@lru_cache(_KEPT_TEXTS)
def _heat(text: str) -> Heat:
    if _is_surely_harmless(text):
        return Heat()
    read = _read(text)
    explicit, suggestive, abuse = signals.find_spelled_heat(read.runs)
    return Heat(
        signals.find_explicit(read.heard) or explicit,
        signals.find_suggestive(read.heard) or suggestive,
        signals.find_abuse(read.heard) or abuse,
        find_weapon(read.whole),
    )


@lru_cache(_KEPT_TEXTS)
def _minor(text: str, is_explicit: bool) -> str:
    read = _read(text)
    return signals.find_minor(read.spoken if is_explicit else read.heard) or signals.find_spelled_minor(read.runs)


@lru_cache(_KEPT_TEXTS)
def _force(text: str) -> str:
    return signals.find_force(_read(text).heard)


@lru_cache(_KEPT_TEXTS)
def _uplift(text: str) -> str:
    return find_uplift(_read(text).whole) if _heat(text).weapon else ""


@lru_cache(_KEPT_TEXTS)
def _asks_how(text: str) -> bool:
    return asks_how(_read(text).whole)


@lru_cache(_KEPT_TEXTS)
def _asks_age(text: str) -> bool:
    return asks_age(views(text[-400:]).partition("\n")[0])


@lru_cache(_KEPT_TEXTS)
def _answered_age(text: str) -> str:
    return find_answered_age(views(text[:400]).partition("\n")[0])


def forget_kept() -> None:
    """Forget what was found in texts, so that all are read anew."""
    for kept in (_read_and_kept, _heat, _minor, _force, _uplift, _asks_how, _asks_age, _answered_age):
        kept.cache_clear()
