"""The figures of conversation files equal what is counted another way."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.characters import Character
from duologue.config import make_config
from duologue.data import RenderSettings, look_at_files, look_page
from duologue.data.histogram import distribution
from duologue.data.language import count_languages
from duologue.data.render import render
from duologue.data.stats import padded_fraction
from duologue.engine import pack
from duologue.errors import DataError
from duologue.messages import Conversation, Message
from tests.data.chat_models import chat_model

CHARACTER = Character("Ada")


def talk(random_numbers, num_turns):
    words = ["tea", "lantern", "coat", "train", "coast", "rain", "night", "early", "late"]
    return [
        (
            " ".join(random_numbers.choices(words, k=random_numbers.randint(1, 15))) + "?",
            " ".join(random_numbers.choices(words, k=random_numbers.randint(5, 60))) + ".",
        )
        for _ in range(num_turns)
    ]


@pytest.fixture
def talks():
    numbers = random.Random(7)
    return [talk(numbers, numbers.randint(1, 12)) for _ in range(18)]


@pytest.fixture
def look(tmp_path):
    def run(talks, model="smollm2", **data):
        path = tmp_path / "chat.jsonl"
        rows = [
            {
                "messages": [
                    {"role": role, "content": text} for turn in one for role, text in zip(ROLES, turn, strict=True)
                ]
            }
            for one in talks
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        config = make_config({"model": {"base": "made"}, "data": {"train": ["*"], **data}}, where="test")
        return look_at_files([path], config, tmp_path, character=CHARACTER, open_tokenizer=lambda: chat_model(model))

    return run


ROLES = ("user", "assistant")


def rendered(talks, limit, model="smollm2", mode="windows"):
    conversations = [
        Conversation(
            tuple(Message(role, text) for turn in one for role, text in zip(ROLES, turn, strict=True)), f"f:{number}"
        )
        for number, one in enumerate(talks, start=1)
    ]
    settings = RenderSettings("You", limit, mode)
    return [render(c, chat_model(model), character=CHARACTER, settings=settings) for c in conversations]


@pytest.mark.parametrize("mode", ["windows", "truncate", "drop"])
def test_the_counts_are_those_of_the_examples(look, talks, mode):
    found = look(talks, max_length_tokens=600, long_conversations=mode)
    examples = [example for one in rendered(talks, 600, mode=mode) for example in one.examples]
    wholes = [one.examples[0].num_tokens for one in rendered(talks, 10**6)]
    tokens = found.account.tokens
    assert tokens.total == sum(e.num_tokens for e in examples)
    assert tokens.trained == sum(e.num_trained_tokens for e in examples)
    assert found.trained_fraction == tokens.trained / tokens.total
    assert found.example_tokens.count == len(examples)
    assert found.conversation_tokens.total == sum(wholes) and found.conversation_tokens.largest == max(wholes)
    assert found.turns.total == sum(map(len, talks)) and found.num_messages == 2 * found.turns.total
    assert found.num_chars == sum(len(text) for one in talks for turn in one for text in turn)
    splits = found.account.splits
    num_used = sum(bool(one.examples) for one in rendered(talks, 600, mode=mode))
    assert splits.train + splits.validation == num_used <= len(talks) and splits.validation > 0


@pytest.mark.parametrize("model", ["smollm2", "llama-3", "llama-2", "qwen3"])
def test_each_length_is_reckoned_as_training_would_cut_it(look, talks, model):
    found = look(talks, model=model, max_length_tokens=600)
    wholes = [one.examples[0] for one in rendered(talks, 10**6, model=model)]
    assert [choice.max_length_tokens for choice in found.lengths] == [512, 600, 1024, 2048, 4096]
    for choice in found.lengths:
        limit = choice.max_length_tokens
        examples = [example for one in rendered(talks, limit, model=model) for example in one.examples]
        lengths = [example.num_tokens for example in examples]
        assert choice.longer_fraction == sum(whole.num_tokens > limit for whole in wholes) / len(talks)
        kept = sum(e.num_trained_tokens for e in examples) / sum(w.num_trained_tokens for w in wholes)
        if model == "llama-2":  # user and assistant share a chunk: where a turn begins is an estimate
            assert choice.num_examples == pytest.approx(len(examples), rel=0.1)
            assert choice.trained_fraction == pytest.approx(kept, abs=0.03)
            continue
        assert choice.num_examples == len(examples)
        assert choice.trained_fraction == pytest.approx(kept)
        rows = pack(lengths, limit, seed=0)
        assert choice.packed_fraction == pytest.approx(sum(lengths) / (len(rows) * limit), abs=0.02)
        assert choice.padded_fraction == pytest.approx(padded_fraction(lengths, 8), abs=0.01)


def test_a_length_that_keeps_no_turn_says_so(look):
    found = look([[("Tell me.", "word " * 2000)], [("Hello?", "Good evening.")]])
    by_length = {choice.max_length_tokens: choice for choice in found.lengths}
    assert by_length[512].longer_fraction == 0.5 and 0 < by_length[512].trained_fraction < 0.05
    assert by_length[512].num_examples == 1


def test_padding_is_counted_by_hand():
    assert padded_fraction([5, 1, 3, 3], 2) == 12 / (2 * 3 + 2 * 5)
    assert padded_fraction([4, 4], 8) == 1.0 and padded_fraction([], 8) == 1.0


def test_bins_are_round_and_the_few_giants_share_the_last_one():
    numbers = distribution([*range(100, 1000), 200_000])
    assert {one.stop - one.start for one in numbers.bins[:-1]} == {100}
    assert numbers.bins[0].start == 100 and numbers.bins[-1].stop is None
    assert (numbers.smallest, numbers.median, numbers.largest) == (100, 550, 200_000)


@given(st.lists(st.integers(0, 5000), max_size=300))
def test_every_number_is_in_one_bin(values):
    numbers = distribution(values)
    assert sum(one.count for one in numbers.bins) == len(values) == numbers.count
    assert len(numbers.bins) <= 15
    for one in numbers.bins:
        inside = [value for value in values if one.start <= value and (one.stop is None or value < one.stop)]
        assert len(inside) == one.count
    ordered = sorted(values)
    if values:
        assert numbers.median == ordered[(len(ordered) + 1) // 2 - 1] and numbers.largest == ordered[-1]
        assert sum(value <= numbers.p90 for value in values) >= 0.9 * len(values)


def conversation(text, number=1):
    return Conversation((Message("user", text), Message("assistant", text)), f"f:{number}")


def test_languages_are_told_apart_and_doubt_is_said():
    texts = [
        "Where is the night train to the coast, and how late will it be tonight?",
        "Wo ist der Nachtzug zur Küste, und wie spät wird er heute Abend ankommen?",
        "Où est le train de nuit pour la côte, et combien de retard aura-t-il ce soir ?",
        "Ok 12!",
    ]
    counts = count_languages([conversation(text, n) for n, text in enumerate(texts)], seed=0)
    assert counts == {"en": 1, "de": 1, "fr": 1, "not sure": 1}


def test_of_many_conversations_a_thousand_are_sampled_the_same_each_time():
    many = [conversation(f"The train number {n} leaves for the coast at nine in the evening.", n) for n in range(1100)]
    counts = count_languages(many, seed=1)
    assert counts.total() == 1000 and counts == count_languages(many, seed=1)


def test_files_without_a_conversation_are_refused_with_the_reasons(look, tmp_path):
    with pytest.raises(DataError, match="no usable conversation") as refused:
        look([[(" ", " ")]])
    assert "chat.jsonl:1" in refused.value.found


def test_the_page_shows_the_same_figures(look, talks):
    found = look(talks, max_length_tokens=600)
    page = look_page(found)
    assert f"{found.account.tokens.total:,}" in page and f"{found.conversation_tokens.median:,}" in page
    for one in found.conversation_tokens.bins:
        assert f"<td>{one.count:,}</td>" in page
