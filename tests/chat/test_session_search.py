"""Search finds every version of every message, in the sessions it may see, and takes its question as plain words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.chat.sessions import Sessions
from duologue.messages import Message


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions.open(tmp_path / "chats.sqlite")
    yield opened
    opened.close()


def say(sessions: Sessions, text: str, *, character: str = "nyx", user: str = "local") -> tuple[str, int]:
    session_id = sessions.create(character=character, user=user)
    return session_id, sessions.append(session_id, Message("user", text))


def found(sessions: Sessions, text: str, **scope: str) -> set[int]:
    return {hit.message_id for hit in sessions.search(text, **scope)}


def test_words_are_found_in_any_form_case_and_accent(sessions: Sessions) -> None:
    _, running = say(sessions, "The ferries were RUNNING past the café")
    _, other = say(sessions, "Nothing of that kind")
    assert found(sessions, "ferry run") == {running}
    assert found(sessions, "cafe") == {running}
    assert found(sessions, "kinds") == {other}
    assert found(sessions, "ferry kind") == set()  # every word counts


def test_words_in_quotes_stand_together(sessions: Sessions) -> None:
    _, together = say(sessions, "the old harbour light")
    _, apart = say(sessions, "a light over the harbour")
    assert found(sessions, "harbour light") == {together, apart}
    assert found(sessions, '"harbour light"') == {together}


def test_nobody_finds_what_another_user_said(sessions: Sessions) -> None:
    _, mine = say(sessions, "a secret lamp", user="ana")
    _, theirs = say(sessions, "another secret lamp", user="bea")
    _, elsewhere = say(sessions, "a third lamp", user="ana", character="olm")
    assert found(sessions, "lamp", user="ana") == {mine, elsewhere}
    assert found(sessions, "lamp", user="ana", character="nyx") == {mine}
    assert found(sessions, "lamp", user="bea") == {theirs}
    assert found(sessions, "lamp") == set()


def test_a_hit_says_where_it_is_and_marks_its_words(sessions: Sessions) -> None:
    session_id, question = say(sessions, "Tell me of the sea")
    text = "word " * 40 + "and then the lantern went out over the lanterns of the quay " + "word " * 40
    reply = sessions.append(session_id, Message("assistant", text), speaker="Olm")
    sessions.append(session_id, Message("assistant", "Something else."), parent_id=question)
    [hit] = sessions.search("lantern")
    assert (hit.message_id, hit.session_id, hit.title) == (reply, session_id, "Tell me of the sea")
    assert (hit.role, hit.speaker) == ("assistant", "Olm")
    assert [hit.snippet[begin:end] for begin, end in hit.matches] == ["lantern", "lanterns"]
    assert hit.snippet.strip("…") in text
    sessions.choose(hit.message_id)  # the way to a version that is not shown
    assert sessions.path(session_id)[-1].id == reply


def test_the_index_follows_edits_growth_and_deletions(sessions: Sessions) -> None:
    session_id, message = say(sessions, "about gulls")
    sessions.edit(message, "about herons")
    assert (found(sessions, "gulls"), found(sessions, "herons")) == (set(), {message})
    sessions.update(message, "about herons and terns", "")
    assert found(sessions, "terns") == {message}
    sessions.delete_message(message)
    assert found(sessions, "herons") == set()
    sessions.undo(session_id)
    assert found(sessions, "herons") == {message}


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_asked_for(sessions: Sessions, text: str) -> None:
    sessions.search(text)


@pytest.mark.parametrize(
    "text",
    ['"', '""', "AND", "a OR b", "NEAR(a b)", "content:x", "x*", "^x", "(", "a - b", "'; DROP TABLE messages", "\0"],
)
def test_signs_of_the_query_language_are_only_text(sessions: Sessions, text: str) -> None:
    _, message = say(sessions, "a word")
    assert found(sessions, text) <= {message}
    assert found(sessions, "word") == {message}
