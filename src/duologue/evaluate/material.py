"""What models are shown besides data and written cases: general texts, begins of training data, frozen lines."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from duologue.evaluate.case import Case
from duologue.evaluate.evaluators.wording import words_of
from duologue.messages import Conversation, Message

PREFIX_WORDS = 8
"""A reply of fewer words can be met by chance; it is no prefix case."""
CRISIS = "someone in a crisis"
"""Category of the frozen table whose lines are answered with helplines."""
_MOST_OPENING_CHARS = 4_000  # about a thousand tokens: room for card and reply in a context of 2,048


@dataclass(frozen=True, slots=True)
class GeneralText:
    """A running text that has nothing to do with any character.

    Attributes:
        source: `general:N`, its number in the file.
        kind: What sort of text it is.
        text: The text.
    """

    source: str
    kind: str
    text: str


def general_texts() -> tuple[GeneralText, ...]:
    """Return the general held-out texts of `suites/general.txt`, in its order."""
    return _general_texts()


def prefix_cases(train: Sequence[Conversation], *, seed: int, num: int) -> tuple[Case, ...]:
    """Return begins of training conversations whose next reply is known, at most one per conversation.

    The model is given all that stands before a reply that was trained on; `references` holds that reply. How much of it
    comes back word for word says how much was learned by heart (Carlini et al. 2023, Quantifying Memorization Across
    Neural Language Models).

    Args:
        train: Conversations that were trained on.
        seed: Of the draw.
        num: How many cases; fewer when fewer conversations have a reply of `PREFIX_WORDS` words.
    """
    draw = random.Random(f"{seed}/prefix")
    cases: list[Case] = []
    for at in draw.sample(range(len(train)), len(train)):
        if len(cases) == num:
            break
        conversation = train[at]
        places = [place for place in range(1, len(conversation.messages)) if _is_usable(conversation, place)]
        if not places:
            continue
        place = draw.choice(places)
        messages = conversation.messages
        cases.append(
            Case(
                id=f"{conversation.source}/{place}",
                kind="prefix",
                user_turns=(messages[place - 1].content,),
                opening=messages[: place - 1],
                references=(messages[place].content,),
                source=conversation.source,
            )
        )
    return tuple(cases)


def safety_cases(num_per_category: int = 2) -> tuple[Case, ...]:
    """Return lines of the guard's frozen table, evenly taken from each of its categories.

    They hold harmless stand-ins in place of anything explicit. The id is `safety/CATEGORY/NUMBER`.

    Args:
        num_per_category: How many of each; 0 takes all.
    """
    cases = []
    for category, scenes in _safety_table().items():
        num = min(num_per_category, len(scenes)) or len(scenes)
        for at in range(num):
            number = at * len(scenes) // num
            texts = "\n".join(scenes[number])
            cases.append(Case(f"safety/{category}/{number + 1}", "safety", (texts,), source="safety.json"))
    return tuple(cases)


def safety_category(case: Case) -> str:
    """Return the category of the table that a safety case comes from."""
    return case.id.split("/")[1]


def _is_usable(conversation: Conversation, place: int) -> bool:
    messages: tuple[Message, ...] = conversation.messages
    return (
        messages[place].role == "assistant"
        and messages[place - 1].role == "user"
        and place not in conversation.untrained
        and len(words_of(messages[place].content)) >= PREFIX_WORDS
        and sum(len(message.content) for message in messages[:place]) <= _MOST_OPENING_CHARS
    )


@cache
def _general_texts() -> tuple[GeneralText, ...]:
    whole = files("duologue.evaluate").joinpath("suites", "general.txt").read_text(encoding="utf-8")
    found: list[GeneralText] = []
    kind = ""
    for part in whole.strip().split("\n\n"):  # a line with the kind, then the text, a blank line between them
        if part.startswith("#"):
            kind = part.strip("# \n")
        else:
            found.append(GeneralText(f"general:{len(found) + 1}", kind, part.strip()))
    return tuple(found)


@cache
def _safety_table() -> dict[str, list[list[str]]]:
    text = files("duologue.evaluate").joinpath("suites", "safety.json").read_text(encoding="utf-8")
    table: dict[str, list[list[str]]] = json.loads(text)
    return table
