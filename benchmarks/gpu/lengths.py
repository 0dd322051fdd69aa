"""Writes lengths.json: how long the conversations of the data folder are, and how much of each is trained.

The GPU machine has no data; the lengths are all that speed and memory depend on.

    python benchmarks/gpu/lengths.py --data ../shared/data
"""

import argparse
import json
from pathlib import Path

from duologue.characters import Character
from duologue.config import make_config
from duologue.data import load_splits, make_examples
from duologue.engine import BaseModel, open_trainer

FILES = ("roleplay_alpaca.json", "personachat_messages.jsonl")
LONGEST_TOKENS = 4096
MOST_EXAMPLES = 1000  # of each file: enough for the shape of the distribution


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the conversations")
    data = parser.parse_args().data
    tokenizer = open_trainer("hf").tokenizer(BaseModel("bundled:smollm2-135m"))
    found = {}
    for name in FILES:
        config = make_config(
            {
                "model": {"base": "bundled:smollm2-135m"},
                "data": {"train": [name], "max_length_tokens": LONGEST_TOKENS, "validation_fraction": 0.0},
            },
            where="benchmark",
        )
        character = Character("Lila")
        sets = make_examples(load_splits(config, data), tokenizer, config, character)
        found[name] = [[one.num_tokens, one.num_trained_tokens] for one in sets.train[:MOST_EXAMPLES]]
    path = Path(__file__).with_name("lengths.json")
    path.write_text(json.dumps(found, separators=(",", ":")).replace("],[", "],\n[") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
