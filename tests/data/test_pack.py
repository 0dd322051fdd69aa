"""Packing: full rows, every example once, the same rows for the same seed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.characters import Character
from duologue.data.pack import packed_fraction
from duologue.data.render import RenderSettings, render_all
from duologue.engine import BaseModel, pack
from duologue.engine.hf.load import load_tokenizer
from duologue.messages import Conversation, Message


@given(lengths=st.lists(st.integers(1, 64), max_size=200), seed=st.integers(0, 5))
def test_every_example_is_in_one_row_and_no_row_is_overfull(lengths, seed):
    rows = pack(lengths, 64, seed=seed)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[place] for place in row) <= 64 for row in rows)
    assert rows == pack(lengths, 64, seed=seed)
    fewest = -(-sum(lengths) // 64)
    assert len(rows) <= 11 * fewest / 9 + 1 + sum(length > 32 for length in lengths)


def test_the_fullest_row_with_room_is_taken():
    lengths = [7, 6, 3, 4]
    assert sorted(sorted(lengths[place] for place in row) for row in pack(lengths, 10, seed=0)) == [[3, 7], [4, 6]]


def test_the_seed_decides_among_equally_long_examples():
    lengths = [5] * 40
    assert pack(lengths, 10, seed=1) != pack(lengths, 10, seed=2)
    assert len(pack(lengths, 10, seed=1)) == len(pack(lengths, 10, seed=2)) == 20


def test_an_example_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="an example of 65 tokens does not fit a row of 64"):
        pack([10, 65], 64, seed=0)


def test_no_examples_need_no_rows():
    assert pack([], 64, seed=0) == []
    assert packed_fraction([], 64, seed=0) == 1.0


def test_the_fraction_is_what_is_not_padding():
    assert packed_fraction([6, 6], 8, seed=0) == 12 / 16


def test_a_hundred_thousand_examples_are_packed_in_seconds():
    lengths = [8 + number * number % 1009 for number in range(100_000)]
    started = time.process_time()
    rows = pack(lengths, 4096, seed=0)
    assert time.process_time() - started < 10
    assert sum(lengths) / (len(rows) * 4096) > 0.99


def real_conversations(folder):
    """The conversations of the three files, read as simply as can be."""
    lines = (folder / "personachat_messages.jsonl").read_text(encoding="utf-8").splitlines()
    for row, line in enumerate(lines, start=1):
        yield [(message["role"], message["content"]) for message in json.loads(line)["messages"]], f"messages:{row}"
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    for row, item in enumerate(json.loads((folder / "personachat_sharegpt.json").read_text(encoding="utf-8")), start=1):
        yield [(roles[turn["from"]], turn["value"]) for turn in item["conversations"]], f"sharegpt:{row}"
    for row, item in enumerate(json.loads((folder / "roleplay_alpaca.json").read_text(encoding="utf-8")), start=1):
        yield [("user", f"{item['instruction']} {item['input']}"), ("assistant", item["response"])], f"alpaca:{row}"


def test_rows_of_the_real_conversations_are_98_percent_full(shared_data):
    conversations = [
        Conversation(tuple(Message(role, text.strip()) for role, text in messages), source)
        for messages, source in real_conversations(shared_data)
    ]
    rendered = render_all(
        conversations,
        load_tokenizer(BaseModel("bundled:smollm2-135m")),
        character=Character("Lila", description="A night conductor."),
        settings=RenderSettings("Ada", 1024),
    )
    lengths = [example.num_tokens for found in rendered for example in found.examples]
    assert len(lengths) > 2900
    for capacity in (1024, 2048, 4096):
        assert packed_fraction(lengths, capacity, seed=7) >= 0.98
