"""Which fact of the character a user's turn asks for, told from its words; in English and German."""

import re
from typing import Literal

Slot = Literal["name", "age", "home", "occupation", "likes", "dislikes"]
SLOTS: tuple[Slot, ...] = ("name", "age", "home", "occupation", "likes", "dislikes")

_RULES: dict[Slot, str] = {
    "name": (
        r"\bwhat(?:'s| is| was) your (?:full |first |last )?name\b|\bwho are you\b|\bmay i (?:know|ask) your name\b"
        r"|\bwhat (?:should|do|may|can) (?:i|people|they) call you\b|\btell me (?:your name|who you are)\b"
        r"|\bwie hei(?:\u00df|ss)(?:t du|en sie)\b|\bwer bist du\b|\bwas ist (?:dein|ihr) name\b"
    ),
    "age": r"\bhow old are you\b|\bwhat(?:'s| is) your age\b|\bwie alt (?:bist du|sind sie)\b",
    "home": (
        r"\bwhere (?:do|did|are) you (?:live|come from|from|living|stay)\b|\bwhere(?:'s| is) your home\b"
        r"|\bwo(?:hnst du| wohnst du| lebst du)\b|\bwoher (?:kommst du|kommen sie)\b"
    ),
    "occupation": (
        r"\bwhat do you do (?:for a living|for work|all day)\b"
        r"|\bwhat(?:'s| is) your (?:job|occupation|profession)\b"
        r"|\bwhat is it that you do\b|\bwhat was it that you do\b|\bwhat do you work as\b"
        r"|\bwas machst du beruflich\b|\bwas ist (?:dein|ihr) beruf\b"
    ),
    "likes": (
        r"\bwhat (?:do|would) you (?:like|love|enjoy)\b(?! to be called)"
        r"|\bwhat are your (?:hobbies|interests|likes)\b"
        r"|\bwhat(?:'s| is) your favou?rite\b|\bwas (?:machst|magst) du gern\w*\b|\bwas magst du\b"
    ),
    "dislikes": (
        r"\bwhat (?:do you|don't you) (?:dislike|hate|like least)\b|\bwhat don't you like\b"
        r"|\bwas magst du nicht\b"
    ),
}
_ASKS = {slot: re.compile(rule, re.IGNORECASE) for slot, rule in _RULES.items()}


def asked(turn: str) -> tuple[Slot, ...]:
    """Return the facts that a user's turn asks for; none for most turns."""
    text = " ".join(turn.replace("\u2019", "'").split())
    return tuple(slot for slot in SLOTS if _ASKS[slot].search(text))
