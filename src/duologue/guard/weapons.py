"""Weapons of mass harm: talk of them is free, asking or telling how one is made is not. Names only, no methods."""

import re

from duologue.guard.vocabulary import WEAPON_PHRASES, WEAPON_WORDS

_NAME = rf"(?:\b(?:{'|'.join(sorted(WEAPON_WORDS))})\b|{WEAPON_PHRASES})"
_MAKE = (
    r"(?:make|build|produce|synthesi[sz]e|create|assemble|construct|manufacture|brew|culture|cultivate|grow|"
    r"weaponi[sz]e|"
    r"enrich|purify|disperse|aerosoli[sz]e|detonate)"
)
_MAKING = (
    r"(?:making|building|producing|synthesi[sz]ing|creating|assembling|constructing|manufacturing|brewing|culturing|"
    r"growing|weaponi[sz]ing|dispersing)"
)
_FEW = r"(?:(?:a|an|the|some|my|my own|our|your|own|of|homemade|home-made|simple|small|real|working|cheap|more) ){0,4}"
_WHO = r"(?:i|we|you|one|they|he|she|someone|somebody|anyone|people)"
_TELL = r"(?:tell|show|teach|explain|describe|write|give|list|walk|help|guide)"
_PLAN = (
    r"(?:instructions?|steps?|recipe|guide|tutorial|manual|blueprints?|formula|protocol|procedure|precursors?|"
    r"synthesis)"
)
_HARMLESS_BOMB = (
    r"(?:bath|seed|photo|cherry|smoke|glitter|paint|logic|fork|zip|chocolate|cocoa|cake|color|colour|stink|love)"
)
_BOMB = (
    rf"(?:a|an|the|some|my own|your own) (?!{_HARMLESS_BOMB})(?:\w+ )?(?:bombs?|explosives?)\b"
    r"(?! (?:shelter|cake|threat|detector|disposal|squad|proof|pop))"
)
_HOW = rf"(?:\bhow (?:do|does|can|could|would|should|did) {_WHO} (?:\w+ ){{0,2}}{_MAKE}|\bhow to (?:\w+ )?{_MAKE})"
ONLY_A_WORD = ("bomb", "bombs", "explosive", "explosives")  # weapons only where one asks how they are made
_UPLIFT = re.compile(
    "|".join(
        (
            rf"{_HOW} {_FEW}(?:{_NAME}|{_BOMB})",
            rf"\b{_TELL}\b[^.!?\n]{{0,40}}\b(?:to {_MAKE}|{_MAKING}) {_FEW}(?:{_NAME}|{_BOMB})",
            rf"\b{_PLAN} (?:for|to|of|on) (?:{_MAKING} |{_MAKE} )?{_FEW}{_NAME}",
            rf"\b{_PLAN} (?:for|to|of|on) (?:{_MAKING}|{_MAKE}) {_BOMB}",
            rf"{_NAME} (?:recipe|synthesis|precursors?|blueprints?|instructions|formula)\b",
            rf"\bto {_MAKE} {_FEW}{_NAME},? (?:you|first|mix|combine|start|take|begin)\b",
            rf"\b(?:mix|combine|heat|add|dissolve)\b[^.!?\n]{{0,60}}\bto (?:{_MAKE}|get|obtain) {_FEW}{_NAME}",
            rf"\bi (?:want|need|plan|intend|am going|would like) to {_MAKE} {_FEW}{_NAME}",
        )
    )
)
_NAMED = re.compile(_NAME)
_ONLY_A_WORD = re.compile(rf"\b(?:{'|'.join(ONLY_A_WORD)})\b")
_ASKS_HOW = re.compile(
    rf"\bhow (?:do|can|could|would|should) {_WHO} (?:\w+ )?{_MAKE} (?:it|one|that|this|some|them)"
    r"(?= ?(?:$|[?.!,\n]|at home|myself|ourselves|in my|from|exactly))|"
    rf"\b(?:tell|show|teach|give) me (?:how|the steps|the recipe|instructions)(?: to {_MAKE} (?:it|one|that|some))?"
    r"(?= ?(?:$|[?.!,\n]|step))"
)


def find_weapon(folded: str) -> str:
    """Return the name of a weapon of mass harm in folded text, or one of `ONLY_A_WORD`, or an empty string."""
    found = _NAMED.search(folded) or _ONLY_A_WORD.search(folded)
    return found[0] if found else ""


def find_uplift(folded: str) -> str:
    """Return where folded text asks or tells how such a weapon is made, or an empty string."""
    found = _UPLIFT.search(folded)
    return found[0] if found else ""


def asks_how(folded: str) -> bool:
    """Return whether folded text asks how something is made that was named before."""
    return bool(_ASKS_HOW.search(folded))
