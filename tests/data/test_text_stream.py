"""Bytes to text: encodings, the place of every character, what is not in the encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data import file_bytes, read_json, text_stream
from duologue.data.text_stream import Encoding, TextStream, detect_encoding
from tests.data.reading import read_content

TEXT = '[{"a": "häß"},\n {"b": "\U0001f600"}]'


@pytest.mark.parametrize(
    "codec, encoding, reason, action",
    [
        ("utf-8", "utf-8", "", ""),
        ("utf-8-sig", "utf-8", "the file begins with a byte order mark (BOM)", "left out"),
        ("utf-16-le", "utf-16-le", "UTF-16 LE without a byte order mark, told by its zero bytes", "read as UTF-16 LE"),
        ("utf-16-be", "utf-16-be", "UTF-16 BE without a byte order mark, told by its zero bytes", "read as UTF-16 BE"),
        ("utf-16", "utf-16-le", "UTF-16 LE, with a byte order mark (BOM)", "read as UTF-16 LE"),
        ("utf-32", "utf-32-le", "UTF-32 LE, with a byte order mark (BOM)", "read as UTF-32 LE"),
        ("utf-32-be", "utf-32-be", "UTF-32 BE without a byte order mark", "read as UTF-32 BE"),
    ],
)
def test_an_encoding_is_recognised_and_noted_where_it_is_not_plain_utf_8(tmp_path, codec, encoding, reason, action):
    found = read_content(tmp_path, TEXT.encode(codec))
    assert found.file.encoding == encoding
    assert found.values == {1: {"a": "häß"}, 2: {"b": "\U0001f600"}}
    assert [note.action for note in found.notes] == ([action] if action else [])
    assert all(reason in note.reason for note in found.notes)


def test_chinese_in_utf_16_without_a_mark_is_recognised():
    assert detect_encoding('{"content": "一一一一一一一一一一一一一一"}'.encode("utf-16-le")).name == "utf-16-le"


@pytest.mark.parametrize("head", [b"", b"{", b"[]", b"{\0", b"a\0b", b"\0\0\0\0", b"a\0\0b" * 4, b"a\0b\0c\0\0\0d\0"])
def test_zero_bytes_that_are_no_text_are_taken_for_no_encoding(head):
    assert detect_encoding(head) == Encoding("utf-8")


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_a_byte_that_is_not_utf_8_costs_its_row_and_is_placed_and_never_guessed(tmp_path, name):
    rows = [b'{"a": "\xc3\xa9"}', b'{"a": "caf\xe9"}', b'{"a": "\x93so\x94"}', b'{"a": "\xff\xfe"}', b'{"a": 1}']
    content = b"\n".join(rows) if name == "x.jsonl" else b"[" + b",\n".join(rows) + b"]"
    found = read_content(tmp_path, content, name)
    assert list(found.values) == [1, 5]
    byte = content.index(b"\xe9")
    assert f"a byte that is not UTF-8: 0xE9 in line 2, column 11 (byte {byte})" in found.faults[2].reason
    assert "looks like Windows-1252 or Latin-1, where it is 'é'; save the file as UTF-8" in found.faults[2].reason
    assert "where it is '“'" in found.faults[3].reason
    assert "a byte that is not UTF-8: 0xFF" in found.faults[4].reason


@pytest.mark.parametrize("content", [b'{"a": "\xed\xa0\x80"}\n{"a": 1}\n', b'{"a": "\xc0\xaf"}\n{"a": 1}\n'])
def test_surrogates_and_overlong_forms_are_not_utf_8(tmp_path, content):
    found = read_content(tmp_path, content, "x.jsonl")
    assert list(found.values) == [2] and "a byte that is not UTF-8" in found.faults[1].reason


def test_half_a_character_at_the_end_of_utf_16_costs_the_last_row(tmp_path):
    found = read_content(tmp_path, '{"a": 1}\n{"a": 2}'.encode("utf-16")[:-1], "x.jsonl")
    assert list(found.values) == [1]
    assert "half a character of UTF-16 LE" in found.faults[2].reason


def test_half_a_surrogate_pair_in_utf_16_costs_its_row(tmp_path):
    content = '{"a": 1}\n{"a": "\ud800"}\n{"a": 3}\n'.encode("utf-16", "surrogatepass")
    found = read_content(tmp_path, content, "x.jsonl")
    assert list(found.values) == [1, 3]
    assert "half a character of UTF-16 LE: in line 2, column 8 (byte 34)" in found.faults[2].reason


def test_what_is_no_utf_32_ends_the_file_there(tmp_path):
    content = '{"a": 1}\n{"a": 2}\n'.encode("utf-32") + b"\xff\xff\xff\xff" * 3
    found = read_content(tmp_path, content, "x.jsonl")
    assert {1: {"a": 1}, 2: {"a": 2}}.items() >= found.values.items()
    assert "not UTF-32 LE" in found.refusal


def test_a_byte_order_mark_where_two_files_were_joined_is_noted_with_its_line(tmp_path):
    found = read_content(tmp_path, '{"a": 1}\n\ufeff{"a": 2}\n', "x.jsonl")
    assert found.values == {1: {"a": 1}, 2: {"a": 2}}
    assert [(note.row, note.action) for note in found.notes] == [(2, "left out")]


@given(
    st.text(st.sampled_from("a\nü漢\U0001f600"), max_size=40),
    st.sampled_from(["utf-8", "utf-16-le", "utf-32-be"]),
    st.integers(1, 7),
    st.data(),
)
def test_the_place_of_a_character_does_not_depend_on_how_the_file_is_read(text, codec, step, data):
    content = text.encode(codec)
    stream = TextStream(iter([content[n : n + step] for n in range(0, len(content), step)]), Encoding(codec))
    dropped = 0
    while not stream.is_ended:
        keep_from = data.draw(st.integers(0, len(stream.text)))
        stream.fill(keep_from)
        dropped += keep_from
        assert text[dropped:].startswith(stream.text)
        for index in data.draw(st.lists(st.integers(0, len(stream.text)), max_size=2)):
            before = text[: dropped + index]
            column = len(before) - before.rfind("\n")
            assert stream.place(index) == (index, before.count("\n") + 1, column, len(before.encode(codec)))
    assert text[dropped:] == stream.text


@given(st.lists(st.text(st.sampled_from("ab\r"), max_size=30), max_size=8), st.integers(1, 50))
def test_lines_are_the_same_however_the_file_is_read(lines, step):
    content = "\n".join(lines).encode()
    stream = TextStream(iter([content[n : n + step] for n in range(0, len(content), step)]), Encoding("utf-8"))
    expected = lines[:-1] if lines and not lines[-1] else lines
    assert [line for _, line in stream.lines()] == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 9))
def test_a_line_longer_than_a_row_may_be_is_skipped_and_the_others_are_read(lengths, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_stream, "MAX_ROW_CHARACTERS", 16)
        content = "".join("x" * length + "\n" for length in lengths).encode()
        stream = TextStream(iter([content[n : n + step] for n in range(0, len(content), step)]), Encoding("utf-8"))
        for length, (_, line) in zip(lengths, stream.lines(), strict=True):
            assert line == "x" * length if length <= 16 else line in {None, "x" * length}
            assert line is None or length <= 16 + 9 + 16  # what one piece more may hold


@pytest.mark.parametrize("small", [100, 300])
def test_a_row_longer_than_allowed_costs_only_itself(tmp_path, monkeypatch, small):
    monkeypatch.setattr(text_stream, "MAX_ROW_CHARACTERS", 200)
    monkeypatch.setattr(read_json, "MAX_ROW_CHARACTERS", 200)
    monkeypatch.setattr(file_bytes, "CHUNK_BYTES", small)
    rows = ['{"a": 1}', '{"a": "' + "x" * 5000 + '"}', '{"a": 3}']
    lines = read_content(tmp_path, "\n".join(rows), "x.jsonl")
    array = read_content(tmp_path, "[" + ",".join(rows) + "]")
    for found in (lines, array):
        assert found.values == {1: {"a": 1}, 3: {"a": 3}}
        assert "longer than" in found.faults[2].reason and "export it in parts" in found.faults[2].reason


def test_an_object_larger_than_a_file_may_hold_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(read_json, "MAX_OBJECT_CHARACTERS", 1000)
    monkeypatch.setattr(file_bytes, "CHUNK_BYTES", 100)
    found = read_content(tmp_path, '{\n"a": "' + "x" * 5000 + '"\n}')
    assert "longer than 0 Mi characters: it begins in line 1, column 1 (byte 0)" in found.faults[1].reason
    assert "export it in parts" in found.faults[1].reason
