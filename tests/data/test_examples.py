"""Splits to examples: every token counted, weights, and prepared data that comes back from the cache."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import Character
from duologue.config import make_config
from duologue.data import check_files, load_splits, make_examples, measure, prepare_examples
from duologue.data.store import ExampleSelection, ExampleStore
from duologue.engine.fake import FakeTokenizer
from duologue.errors import DataError

LILA = Character("Lila", description="A night conductor.")
WORDS = ["lamp", "coal", "steam", "ticket", "bridge", "owl", "river", "clock", "signal", "tea", "rain", "ledger"]


def config_for(seed=0, **data):
    tree = {"run": {"seed": seed}, "model": {"base": "m"}, "data": {"train": ["*.json"], **data}}
    return make_config(tree, where="test")


def talk(rng, num_turns, num_words=12):
    roles = ["user", "assistant"] * num_turns
    return {"messages": [{"role": role, "content": " ".join(rng.choices(WORDS, k=num_words))} for role in roles]}


def talks(count, num_turns=2):
    rng = random.Random(3)
    return [talk(rng, num_turns) for _ in range(count)]


def write(folder, name, rows):
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def prepare(config, folder, said=None):
    events = [] if said is None else said
    return prepare_examples(config, folder, tokenizer=FakeTokenizer(), character=LILA, on_event=events.append)


def assert_tokens_add_up(sets):
    tokens = sets.account.tokens
    examples = [*sets.train, *sets.validation]
    assert tokens.total == sum(example.num_tokens for example in examples)
    assert tokens.trained == sum(example.num_trained_tokens for example in examples)
    assert tokens.total == tokens.trained + tokens.context + tokens.padding
    for file in sets.account.files:
        assert file.num_rows == file.num_loaded + sum(file.dropped.values())


def test_prepared_examples_are_those_made_in_memory(tmp_path):
    write(tmp_path, "a.json", talks(40))
    config = config_for(validation_fraction=0.3)
    made = make_examples(load_splits(config, tmp_path), FakeTokenizer(), config, LILA)
    prepared = prepare(config, tmp_path)
    assert prepared.train == made.train and prepared.validation == made.validation
    assert prepared.account == made.account and prepared.stats == measure(made.train, made.validation)
    assert_tokens_add_up(prepared)
    assert (prepared.account.splits.train, prepared.account.splits.validation) == (
        len(made.train),
        len(made.validation),
    )


def test_large_splits_stay_in_their_file(tmp_path, monkeypatch):
    write(tmp_path, "a.json", talks(40))
    write(tmp_path, "b.json", talks(60)[40:])
    in_memory = prepare(config_for(), tmp_path), prepare(config_for(weights={"b.json": 2.5}), tmp_path)
    monkeypatch.setattr("duologue.data.examples._MOST_TOKENS_IN_MEMORY", 0)
    plain, weighted = prepare(config_for(), tmp_path), prepare(config_for(weights={"b.json": 2.5}), tmp_path)
    assert isinstance(plain.train, ExampleStore) and isinstance(weighted.train, ExampleSelection)
    for stored, made in zip((plain, weighted), in_memory, strict=True):
        assert stored.train == made.train and stored.validation == made.validation
        assert stored.stats == made.stats == measure(tuple(stored.train), tuple(stored.validation))


def test_a_second_time_nothing_is_read_but_what_changed_is(tmp_path):
    write(tmp_path, "a.json", talks(30))
    first, again = [], []
    one, two = prepare(config_for(), tmp_path, first), prepare(config_for(), tmp_path, again)
    assert one == two and first and again == []
    for other in (config_for(seed=1), config_for(max_length_tokens=64), config_for(train_on_greeting=True)):
        said = []
        prepare(other, tmp_path, said)
        assert said
    write(tmp_path, "a.json", talks(31))
    assert len(prepare(config_for(), tmp_path).train) + len(prepare(config_for(), tmp_path).validation) == 31


def test_the_examples_of_a_weighted_file_come_as_often_as_it_says(tmp_path):
    write(tmp_path, "a.json", talks(20))
    write(tmp_path, "b.json", talks(220)[20:])
    plain = prepare(config_for(), tmp_path)
    sets = prepare(config_for(weights={"a.json": 3, "b.json": 0.5}), tmp_path)
    assert sets.validation == plain.validation
    assert_tokens_add_up(sets)
    times = Counter(example.source for example in sets.train)
    before = Counter(example.source for example in plain.train)
    assert {times[source] for source in before if "a.json" in source} == {3}
    from_b = [times[source] for source in before if "b.json" in source]
    assert set(from_b) == {0, 1} and 0.3 < sum(from_b) / len(from_b) < 0.7
    assert sets.account.splits.train_per_epoch == len(sets.train)


def test_what_is_left_out_while_tokenizing_is_counted_as_dropped(tmp_path):
    rng = random.Random(1)
    write(tmp_path, "a.json", [talk(rng, 1), talk(rng, 12, num_words=40), talk(rng, 1)])
    sets = prepare(config_for(max_length_tokens=128, long_conversations="drop", validation_fraction=0), tmp_path)
    [file] = sets.account.files
    assert (file.num_rows, file.num_loaded, file.num_dropped) == (3, 2, 1)
    assert (
        [(fault.row, fault.action) for fault in file.faults]
        == [(2, "left out")]
        == [(fault.row, fault.action) for fault in sets.faults]
    )
    assert (sets.account.num_conversations, sets.account.num_turns, sets.account.splits.train) == (2, 2, 2)
    assert_tokens_add_up(sets)


def test_nothing_to_learn_is_an_error_and_leaves_no_cache(tmp_path):
    rng = random.Random(1)
    write(tmp_path, "a.json", [talk(rng, 1, num_words=400)])
    with pytest.raises(DataError, match="no token of the training data would be trained"):
        prepare(config_for(max_length_tokens=64), tmp_path)
    assert list((tmp_path / "runs" / ".cache").iterdir()) == []


def test_a_check_counts_the_same_tokens_and_writes_nothing(tmp_path):
    path = write(tmp_path, "a.json", talks(30))
    config = config_for()
    account = check_files([path], config, tmp_path, character=LILA, open_tokenizer=FakeTokenizer)
    assert account.tokens == prepare(config, tmp_path).account.tokens
    estimated = check_files([path], config, tmp_path, character=LILA, open_tokenizer=lambda: None)
    assert estimated.tokens.are_estimated and not account.tokens.are_estimated
    assert estimated.tokens.total == pytest.approx(account.tokens.total, rel=0.25)


def test_the_tokenizer_is_not_opened_for_files_without_a_conversation(tmp_path):
    path = write(tmp_path, "a.json", [{"x": 1}])
    account = check_files([path], config_for(), tmp_path, character=LILA, open_tokenizer=lambda: pytest.fail("opened"))
    assert account.num_refused == 1 and account.as_json()["num_tokens"] == 0


texts = st.text(max_size=30) | st.sampled_from(["hi", "<|im_end|>", "word " * 40, "{{user}}", " x\n", "{% raw %}"])
roles = st.sampled_from(["system", "user", "assistant", "user", "assistant"])
rows = st.lists(st.lists(st.tuples(roles, texts), min_size=1, max_size=9), min_size=1, max_size=6)


@settings(max_examples=150)
@given(rows, st.sampled_from(["windows", "truncate", "drop"]), st.integers(16, 200), st.booleans(), st.data())
def test_every_row_and_every_token_of_any_rows_is_counted(tmp_path_factory, made, mode, limit, on_greeting, data):
    folder = tmp_path_factory.mktemp("rows")
    weight = data.draw(st.sampled_from([0, 0.5, 1, 2.5]))
    documents = [{"messages": [{"role": role, "content": text} for role, text in row]} for row in made]
    write(folder, "a.json", documents)
    config = config_for(
        max_length_tokens=limit, long_conversations=mode, train_on_greeting=on_greeting, weights={"a.json": weight}
    )
    try:
        sets = prepare(config, folder)
    except DataError as error:
        if "no usable conversation" in str(error) or "would be trained" in str(error):
            return
        raise
    assert_tokens_add_up(sets)
    assert all(example.num_trained_tokens for example in sets.train)
    assert all(example.num_tokens <= limit for example in sets.train)
