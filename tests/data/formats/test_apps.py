"""Exports of text-generation-webui, RisuAI, Agnai and CAI Tools."""

import copy

import pytest

from tests.data.formats.samples import (
    AGNAI,
    CAI_TOOLS,
    RISUAI,
    RISUAI_ALL,
    TEXT_GENERATION_WEBUI,
    TEXT_GENERATION_WEBUI_OLD,
    read,
)


def fields(dialogue):
    return [turn.field for turn in dialogue.turns]


def test_text_generation_webui_gives_the_raw_texts_and_begins_with_the_greeting():
    found = read([TEXT_GENERATION_WEBUI], "json")
    assert found.turns == [
        [
            ("assistant", "Come in, the door sticks."),
            ("user", "Thanks & good morning."),
            ("assistant", "Morning. Coffee?"),
            ("assistant", "It is still hot."),
        ]
    ]
    [dialogue] = found.dialogues
    assert fields(dialogue) == ["internal[0][1]", "internal[1][0]", "internal[1][1]", "internal[2][1]"]
    assert [(note.field, note.action) for note in dialogue.notes] == [("internal[2][0]", "left out")]
    assert found.of_file == [("other versions of messages: 1", "not used")]


def test_an_old_file_of_text_generation_webui_is_read():
    found = read([TEXT_GENERATION_WEBUI_OLD], "json")
    assert found.turns == [[("assistant", "Come in."), ("user", "Thanks."), ("assistant", "Coffee?")]]


@pytest.mark.parametrize("pair, field", [("x", "[1]"), (["a"], "[1]"), (["a", "b", "c"], "[1]"), (["a", 3], "[1][1]")])
def test_what_is_no_pair_of_texts_is_refused(pair, field):
    found = read([{"internal": [["Hi.", "Ho."], pair], "visible": []}], "json")
    assert found.dropped == [(1, f"internal{field}")]


def test_risuai_leaves_out_what_is_hidden():
    [dialogue] = read([RISUAI], "json").dialogues
    assert [(t.role, t.text, t.field) for t in dialogue.turns] == [
        ("user", "Did the parcel come?", "data.message[0].data"),
        ("assistant", "It waits in the hall.", "data.message[1].data"),
    ]
    assert [(note.field, note.action) for note in dialogue.notes] == [("data.message[2]", "left out")]


def test_each_chat_of_a_risuai_character_is_a_row():
    found = read([RISUAI_ALL], "json")
    assert [(dialogue.row, fields(dialogue)[0]) for dialogue in found.dialogues] == [
        (1, "data[0].message[0].data"),
        (2, "data[1].message[0].data"),
    ]
    broken = copy.deepcopy(RISUAI_ALL)
    broken["data"][0]["message"][1]["role"] = "narrator"
    found = read([broken], "json")
    assert found.dropped == [(1, "data[0].message[1].role")]
    assert found.turns == [[("assistant", "Three."), ("user", "Four.")]]


def test_several_characters_without_names_are_noticed():
    chat = copy.deepcopy(RISUAI)
    chat["data"]["message"].append({"role": "char", "data": "And a letter.", "saying": "c-2"})
    [dialogue] = read([chat], "json").dialogues
    assert dialogue.notes[-1].action == "noticed"


def test_agnai_knows_the_user_by_the_user_id():
    [dialogue] = read([AGNAI], "json").dialogues
    assert [(t.role, t.speaker, t.text, t.field) for t in dialogue.turns] == [
        ("assistant", "Lila", "The tide is out.", "messages[0].msg"),
        ("user", "Anna", "Then we walk.", "messages[1].msg"),
    ]


def test_agnai_leaves_out_images_and_talk_out_of_character():
    chat = copy.deepcopy(AGNAI)
    chat["messages"] += [{"msg": "/assets/1.png", "adapter": "image"}, {"msg": "brb", "userId": "anon", "ooc": True}]
    [dialogue] = read([chat], "json").dialogues
    assert len(dialogue.turns) == 2
    assert [note.field for note in dialogue.notes] == ["messages[2]", "messages[3]"]


def test_each_history_of_cai_tools_is_a_row():
    found = read([CAI_TOOLS], "json")
    assert found.turns == [[("assistant", "Knock knock."), ("user", "Who is there?")], [("user", "Again?")]]
    assert [dialogue.row for dialogue in found.dialogues] == [1, 2]
    assert fields(found.dialogues[1]) == ["histories.histories[1].msgs[0].text"]


def test_a_broken_history_is_refused_alone():
    broken = copy.deepcopy(CAI_TOOLS)
    broken["histories"]["histories"][0]["msgs"][1]["src"]["is_human"] = "yes"
    found = read([broken], "json")
    assert found.dropped == [(1, "histories.histories[0].msgs[1].src.is_human")]
    assert len(found.dialogues) == 1
