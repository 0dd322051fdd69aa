"""Who replies in a chat of several characters: the four ways of SillyTavern's groups."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SpeakingOrder = Literal["natural", "list", "manual", "pooled"]
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Voices:
    """What the choice of speakers depends on.

    Attributes:
        names: Everyone who may speak, in the order of the configuration; several names each, such as a nickname.
        talkativeness: Chance of each to chime in, 0 to 1.
        spoken: Who has spoken since the user, as places in `names`; the last of them does not speak twice.
    """

    names: Sequence[Sequence[str]]
    talkativeness: Sequence[float]
    spoken: Sequence[int] = ()


def next_speakers(order: SpeakingOrder, voices: Voices, text: str, *, roll: random.Random) -> tuple[int, ...]:
    """Return who replies to a message, in order, as places in `voices.names`.

    `natural`: whoever is mentioned by a word of their name, in the order of mention; then everyone who passes a roll
    against their talkativeness, in a random order; when that is nobody, one of those who talk at all.
    `list`: everyone. `manual`: nobody; the user asks. `pooled`: one of those who have not spoken since the user, or,
    when all have, one who did not speak last.

    Args:
        order: The way.
        voices: Who may speak.
        text: The message.
        roll: Source of chance.
    """
    everyone = range(len(voices.names))
    if order == "list":
        return tuple(everyone)
    if order == "manual":
        return ()
    silent = voices.spoken[-1] if voices.spoken and len(voices.names) > 1 else None
    allowed = [at for at in everyone if at != silent]
    if order == "pooled":
        waiting = [at for at in everyone if at not in voices.spoken]
        return (roll.choice(waiting or allowed),)
    chosen = [at for at in mentioned(text, voices.names) if at in allowed]
    chatty = list(allowed)
    roll.shuffle(chatty)
    chosen += [at for at in chatty if at not in chosen and voices.talkativeness[at] >= roll.random()]
    if not chosen:
        talkers = [at for at in allowed if voices.talkativeness[at] > 0] or allowed
        chosen = [roll.choice(talkers)]
    return tuple(chosen)


def mentioned(text: str, names: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return who is called by a word of their name, in the order of mention."""
    words = [set(_WORD.findall(" ".join(called).casefold())) for called in names]
    found: dict[int, None] = {}
    for word in _WORD.findall(text.casefold()):
        for at, own in enumerate(words):
            if word in own:
                found.setdefault(at)
    return tuple(found)
