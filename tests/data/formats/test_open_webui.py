"""Exports of Open WebUI."""

import copy

import pytest

from tests.data.formats.samples import OPEN_WEBUI, read


def changed(name, **changes):
    chat = copy.deepcopy(OPEN_WEBUI)
    chat["chat"]["history"]["messages"][name].update(changes)
    return chat


def test_the_shown_branch_is_read_and_the_others_are_counted():
    found = read([OPEN_WEBUI], "json")
    [dialogue] = found.dialogues
    at = "chat.history.messages."
    assert [(t.role, t.text, t.field) for t in dialogue.turns] == [
        ("system", "You are a gardener.", "chat.params.system"),
        ("user", "Is it moss?", f"{at}m1.content"),
        ("assistant", "\nIt is lichen.", f"{at}m3.content"),
        ("user", "Pity.", f"{at}m4.content"),
    ]
    assert [(note.field, note.action) for note in dialogue.notes] == [(f"{at}m3.content", "left out")]
    assert found.of_file == [("messages of other branches: 1", "not used")]


def test_every_chat_of_an_export_is_a_row_and_exports_may_stand_in_one_file():
    found = read([OPEN_WEBUI, OPEN_WEBUI], "json")
    assert [dialogue.row for dialogue in found.dialogues] == [1, 2]
    found = read([[OPEN_WEBUI, OPEN_WEBUI], [OPEN_WEBUI, {"chat": 3}]], "json-lines")
    assert [(d.row, d.turns[-1].field[:4]) for d in found.dialogues] == [(1, "[0]."), (1, "[1]."), (2, "[0].")]
    assert found.dropped == [(2, "[1].chat")]


def test_a_chat_without_its_envelope_or_without_a_tree_is_read():
    assert read([OPEN_WEBUI["chat"]], "json").turns == read([OPEN_WEBUI], "json").turns
    old = {"chat": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}}
    [dialogue] = read([old], "json").dialogues
    assert [(turn.text, turn.field) for turn in dialogue.turns] == [
        ("a", "chat.messages[0].content"),
        ("b", "chat.messages[1].content"),
    ]


def test_an_empty_reply_is_left_out_and_noted():
    [dialogue] = read([changed("m3", content="")], "json").dialogues
    assert [turn.role for turn in dialogue.turns] == ["system", "user", "user"]
    assert [note.field for note in dialogue.notes] == ["chat.history.messages.m3.content"]


@pytest.mark.parametrize(
    "name, changes, field",
    [
        ("m1", {"parentId": "m4"}, "m1.parentId"),
        ("m1", {"parentId": "gone"}, "m1.parentId"),
        ("m4", {"parentId": 7}, "m4.parentId"),
        ("m3", {"role": "narrator"}, "m3.role"),
        ("m3", {"content": None}, "m3.content"),
        ("m3", {"content": 'So: <details type="tool_calls" done="true">\n</details>'}, "m3.content"),
        ("m4", {"files": [{"type": "doc"}, {"type": "image", "url": "x"}]}, "m4.files[1]"),
    ],
)
def test_a_chat_that_cannot_be_followed_is_refused(name, changes, field):
    found = read([changed(name, **changes)], "json")
    assert (found.dialogues, found.dropped) == ([], [(1, f"chat.history.messages.{field}")])


def test_a_current_message_that_is_not_there_is_refused():
    chat = copy.deepcopy(OPEN_WEBUI)
    chat["chat"]["history"]["currentId"] = "m9"
    assert read([chat], "json").dropped == [(1, "chat.history.currentId")]


def test_details_that_a_person_wrote_stay():
    text = '<details type="reasoning">never closed'
    assert read([changed("m3", content=text)], "json").turns[0][2] == ("assistant", text)
    text = "<details><summary>Recipe</summary>Flour.</details>"
    assert read([changed("m3", content=text)], "json").turns[0][2] == ("assistant", text)


def test_many_open_blocks_take_no_time():
    text = '<details type="reasoning" ' * 20_000 + "</details>end"
    assert read([changed("m3", content=text)], "json").turns[0][2] == ("assistant", "end")
