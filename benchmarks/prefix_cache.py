"""How much of the prompts of a long chat the engine still has from before: 40 turns with lore, memories and notes.

Talks to the bundled model on the gguf engine, with the shipped character, a lorebook of twelve entries, memories of
earlier sessions and the default settings. Every prompt is counted whole; what llama.cpp did not have to read again is
its own figure. At least 90 of 100 prompt tokens must be cached over the 40 turns.

    python benchmarks/prefix_cache.py --out benchmarks/results/prefix_cache.json     # some minutes
    python benchmarks/prefix_cache.py --engine fake --turns 40                       # seconds; the layout alone
"""

import argparse
import json
import platform
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from duologue.characters import LILA_FOLDER, DepthPrompt, load_character, write_card
from duologue.chat import Bot, open_bot
from duologue.config import make_config
from duologue.engine import detect_hardware

TARGET = 0.90
LORE = {
    "lamp": "The blue lamp at the rear of the train is called Juniper. It is lit before every departure.",
    "cat": "Semaphore, the station cat, sleeps on the third cushion and dislikes being moved after two o'clock.",
    "bridge": "The Long Bridge sways a little in the north wind; trains cross it at walking pace.",
    "tea": "The tea on board is smoked over pear wood. There are four cups, and the green one is chipped.",
    "fog": "In fog the signals are repeated by a bell. Two strokes mean that the line is clear.",
    "watch": "The conductor's watch loses a minute each winter, and nobody has ever corrected it.",
    "salt": "Salt Wharf is the stop for the fishing boats. Passengers wave a lamp to be picked up there.",
    "owl": "An owl nests in the water tower of Thimble Cross. Its chicks leave in the first week of June.",
    "ticket": "Tickets are punched with a small moon. A full moon means a return journey.",
    "snow": "When snow closes the cutting, the train waits at Ashby Hollow and soup is served.",
    "whistle": "The whistle has three notes. The last one is only blown when somebody is missed.",
    "letter": "Letters left on the seats are kept for a year in the drawer below the timetable.",
}
TOLD = (
    "My sister Ida keeps bees behind the old mill.",
    "I lost my grandfather's compass somewhere near Salt Wharf.",
    "I play the cello, badly, on Sunday mornings.",
    "I am afraid of long bridges since I was a child.",
    "My favourite soup is the one with barley and leeks.",
    "I work nights at the bakery by the harbour.",
    "I promised Tom a letter before the end of the month.",
    "My tea must have no sugar, ever.",
)
SAID = (
    "Good evening. Is there a seat by the window tonight?",
    "What is that lamp at the end of the train?",
    "I brought you something: a jar of honey from my sister.",
    "Do you remember what my sister does?",
    "How long until the bridge?",
    "You know how I feel about bridges.",
    "A cup of tea would help. You know how I take it.",
    "Is the cat here?",
    "What do you do when there is fog?",
    "Listen, was that an owl?",
    "I never found the compass, by the way.",
    "May I see your ticket punch?",
    "What time does your watch say?",
    "I still owe Tom a letter.",
    "Tell me about your first night on this line.",
    "Does it snow here in winter?",
    "I could eat some soup now.",
    "Which station do you like best?",
    "The bakery was busy today.",
    "I played the cello again on Sunday.",
)
VARIANTS = ("plain", "lore and memories", "with note and depth prompt", "with post-history instructions")


def main() -> None:
    """Measure and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["gguf", "fake"], default="gguf")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--variant", choices=VARIANTS, action="append", dest="variants")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chats = {variant: measured(variant, arguments) for variant in arguments.variants or VARIANTS}
    with tempfile.TemporaryDirectory() as name:
        hardware = detect_hardware(Path(name), measure_cpu=False)
    document = {
        "benchmark": "prefix_cache",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), **asdict(hardware)},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "engine": arguments.engine,
        "overrides": arguments.overrides,
        "target": TARGET,
        "reached": all(chat["cached_fraction"] >= TARGET for chat in chats.values()),
        "chats": chats,
    }
    text = json.dumps(document, indent=1, default=str)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measured(variant: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what one chat took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bot = opened(folder, variant, arguments)
        try:
            if variant != "plain":
                told(bot)
            return talked(bot, num_turns=arguments.turns)
        finally:
            bot.close()


def told(bot: Bot) -> None:
    """Make memories: earlier sessions of one message each, with a reply of one token."""
    wanted = bot.config.generation.max_new_tokens
    bot.draw(max_new_tokens="1")
    for text in TOLD:
        bot.reply(bot.new_session(), text, cancel=threading.Event()).read()
    bot.settle()
    bot.draw(max_new_tokens=str(wanted))


def opened(folder: Path, variant: str, arguments: argparse.Namespace) -> Bot:
    """Return a bot with the parts of a variant."""
    character = load_character(next(LILA_FOLDER.glob("*.png")))
    settings: dict[str, Any] = {"card": "card.json", "user_name": "Sam"}
    if variant != "plain":
        book = {
            "entries": [
                {"keys": [key], "content": text, "enabled": True, "insertion_order": number, "extensions": {}}
                for number, (key, text) in enumerate(LORE.items())
            ],
            "extensions": {},
        }
        (folder / "lore.json").write_text(json.dumps({"spec": "lorebook_v3", "data": book}), encoding="utf-8")
        settings["lorebooks"] = ["lore.json"]
    if variant in VARIANTS[2:]:
        settings["author_note"] = "[The night is calm. Keep the replies short and warm.]"
        note = DepthPrompt("Lila never leaves the train.", depth=4, role="system")
        character = replace(character, depth_prompt=note)
    if variant == VARIANTS[3]:
        character = replace(character, post_history_instructions="[Answer as Lila, in two or three sentences.]")
    write_card(character, folder / "card.json")
    tree: dict[str, Any] = {
        "model": {"base": "bundled:smollm2-135m"},
        "data": {"train": ["none.json"]},
        "character": settings,
    }
    for line in arguments.overrides:
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = json.loads(value)
    return open_bot(folder, make_config(tree, where="benchmark"), engine=arguments.engine)


def talked(bot: Bot, *, num_turns: int) -> dict[str, Any]:
    """Return what the engine said about its cache, turn by turn."""
    session_id, turns = bot.new_session(), []
    for number in range(num_turns):
        stream = bot.reply(session_id, SAID[number % len(SAID)], cancel=threading.Event())
        reply = stream.read()
        bot.settle()
        turns.append(
            {
                "prompt_tokens": reply.num_prompt_tokens,
                "cached_tokens": reply.num_cached_tokens,
                "reply_tokens": reply.num_reply_tokens,
                "first_token_seconds": round(reply.first_token_seconds, 3),
                "num_recalled": len(reply.recalled),
                "num_lore": sum(block.kind == "lore" for block in bot.context(session_id).blocks),
                "num_forgotten_messages": reply.num_forgotten_messages,
            }
        )
        print(number + 1, turns[-1], file=sys.stderr, flush=True)
    prompt_tokens = sum(turn["prompt_tokens"] for turn in turns)
    cached_tokens = sum(turn["cached_tokens"] for turn in turns)
    shares = sorted(turn["cached_tokens"] / turn["prompt_tokens"] for turn in turns)
    return {
        "cached_fraction": round(cached_tokens / prompt_tokens, 4),
        "median_turn_fraction": round(shares[len(shares) // 2], 4),
        "prompt_tokens": prompt_tokens,
        "cached_tokens": cached_tokens,
        "turns": turns,
    }


if __name__ == "__main__":
    main()
