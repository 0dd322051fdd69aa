"""Token counts that a plan finds again: exact after preparing, estimated before, never those of other data."""

import json

import pytest

from duologue.characters import Character
from duologue.config import make_config
from duologue.data import counted_stats, estimate_stats, load_splits, prepare_examples
from duologue.engine.fake import FakeTokenizer

LILA = Character("Lila", description="A night conductor.")


@pytest.fixture
def folder(tmp_path):
    rows = [{"instruction": f"Where does train {n} go?", "output": "North. " * (n + 1)} for n in range(12)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    return tmp_path


def config_for(**data):
    return make_config({"model": {"base": "m"}, "data": {"train": ["*.json"], **data}}, where="test")


def counts_file(folder):
    return folder / "runs" / ".cache" / "counts.json"


def test_counts_are_estimated_until_the_data_is_prepared_and_exact_afterwards(folder):
    config = config_for()
    estimated, is_exact = counted_stats(config, folder, LILA)
    assert not is_exact
    assert estimated == estimate_stats(load_splits(config, folder), config, LILA)
    prepared = prepare_examples(config, folder, tokenizer=FakeTokenizer(), character=LILA)
    assert counted_stats(config, folder, LILA) == (prepared.stats, True)


def test_counts_of_unchanged_data_are_read_back_without_reading_the_conversations(folder, monkeypatch):
    config = config_for()
    first = counted_stats(config, folder, LILA)
    monkeypatch.setattr("duologue.data.load.load_splits", lambda *_: pytest.fail("read again"))
    assert counted_stats(config, folder, LILA) == first


@pytest.mark.parametrize("change", ["file", "setting", "card"])
def test_other_data_is_counted_anew(folder, change):
    config, character = config_for(), LILA
    before, _ = counted_stats(config, folder, character)
    if change == "file":
        (folder / "b.json").write_text(json.dumps([{"instruction": "And then?", "output": "Home, passenger. " * 40}]))
    elif change == "setting":
        config = config_for(max_length_tokens=16)
    else:
        character = Character("Lila", description="A night conductor. " * 30)
    after, is_exact = counted_stats(config, folder, character)
    assert after != before
    assert not is_exact


@pytest.mark.parametrize("content", ["", "{", '{"key": 1}', "[]", '{"key": null, "stats": {}}'])
def test_a_damaged_file_of_counts_is_made_again(folder, content):
    config = config_for()
    first = counted_stats(config, folder, LILA)
    counts_file(folder).write_text(content)
    assert counted_stats(config, folder, LILA) == first
    assert json.loads(counts_file(folder).read_text())["stats"]["num_tokens"] == first[0].num_tokens
