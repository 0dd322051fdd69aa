"""Chats of Telegram Desktop."""

import copy

import pytest

from tests.data.formats.samples import TELEGRAM, TELEGRAM_ALL, read


def changed(index, **changes):
    export = copy.deepcopy(TELEGRAM)
    export["messages"][index].update(changes)
    return export


def test_one_chat_gives_its_texts_and_accounts_for_the_rest():
    found = read([TELEGRAM], "json")
    assert found.turns == [
        [
            ("Anna", "Look: https://example.org :)"),
            ("Lila", "I see a page."),
            ("Lila", "A caption."),
            ("user7", "From an account that is gone."),
        ]
    ]
    assert found.left_out == [
        (1, "a notice of Telegram"),
        (4, "a message with media only"),
        (5, "a forwarded message"),
    ]
    assert found.of_file == [("messages with media: 1", "only their text is used")]
    assert [turn.field for turn in found.dialogues[0].turns][:2] == ["messages[1].text", "messages[2].text"]


def test_all_chats_of_an_account_stay_apart_and_rows_count_through():
    found = read([TELEGRAM_ALL], "json")
    assert [[t.speaker for t in dialogue.turns] for dialogue in found.dialogues] == [["Anna", "Lila"], ["Carl", "Anna"]]
    assert [(d.row, d.turns[0].field) for d in found.dialogues] == [
        (1, "chats.list[1].messages[0].text"),
        (3, "chats.list[2].messages[0].text"),
    ]


def test_a_chat_that_cannot_be_read_does_not_cost_the_others():
    broken = copy.deepcopy(TELEGRAM_ALL)
    broken["chats"]["list"][1]["messages"] = "x"
    broken["left_chats"] = {"about": "", "list": [None]}
    found = read([broken], "json")
    assert [dialogue.turns[0].speaker for dialogue in found.dialogues] == ["Carl"]
    assert sorted(field for _, field in found.dropped) == ["chats.list[1].messages", "left_chats.list[0]"]


def test_the_pieces_alone_are_enough():
    export = copy.deepcopy(TELEGRAM)
    message = export["messages"][2]
    del message["text"]
    message["text_entities"] = [{"type": "plain", "text": "I see "}, {"type": "bold", "text": "a page."}]
    turn = read([export], "json").dialogues[0].turns[1]
    assert (turn.text, turn.field) == ("I see a page.", "messages[2].text_entities")


def test_the_date_is_used_where_there_is_no_unix_time():
    export = copy.deepcopy(TELEGRAM)
    for message in export["messages"]:
        message.pop("date_unixtime")
    export["messages"][5]["date"] = "2026-03-02T09:00:00"
    export["messages"][6]["date"] = "2026-03-02T09:01:00"
    assert [len(turns) for turns in read([export], "json").turns] == [2, 2]


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"text": None}, "text"),
        ({"text": [{"type": "bold"}]}, "text[0].text"),
        ({"text": ["a", 3]}, "text[1]"),
        ({"from": None, "from_id": None}, "from"),
        ({"from": 3}, "from"),
        ({"type": "story"}, "type"),
        ({"type": 3}, "type"),
    ],
)
def test_a_broken_message_is_refused_alone(changes, field):
    found = read([changed(1, **changes)], "json")
    assert found.dropped == [(2, f"messages[1].{field}")]
    assert found.dialogues[0].rows == 3


@pytest.mark.parametrize("key, value", [("messages", None), ("messages", []), ("messages", {})])
def test_a_chat_without_messages_is_refused(key, value):
    assert read([{**TELEGRAM, key: value}], "json").dropped == [(1, key)]


def test_an_account_without_a_message_is_refused():
    empty = {"chats": {"about": "", "list": [{"name": "x", "type": "personal_chat", "id": 1, "messages": []}]}}
    assert read([empty], "json").dropped == [(1, "chats.list")]
