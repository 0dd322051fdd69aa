"""The cache: a whole entry is found again, a damaged one never is, and old ones go."""

import os
import resource

import pytest

from duologue.data.cache import NUM_KEPT, cache_key, file_sha256, find_entry, make_entry, read_document, write_document
from duologue.errors import DataError


def fill(folder):
    write_document(folder / "account.json", {"rows": 3})
    (folder / "train.examples").write_bytes(b"x" * 1000)


@pytest.fixture
def said():
    return []


def test_an_entry_is_found_by_its_key_only(tmp_path, said):
    key = cache_key({"seed": 0})
    made = make_entry(tmp_path / "cache", key, fill)
    assert find_entry(tmp_path / "cache", key, say=said.append) == made
    assert read_document(made / "account.json") == {"rows": 3}
    assert find_entry(tmp_path / "cache", cache_key({"seed": 1}), say=said.append) is None
    assert cache_key({"seed": 0}) == key and said == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "manifest.json").unlink(),
        lambda entry: (entry / "manifest.json").write_text('{"files": {"train.examples": {"by'),
        lambda entry: (entry / "manifest.json").write_text("[]"),
        lambda entry: (entry / "train.examples").unlink(),
        lambda entry: (entry / "train.examples").write_bytes(b"x" * 999),
        lambda entry: (entry / "train.examples").write_bytes(b"x" * 999 + b"y"),
    ],
    ids=["no manifest", "half a manifest", "another manifest", "no file", "a cut file", "a flipped byte"],
)
def test_a_damaged_entry_is_removed_with_a_word_and_can_be_made_again(tmp_path, said, damage):
    entry = make_entry(tmp_path, "key", fill)
    damage(entry)
    assert find_entry(tmp_path, "key", say=said.append) is None
    assert len(said) == 1 and "is damaged" in said[0] and "made again" in said[0]
    assert not entry.exists()
    assert find_entry(tmp_path, make_entry(tmp_path, "key", fill).name, say=said.append) == entry


def test_what_fails_half_way_leaves_nothing(tmp_path, said):
    def fail(folder):
        fill(folder)
        raise DataError("no usable conversation")

    with pytest.raises(DataError, match="no usable conversation"):
        make_entry(tmp_path, "key", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(DataError, match="Free some disk space"):
            make_entry(tmp_path, "key", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_another_process_made_meanwhile_is_used(tmp_path):
    def fill_while_another_does(folder):
        make_entry(tmp_path, "key", fill)
        fill(folder)

    entry = make_entry(tmp_path, "key", fill_while_another_does)
    assert entry == tmp_path / "key" and [path.name for path in tmp_path.iterdir()] == ["key"]


def test_only_the_entries_used_last_are_kept(tmp_path, said):
    for number in range(NUM_KEPT + 2):
        entry = make_entry(tmp_path, f"key-{number}", fill)
        os.utime(entry / "manifest.json", (1000 + number, 1000 + number))
    find_entry(tmp_path, "key-2", say=said.append)
    make_entry(tmp_path, "new", fill)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "key-2", "key-4"}


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    for name, age in ((".partial-old", 90_000), (".partial-new", 60)):
        (tmp_path / name).mkdir()
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    make_entry(tmp_path, "key", fill)
    assert {path.name for path in tmp_path.iterdir()} == {"key", ".partial-new"}


def test_the_key_follows_the_contents_even_when_size_and_time_stay(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("one")
    before, time = file_sha256(path), path.stat().st_mtime_ns
    path.write_text("two")
    os.utime(path, ns=(time, time))
    assert file_sha256(path) != before
    assert file_sha256(tmp_path / "missing") == ""
