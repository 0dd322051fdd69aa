"""A session is a tree: versions beside each other, one path that is the chat, changes that can be undone."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.chat.sessions import NO_MESSAGE, Sessions, SessionTree
from duologue.chat.tree import TreeMessage
from duologue.errors import DataError
from duologue.messages import Message, RecalledLine
from duologue.store import open_database

# Version 1 of the schema, as it was released.
VERSION_1 = """
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        character TEXT NOT NULL,
        user TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    );
    CREATE INDEX sessions_in_order ON sessions (character, user, updated_at);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
        content TEXT NOT NULL,
        recalled TEXT NOT NULL DEFAULT '[]',
        finish_reason TEXT NOT NULL DEFAULT '',
        created_at TEXT NOT NULL
    );
    CREATE INDEX messages_in_order ON messages (session_id, id);
    """
TIME = "2026-11-01T20:00:00.000+00:00"
LINE = RecalledLine("The key is under the quokka", "user", 7, "older", TIME, 0.5, message_id=3)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions.open(tmp_path / "chats.sqlite")
    yield opened
    opened.close()


def say(sessions: Sessions, session_id: str, *texts: str) -> list[int]:
    """Append messages, the user first."""
    roles = ("user", "assistant")
    return [sessions.append(session_id, Message(roles[n % 2], text)) for n, text in enumerate(texts)]


def texts(sessions: Sessions, session_id: str) -> list[str]:
    return [entry.message.content for entry in sessions.path(session_id)]


def test_a_file_of_version_1_opens_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "chats.sqlite"
    old = open_database(path, migrations=[VERSION_1])
    with old.write() as cursor:
        for name in ("first", "second", "empty"):
            cursor.execute(
                "INSERT INTO sessions VALUES (?, 'nyx', 'local', ?, ?, ?)",
                (name, "A title"[: len(name) - 5], TIME, TIME),
            )
        insert = (
            "INSERT INTO messages (id, session_id, role, content, recalled, finish_reason, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        # Two chats that were written in turns, with gaps where messages were deleted.
        recalled = (
            '[{"text": "I like rain", "speaker": "user", "memory_id": 8, "session_id": "first", "said_at": "'
            + TIME
            + '", "score": 0.25}]'
        )
        cursor.execute(insert, (1, "first", "assistant", "Come in.", "[]", "stop", TIME))
        cursor.execute(insert, (3, "second", "user", "Is the lamp lit?", "[]", "", TIME))
        cursor.execute(insert, (4, "first", "user", "The lanterns are swaying", "[]", "", TIME))
        cursor.execute(insert, (9, "first", "assistant", "They do.", recalled, "stop", TIME))
        cursor.execute(insert, (11, "second", "assistant", "It is", "[]", "", TIME))
    old.close()

    sessions = Sessions.open(path)
    first = sessions.path("first")
    assert [(entry.id, entry.message.role, entry.message.content) for entry in first] == [
        (1, "assistant", "Come in."),
        (4, "user", "The lanterns are swaying"),
        (9, "assistant", "They do."),
    ]
    assert [entry.parent_id for entry in first] == [NO_MESSAGE, 1, 4]
    assert first[2].recalled == (RecalledLine("I like rain", "user", 8, "first", TIME, 0.25),)
    assert [entry.finish_reason for entry in first] == ["stop", "", "stop"]
    assert {entry.created_at for entry in first} == {TIME}
    assert [entry.id for entry in sessions.path("second")] == [3, 11]
    assert sessions.path("empty") == ()
    infos = {info.id: info for info in sessions.list_sessions(character="nyx")}
    assert {name: info.num_messages for name, info in infos.items()} == {"first": 3, "second": 2, "empty": 0}
    assert infos["second"].title == "A"
    assert infos["first"].title == "The lanterns are swaying"
    assert [hit.message_id for hit in sessions.search("lantern")] == [4]
    assert sessions.append("second", Message("user", "goes on")) > 11
    assert texts(sessions, "second") == ["Is the lamp lit?", "It is", "goes on"]
    sessions.close()
    assert [file.name[:12] for file in (tmp_path / "backups").glob("*.sqlite")] == ["chats-000001"]


def test_a_new_version_is_shown_and_the_old_one_stays_with_what_follows_it(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    question, reply, more = say(sessions, session_id, "hello", "good evening", "how are you?")
    other = sessions.append(session_id, Message("assistant", "welcome"), parent_id=question)
    assert texts(sessions, session_id) == ["hello", "welcome"]
    assert [(entry.id, entry.swipe, entry.num_swipes) for entry in sessions.swipes(reply)] == [
        (reply, 1, 2),
        (other, 2, 2),
    ]
    sessions.choose(reply)
    assert texts(sessions, session_id) == ["hello", "good evening", "how are you?"]
    assert sessions.append(session_id, Message("assistant", "Fine.")) > more
    sessions.choose(other)
    assert texts(sessions, session_id) == ["hello", "welcome"]
    sessions.choose(more)  # a message deep in the other part brings all above it with it
    assert texts(sessions, session_id) == ["hello", "good evening", "how are you?", "Fine."]
    [shown] = [entry for entry in sessions.path(session_id) if entry.id == reply]
    assert (shown.swipe, shown.num_swipes) == (1, 2)


def test_the_first_message_has_versions_too(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    first = sessions.append(session_id, Message("assistant", "Come in."))
    second = sessions.append(session_id, Message("assistant", "Who is there?"), parent_id=NO_MESSAGE)
    sessions.append(session_id, Message("user", "me"))
    assert texts(sessions, session_id) == ["Who is there?", "me"]
    sessions.choose(first)
    assert texts(sessions, session_id) == ["Come in."]
    assert [entry.id for entry in sessions.swipes(first)] == [first, second]


def test_a_reply_to_a_message_that_is_not_shown_leaves_the_chat_as_it_is(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    question, reply = say(sessions, session_id, "hello", "good evening")
    other = sessions.edit_beside(question, "hi")
    late = sessions.append(session_id, Message("user", "still typing"), parent_id=reply)
    assert texts(sessions, session_id) == ["hi"]
    assert [entry.id for entry in sessions.path_to(late)] == [question, reply, late]
    assert [entry.id for entry in sessions.path(session_id)] == [other]


def test_an_edit_keeps_the_place_counts_a_revision_and_can_be_undone(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    question, _ = say(sessions, session_id, "helo", "good evening")
    sessions.edit(question, "hello")
    sessions.edit(question, "hello")  # no change
    sessions.edit(question, "hello there")
    [edited, _] = sessions.path(session_id)
    assert (edited.id, edited.message.content, edited.revision) == (question, "hello there", 2)
    assert sessions.undo_kinds(session_id) == ("edit", "edit")
    assert sessions.undo(session_id) == "edit"
    assert texts(sessions, session_id)[0] == "hello"
    assert sessions.undo(session_id) == "edit"
    [undone, _] = sessions.path(session_id)
    assert undone.message.content == "helo"
    assert undone.revision == 4  # whoever follows the chat sees that it changed again
    assert sessions.undo(session_id) is None


def test_a_reply_that_is_gone_on_with_can_be_brought_back(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    _, reply = say(sessions, session_id, "hello", "Good")
    sessions.update(reply, "Good evening.", "stop")
    assert sessions.undo_kinds(session_id) == ()  # it only grew
    for text, finish_reason in (
        ("Good evening. Do", ""),
        ("Good evening. Do come", ""),
        ("Good evening. Do come in.", "stop"),
    ):
        sessions.update(reply, text, finish_reason)
    assert sessions.undo(session_id) == "edit"
    stored = sessions.path(session_id)[-1]
    assert (stored.message.content, stored.finish_reason) == ("Good evening.", "stop")
    assert sessions.undo(session_id) is None


def test_an_edit_beside_begins_a_version_with_the_same_speaker(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    question = sessions.append(session_id, Message("user", "hello"), speaker="Ana")
    reply = sessions.append(session_id, Message("assistant", "good evening"), speaker="Nyx")
    again = sessions.edit_beside(question, "hello, Nyx")
    [entry] = sessions.path(session_id)
    assert (entry.id, entry.message, entry.speaker) == (again, Message("user", "hello, Nyx"), "Ana")
    assert sessions.undo(session_id) == "swipe"
    assert [entry.id for entry in sessions.path(session_id)] == [question, reply]
    assert [entry.id for entry in sessions.swipes(question)] == [question, again]  # undoing removes nothing


def test_a_deleted_message_takes_what_follows_it_and_comes_back_with_it(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    ids = say(sessions, session_id, "one", "two", "three", "four")
    sessions.update(ids[1], "two, grown", "stop")
    other = sessions.append(session_id, Message("assistant", "three b"), parent_id=ids[1], recalled=[LINE])
    before = sessions.tree(session_id)
    assert set(sessions.delete_message(ids[1])) == {ids[1], ids[2], ids[3], other}
    assert texts(sessions, session_id) == ["one"]
    assert sessions.search("three") == ()
    assert sessions.delete_message(ids[1]) == ()
    assert sessions.undo(session_id) == "delete"
    assert sessions.tree(session_id) == before
    assert {hit.message_id for hit in sessions.search("three")} == {ids[2], other}


def test_the_version_before_takes_the_place_of_a_deleted_one(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    [question] = say(sessions, session_id, "hello")
    versions = [sessions.append(session_id, Message("assistant", f"v{n}"), parent_id=question) for n in range(3)]
    sessions.choose(versions[1])
    sessions.delete_message(versions[1])
    assert texts(sessions, session_id) == ["hello", "v0"]
    sessions.delete_message(versions[0])
    assert texts(sessions, session_id) == ["hello", "v2"]
    sessions.delete_message(versions[2])
    assert texts(sessions, session_id) == ["hello"]
    for shown in ("v2", "v0", "v1"):
        assert sessions.undo(session_id) == "delete"
        assert texts(sessions, session_id) == ["hello", shown]


def test_an_erased_message_leaves_no_byte_and_nothing_to_undo(sessions: Sessions, tmp_path: Path) -> None:
    session_id = sessions.create(character="nyx")
    ids = say(sessions, session_id, "kept", "secretquokka", "secretquokka too")
    sessions.edit(ids[1], "still a secretquokka")
    quoting = sessions.create(character="nyx")
    quote = RecalledLine("secretquokka", "assistant", 4, session_id, TIME, 0.5, message_id=ids[1])
    sessions.append(quoting, Message("assistant", "I remember"), recalled=[quote, LINE])
    sessions.delete_message(sessions.append(quoting, Message("assistant", "and more"), recalled=[quote]))
    assert sessions.erase_message(ids[1]) == (ids[1], ids[2])
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secretquokka" not in raw
    assert texts(sessions, session_id) == ["kept"]
    assert sessions.undo(session_id) is None
    assert sessions.undo(quoting) == "delete"
    assert [entry.recalled for entry in sessions.path(quoting)] == [(LINE,), ()]


def test_a_branch_is_a_session_of_its_own(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx", user="ana")
    ids = say(sessions, session_id, "one", "two", "three")
    other = sessions.append(session_id, Message("assistant", "two b"), parent_id=ids[0], recalled=[LINE], speaker="Nyx")
    sessions.rename(session_id, "Rain")
    sessions.set_tags(session_id, ["rain", " late  night ", "rain", ""])
    sessions.set_state(session_id, "author_note", {"text": "wet", "depth": 4})
    branch = sessions.branch(session_id, ids[1])
    assert texts(sessions, branch) == ["one", "two"]  # the path to the message, whatever is shown in the other
    assert not {entry.id for entry in sessions.path(branch)} & {*ids, other}
    info = sessions.info(branch)
    assert (info.title, info.tags, info.branched_from) == ("Rain", ("rain", "late night"), session_id)
    assert sessions.state(branch, "author_note") == {"text": "wet", "depth": 4}
    assert sessions.has(branch, character="nyx", user="ana")
    sessions.append(branch, Message("user", "only here"))
    sessions.edit(sessions.path(branch)[0].id, "one, changed")
    assert texts(sessions, session_id) == ["one", "two b"]
    second = sessions.branch(session_id, other)
    assert sessions.path(second)[1].recalled == (LINE,)
    assert sessions.path(second)[1].speaker == "Nyx"
    sessions.delete(session_id)
    assert texts(sessions, branch) == ["one, changed", "two", "only here"]
    assert sessions.info(branch).branched_from == ""
    with pytest.raises(DataError, match="there is no message"):
        sessions.branch(branch, ids[0])


def test_states_that_hold_ids_of_messages_are_translated_for_a_branch(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    ids = say(sessions, session_id, "one", "two", "three")
    sessions.set_state(session_id, "summary", {"up_to": ids[1]})
    sessions.set_state(session_id, "passing", 1)

    def restate(name: str, value: Any, new_ids: Mapping[int, int]) -> Any:
        return {"up_to": new_ids[value["up_to"]]} if name == "summary" else None

    branch = sessions.branch(session_id, ids[1], restate=restate)
    assert sessions.state(branch, "summary") == {"up_to": sessions.path(branch)[1].id}
    assert sessions.state(branch, "passing") is None
    assert sessions.state(session_id, "passing") == 1


def test_states_are_json_by_name(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    assert sessions.state(session_id, "lore") is None
    sessions.set_state(session_id, "lore", {"sticky": {"3": 2}, "names": ["Ölaf 🌧"]})
    sessions.set_state(session_id, "lore", {"sticky": {}, "names": ["Ölaf 🌧"]})
    assert sessions.state(session_id, "lore") == {"sticky": {}, "names": ["Ölaf 🌧"]}
    sessions.set_state(session_id, "lore", None)
    assert sessions.state(session_id, "lore") is None
    with pytest.raises(DataError, match="there is no session"):
        sessions.set_state("nowhere", "lore", 1)


def test_tags_select_sessions_in_a_list(sessions: Sessions) -> None:
    tagged, other = sessions.create(character="nyx"), sessions.create(character="nyx")
    sessions.set_tags(tagged, ["rain"])
    assert [info.id for info in sessions.list_sessions(character="nyx", tag="rain")] == [tagged]
    assert [info.id for info in sessions.list_sessions(character="nyx")] == [other, tagged]


def test_a_hidden_message_stays_in_the_chat_and_says_so(sessions: Sessions) -> None:
    session_id = sessions.create(character="nyx")
    [first] = say(sessions, session_id, "an aside")
    sessions.hide(first)
    assert [entry.is_hidden for entry in sessions.path(session_id)] == [True]
    sessions.hide(first, is_hidden=False)
    assert [entry.is_hidden for entry in sessions.path(session_id)] == [False]


@pytest.mark.parametrize("method", ["edit", "edit_beside", "choose"])
def test_a_change_of_an_unknown_message_is_refused(sessions: Sessions, method: str) -> None:
    arguments = (99,) if method == "choose" else (99, "text")
    with pytest.raises(DataError, match="there is no message 99"):
        getattr(sessions, method)(*arguments)


def test_a_message_of_another_session_is_no_parent(sessions: Sessions) -> None:
    one, two = sessions.create(character="nyx"), sessions.create(character="nyx")
    [first] = say(sessions, one, "hello")
    with pytest.raises(DataError, match=f"there is no message {first} in this session"):
        sessions.append(two, Message("user", "lost"), parent_id=first)
    assert sessions.path(two) == ()


def test_a_long_chat_is_read_with_the_same_work_per_message_as_a_short_one(sessions: Sessions) -> None:
    words = "The rain had stopped by the time the lantern boat came round the bend of the river. " * 3
    roles = ("user", "assistant")
    steps = {}
    for length in (200, 2000):
        messages = tuple(TreeMessage(n + 1, n, Message(roles[n % 2], f"{n} {words}")) for n in range(length))
        session_id = sessions.add_tree(SessionTree(messages), character="nyx")
        path, steps[length] = counted(sessions, lambda read=session_id: sessions.path(read))
        assert [entry.message.content for entry in path] == [message.message.content for message in messages]
    assert steps[2000] / 2000 < 1.05 * steps[200] / 200
    assert steps[2000] / 2000 < 70  # steps of SQLite's machine: 15 milliseconds for the whole chat here


def test_appending_takes_the_same_work_in_a_long_chat(sessions: Sessions) -> None:
    roles = ("user", "assistant")
    messages = tuple(TreeMessage(n + 1, n, Message(roles[n % 2], f"line {n}")) for n in range(3000))
    long, short = sessions.add_tree(SessionTree(messages), character="nyx"), sessions.create(character="nyx")
    steps = {}
    for session_id in (short, long):

        def append(session_id: str = session_id) -> None:
            for n in range(10):
                sessions.append(session_id, Message("user", f"more {n}"))

        _, steps[session_id] = counted(sessions, append)
    assert steps[long] < 1.5 * steps[short]


def counted(sessions: Sessions, work: Callable[[], Any]) -> tuple[Any, int]:
    """Return what work returns, and how many steps SQLite's machine took for it."""
    count = [0]

    def tick() -> None:
        count[0] += 1

    connection = sessions._database._connection
    connection.set_progress_handler(tick, 1)
    try:
        result = work()
        return result, count[0]
    finally:
        connection.set_progress_handler(None, 1)


