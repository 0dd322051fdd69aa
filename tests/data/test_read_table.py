"""Tables to rows: CSV and its relatives, Parquet."""

import csv
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data import file_bytes, read_table, text_stream
from tests.data.reading import read, read_content, written_and_read


@pytest.mark.parametrize("delimiter, name", [(",", "x.csv"), (";", "x.csv"), ("\t", "x.tsv"), (",", "x.txt")])
def test_records_are_numbered_without_the_header_whatever_lies_between_the_columns(tmp_path, delimiter, name):
    content = 'prompt,completion\nhi,"a ""b"", c\nd"\n\nq,r\r\n'.replace(",", delimiter)
    found = read_content(tmp_path, content, name)
    assert found.file.container == "csv"
    assert found.values == {
        1: {"prompt": "hi", "completion": f'a "b"{delimiter} c\nd'},
        2: {"prompt": "q", "completion": "r"},
    }


@pytest.mark.parametrize(
    "record, reason",
    [
        ("a", "fewer cells than the header has: 1 for 2, in the record of line 3"),
        ("a,b,c", "more cells than the header has: 3 for 2, in the record of line 3"),
        ('"a"b,c', "text behind a closing quote: 'b' in cell 1 of the record in line 3"),
        ('"a" ,c', "text behind a closing quote: ' ' in cell 1"),
        ("a,\0", "NUL bytes in the row: 1 from line 3, column 3 (byte 31) on"),
    ],
)
def test_a_bad_record_costs_only_itself(tmp_path, record, reason):
    found = read_content(tmp_path, f"instruction,output\ngood,line\n{record}\ngood,too\n", "x.csv")
    assert list(found.faults) == [2] and reason in found.faults[2].reason
    assert list(found.values) == [1, 3]


def test_a_quote_inside_a_cell_that_is_not_quoted_is_text(tmp_path):
    assert read_content(tmp_path, 'prompt,completion\n5" disk,b"\n', "x.csv").values == {
        1: {"prompt": '5" disk', "completion": 'b"'}
    }


def test_a_quote_that_is_never_closed_is_named_by_the_line_it_begins_in(tmp_path):
    found = read_content(tmp_path, 'prompt,completion\na,b\nc,"d\ne,f\n', "x.csv")
    assert list(found.values) == [1]
    assert "a quote that is never closed: in the record of line 3; the file ends in its cell" in found.faults[2].reason


def test_latin_1_in_a_table_costs_its_record(tmp_path):
    found = read_content(tmp_path, b'prompt,completion\na,b\n"x\ncaf\xe9",d\ne,f\n', "x.csv")
    assert "a byte that is not UTF-8: 0xE9 in line 4, column 4 (byte 28)" in found.faults[2].reason
    assert list(found.values) == [1, 3]


@pytest.mark.parametrize(
    "content, reason",
    [
        ("prompt,completion\n", "no rows"),
        ("prompt,prompt\na,b\n", "2 columns with the name 'prompt'"),
        ('"prompt"x,completion\na,b\n', "the header of the table cannot be read"),
    ],
)
def test_a_table_whose_header_cannot_be_used_is_refused(tmp_path, content, reason):
    found = read_content(tmp_path, content, "x.csv")
    assert reason in found.refusal and not found.values


def test_a_column_without_a_name_is_noted(tmp_path):
    found = read_content(tmp_path, ",prompt,completion\n0,a,b\n", "x.csv")
    assert found.values == {1: {"": "0", "prompt": "a", "completion": "b"}}
    assert [note.reason for note in found.notes] == ["column 1 of the table has no name"]


