"""Sessions keep every message, list themselves, and are deleted whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.chat import Sessions
from duologue.errors import DataError
from duologue.messages import Message, RecalledLine

LINE = RecalledLine("The key is under the quokka", "user", 7, "older", "2026-11-01T20:00:00+00:00", 0.5)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions.open(tmp_path / "chats.sqlite")
    yield opened
    opened.close()


def test_messages_come_back_in_order_with_all_they_carry(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    first = sessions.append(session_id, Message("user", "Where's the key?\n🌧"))
    second = sessions.append(session_id, Message("assistant", "Under"), recalled=[LINE])
    sessions.update(second, "Under the quokka.", "stop")
    stored = sessions.messages(session_id)
    assert [entry.id for entry in stored] == [first, second]
    assert stored[0].message == Message("user", "Where's the key?\n🌧")
    assert (stored[1].message, stored[1].recalled) == (Message("assistant", "Under the quokka."), (LINE,))
    assert [entry.finish_reason for entry in stored] == ["", "stop"]
    assert stored[0].created_at.endswith("+00:00")
    assert sessions.messages("unknown") == ()


def test_a_list_holds_one_users_sessions_with_one_character_the_latest_used_first(sessions: Sessions) -> None:
    old, new = sessions.create(character="nyx"), sessions.create(character="nyx")
    sessions.create(character="nyx", user="bea")
    sessions.create(character="lila")
    assert [info.id for info in sessions.list_sessions(character="nyx")] == [new, old]
    sessions.append(old, Message("assistant", "Come in."))
    sessions.append(old, Message("user", "Is  the\nlamp lit?"))
    listed = sessions.list_sessions(character="nyx")
    assert {info.id: (info.title, info.num_messages) for info in listed} == {
        old: ("Is the lamp lit?", 2),
        new: ("New chat", 0),
    }


def test_a_title_is_the_first_message_shortened_until_another_is_given(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    sessions.append(session_id, Message("user", "word " * 50))
    [info] = sessions.list_sessions(character="nyx")
    assert len(info.title) == 60
    assert info.title.endswith("…")
    sessions.rename(session_id, "  Rain \n talk ")
    assert sessions.list_sessions(character="nyx")[0].title == "Rain talk"
    sessions.rename(session_id, "")
    assert sessions.list_sessions(character="nyx")[0].title == info.title


def test_a_session_belongs_to_its_user_and_character(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx", user="ana")
    assert sessions.has(session_id, character="nyx", user="ana")
    assert not sessions.has(session_id, character="nyx", user="bea")
    assert not sessions.has(session_id, character="lila", user="ana")
    assert not sessions.has("' OR 1=1 --", character="nyx", user="ana")


def test_a_message_for_an_unknown_session_is_refused(sessions: Sessions) -> None:
    with pytest.raises(DataError, match="there is no session 'nowhere'"):
        sessions.append("nowhere", Message("user", "hello"))


def test_only_a_reply_at_the_end_is_deleted_as_the_last_reply(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    assert sessions.delete_last_reply(session_id) is None
    sessions.append(session_id, Message("assistant", "the greeting"))
    assert sessions.delete_last_reply(session_id) is None
    sessions.append(session_id, Message("user", "hello"))
    assert sessions.delete_last_reply(session_id) is None
    reply = sessions.append(session_id, Message("assistant", "good evening"))
    assert sessions.delete_last_reply(session_id) == reply
    assert [entry.message.content for entry in sessions.messages(session_id)] == ["the greeting", "hello"]
    assert sessions.append(session_id, Message("assistant", "again")) > reply  # ids are never used twice


def test_deleting_a_session_leaves_no_byte_of_it_not_even_where_others_quote_it(
    sessions: Sessions, tmp_path: Path
) -> None:
    gone, kept = sessions.create(character="nyx"), sessions.create(character="nyx")
    for number in range(50):
        sessions.append(gone, Message("user", f"secretquokka{number} " + "x" * 200))
    quoted = RecalledLine("secretquokka3", "user", 3, gone, "2026-11-01T20:00:00+00:00", 0.5)
    sessions.append(kept, Message("assistant", "a reply that stays"), recalled=[quoted, LINE])
    sessions.rename(gone, "titlequokka")
    sessions.delete(gone)
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secretquokka" not in raw
    assert b"titlequokka" not in raw
    assert sessions.messages(gone) == ()
    [entry] = sessions.messages(kept)
    assert (entry.message.content, entry.recalled) == ("a reply that stays", (LINE,))


def test_a_forgotten_memory_leaves_the_replies_it_was_recalled_for(sessions: Sessions, tmp_path: Path) -> None:
    session_id = sessions.create(character="nyx")
    other = RecalledLine("I like rain", "user", 8, "older", "2026-11-01T20:00:00+00:00", 0.5)
    sessions.append(session_id, Message("assistant", "Yes."), recalled=[LINE, other])
    sessions.forget_recalled([7])
    assert sessions.messages(session_id)[0].recalled == (other,)
    assert b"quokka" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
