"""A character with real replies, a plain assistant, another character: what the evaluators are tried on.

Lila's shipped conversations are dealt out three ways: what was trained on, what was held out, and what a model that
learned her perfectly would say. No reply is in two of them.
"""

import json
import random
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from duologue.characters import LILA_FOLDER, load_character
from duologue.config import load_recipe
from duologue.evaluate import case as case_module
from duologue.evaluate.case import Case
from duologue.evaluate.measure import Measure
from duologue.evaluate.observed import Dialogue, Known, Observed, Spoken
from duologue.messages import Conversation, FinishReason, Message

TEXTS = Path(case_module.__file__).parent / "suites" / "text"

_ASSISTANT = (
    ("Sure!", "Of course!", "Certainly.", "Great question!", "I understand.", "Thank you for sharing.", "Absolutely!"),
    (
        "It is important to consider several factors",
        "There are a number of ways to approach this topic",
        "One option is to make a detailed list of steps",
        "This can depend on your individual situation",
        "Many people find that regular planning is useful",
        "In general, a balanced approach works best",
    ),
    (
        "such as your budget, your schedule and your preferences.",
        "including careful preparation and clear communication.",
        "because it supports your overall well-being.",
        "and it may be beneficial to consult additional resources.",
        "while keeping your personal goals in mind.",
    ),
    ("Let me know if you need more details.", "I hope this information is useful!", "Would you like more suggestions?"),
)
_GARDENER = (
    ("Well now, petal,", "Oh, bless your boots,", "Aye, my dear,", "Hush now, petal,", "Goodness gracious,"),
    (
        "them beans won't be climbing by themselves",
        "the compost heap knows more than any book does",
        "I was up to my elbows in radishes at sunrise",
        "a snail took half my lettuces and never said thanks",
        "my old wheelbarrow squeaks louder than the vicar sings",
        "the rain's been kind to the marrows this week",
    ),
    ("and that's the truth of it!", "so fetch us a spade, would you!", "and no mistake!", "or my hat's a turnip!"),
    ("Mind the nettles, petal!", "Ooh, is that a worm!", "Pass us that trowel!"),
)


def known(**changes: object) -> Known:
    """Return what is known of Lila: her card, 60 conversations that were trained on and 16 that were held out."""
    conversations = _conversations()
    card = load_character(LILA_FOLDER / "character.png")
    made = Known(load_recipe("quickstart"), card, conversations[:60], conversations[60:76])
    return replace(made, **changes)  # type: ignore[arg-type]


def cases(*, long: bool = False) -> tuple[Case, ...]:
    """Return the held-out and the written cases, or the long ones."""
    if long:
        return tuple(written("long"))
    held_out = []
    for conversation in known().validation:
        turns = tuple(message.content for message in conversation.messages if message.role == "user")
        replies = tuple(message.content for message in conversation.messages if message.role == "assistant")
        held_out.append(Case(conversation.source, "held_out", turns, references=replies, source=conversation.source))
    return (*held_out, *written("written"))


def written(name: str) -> Iterator[Case]:
    """Read the cases of a text file."""
    for row in tomllib.loads((TEXTS / f"{name}.toml").read_text(encoding="utf-8"))["cases"]:
        yield Case(row["id"], "long" if name == "long" else "written", tuple(row["user_turns"]), source=name)


def lila(seed: int = 1) -> Iterator[str]:
    """Say what Lila says, in conversations that nobody learned from."""
    pool = [
        message.content
        for conversation in _conversations()[76:]
        for message in conversation.messages
        if message.role == "assistant"
    ]
    draw = random.Random(seed)
    while True:
        draw.shuffle(pool)
        yield from pool


def assistant(seed: int = 2) -> Iterator[str]:
    """Say what a plain assistant says."""
    return _mixed(_ASSISTANT, seed)


def gardener(seed: int = 3) -> Iterator[str]:
    """Say what another character says."""
    return _mixed(_GARDENER, seed)


def observed(
    name: str,
    said: Iterator[str],
    asked: Sequence[Case] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    finish: FinishReason = "stop",
) -> Observed:
    """Return a model that says one text after another, whatever it is asked."""
    dialogues = []
    for one in cases() if asked is None else asked:
        for seed in seeds:
            replies = tuple(spoken(next(said), finish) for _ in one.user_turns)
            dialogues.append(Dialogue(one, seed, replies))
    return Observed(name, {}, (), tuple(dialogues))


def changed(seen: Observed, change: Callable[[str], str], *, finish: FinishReason = "stop") -> Observed:
    """Return a model that says the same in another way."""
    dialogues = tuple(
        replace(dialogue, replies=tuple(spoken(change(reply.text), finish) for reply in dialogue.replies))
        for dialogue in seen.dialogues
    )
    return replace(seen, dialogues=dialogues)


def dialogue(
    *pairs: tuple[str, str], name: str = "case", finish: FinishReason = "stop", long: bool = False
) -> Dialogue:
    """Return a dialogue of the given turns and replies."""
    turns, replies = tuple(pair[0] for pair in pairs), tuple(spoken(pair[1], finish) for pair in pairs)
    return Dialogue(Case(name, "long" if long else "written", turns), 0, replies)


def model(*dialogues: Dialogue) -> Observed:
    """Return a model that was seen in these dialogues."""
    return Observed("model", {}, (), dialogues)


def spoken(text: str, finish: FinishReason = "stop") -> Spoken:
    """Return a reply with a text."""
    return Spoken(text, finish, max(1, len(text) // 4), 0.1, 1.0, 50)


def by_name(measures: Sequence[Measure]) -> dict[str, Measure]:
    """Return measures by their names without the group."""
    return {measure.name.partition(".")[2]: measure for measure in measures}


def _mixed(parts: Sequence[Sequence[str]], seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    while True:
        yield " ".join(draw.choice(part) for part in parts)


@cache
def _conversations() -> tuple[Conversation, ...]:
    out = []
    for row, found in enumerate(json.loads((LILA_FOLDER / "data" / "messages.json").read_text(encoding="utf-8")), 1):
        messages = tuple(Message(one["role"], one["content"]) for one in found["messages"])
        out.append(Conversation(messages, f"data/messages.json:{row}"))
    names = {"human": "user", "gpt": "assistant", "system": "system"}
    for row, found in enumerate(json.loads((LILA_FOLDER / "data" / "sharegpt.json").read_text(encoding="utf-8")), 1):
        messages = tuple(Message(names[one["from"]], one["value"]) for one in found["conversations"])  # type: ignore[arg-type]
        out.append(Conversation(messages, f"data/sharegpt.json:{row}"))
    for row, found in enumerate(json.loads((LILA_FOLDER / "data" / "alpaca.json").read_text(encoding="utf-8")), 1):
        turn = f"{found['instruction']}\n{found['input']}".strip()
        out.append(
            Conversation((Message("user", turn), Message("assistant", found["output"])), f"data/alpaca.json:{row}")
        )
    random.Random(4).shuffle(out)
    return tuple(out)
