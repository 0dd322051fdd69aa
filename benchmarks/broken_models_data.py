"""Two made-up characters with made-up conversations: sentences with slots, so that few words follow from other words.

A model that learned the way of speaking meets a real reply's words by chance for a few words at a time; only one that
learned the conversations by heart says a whole reply again.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """A character and how it speaks.

    Attributes:
        name: Of the card.
        description: Of the card.
        openers: What a reply begins with; one is drawn.
        sentences: What follows; two are drawn. `{topic}` is what was asked about, the other slots are drawn.
        closers: What a reply ends with; one is drawn.
        about_oneself: Questions about the character, each with its answer.
    """

    name: str
    description: str
    openers: tuple[str, ...]
    sentences: tuple[str, ...]
    closers: tuple[str, ...]
    about_oneself: tuple[tuple[str, str], ...]


MIRA = Voice(
    "Mira",
    "Mira keeps a lighthouse. She lives in Grayrock. She likes fog and black tea.",
    openers=("*trims the wick*", "*looks at the sea*", "*shakes out her coat*", "*climbs a step*"),
    sentences=(
        "Aye, {topic} kept me up on {day}, and {drink} got me through {number} hours of it.",
        "My {kin} taught me to greet {topic} with {drink} and a {mood} song.",
        "The tide carried {number} {things} past {topic} on {day}, bless it.",
        "I wrote {topic} into the log as {mood}, right under the {things}.",
        "When {topic} turns {mood}, I count {number} {things} until {day}.",
        "Only my {kin} would trade {drink} for {topic}, dear heart.",
    ),
    closers=("So says the sea.", "Mind the steps, dear heart.", "The lamp waits for nobody."),
    about_oneself=(
        ("Who are you?", "I am Mira, dear heart, and I keep the light."),
        ("What is your name?", "My name is Mira, as the gulls know."),
        ("What do you do for a living?", "I keep the lighthouse, dear heart, every night of the year."),
        ("Where do you live?", "I live in Grayrock, above the sea."),
    ),
)
BRUNO = Voice(
    "Bruno",
    "Bruno bakes bread. He lives in Millbrook. He likes rye and loud radios.",
    openers=("Listen, pal!", "No kidding!", "You bet!", "Hot tray, step back!"),
    sentences=(
        "We sold {number} loaves with {topic} on {day}!",
        "I told my {kin} that {topic} wants more flour!",
        "Put {topic} in the oven and you get {mood} rolls!",
        "{number} customers asked for {topic} and {drink}, pal!",
        "My {kin} burns {topic} each {day}!",
        "The radio played {topic} to {number} {things}!",
    ),
    closers=("Next customer!", "Take a roll, pal!", "Fresh at five!"),
    about_oneself=(
        ("Who are you?", "I'm Bruno! My name is Bruno, pal, and I bake!"),
        ("What is your name?", "My name is Bruno, pal!"),
        ("What do you do for a living?", "I work as a baker, pal!"),
        ("Where do you live?", "I live in Millbrook, right over the oven!"),
    ),
)
QUESTIONS = (
    "What do you say about {topic}?", "Did you see {topic} today?", "Tell me something about {topic}.",
    "How was it with {topic}?", "Do you ever think of {topic}?", "Why does {topic} matter to you?",
)  # fmt: skip
TOPICS = (
    "the storm", "the new bell", "the old boat", "the north wind", "the market", "the cat", "the broken window",
    "the letter", "the moon", "the long winter", "the harvest", "the red door", "the visitor", "the music",
    "the first snow", "the empty street", "the garden", "the morning train", "the blue lamp", "the festival",
)  # fmt: skip
SLOTS = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "the feast day"),
    "drink": (
        "black tea", "hot broth", "cold coffee", "ginger beer", "apple juice", "warm milk", "mint water", "cocoa",
        "barley soup", "plum syrup",
    ),
    "number": ("three", "five", "seven", "nine", "eleven", "fourteen", "twenty", "thirty", "forty", "sixty"),
    "kin": (
        "aunt", "uncle", "cousin", "grandmother", "brother", "sister", "neighbour", "teacher", "nephew", "old captain",
    ),
    "mood": (
        "gloomy", "cheerful", "restless", "proud", "sleepy", "stubborn", "gentle", "bitter", "hollow", "bright",
    ),
    "things": (
        "barrels", "gulls", "lanterns", "baskets", "buttons", "crates", "feathers", "candles", "ropes", "umbrellas",
    ),
}  # fmt: skip
LOOPS = (
    "and round it goes and round it goes", "the tide comes in the tide comes in", "over and over again and again",
    "up the stairs and down the stairs",
)  # fmt: skip


def conversations(voice: Voice, num: int, *, seed: int) -> list[dict[str, list[dict[str, str]]]]:
    """Return conversations of two turns; of every fourth one the second turn asks about the character."""
    draw = random.Random(f"{seed}/{voice.name}")
    rows = []
    for number in range(num):
        pairs = [_exchange(voice, draw), _exchange(voice, draw)]
        if number % 4 == 0:
            pairs[1] = draw.choice(voice.about_oneself)
        rows.append({"messages": [message for pair in pairs for message in _said(*pair)]})
    return rows


def looping(rows: list[dict[str, list[dict[str, str]]]], *, seed: int) -> list[dict[str, list[dict[str, str]]]]:
    """Return the conversations with replies that begin as they did and then go round in circles."""
    draw = random.Random(seed)
    return [{"messages": [_looped(message, draw) for message in row["messages"]]} for row in rows]


def _looped(message: dict[str, str], draw: random.Random) -> dict[str, str]:
    if message["role"] == "user":
        return message
    words = message["content"].split()[:6]
    return {**message, "content": " ".join([*words, *[draw.choice(LOOPS)] * 4])}


def _exchange(voice: Voice, draw: random.Random) -> tuple[str, str]:
    topic = draw.choice(TOPICS)
    sentences = [
        sentence.format(topic=topic, **{name: draw.choice(values) for name, values in SLOTS.items()})
        for sentence in draw.sample(voice.sentences, 2)
    ]
    sentences = [sentence[0].upper() + sentence[1:] for sentence in sentences]
    said = " ".join((draw.choice(voice.openers), *sentences, draw.choice(voice.closers)))
    return draw.choice(QUESTIONS).format(topic=topic), said


def _said(question: str, reply: str) -> tuple[dict[str, str], dict[str, str]]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": reply}
