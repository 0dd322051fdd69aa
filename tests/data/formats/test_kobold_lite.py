"""Saved sessions of Kobold Lite."""

import copy

import pytest

from tests.data.formats.samples import KOBOLD_LITE, KOBOLD_LITE_CHAT, read


def with_(sample, **changes):
    return {**copy.deepcopy(sample), **changes}


def test_placeholders_mark_who_speaks_across_the_pieces():
    [dialogue] = read([KOBOLD_LITE], "json").dialogues
    assert [(t.role, t.speaker, t.text, t.field) for t in dialogue.turns] == [
        ("user", "Anna", "Which way is the harbour?", "prompt"),
        ("assistant", "Lila", "Down the hill, then left.", "actions[0]"),
        ("user", "Anna", "And the inn?", "actions[1]"),
        ("assistant", "Lila", "Behind the harbour. Mind the cat.", "actions[2]"),
    ]


def test_in_chat_mode_names_at_the_beginning_of_a_line_mark_who_speaks():
    [dialogue] = read([KOBOLD_LITE_CHAT], "json").dialogues
    assert [(t.role, t.speaker, t.text) for t in dialogue.turns] == [
        ("assistant", "Lila", "The shop is open."),
        ("user", "Anna", "One loaf, please."),
        ("assistant", "Lila", "White or dark?\nand sliced?"),
        ("assistant", "Carl", "Dark. It is always dark."),
    ]


def test_the_instruct_tags_of_the_settings_mark_who_speaks():
    settings = {"instruct_starttag": "\\n### Instruction:\\n", "instruct_endtag": "\\n### Response:\\n"}
    sample = {
        "gamestarted": True,
        "prompt": "",
        "actions": ["### Instruction:\nCount to two.\n### Response:\n", "One, two.", "\n### Instruction:\nOn.", ""],
        "savedsettings": settings,
    }
    assert read([sample], "json").turns == [
        [("user", "Count to two."), ("assistant", "One, two."), ("user", "On.")],
    ]


def test_text_before_the_first_mark_is_the_characters():
    sample = with_(KOBOLD_LITE, prompt="The door opens.", actions=["{{[INPUT]}}Hello?"])
    assert read([sample], "json").turns == [[("assistant", "The door opens."), ("user", "Hello?")]]


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"actions": ["Once upon a time."], "prompt": "A story."}, "actions"),
        ({"actions": None}, "actions"),
        ({"actions": [3]}, "actions[0]"),
        ({"actions": [], "prompt": ""}, "actions"),
        ({"actions": ["{{[INPUT]}}", "{{[OUTPUT]}}"], "prompt": ""}, "actions"),
        ({"prompt": 5}, "prompt"),
        ({"savedsettings": []}, "savedsettings"),
        ({"savedsettings": {"chatname": 3}}, "savedsettings.chatname"),
    ],
)
def test_a_session_that_is_no_conversation_is_refused(changes, field):
    found = read([with_(KOBOLD_LITE, **changes)], "json")
    assert (found.dialogues, found.dropped) == ([], [(1, field)])


def test_names_with_signs_of_regular_expressions_are_names():
    sample = with_(KOBOLD_LITE_CHAT, prompt="", actions=["Anna (me): Hi.\nL*la+: Ho.\nAnna x: no name"])
    sample["savedsettings"] = {"chatname": "Anna (me)", "chatopponent": "L*la+"}
    assert read([sample], "json").turns == [[("user", "Hi."), ("assistant", "Ho.\nAnna x: no name")]]


def test_much_white_space_takes_no_time():
    sample = with_(KOBOLD_LITE, actions=["{{[INPUT]}}a" + " \n" * 300_000 + "{{[OUTPUT]}}b"], prompt="")
    assert read([sample], "json").turns == [[("user", "a"), ("assistant", "b")]]
    chat = with_(KOBOLD_LITE_CHAT, actions=["Anna: a" + " \n" * 300_000 + "Lila: b"], prompt="")
    assert read([chat], "json").turns == [[("user", "a"), ("assistant", "b")]]
