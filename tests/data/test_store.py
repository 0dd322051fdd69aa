"""Stores on disk: what goes in comes out, in order, and a broken file is recognised."""

import resource
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.store import (
    ConversationStore,
    ConversationWriter,
    ExampleStore,
    ExampleWriter,
    Selection,
    num_trained_tokens_of,
)
from duologue.engine import NOT_TRAINED, Example
from duologue.errors import DataError
from duologue.messages import Conversation, Message

texts = st.text(max_size=40)
conversations = st.builds(
    lambda pairs, row, untrained: Conversation(
        tuple(Message(role, text) for role, text in pairs), f"a b:{row}.json:{row}", frozenset(untrained)
    ),
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), max_size=5),
    st.integers(1, 2**40),
    st.sets(st.integers(0, 9), max_size=3),
)


@st.composite
def examples(draw):
    ids = tuple(draw(st.lists(st.integers(0, 300) | st.integers(0, 2**53), max_size=20)))
    is_trained = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    labels = tuple(i if trained else NOT_TRAINED for i, trained in zip(ids, is_trained, strict=True))
    return Example(ids, labels, draw(st.sampled_from(["a.json:1", "b:c.json:77", "made up", "C:\\x.json:3", ":5"])))


@given(st.lists(conversations, max_size=8), st.integers(0, 200))
def test_conversations_come_back_as_they_went_in(items, memory_bytes):
    writer = ConversationWriter(memory_bytes=memory_bytes)
    for item in items:
        writer.append(item)
    stored = writer.finish()
    assert list(stored) == items
    assert [stored[at] for at in range(len(items))] == items
    assert stored[1:3] == tuple(items[1:3])


def test_a_lone_surrogate_survives_the_file():
    item = Conversation((Message("user", "\ud83d"), Message("assistant", "x")), "a:1")
    writer = ConversationWriter(memory_bytes=0)
    writer.append(item)
    assert list(writer.finish()) == [item]


def test_few_conversations_stay_in_memory_and_many_move_to_a_file():
    writer = ConversationWriter(memory_bytes=100)
    item = Conversation((Message("user", "x" * 60), Message("assistant", "y")), "a:1")
    writer.append(item)
    assert isinstance(writer.finish(), tuple)
    writer.append(item)
    stored = writer.finish()
    assert isinstance(stored, ConversationStore) and list(stored) == [item, item]
    assert stored[-1] == item and stored == (item, item) and stored != (item,)
    with pytest.raises(IndexError):
        stored[2]


@given(st.lists(examples(), max_size=8))
def test_examples_come_back_as_they_went_in(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("store") / "train.examples"
    writer = ExampleWriter(path)
    for item in items:
        writer.append(item)
    stored = writer.finish()
    again = ExampleStore(path)
    assert list(stored) == items and again == tuple(items)
    assert list(again.lengths) == [item.num_tokens for item in items]
    assert (
        num_trained_tokens_of(again) == num_trained_tokens_of(items) == sum(item.num_trained_tokens for item in items)
    )


def test_small_vocabularies_take_two_bytes_per_token(tmp_path):
    sizes = {}
    for name, largest in (("small", 65_535), ("large", 65_536)):
        writer = ExampleWriter(tmp_path / name)
        ids = (1,) * 9999 + (largest,)
        writer.append(Example((1, 2), (NOT_TRAINED, 2), "a:1"))
        writer.append(Example(ids, ids, "a:2"))
        stored = writer.finish()
        assert stored[0].input_ids == (1, 2) and stored[1].input_ids == ids
        sizes[name] = (tmp_path / name).stat().st_size
    assert sizes["large"] - sizes["small"] == 2 * 10_002


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "train.examples"
    writer = ExampleWriter(path)
    writer.append(Example((1,), (1,), "a:1"))
    assert not path.exists()
    with pytest.raises(DataError, match="damaged or not finished"):
        ExampleStore(path)
    writer.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["train.examples"]
    discarded = ExampleWriter(tmp_path / "other")
    discarded.discard()
    assert [file.name for file in tmp_path.iterdir()] == ["train.examples"]


@pytest.mark.parametrize("kept", [0, 3, 20, -1, -30])
def test_a_cut_file_is_recognised(tmp_path, kept):
    path = tmp_path / "train.examples"
    writer = ExampleWriter(path)
    for row in range(5):
        writer.append(Example((1, 2, 3), (NOT_TRAINED, 2, 3), f"a:{row}"))
    writer.finish()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="damaged or not finished"):
        ExampleStore(path)


def test_a_full_disk_is_said(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = ExampleWriter(tmp_path / "train.examples")

    def fill():
        for _ in range(100):
            writer.append(Example((1,) * 1000, (1,) * 1000, "a:1"))

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DataError, match="prepared data cannot be written"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.discard()


@given(st.lists(st.integers()), st.data())
def test_a_selection_is_the_items_at_its_places(items, data):
    places = data.draw(st.lists(st.integers(0, len(items) - 1))) if items else []
    selected = Selection(items, array("Q", places))
    assert list(selected) == [items[place] for place in places]
    assert selected[::-1] == [items[place] for place in reversed(places)]
