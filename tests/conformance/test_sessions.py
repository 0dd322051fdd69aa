"""What sessions promise, on every database they can lie in."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.chat.sessions import NO_MESSAGE, Sessions
from duologue.chat.tree import StoredMessage
from duologue.errors import DataError
from duologue.messages import Message, RecalledLine

LINE = RecalledLine("The key is under the quokka", "user", 7, "older", "2026-11-01T20:00:00.000+00:00", 0.5)
# Everything but what no database of ours takes: NUL (PostgreSQL has no such text) and halves of surrogate pairs.
TEXT = st.text(st.characters(blacklist_characters="\x00\x02\x03", blacklist_categories=("Cs",)), max_size=80)


def say(sessions: Sessions, session_id: str, *texts: str) -> list[int]:
    roles = ("user", "assistant")
    return [sessions.append(session_id, Message(roles[n % 2], text)) for n, text in enumerate(texts)]


def texts(sessions: Sessions, session_id: str) -> list[str]:
    return [entry.message.content for entry in sessions.path(session_id)]


def test_what_a_user_keeps_is_counted_with_every_version_and_nobody_elses(sessions: Sessions) -> None:
    mine = sessions.create(character="mara", user="ann")
    before = sessions.num_chars(character="mara", user="ann")
    say(sessions, mine, "Hello there.", "Good evening.")
    with_texts = sessions.num_chars(character="mara", user="ann")
    say(sessions, sessions.create(character="mara", user="bob"), "x" * 500)
    say(sessions, sessions.create(character="lila", user="ann"), "x" * 500)

    assert with_texts - before >= len("Hello there.Good evening.")
    assert sessions.num_chars(character="mara", user="ann") == with_texts
    assert sessions.num_chars(character="mara", user="nobody") == 0


def test_a_chat_is_kept_word_for_word_and_found_after_a_restart(places: tuple[Path | str, Path | str]) -> None:
    first = Sessions.open(places[0])
    session = first.create(character="mara", user="local")
    [asked] = say(first, session, "100% ? :name $1 'quoted' \"twice\" \\ ünïcödé 🐝\n\ttab")
    answered = first.append(
        session, Message("assistant", "Yes."), recalled=[LINE], finish_reason="stop", speaker="Mara", is_hidden=True
    )
    first.close()
    again = Sessions.open(places[0])

    one, two = again.path(session)

    assert one.message.content == "100% ? :name $1 'quoted' \"twice\" \\ ünïcödé 🐝\n\ttab"
    assert (two.id, two.parent_id, two.recalled, two.finish_reason) == (answered, asked, (LINE,), "stop")
    assert (two.speaker, two.is_hidden, one.is_hidden) == ("Mara", True, False)
    assert again.has(session, character="mara") and not again.has(session, character="mara", user="other")
    again.close()


def test_the_latest_used_session_is_listed_first_with_its_title_and_tags(sessions: Sessions) -> None:
    older, newer = (sessions.create(character="mara") for _ in range(2))
    say(sessions, older, "  First   words ", "Hello")
    sessions.rename(newer, "The   lake")
    sessions.set_tags(newer, ["calm", " calm ", "by  night"])
    say(sessions, older, "More")

    infos = sessions.list_sessions(character="mara")

    assert [(info.id, info.title, info.num_messages) for info in infos] == [
        (older, "First words", 3),
        (newer, "The lake", 0),
    ]
    assert sessions.info(newer).tags == ("calm", "by night")
    assert [info.id for info in sessions.list_sessions(character="mara", tag="calm")] == [newer]
    assert sessions.list_sessions(character="mara", user="other") == ()


def test_versions_of_a_reply_are_chosen_between_and_what_hangs_below_comes_back(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    asked, first, below = say(sessions, session, "Tea?", "Green.", "Thanks")
    second = sessions.append(session, Message("assistant", "Black."), parent_id=asked)
    assert texts(sessions, session) == ["Tea?", "Black."]

    sessions.choose(first)

    assert [entry.id for entry in sessions.path(session)] == [asked, first, below]
    assert [(entry.id, entry.swipe, entry.num_swipes) for entry in sessions.swipes(first)] == [
        (first, 1, 2),
        (second, 2, 2),
    ]


def test_edits_deletions_and_choices_are_undone_in_turn(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    asked, answered, _ = say(sessions, session, "Tea?", "Green.", "Thanks")
    sessions.edit(asked, "Coffee?")
    beside = sessions.edit_beside(answered, "Black.")
    sessions.delete_message(beside)
    assert texts(sessions, session) == ["Coffee?", "Green.", "Thanks"]

    kinds = sessions.undo_kinds(session)
    undone = [sessions.undo(session) for _ in range(len(kinds) + 1)]

    assert undone == [*kinds, None]
    assert "delete" in kinds and "edit" in kinds
    assert texts(sessions, session) == ["Tea?", "Green.", "Thanks"]


def test_a_branch_is_a_session_of_its_own(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    _, answered, _ = say(sessions, session, "Tea?", "Green.", "Thanks")
    sessions.set_state(session, "note", {"mood": "calm", "list": [1, None, True, "ü"]})

    branch = sessions.branch(session, answered)
    say(sessions, branch, "Or coffee?")
    sessions.edit(sessions.path(branch)[0].id, "Changed")

    assert texts(sessions, session) == ["Tea?", "Green.", "Thanks"]
    assert texts(sessions, branch) == ["Changed", "Green.", "Or coffee?"]
    assert sessions.state(branch, "note") == {"mood": "calm", "list": [1, None, True, "ü"]}
    assert sessions.info(branch).branched_from == session


def test_states_are_set_read_and_removed(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    for value in ("one", {"two": 2}, None):
        sessions.set_state(session, "note", value)
        assert sessions.state(session, "note") == value
    with pytest.raises(DataError, match="no session"):
        sessions.set_state("nobody", "note", 1)


def test_a_growing_reply_is_replaced_in_place_and_its_revision_grows(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    _, reply = say(sessions, session, "Tell me", "")
    for text in ("Once", "Once upon", "Once upon"):
        sessions.update(reply, text, "")
    sessions.update(reply, "Once upon", "stop")

    last = sessions.path(session)[-1]
    assert (last.message.content, last.finish_reason, last.revision) == ("Once upon", "stop", 2)
    sessions.update(10**12, "nothing", "stop")


@pytest.mark.parametrize(
    "asked, found",
    [
        ("lantern", ["the lanterns burn", "a Lantern"]),
        ('"old harbour"', ["in the old harbour"]),
        ("harbour old", ["in the old harbour", "old, not the harbour"]),
        ("cafe", ["in the café", "CAFÉ"]),
        ("café", ["in the café", "CAFÉ"]),
        ("the", ["the lanterns burn", "in the old harbour", "old, not the harbour", "in the café"]),
        ("e-mail 3.14", ["an e-mail of 3.14 pages"]),
        ('"mail of 3"', ["an e-mail of 3.14 pages"]),
        ("or -lantern", []),
        ("nobody", []),
        ("'; DROP TABLE messages; --", []),
        ("lantern*", ["the lanterns burn", "a Lantern"]),
        ("!!!", []),
        ("", []),
    ],
)
def test_the_same_words_find_the_same_messages(sessions: Sessions, asked: str, found: list[str]) -> None:
    session, other = sessions.create(character="mara"), sessions.create(character="mara", user="other")
    for text in ("the lanterns burn", "in the old harbour", "old, not the harbour", "a Lantern"):
        say(sessions, session, text)
    say(sessions, session, "in the café", "CAFÉ", "an e-mail of 3.14 pages")
    say(sessions, other, "a lantern of somebody else in the old harbour")

    hits = sessions.search(asked)

    by_id = {entry.id: entry.message.content for entry in sessions.path(session)}
    assert sorted(by_id[hit.message_id] for hit in hits) == sorted(found)
    for hit in hits:
        assert all(hit.snippet[begin:end].strip() for begin, end in hit.matches)
        assert hit.matches or "caf" in asked  # PostgreSQL does not mark a word whose accents were left out


def test_deleted_and_edited_messages_are_not_found(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    first, _, third = say(sessions, session, "a lantern", "yes", "a lantern too")
    sessions.edit(first, "a candle")
    sessions.erase_message(third)

    assert sessions.search("lantern") == ()
    assert [hit.message_id for hit in sessions.search("candle")] == [first]


def test_a_deleted_session_takes_its_quotes_along(sessions: Sessions) -> None:
    gone, kept = sessions.create(character="mara"), sessions.create(character="mara")
    say(sessions, gone, "the key is under the quokka")
    reply = sessions.append(
        kept, Message("assistant", "I see"), recalled=[replace(LINE, session_id=gone), replace(LINE, memory_id=8)]
    )

    sessions.delete(gone)

    assert sessions.path(gone) == () and [info.id for info in sessions.list_sessions(character="mara")] == [kept]
    [entry] = sessions.path(kept)
    assert entry.id == reply and [line.memory_id for line in entry.recalled] == [8]
    sessions.forget_recalled([8])
    assert sessions.path(kept)[0].recalled == ()


def test_what_is_not_there_is_said_in_words(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    for call in (
        lambda: sessions.append("nobody", Message("user", "x")),
        lambda: sessions.info("nobody"),
        lambda: sessions.tree("nobody"),
        lambda: sessions.edit(10**9, "x"),
        lambda: sessions.choose(10**9),
        lambda: sessions.branch(session, 10**9),
        lambda: sessions.append(session, Message("user", "x"), parent_id=10**9),
    ):
        with pytest.raises(DataError, match="there is no"):
            call()
    assert (sessions.delete_message(10**9), sessions.undo(session), sessions.path_to(10**9)) == ((), None, ())


def test_a_copied_tree_is_the_same_tree(sessions: Sessions) -> None:
    session = sessions.create(character="mara")
    asked, first, _ = say(sessions, session, "Tea?", "Green.", "Thanks")
    sessions.append(session, Message("assistant", "Black."), parent_id=asked)
    sessions.choose(first)

    copy = sessions.add_tree(sessions.tree(session), character="mara")

    assert texts(sessions, copy) == texts(sessions, session)
    assert [len(sessions.swipes(entry.id)) for entry in sessions.path(copy)] == [1, 2, 1]


WRITING = """
import sys
from pathlib import Path
from duologue.chat.sessions import Sessions
from duologue.messages import Message
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
sessions = Sessions.open(place)
for number in range(15):
    sessions.append(sys.argv[2], Message("user", f"{sys.argv[3]} {number}"))