def test_cells_of_lists_are_parsed_and_no_others(tmp_path):
    cell = '"[{""role"": ""user"", ""content"": ""hi""}]"'
    found = read_content(tmp_path, f"messages,content\n{cell},[smiles]\n\"[{{'role': 1}}]\",x\n", "x.csv")
    assert found.values == {1: {"messages": [{"role": "user", "content": "hi"}], "content": "[smiles]"}}
    assert found.faults[2].field == "messages"
    assert "the cell is not JSON: line 1, column 3" in found.faults[2].reason


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from(",;\t"), st.booleans())
def test_what_the_csv_module_writes_is_read_back(records, delimiter, quotes_all):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL if quotes_all else csv.QUOTE_MINIMAL)
    writer.writerows([("instruction", "output"), *records])
    expected = {number: {"instruction": a, "output": b} for number, (a, b) in enumerate(records, start=1)}
    assert written_and_read(out.getvalue().encode()) == expected


def test_a_record_longer_than_a_row_may_be_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(read_table, "MAX_ROW_CHARACTERS", 1000)
    content = "prompt,completion\na,b\nc," + '"' + "x,y\n" * 2000 + '"\nd,e\n'
    found = read_content(tmp_path, content, "x.csv")
    assert found.values == {1: {"prompt": "a", "completion": "b"}, 3: {"prompt": "d", "completion": "e"}}
    assert "a record longer than 0 Mi characters: it begins in line 3" in found.faults[2].reason


def test_a_line_longer_than_a_row_may_be_ends_a_table(tmp_path, monkeypatch):
    for module in (read_table, text_stream):
        monkeypatch.setattr(module, "MAX_ROW_CHARACTERS", 1000)
    monkeypatch.setattr(file_bytes, "CHUNK_BYTES", 100)
    found = read_content(tmp_path, 'prompt,completion\na,b\nc,"' + "x" * 9000 + "\nd,e\n", "x.csv")
    assert list(found.values) == [1]
    assert "a line longer than 0 Mi characters: line 3" in found.faults[2].reason
    assert "nothing tells where the next record begins" in found.refusal


# ------------------------------------------------------------------------------------------------------------- parquet


@pytest.fixture
def parquet():
    """pyarrow's Parquet."""
    return pytest.importorskip("pyarrow.parquet")


def parquet_file(parquet, path, **columns):
    import pyarrow

    parquet.write_table(pyarrow.table(columns), path, row_group_size=40)
    return path


def test_a_parquet_file_gives_its_records(tmp_path, parquet):
    messages = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "é"}] for n in range(100)]
    path = parquet_file(parquet, tmp_path / "x.parquet", messages=messages, id=list(range(100)))
    found = read(path)
    assert (found.file.container, found.file.encoding, found.file.notes) == ("parquet", "", [])
    assert found.values == {n + 1: {"messages": messages[n], "id": n} for n in range(100)}
    assert len(found.file.sha256) == 64


def test_lists_as_json_text_in_a_parquet_file_are_parsed(tmp_path, parquet):
    path = parquet_file(parquet, tmp_path / "x.json", messages=['[{"role": "user"}]', "[1, 1", None])
    found = read(path)
    assert found.values == {1: {"messages": [{"role": "user"}]}, 3: {"messages": None}}
    assert found.faults[2].field == "messages"
    assert [note.action for note in found.notes] == ["read as Parquet"]


def test_a_damaged_parquet_file_is_refused(tmp_path, parquet):
    path = parquet_file(parquet, tmp_path / "x.parquet", prompt=["a" * 50] * 100, completion=["b"] * 100)
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:4], b"PAR1" + b"\0" * 100 + b"PAR1", whole[:40] + b"\xff" * 60 + whole[100:]):
        path.write_bytes(damaged)
        assert "the Parquet file is damaged behind row 0" in read(path).refusal


def test_a_parquet_file_without_records_is_refused(tmp_path, parquet):
    assert "no rows" in read(parquet_file(parquet, tmp_path / "x.parquet", prompt=[])).refusal


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    found = read_content(tmp_path, b"PAR1\0\0PAR1", "x.parquet")
    assert "pip install pyarrow" in found.refusal