# ------------------------------------------------------------------------------------------------------------- scripts


@dataclass
class Model:
    """The same tree in the plainest form: every version in a list below its parent."""

    below: dict[int, list[int]] = field(default_factory=lambda: {NO_MESSAGE: []})
    above: dict[int, int] = field(default_factory=dict)
    shown: dict[int, int] = field(default_factory=dict)
    text: dict[int, str] = field(default_factory=dict)

    def path(self) -> list[int]:
        at, path = NO_MESSAGE, []
        while at in self.shown:
            at = self.shown[at]
            path.append(at)
        return path

    def add(self, message_id: int, parent_id: int, text: str) -> None:
        self.below[parent_id].append(message_id)
        self.below[message_id] = []
        self.above[message_id], self.shown[parent_id], self.text[message_id] = parent_id, message_id, text

    def choose(self, message_id: int) -> None:
        while message_id != NO_MESSAGE:
            self.shown[self.above[message_id]] = message_id
            message_id = self.above[message_id]

    def delete(self, message_id: int) -> None:
        parent_id = self.above[message_id]
        versions = self.below[parent_id]
        place = versions.index(message_id)
        versions.remove(message_id)
        if self.shown[parent_id] == message_id:
            del self.shown[parent_id]
            if versions:
                self.shown[parent_id] = versions[max(0, place - 1)]
        for child in list(self.below[message_id]):
            self.delete(child)
        del self.below[message_id], self.above[message_id], self.text[message_id]
        self.shown.pop(message_id, None)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "swipe", "edit", "beside", "choose", "delete", "branch"]),
        st.integers(0, 10**6),
        st.text(alphabet="abc \n é", min_size=1, max_size=6),
    ),
    max_size=25,
)


