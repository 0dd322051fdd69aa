"""Files of rows: formats mixed, cells of tables, what is counted."""

import pytest

from duologue.data.formats import read_dialogues
from duologue.data.found import Dialogue, Row, RowFault
from tests.data.formats.samples import (
    AGNAI,
    ALPACA,
    DISCORD,
    KOBOLD_LITE,
    MESSAGES,
    OPEN_WEBUI,
    PROMPT,
    RISUAI,
    SHAREGPT,
    TELEGRAM,
    TEXT_GENERATION_WEBUI,
    read,
    read_rows,
)

TALK = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "Soon."}]
TURNS = [("user", "Rain?"), ("assistant", "Soon.")]


def test_one_file_may_mix_formats_and_counts_each():
    rows = [MESSAGES, ALPACA, PROMPT, SHAREGPT, MESSAGES, AGNAI, OPEN_WEBUI, RISUAI, KOBOLD_LITE, TEXT_GENERATION_WEBUI]
    found = read(rows)
    assert [dialogue.row for dialogue in found.dialogues][:7] == [1, 2, 3, 4, 5, 6, 7]
    assert found.reading.formats == {
        "messages": 2,
        "alpaca": 1,
        "prompt-completion": 1,
        "sharegpt": 1,
        "agnai": 1,
        "open-webui": 1,
        "risuai": 1,
        "kobold-lite": 1,
        "text-generation-webui": 1,
    }


def test_rows_that_could_not_be_parsed_are_refused_with_their_reason():
    found = read_rows([Row(3, RowFault("messages[1]", "not JSON")), Row(7, {"messages": TALK})])
    assert found.turns == [TURNS]
    assert [(note.row, note.field, note.reason) for note in found.notes] == [(3, "messages[1]", "not JSON")]


def test_an_unknown_shape_is_refused_with_the_keys_found_and_what_is_expected():
    [note] = read([{"text": "x", "meta\n": 1, "\ud800": 2}]).notes
    assert note.field == ""
    assert '"text", "\\ud800"' in note.reason and '"meta\\n"' in note.reason and "'messages'" in note.reason
    note.reason.encode()


@pytest.mark.parametrize(
    "row, hint",
    [
        (TALK[0], "one message"),
        ({"from": "human", "value": "x"}, "one message"),
        (TALK, '{"messages": [...]}'),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "not conversations"),
        ({"Instruction": "a", "Output": "b"}, "small letters"),
        ({"version": 1, "data": [{"messages": TALK}]}, 'the list in "data"'),
    ],
)
def test_a_shape_that_is_nearly_known_gets_a_hint(row, hint):
    [note] = read([row]).notes
    assert hint in note.reason


@pytest.mark.parametrize("nothing", [None, ""])
def test_keys_without_a_value_do_not_decide(nothing):
    row = {"messages": nothing, "conversations": nothing, "instruction": "a", "output": "b"}
    assert read([row], "csv").turns == [[("user", "a"), ("assistant", "b")]]
    assert read([{"messages": None, "id": 1}]).dropped == [(1, "messages")]


def test_extra_keys_do_not_make_another_format():
    row = {"id": 1, "type": "chat", "name": "x", "prompt": "p", "user_name": "Anna", "messages": TALK}
    assert read([row]).reading.formats == {"messages": 1}
    assert read([{"character_name": "Lila", "conversations": SHAREGPT["conversations"]}]).reading.formats == {
        "sharegpt": 1
    }


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_lists_in_the_cells_of_a_table_are_read(container):
    import json

    assert read([{"messages": json.dumps(TALK)}], container).turns == [TURNS]
    assert read([{"prompt": json.dumps(TALK[:1]), "completion": json.dumps(TALK[1:])}], container).turns == [TURNS]
    history = {"instruction": "c", "output": "d", "history": '[["a", "b"]]'}
    assert len(read([history], container).turns[0]) == 4


def test_a_cell_that_begins_like_a_list_may_be_a_text():
    assert read([{"prompt": "[{sic} Rain?", "completion": "[1] Soon."}], "csv").turns == [
        [("user", "[{sic} Rain?"), ("assistant", "[1] Soon.")]
    ]


def test_a_cell_is_never_evaluated():
    for cell in ("[{'role': 'user'}]", "[__import__('os')]"):
        found = read([{"messages": cell}], "csv")
        assert found.dropped == [(1, "messages")] and "not JSON" in found.notes[0].reason


def test_a_list_as_text_is_refused_outside_of_tables():
    import json

    assert read([{"messages": json.dumps(TALK)}]).dropped == [(1, "messages")]


def test_reading_streams():
    def rows():
        for number in range(1, 1_000_000_000):
            yield Row(number, {"messages": TALK})

    found = iter(read_dialogues(rows(), container="json-lines"))
    assert all(isinstance(next(found), Dialogue) for _ in range(100))


def test_the_length_of_the_pause_is_an_argument():
    assert len(read([DISCORD], "json").dialogues) == 2
    assert len(read([DISCORD], "json", pause_hours=100).dialogues) == 1


def test_logs_in_one_file_count_their_rows_through():
    found = read([DISCORD, TELEGRAM])
    assert found.reading.num_rows == len(DISCORD["messages"]) + len(TELEGRAM["messages"])
    assert found.dialogues[-1].row == len(DISCORD["messages"]) + 2


def test_no_rows_give_nothing():
    found = read([])
    assert (found.dialogues, found.notes, found.reading.num_rows) == ([], [], 0)
