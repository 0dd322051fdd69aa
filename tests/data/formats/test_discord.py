"""Channels of Discord."""

import copy

import pytest

from tests.data.formats.samples import DISCORD, read


def changed(index, **changes):
    export = copy.deepcopy(DISCORD)
    export["messages"][index].update(changes)
    return export


def test_messages_become_turns_of_named_speakers_cut_at_the_night():
    found = read([DISCORD], "json")
    assert found.turns == [
        [("Anna", "Is the sauna warm?"), ("Lila", "Warm enough, @Anna.")],
        [("Anna", "Good morning."), ("Lila", "Is it?")],
    ]
    first, second = found.dialogues
    assert [(turn.row, turn.field) for turn in first.turns] == [(1, "messages[0].content"), (2, "messages[1].content")]
    assert (first.row, first.rows, second.row, second.rows) == (1, 2, 6, 2)
    assert found.left_out == [
        (3, "a notice of Discord"),
        (4, "a message with files only"),
        (5, "a message of a bot"),
    ]
    assert found.of_file == [("pauses of 6 h or longer: 1", "cut into conversations there")]
    assert found.reading.formats == {"discord": 7}


def test_where_one_person_talks_to_a_bot_the_bot_stays():
    export = copy.deepcopy(DISCORD)
    for message in export["messages"]:
        message["author"]["isBot"] = message["author"]["name"] == "lila"
    export["messages"] = export["messages"][:2]
    assert read([export], "json").turns == [[("Anna", "Is the sauna warm?"), ("Lila", "Warm enough, @Anna.")]]


def test_an_export_with_the_newest_message_first_is_read_in_order_of_time():
    export = copy.deepcopy(DISCORD)
    export["messages"].reverse()
    found = read([export], "json")
    assert found.turns == read([DISCORD], "json").turns
    assert [[turn.row for turn in dialogue.turns] for dialogue in found.dialogues] == [[7, 6], [2, 1]]
    assert ("messages, newest first: 7", "read in order of time") in found.of_file


def test_two_accounts_of_one_nickname_are_told_apart_by_the_name():
    export = copy.deepcopy(DISCORD)
    for message in export["messages"]:
        message["author"]["nickname"] = "Moss"
    speakers = {turn.speaker for dialogue in read([export], "json").dialogues for turn in dialogue.turns}
    assert speakers == {"anna", "lila"}


def test_an_old_export_without_nicknames_is_read():
    export = copy.deepcopy(DISCORD)
    for message in export["messages"]:
        del message["author"]["nickname"]
    assert read([export], "json").turns[0][0] == ("anna", "Is the sauna warm?")


def test_files_beside_a_text_are_counted():
    found = read([changed(0, attachments=[{"id": "1"}])], "json")
    assert ("messages with files attached: 1", "only their text is used") in found.of_file


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"content": None}, "content"),
        ({"author": "Anna"}, "author"),
        ({"author": {"id": "1", "name": ""}}, "author.name"),
        ({"author": {"id": "1", "name": 3}}, "author.name"),
        ({"author": {"id": "1", "name": "anna", "isBot": "no"}}, "author.isBot"),
        ({"type": None}, "type"),
    ],
)
def test_a_broken_message_is_refused_alone(changes, field):
    found = read([changed(0, **changes)], "json")
    assert found.dropped == [(1, f"messages[0].{field}")]
    assert found.dialogues[0].turns[0].row == 2


def test_a_message_without_a_time_follows_at_once_and_is_counted():
    found = read([changed(5, timestamp=None)], "json")
    assert ("messages without a readable time: 1", "taken to follow at once") in found.of_file
    assert [dialogue.rows for dialogue in found.dialogues] == [4]  # one message after the pause is not cut off


@pytest.mark.parametrize("messages", [None, {}, "x", []])
def test_an_export_without_messages_is_refused(messages):
    found = read([{**DISCORD, "messages": messages}], "json")
    assert (found.dialogues, found.dropped) == ([], [(1, "messages")])