sessions.close()
"""


def test_processes_that_write_into_one_chat_lose_nothing_and_break_no_chain(
    sessions: Sessions, places: tuple[Path | str, Path | str]
) -> None:
    session = sessions.create(character="mara")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITING, str(places[0]), session, name], stderr=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    complaints = [process.communicate(timeout=120)[1] for process in processes]

    assert complaints == ["", "", ""]
    path = sessions.path(session)
    assert sorted(entry.message.content for entry in path) == sorted(f"{n} {i}" for n in "abc" for i in range(15))
    assert [entry.parent_id for entry in path] == [NO_MESSAGE, *(entry.id for entry in path[:-1])]
    assert sessions.info(session).num_messages == 45


def test_threads_share_the_sessions(sessions: Sessions) -> None:
    ids = [sessions.create(character="mara") for _ in range(4)]

    def work(session: str) -> None:
        for number in range(10):
            say(sessions, session, f"{number}")
            sessions.path(session)

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, ids))

    assert [texts(sessions, session) for session in ids] == [[str(number) for number in range(10)]] * 4


# ------------------------------------------------------------------------- any script does the same on both of them

Step = tuple[str, int, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "swipe", "edit", "beside", "choose", "delete", "undo", "branch", "hide", "reply", "tag", "next"]
        ),
        st.integers(0, 9),
        TEXT,
    ),
    max_size=12,
)


class Player:
    """Plays a script; sessions and messages are named by the order in which they appeared."""

    def __init__(self, sessions: Sessions, user: str) -> None:
        self.sessions, self.user = sessions, user
        self.ids = [sessions.create(character="mara", user=user)]
        self.at = 0
        self.numbers: dict[int, int] = {NO_MESSAGE: 0}

    def play(self, step: Step) -> Any:
        kind, number, text = step
        session = self.ids[self.at]
        path = self.sessions.path(session)
        if kind == "next":
            self.at = (self.at + 1) % len(self.ids)
            return None
        if kind in ("say", "undo", "reply", "tag"):
            return self._whole(kind, session, text)
        if not path:
            return "nothing"
        return self._one(kind, path[number % len(path)], text)

    def _whole(self, kind: str, session: str, text: str) -> Any:
        acts: dict[str, Callable[[], Any]] = {
            "say": lambda: self.seen(self.sessions.append(session, Message("user", text))),
            "reply": lambda: self.sessions.delete_last_reply(session) is None,
            "undo": lambda: self.sessions.undo(session),
            "tag": lambda: self.sessions.set_tags(session, [text, "always"]),
        }
        return acts[kind]()

    def _one(self, kind: str, entry: StoredMessage, text: str) -> Any:
        sessions = self.sessions
        acts: dict[str, Callable[[], Any]] = {
            "swipe": lambda: self.seen(
                sessions.append(entry.session_id, Message("assistant", text), parent_id=entry.parent_id)
            ),
            "edit": lambda: sessions.edit(entry.id, text),
            "beside": lambda: self.seen(sessions.edit_beside(entry.id, text)),
            "choose": lambda: sessions.choose(sessions.swipes(entry.id)[0].id),
            "delete": lambda: len(sessions.delete_message(entry.id)),
            "branch": lambda: self.ids.append(sessions.branch(entry.session_id, entry.id)),
            "hide": lambda: sessions.hide(entry.id, is_hidden=not entry.is_hidden),
        }
        return acts[kind]()

    def seen(self, message_id: int) -> int:
        return self.numbers.setdefault(message_id, len(self.numbers))

    def view(self) -> Any:
        """Return everything that can be seen, without what is drawn by chance."""
        shown = []
        for session in self.ids:
            path = self.sessions.path(session)
            info = self.sessions.info(session)
            rows = [
                (
                    self.seen(entry.parent_id), self.seen(entry.id), entry.message, entry.revision, entry.swipe,
                    entry.num_swipes, entry.is_hidden,
                )
                for entry in path
            ]  # fmt: skip
            branched = self.ids.index(info.branched_from) if info.branched_from else None
            shown.append((info.title, info.num_messages, info.tags, branched, self.sessions.undo_kinds(session), rows))
        return shown


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_script_of_changes_leaves_the_same_sessions_everywhere(
    both_sessions: tuple[Sessions, Sessions], steps: list[Step]
) -> None:
    user = f"user {len(both_sessions[0]._database.read('SELECT id FROM sessions'))}"  # each script has its own
    one, two = (Player(sessions, user) for sessions in both_sessions)
    for step in steps:
        assert one.play(step) == two.play(step)
        assert one.view() == two.view()