# One database for all scripts: each has a session of its own.
SCRIPTS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def apply(sessions: Sessions, session_id: str, model: Model, operation: tuple[str, int, str]) -> None:
    """Do one thing to the session and to the model."""
    kind, number, text = operation
    ids = sorted(model.above)
    if kind == "append" or not ids:
        parent = (model.path() or [NO_MESSAGE])[-1]
        model.add(sessions.append(session_id, Message("user", text)), parent, text)
        return
    message_id = ids[number % len(ids)]
    if kind == "swipe":
        parent = model.above[message_id]
        model.add(sessions.append(session_id, Message("assistant", text), parent_id=parent), parent, text)
    elif kind == "edit":
        sessions.edit(message_id, text)
        model.text[message_id] = text
    elif kind == "beside":
        model.add(sessions.edit_beside(message_id, text), model.above[message_id], text)
    elif kind == "choose":
        sessions.choose(message_id)
        model.choose(message_id)
    elif kind == "delete":
        sessions.delete_message(message_id)
        model.delete(message_id)
    else:
        branch = sessions.branch(session_id, message_id)
        above = [model.text[entry.id] for entry in sessions.path_to(message_id)]
        assert texts(sessions, branch) == above


def assert_equal(sessions: Sessions, session_id: str, model: Model) -> None:
    path = sessions.path(session_id)
    assert [(entry.id, entry.message.content) for entry in path] == [(n, model.text[n]) for n in model.path()]
    assert [entry.num_swipes for entry in path] == [len(model.below[model.above[n]]) for n in model.path()]
    tree = sessions.tree(session_id)
    assert dict(tree.chosen) == model.shown
    found = {parent: [m.id for m in versions] for parent, versions in tree.children().items()}
    assert found == {parent: versions for parent, versions in model.below.items() if versions}
    assert sessions.info(session_id).num_messages == len(path)
    assert [entry.id for entry in tree.path()] == model.path()


