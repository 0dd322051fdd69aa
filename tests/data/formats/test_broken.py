"""Every format with something wrong in it: no exception, and every row is used or noted."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.formats.samples import SAMPLES, read

WRONG = (None, 7, [], {}, "", "x", True, [None], {"x": 1}, 1e300)
MISSING = object()

Path = tuple[str | int, ...]


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Yield the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from paths(item, (*at, key))


def changed(value: Any, path: Path, new: Any) -> Any:
    """Return a copy with one value replaced, or taken away."""
    copied = copy.deepcopy(value)
    inside = copied
    for key in path[:-1]:
        inside = inside[key]
    if new is MISSING:
        del inside[path[-1]]
    else:
        inside[path[-1]] = new
    return copied


@pytest.mark.parametrize("name", SAMPLES)
def test_the_sample_is_read_as_its_format(name):
    container, rows, num_used = SAMPLES[name]
    found = read(rows, container)
    assert [key for key in found.reading.formats if name.startswith(key)] == list(found.reading.formats)
    assert sum(dialogue.rows for dialogue in found.dialogues) == num_used
    assert found.dropped == []


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("wrong", [*WRONG, MISSING], ids=[*map(repr, WRONG), "missing"])
def test_any_value_replaced_or_missing_is_used_or_noted(name, wrong):
    container, rows, num_used = SAMPLES[name]
    for path in paths(rows):
        broken = changed(rows, path, wrong)
        found = read(broken, container)  # checks that the rows add up
        num_now = sum(dialogue.rows for dialogue in found.dialogues)
        if num_now < num_used and broken:
            assert found.notes or len(broken) < len(rows) or _is_shorter(path), path


def _is_shorter(path: Path) -> bool:
    """Whether a whole message or chat was taken away, which no reader can know."""
    return isinstance(path[-1], int) or path[-1] in ("messages", "list")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "half a surrogate pair"])
def test_a_text_that_is_no_text_refuses_its_row_and_names_the_field(name, text):
    container, rows, _ = SAMPLES[name]
    words = {turn.text for dialogue in read(rows, container).dialogues for turn in dialogue.turns}
    hits = [path for path in paths(rows) if _at(rows, path) in words]
    assert hits or container == "text" or name.startswith("kobold")
    for path in hits:
        if "swipes" in path or "visible" in path or "data_visible" in path or "versions" in path:
            continue  # not read
        found = read(changed(rows, path, text), container)
        assert len(found.dropped) == 1, path
        [(_, field)] = found.dropped
        assert container == "text" or field.endswith((str(path[-1]), f"[{path[-1]}]")), (path, field)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value if isinstance(value, str) else None


KEYS = sorted({key for _, rows, _ in SAMPLES.values() for path in paths(rows) for key in path if isinstance(key, str)})
WORDS = ["user", "assistant", "m1", "{{[INPUT]}}", "risuChat", "personal_chat", "31.12.23, 23:58 - Anna: Hi.", ""]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inside, max_size=6),
    max_leaves=30,
)


@given(st.lists(anything, max_size=4), st.sampled_from(["json", "json-lines", "csv", "parquet", "text"]))
def test_any_rows_at_all_are_used_or_noted(rows, container):
    found = read(rows, container)  # checks that the rows add up
    assert rows == [] or found.dialogues or found.notes or container == "text"


@pytest.mark.parametrize("row", [[], [1], "x", 3, None, True, {}, {"x": 1}, {"messages": 1, "role": 2}])
def test_a_row_that_is_no_conversation_is_refused_with_what_was_found(row):
    found = read([row])
    assert found.dialogues == []
    [note] = found.notes
    assert note.row == 1 and "found" in note.reason
