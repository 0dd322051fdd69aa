"""Chats of SillyTavern."""

import copy

import pytest

from duologue.data.found import Row, RowFault
from tests.data.formats.samples import CHUB, SILLYTAVERN, SILLYTAVERN_OLD, read, read_rows


def changed(index, **changes):
    rows = copy.deepcopy(SILLYTAVERN)
    rows[index].update(changes)
    return rows


def test_the_rows_are_the_messages_and_the_first_swipe_shown_is_the_text():
    found = read(SILLYTAVERN)
    [dialogue] = found.dialogues
    assert [(t.role, t.speaker, t.text, t.row, t.field) for t in dialogue.turns] == [
        ("assistant", "Lila", "You are late, the soup is cold.", 2, "mes"),
        ("user", "Anna", "The ferry waited for the fog.", 3, "mes"),
        ("assistant", "Lila", "Then I forgive the ferry, not you.", 4, "mes"),
    ]
    assert (dialogue.row, dialogue.rows, found.reading.num_rows) == (2, 3, 3)
    assert dialogue.notes == ()
    assert found.of_file == [
        ("other versions of messages: 2", "not used"),
        ("reasoning beside messages: 1", "not used"),
    ]


@pytest.mark.parametrize("rows", [SILLYTAVERN_OLD, SILLYTAVERN_OLD[1:]], ids=["old header", "no header"])
def test_an_old_header_or_none_is_read_too(rows):
    assert read(rows).turns == [[("assistant", "Hello, Anna."), ("user", "Hello, Lila.")]]


def test_the_objects_that_chub_wraps_texts_in_are_opened():
    [dialogue] = read(CHUB).dialogues
    assert [(turn.text, turn.field) for turn in dialogue.turns] == [
        ("The map is upside down.", "mes.message"),
        ("So are we.", "mes.message"),
    ]
    assert dialogue.notes == ()


def test_hidden_and_empty_messages_are_left_out_with_their_rows():
    found = read([*changed(2, is_system=True), {"name": "Lila", "is_user": False, "mes": " \n"}])
    assert found.left_out == [(3, "a message hidden from the character"), (5, "an empty message")]
    assert [turn.row for turn in found.dialogues[0].turns] == [2, 4]


def test_a_narrators_message_is_a_system_message():
    rows = changed(2, is_user=False, name="Narrator", extra={"type": "narrator"})
    assert read(rows).turns[0][1] == ("system", "The ferry waited for the fog.")


def test_a_group_chat_keeps_every_name():
    rows = [*SILLYTAVERN, {"name": "Carl", "is_user": False, "mes": "Sit down, both of you."}]
    [dialogue] = read(rows).dialogues
    assert [(t.role, t.speaker) for t in dialogue.turns][-2:] == [("assistant", "Lila"), ("assistant", "Carl")]


def test_a_shown_swipe_that_differs_from_the_text_is_noted():
    [dialogue] = read(changed(1, swipe_id=0)).dialogues
    [note] = dialogue.notes
    assert (note.row, note.field) == (2, "swipes[0]")
    assert dialogue.turns[0].text == "You are late, the soup is cold."


@pytest.mark.parametrize("changes", [{"swipes": 3}, {"swipe_id": 9}, {"swipe_id": -1}, {"swipe_id": "1"}])
def test_swipes_that_make_no_sense_do_not_cost_the_message(changes):
    [dialogue] = read(changed(1, **changes)).dialogues
    assert dialogue.rows == 3
    [note] = dialogue.notes
    assert note.row == 2


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"mes": None}, "mes"),
        ({"mes": ["x"]}, "mes"),
        ({"mes": {"text": "x"}}, "mes.message"),
        ({"is_user": "true"}, "is_user"),
        ({"is_user": None}, "is_user"),
        ({"is_system": 1}, "is_system"),
        ({"name": 5}, "name"),
    ],
)
def test_a_broken_message_is_refused_alone(changes, field):
    found = read(changed(2, **changes))
    assert found.dropped == [(3, field)]
    assert [turn.row for turn in found.dialogues[0].turns] == [2, 4]


def test_a_line_that_is_no_json_is_refused_alone_even_before_the_header():
    rows = [Row(1, RowFault("", "not JSON")), *[Row(n, value) for n, value in enumerate(SILLYTAVERN, start=2)]]
    rows.insert(3, Row(40, RowFault("", "not JSON")))
    found = read_rows(rows)
    assert found.dropped == [(1, ""), (40, "")]
    assert found.dialogues[0].rows == 3


def test_several_chats_in_one_file_stay_apart():
    found = read([*SILLYTAVERN, *SILLYTAVERN_OLD])
    assert [(dialogue.row, dialogue.rows) for dialogue in found.dialogues] == [(2, 3), (6, 2)]


def test_a_header_alone_is_refused():
    found = read([SILLYTAVERN[0]])
    assert (found.dialogues, found.dropped) == ([], [(1, "")])


def test_a_line_of_a_chat_among_rows_of_another_format_is_refused():
    found = read([{"instruction": "a", "output": "b"}, SILLYTAVERN[1], {"instruction": "c", "output": "d"}])
    assert (len(found.dialogues), found.dropped) == (2, [(2, "")])
