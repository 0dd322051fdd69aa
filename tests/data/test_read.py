"""Bytes to rows: what holds the rows, which row has which number, and which fault costs what."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duologue.data import file_bytes
from tests.data.fuzz_rows import fuzz_rows
from tests.data.reading import read, read_content, written_and_read

A, B, C = {"a": 1}, {"b": [2]}, {"c": "é\U0001f600"}


@pytest.mark.parametrize(
    "content, container, numbers",
    [
        (json.dumps([A, B, C]), "json", [1, 2, 3]),
        (json.dumps([A, B, C], indent=2, ensure_ascii=False), "json", [1, 2, 3]),
        ("\n".join(map(json.dumps, [A, B, C])), "json-lines", [1, 2, 3]),
        ("\r\n".join(map(json.dumps, [A, B, C])) + "\r\n", "json-lines", [1, 2, 3]),
        ("\n \n".join(map(json.dumps, [A, B, C])) + "\n\n", "json-lines", [1, 3, 5]),
        ("\n".join(json.dumps(row, indent=1) for row in [A, B, C]), "json", [1, 2, 3]),
        ("".join(map(json.dumps, [A, B, C])), "json", [1, 2, 3]),
        (f"[{json.dumps(A)}]\n[\n{json.dumps(B)},{json.dumps(C)}]", "json", [1, 2, 3]),
    ],
)
def test_rows_are_found_however_json_holds_them(tmp_path, content, container, numbers):
    found = read_content(tmp_path, content)
    assert found.file.container == container
    assert found.values == dict(zip(numbers, [A, B, C], strict=True))
    assert not found.faults and not found.refusal


def test_one_object_is_one_row_however_it_is_written(tmp_path):
    for content in (json.dumps(C), json.dumps(C, indent=4), json.dumps(C) + "\n\n"):
        found = read_content(tmp_path, content)
        assert (found.file.container, found.values, found.file.notes) == ("json", {1: C}, [])


def test_an_object_of_lists_is_one_row_for_the_formats_to_look_into(tmp_path):
    assert read_content(tmp_path, '{"messages": [{"id": 1}, {"id": 2}]}').values == {
        1: {"messages": [{"id": 1}, {"id": 2}]}
    }


def test_lines_that_are_arrays_are_rows(tmp_path):
    found = read_content(tmp_path, '[{"a": 1}]\n[{"b": 2}, 3]\n', "x.jsonl")
    assert found.values == {1: [{"a": 1}], 2: [{"b": 2}, 3]}


@pytest.mark.parametrize(
    "name, content, reason, action",
    [
        ("x.csv", '{"a": 1}\n{"a": 2}', "the name ends in .csv, the content is JSON lines", "read as JSON lines"),
        ("x.json", '{"a": 1}\n{"a": 2}', "the name ends in .json, the content is JSON lines", "read as JSON lines"),
        ("x.jsonl", '[{"a": 1}]', "the name ends in .jsonl, the content is a JSON array", "read as a JSON array"),
        ("x.jsonl", '{\n"a": 1}', "the name ends in .jsonl, the content is JSON", "read as JSON"),
        ("x.txt", '[{"a": 1}]', "the name ends in .txt, the content is a JSON array", "read as a JSON array"),
        ("x.parquet", '[{"a": 1}]', "the name ends in .parquet, the content is a JSON array", "read as a JSON array"),
        ("x.json", "prompt,completion\na,b", "the name ends in .json, the content is CSV", "read as CSV"),
        ("x.json", '{"a": 1}{"a": 2}', "2 JSON values one after another", "read as rows"),
        ("x.json", '[{"a": 1}] [{"a": 2}\n]', "2 JSON arrays one after another", "read as one"),
        ("x.jsonl.gz", '{"a": 1}\n', "the name ends in .gz, the content is no gzip", "read by its content"),
    ],
)
def test_a_name_that_promises_something_else_is_noted(tmp_path, name, content, reason, action):
    found = read_content(tmp_path, content, name)
    [note] = found.file.notes
    assert (note.row, note.field) == (0, "")
    assert reason in note.reason and action == note.action
    assert found.values


@pytest.mark.parametrize("name", ["x", "x.log", "x.JSONL", "x.jsonl", "x.ndjson"])
def test_a_name_that_promises_nothing_else_is_not_noted(tmp_path, name):
    assert read_content(tmp_path, '{"a": 1}\n{"a": 2}\n', name).file.notes == []


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "the file is empty"),
        ("\ufeff", "the file is empty"),
        (" \r\n\t", "white space only"),
        ("[]", "no rows"),
        ("[ ]\n", "no rows"),
        ("3", "one JSON value, a number"),
        ("null", "one JSON value, null"),
        ("true", "one JSON value, a boolean"),
        ('"x"', "one JSON value, a string"),
        ("hello", "this is not JSON: it begins with 'hello'"),
        ("<!DOCTYPE html>\n<html>", "web page"),
        ("<?xml version='1.0'?>", "web page or XML"),
        (b"\0" * 5000, "zero bytes only"),
        (b"PK\x03\x04" + b"\0" * 30, "a zip archive; unpack it"),
        (b"PK\x03\x04" + b"\0" * 30 + b"word/document.xml", "a Word document"),
        (b"PK\x03\x04" + b"\0" * 30 + b"xl/workbook.xml", "an Excel sheet; save it as CSV"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd -d"),
        (b"\xfd7zXZ\0\0\0", "unxz"),
        (b"BZh91AY", "bunzip2"),
        (b"7z\xbc\xaf\x27\x1c\0", "7-Zip"),
        (b"%PDF-1.7\n", "a PDF; export"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG picture; a character card"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"GIF89a", "a GIF picture"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
        (b"{\\rtf1\\ansi", "an RTF document"),
        (b"a.txt" + b"\0" * 252 + b"ustar\x0000", "a tar archive"),
        (b"\x80\x04\x95\x10", "a Python pickle"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(gzip.compress(b"[]", mtime=0), mtime=0), "a gzip inside a gzip"),
        (gzip.compress(b"PAR1\0\0PAR1", mtime=0), "a Parquet file inside a gzip"),
    ],
)
def test_a_file_without_rows_is_refused_with_what_it_is(tmp_path, content, reason):
    found = read_content(tmp_path, content)
    assert reason in found.refusal
    assert found.rows == []


def test_binary_data_of_an_unknown_kind_is_refused(tmp_path):
    found = read_content(tmp_path, bytes(range(256)) * 10, "x.dat")
    assert "binary data" in found.refusal and not found.rows


@pytest.mark.parametrize(
    "rest, faults, values",
    [
        (',{"b": 2', {2: "the file ends in the middle of row 2, which begins in line 1, column 11 (byte 10)"}, [1]),
        (',{"b": "x', {2: "the file ends in the middle of row 2"}, [1]),
        (',{"b": [1, 2], "c', {2: "the file ends in the middle of row 2"}, [1]),
        ("", {2: "the file ends where row 2 or the end of the list should be"}, [1]),
        (", ", {2: "the file ends where row 2 or the end of the list should be"}, [1]),
        (",]", {2: "found ']' behind a comma"}, [1]),
        (',,{"b": 2}]', {2: "remove one comma"}, [1, 3]),
        (' {"b": 2}, {"c": 3}]', {2: "no comma between row 1 and this one"}, [1, 3]),
        ("] x", {2: "text after the end of the list: 'x'"}, [1]),
        ("]]", {2: "text after the end of the list: ']'"}, [1]),
        ("}", {2: "no comma between row 1 and this one"}, [1]),
        (',{"b": NaN},{"c": 3}]', {2: "line 1, column 17 (byte 16): NaN"}, [1, 3]),
        (',\n{"b": {"x": 1, "x": 2}},{"c": 3}]', {2: "line 2, column 16 (byte 26): the key 'x' is twice"}, [1, 3]),
        (',{"b": "a\nb"},{"c": 3}]', {2: "control character U+000A"}, [1, 3]),
        (",{'b': 2},{\"c\": 3}]", {2: "looks like Python"}, [1, 3]),
        (',{"b": 1,},{"c": 3}]', {2: "comma too many"}, [1, 3]),
        (',{"b": \0},{"c": 3}]', {2: "NUL bytes in the row: 1 from line 1, column 17"}, [1, 3]),
        (',{"b": [},{"c": 3}]', {2: "where this row ends cannot be told and the rest is not read"}, [1]),
        (',{"b": "x},{"c": 3}]', {2: "where this row ends cannot be told"}, [1]),
        (',tru,{"c": 3}]', {2: "found 'tru', expected a value"}, [1, 3]),
        (', // the second\n{"b": 2},{"c": 3}]', {2: "JSON has no comments"}, [1, 3]),
        (', x } y {"b": 2},{"c": 3}]', {2: "found 'x', expected a value"}, [1, 3]),
        (", 1 2,3]", {2: "more text after the end of the value: '2'"}, [1, 3]),
        (", 1, null, {}]", {}, [1, 2, 3, 4]),
    ],
)
def test_what_is_wrong_in_an_array_costs_as_few_rows_as_can_be(tmp_path, rest, faults, values):
    found = read_content(tmp_path, '[{"a": 1}' + rest)
    assert {number: fault.reason for number, fault in found.faults.items()} == {
        number: matching(found.faults, number, reason) for number, reason in faults.items()
    }
    assert list(found.values) == values
    assert not found.refusal


def matching(faults, number, reason):
    """The whole reason when it holds the fragment; else the fragment, which fails the comparison."""
    return faults[number].reason if number in faults and reason in faults[number].reason else reason


def test_a_fault_names_the_field_where_the_parser_knows_it(tmp_path):
    found = read_content(tmp_path, '[{"messages": [{}, {"role": "user", "role": "bot"}]}]')
    assert found.faults[1].field == "messages[1].role"
    found = read_content(tmp_path, '{"a": [0, Infinity]}\n{}\n')
    assert found.faults[1].field == "a[1]"


@pytest.mark.parametrize(
    "line, reason",
    [
        ('{"a": 1', "column 8: the text ends in the middle"),
        ('{"a": 1}}', "column 9: more text after the end"),
        ('{"a": 1},', "column 9: more text after the end of the value: ',' (is there a comma too many?)"),
        ('{"a": 1}{"a": 2}', "column 9: more text after the end of the value: '{'"),
        ("{'a': 1}", "looks like Python"),
        ('{"a": NaN}', "column 7: NaN, which JSON does not have"),
        ('{"a": "\t"}', "column 8: the control character U+0009"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ("{\0}", "NUL bytes in the row: 1 from line 5, column 2 (byte 37) on"),
        ("\0" * 300, "NUL bytes in the row: 300 from line 5"),
        ("hello", "found 'hello', expected a value"),
        ("[" * 10_000, "nested more than 200 brackets deep"),
        ("[" * 10_000 + "]" * 10_000, "nested more than 200 brackets deep"),
        ("9" * 5000, "too many digits"),
    ],
)
def test_a_bad_line_of_json_lines_costs_only_itself(tmp_path, line, reason):
    good = '{"a": 1}'
    found = read_content(tmp_path, "\n".join([good] * 4 + [line] + [good] * 5), "x.jsonl")
    assert list(found.faults) == [5]
    assert reason in found.faults[5].reason
    assert list(found.values) == [1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_one_bad_line_among_a_hundred_thousand_costs_only_itself(tmp_path):
    lines = ['{"a": 1}'] * 100_000
    lines[61_803] = '{"a": '
    found = read_content(tmp_path, "\n".join(lines), "x.jsonl")
    assert list(found.faults) == [61_804]
    assert len(found.values) == 99_999


@pytest.mark.parametrize("first", ['{"a": [1, ', "hello", "null", "{'a': 1}", '{"a": NaN}', '{"a": "x', "\0\0"])
def test_a_bad_first_line_does_not_hide_that_the_others_are_rows(tmp_path, first):
    found = read_content(tmp_path, first + '\n{"a": 1}\n{"a": 2}\n', "x.jsonl")
    assert found.file.container == "json-lines"
    assert {2: {"a": 1}, 3: {"a": 2}}.items() <= found.values.items()


def test_a_last_line_that_is_cut_off_is_said_to_be(tmp_path):
    found = read_content(tmp_path, '{"a": 1}\n{"a": 2}\n{"a": "x', "x.jsonl")
    assert found.faults[3].reason.startswith("the file ends in the middle of row 3: ")


@pytest.mark.parametrize(
    "content, faults, values",
    [
        ('{\n "a": [1, 2', {1: "the file ends in the middle of row 1, which begins in line 1"}, []),
        ('{\n "a": 1,\n}\n{\n "b": 2\n}', {1: "comma too many"}, [2]),
        ('{\n "a": [1\n}\n{\n "b": 2\n}', {1: "line 3, column 1 (byte 11)"}, [2]),
        ('{\n "a": "x\n}\n{\n "b": 2\n}', {1: "reading goes on in line 4"}, [2]),
        ('{\n "a": 1\n},\n{\n "b": 2\n}', {2: "found ','"}, [1, 3]),
        ('{\n "a": 1\n} x', {2: "found 'x'"}, [1]),
        ('{\n "a": 1\n}\n{\n "b": 2', {2: "the file ends in the middle of row 2"}, [1]),
        ('{"a": NaN}', {1: "NaN"}, []),
    ],
)
def test_what_is_wrong_in_values_one_after_another_costs_one_of_them(tmp_path, content, faults, values):
    found = read_content(tmp_path, content)
    assert {number: fault.reason for number, fault in found.faults.items()} == {
        number: matching(found.faults, number, reason) for number, reason in faults.items()
    }
    assert list(found.values) == values


def test_plain_text_gives_its_lines(tmp_path):
    found = read_content(tmp_path, "31/12/2025, 22:15 - Ann: Hi\r\n\r\nthere\n", "x.txt")
    assert found.file.container == "text"
    assert found.values == {1: "31/12/2025, 22:15 - Ann: Hi", 2: "", 3: "there"}


@pytest.mark.parametrize(
    "begin", ["[31.12.25, 22:15:01] ", "\u200e[12/31/25, 10:15:01\u202fPM] ", "2025-12-31, 22:15 - "]
)
def test_a_chat_log_is_text_though_it_begins_like_a_list(tmp_path, begin):
    found = read_content(tmp_path, f"{begin}Ann: Hi\n{begin}Bo: Hello\n", "x.txt")
    assert (found.file.container, list(found.values)) == ("text", [1, 2])


# ------------------------------------------------------------------------------------------------------------- general

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OBJECTS = st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(TEXT, max_size=3), max_size=3)
ROWS = st.lists(OBJECTS, min_size=1, max_size=5)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@given(ROWS, st.sampled_from([None, 0, 2, "\t"]), st.sampled_from(ENCODINGS), st.booleans(), st.booleans())
def test_an_array_is_read_back_however_it_is_written(rows, indent, encoding, ensure_ascii, is_gzip):
    content = json.dumps(rows, indent=indent, ensure_ascii=ensure_ascii).encode(encoding)
    assert written_and_read(gzip.compress(content) if is_gzip else content) == dict(enumerate(rows, start=1))


@given(ROWS, st.sampled_from(["\n", "\r\n", "\n\n", "\n \r\n"]), st.sampled_from(ENCODINGS), st.booleans())
@example([{"a": "\u2028\u2029\x85"}], "\n", "utf-8", False)
def test_json_lines_are_read_back_and_numbered_as_lines(rows, line_end, encoding, is_gzip):
    text = line_end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    content = text.encode(encoding)
    step = line_end.count("\n")
    expected = {1 + number * step: row for number, row in enumerate(rows)}
    assert written_and_read(gzip.compress(content) if is_gzip else content) == expected


@given(ROWS, st.sampled_from([1, 4, "\t"]), st.sampled_from(ENCODINGS))
def test_objects_one_after_another_are_read_back(rows, indent, encoding):
    rows = [row | {"row": number} for number, row in enumerate(rows)]  # an empty object would be one line
    text = "\n".join(json.dumps(row, indent=indent, ensure_ascii=False) for row in rows)
    assert written_and_read(text.encode(encoding)) == dict(enumerate(rows, start=1))


TEXT_SEEDS = [
    json.dumps([A, B, C]).encode(),
    json.dumps([A, B, C], indent=1, ensure_ascii=False).encode("utf-16"),
    "\n".join(json.dumps(row, ensure_ascii=False) for row in [A, B, C]).encode(),
    b'instruction,output\n"a ""b""\nc",d\ne,f\n',
    "[31.12.25, 22:15:01] Ann: Hi\nthere\n".encode("utf-8-sig"),
]
SEEDS = [*TEXT_SEEDS, gzip.compress(json.dumps([A, B, C]).encode(), mtime=0)]
PIECES = [b"", *(bytes([sign]) for sign in b'\0"\\[]{},\n\xff\xe9'), b"NaN", b"\xef\xbb\xbf", b"[" * 500]
EDITS = st.tuples(st.floats(0, 1), st.integers(0, 5), st.sampled_from(PIECES) | st.binary(max_size=3))


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_raise(content):
    fuzz_rows(content)


@given(st.sampled_from(SEEDS), st.lists(EDITS, max_size=4))
@settings(max_examples=200)
def test_no_edits_of_good_files_make_reading_raise(content, edits):
    fuzz_rows(edited(content, edits))


@given(st.sampled_from(TEXT_SEEDS), st.lists(EDITS, max_size=4), st.integers(1, 30))
@settings(max_examples=200)
def test_rows_and_faults_do_not_depend_on_how_much_is_read_at_once(content, edits, chunk_bytes):
    content = edited(content, edits)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole = read_content(Path(folder), content)
        patch.setattr(file_bytes, "CHUNK_BYTES", chunk_bytes)
        in_pieces = read(Path(folder) / "x.json")
    assert in_pieces.values == whole.values
    assert reasons(in_pieces) == reasons(whole)
    assert in_pieces.file.notes == whole.file.notes
    assert in_pieces.file.sha256 == whole.file.sha256


def reasons(found):
    return {number: (fault.field, fault.reason) for number, fault in found.faults.items()}


def edited(content, edits):
    for place, num_removed, piece in edits:
        start = int(place * len(content))
        content = content[:start] + piece + content[start + num_removed :]
    return content


def test_real_files_are_read_row_by_row(shared_data):
    for name, container in (("personachat_sharegpt.json", "json"), ("personachat_messages.jsonl", "json-lines")):
        path = shared_data / name
        found = read(path)
        text = path.read_text(encoding="utf-8")
        expected = json.loads(text) if container == "json" else [json.loads(line) for line in text.splitlines()]
        assert found.file.container == container
        assert list(found.values.values()) == expected
        assert not found.faults and not found.file.notes
