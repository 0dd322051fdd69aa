"""The bytes of a file: gzip in every state, what is no file, files that change, memory."""

import contextlib
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data import file_bytes
from duologue.data.file_bytes import Refusal, unzipped
from duologue.data.found import FILE_REFUSED
from duologue.data.read import open_rows
from tests.data.reading import read, read_content

LINES = "".join(
    json.dumps({"row": n, "text": hashlib.sha256(b"%d" % n).hexdigest()}) + "\n" for n in range(500)
).encode()


def test_the_hash_is_that_of_the_whole_file_even_when_reading_stops_early(tmp_path):
    for content in (LINES, gzip.compress(LINES), b'[{"a": [}' + LINES * 100):
        found = read_content(tmp_path, content, "x")
        assert found.file.sha256 == hashlib.sha256(content).hexdigest()


def test_gzip_with_several_members_and_padding_is_one_text(tmp_path):
    half = LINES.index(b"\n", len(LINES) // 2)
    content = gzip.compress(LINES[:half]) + gzip.compress(b"") + gzip.compress(LINES[half:]) + b"\0" * 512
    found = read_content(tmp_path, content, "x.jsonl.gz")
    assert len(found.values) == 500 and not found.file.notes


def test_gzip_under_another_name_is_noted(tmp_path):
    [note] = read_content(tmp_path, gzip.compress(LINES), "x.jsonl").file.notes
    assert note.reason == "the name ends in .jsonl, the content is gzip"


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda content: content[:-1], "cut off"),
        (lambda content: content[:-9], "cut off"),
        (lambda content: content[: len(content) // 2], "cut off"),
        (lambda content: content + b"junk", "something follows that is no gzip"),
        (lambda content: content + b"\x1f\x8b\x07" + b"\0" * 20, "damaged"),
        (lambda content: content[:-8] + b"\0\0\0\0" + content[-4:], "damaged"),
        (lambda content: content[:-4] + b"\0\0\0\x80", "damaged"),
        (lambda content: content[:5000] + b"\xff" * 50 + content[5050:], "damaged"),
    ],
)
def test_a_damaged_gzip_is_refused_and_the_rows_before_the_damage_are_read(tmp_path, damage, reason):
    content = gzip.compress(LINES)
    found = read_content(tmp_path, damage(content), "x.jsonl.gz")
    assert reason in found.refusal and "byte" in found.refusal
    expected = {n + 1: json.loads(line) for n, line in enumerate(LINES.splitlines())}
    assert len(found.values) > 50
    assert all(expected[number] == value for number, value in found.values.items() if number < len(found.values))


def test_a_gzip_that_is_damaged_from_its_first_byte_on_is_refused(tmp_path):
    assert "damaged near byte 0" in read_content(tmp_path, b"\x1f\x8b\xff" + b"\0" * 50).refusal
    assert "cut off at byte 2" in read_content(tmp_path, b"\x1f\x8b").refusal