@given(OPERATIONS)
@SCRIPTS
def test_any_script_of_changes_leaves_the_tree_that_the_plain_model_has(
    sessions: Sessions, operations: list[tuple[str, int, str]]
) -> None:
    session_id, model = sessions.create(character="nyx"), Model()
    for operation in operations:
        apply(sessions, session_id, model, operation)
        assert_equal(sessions, session_id, model)
    assert {hit.message_id for hit in sessions.search("b", limit=10_000) if hit.session_id == session_id} == {
        message_id for message_id, text in model.text.items() if "b" in re.findall("[abcé]+", text)
    }


@given(OPERATIONS)
@SCRIPTS
def test_undoing_every_step_brings_back_every_text_and_every_message(
    sessions: Sessions, operations: list[tuple[str, int, str]]
) -> None:
    session_id, model = sessions.create(character="nyx"), Model()
    first_texts: dict[int, str] = {}
    for operation in operations:
        kinds = len(sessions.undo_kinds(session_id))
        before = sessions.path(session_id)
        apply(sessions, session_id, model, operation)
        first_texts |= {n: text for n, text in model.text.items() if n not in first_texts}
        if len(sessions.undo_kinds(session_id)) > kinds:
            assert sessions.undo(session_id) == {"beside": "swipe"}.get(operation[0], operation[0])
            again = sessions.path(session_id)
            assert [(e.id, e.message) for e in again] == [(e.id, e.message) for e in before]
            apply_again(sessions, session_id, model, operation)
    while sessions.undo(session_id) is not None:
        pass
    tree = sessions.tree(session_id)
    assert {m.id: m.message.content for m in tree.messages if m.id in first_texts} == first_texts


def apply_again(sessions: Sessions, session_id: str, model: Model, operation: tuple[str, int, str]) -> None:
    """Do what was undone once more, so that the script goes on from there."""
    kind = operation[0]
    newest = max(model.above, default=NO_MESSAGE)
    if kind in ("swipe", "beside"):
        sessions.choose(newest)  # the version is still there
    elif kind == "choose":
        for parent, child in model.shown.items():
            if child in model.above and parent in (*model.above, NO_MESSAGE) and child in model.path():
                sessions.choose(child)
    elif kind == "edit":
        for message_id, text in model.text.items():
            sessions.edit(message_id, text)
    else:
        gone = {m.id for m in sessions.tree(session_id).messages} - set(model.above)
        sessions.delete_message(min(gone))