def bomb(unit, times):
    """A gzip of a few megabytes that unpacks to ten thousand: one deflate block, many times over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(unit) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + start * times


@pytest.mark.parametrize(
    "unit", [b"\0" * 10_000_000, b" " * 10_000_000, b'{"messages": []}\n' * 600_000], ids=["zeros", "spaces", "rows"]
)
def test_a_gzip_of_ten_megabytes_that_unpacks_to_ten_gigabytes_is_refused_at_once(tmp_path, unit):
    found = read_content(tmp_path, bomb(unit, 1000), "x.jsonl.gz")
    assert "more than 100 times as much" in found.refusal
    assert found.rows == []


def test_a_bomb_behind_good_rows_stops_when_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(file_bytes, "GZIP_STRETCH_BYTES", 1 << 20)
    content = gzip.compress(LINES) + bomb(b" " * 10_000_000, 20)
    found = read_content(tmp_path, content, "x.jsonl.gz")
    assert "more than 100 times as much" in found.refusal
    assert len(found.values) in {0, 500}  # none when it shows in what is looked at before


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50))
def test_unpacking_gives_what_was_packed_whatever_the_size_of_the_pieces(members, step):
    content = b"".join(map(gzip.compress, [b"", *members]))
    pieces = (content[n : n + step] for n in range(0, len(content), step))
    assert b"".join(unzipped(pieces)) == b"".join(members)


@given(st.binary(max_size=100))
def test_unpacking_anything_gives_bytes_or_a_refusal(content):
    with contextlib.suppress(Refusal):
        assert len(b"".join(unzipped(iter([content])))) < 200_000


# ---------------------------------------------------------------------------------------------------- what is no file


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone.json")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe.json")
    reasons = {
        "folder.json": "this is a folder; name the files in it",
        "link": "gone.json', which is not there",
        "round": "leads back to itself",
        "file/x.json": "a part of its path is a file",
        "nothing.json": "there is no such file",
        "pipe.json": "this is a pipe, no regular file",
        "x" * 300: "the name of the file is too long",
        "a\0b": "not one that a disk can have",
    }
    for name, reason in reasons.items():
        found = read(tmp_path / name)
        assert reason in found.refusal, name
        assert (found.rows, found.file.sha256) == ([], "")
        assert [(note.row, note.field, note.action) for note in found.file.notes] == [(0, "", FILE_REFUSED)]


def test_a_socket_and_a_device_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.json")
        assert "this is a socket" in read(Path("socket.json")).refusal
    assert "this is a device" in read(Path("/dev/zero")).refusal


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("[{}]")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything
        monkeypatch.setattr(file_bytes.os, "open", denied)
    assert "may not be read (permission denied)" in read(path).refusal


def denied(*_):
    raise PermissionError(13, "Permission denied")


def test_a_disk_error_in_the_middle_is_said_and_the_rows_before_are_kept(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES)
    monkeypatch.setattr(file_bytes, "CHUNK_BYTES", 1000)
    real = os.read
    calls = []

    def failing(descriptor, size):
        calls.append(size)
        if len(calls) > 20:
            raise OSError(5, "Input/output error")
        return real(descriptor, size)

    file = open_rows(path)
    monkeypatch.setattr(file_bytes.os, "read", failing)
    rows = list(file.rows())
    assert len(rows) > 100
    assert any("cannot be read at byte" in note.reason and "Input/output" in note.reason for note in file.notes)


# ------------------------------------------------------------------------------------------------ files that change


def change_size(path):
    with path.open("ab") as out:
        out.write(b"\n{}")


def change_in_place(path):
    with path.open("r+b") as out:
        out.write(b" ")
    os.utime(path, ns=(1, 1))


def cut(path):
    os.truncate(path, 10)


def replace(path):
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


@pytest.mark.parametrize(
    "change, reason",
    [
        (change_size, "it had"),
        (change_in_place, "its time of change is another"),
        (cut, "now it has 10"),
        (replace, "another file took its place"),
        (Path.unlink, "it is gone"),
    ],
)
@pytest.mark.parametrize("after_rows", [0, 1])
def test_a_file_that_changes_while_it_is_read_is_said_to(tmp_path, change, reason, after_rows):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES * 30)  # more than is read at once
    file = open_rows(path)
    rows = file.rows()
    for _ in range(after_rows):
        next(rows)
    change(path)
    list(rows)
    refusals = [note.reason for note in file.notes if note.action == FILE_REFUSED]
    assert refusals, "nothing silent"
    if not (change is Path.unlink and not after_rows):
        assert "the file changed while it was read" in refusals[0] and reason in refusals[0]


def test_an_unchanged_file_is_not_said_to_have_changed(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES)
    file = open_rows(path)
    assert len(list(file.rows())) == 500
    assert file.notes == []


def num_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_file_stays_open(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES)
    before = num_open_files()
    file = open_rows(path)
    assert num_open_files() == before
    rows = file.rows()
    next(rows)
    rows.close()
    assert num_open_files() == before


# ------------------------------------------------------------------------------------------------------------- memory

MEASURE = """
import resource, sys
from pathlib import Path
from duologue.data.read import open_rows
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
num_rows = sum(1 for row in open_rows(Path(sys.argv[1])).rows())
print(num_rows, peak() - before)
"""


@pytest.mark.parametrize("layout", ["lines", "array", "gzip", "one-line"])
def test_reading_a_large_file_takes_little_memory(tmp_path, layout):
    row = json.dumps({"messages": [{"role": "user", "content": "Is the train late? " * 40}]}).encode()
    num_rows = 30_000  # 24 MB
    if layout == "one-line":  # the only row, and longer than a row may be
        content = b'{"a": 1}\n{"a": "' + b"x" * (80 << 20) + b'"}\n{"a": 2}\n'
        num_rows = 3
    elif layout == "array":
        content = b"[" + b",".join([row] * num_rows) + b"]"
    else:
        content = b"\n".join([row] * num_rows)
    if layout == "gzip":
        content = gzip.compress(content, 1)
    path = tmp_path / "x"
    path.write_bytes(content)
    out = subprocess.run([sys.executable, "-c", MEASURE, path], check=True, capture_output=True, text=True).stdout
    found_rows, grown_kib = map(int, out.split())
    assert found_rows == num_rows
    # A row is skipped only when it is longer than 64 Mi characters: until then it is held.
    assert grown_kib < (400 if layout == "one-line" else 24) * 1024
