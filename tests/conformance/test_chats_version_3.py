"""A chats database from before consent, likes and choices: every row is there, and all that is new works on it."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from duologue.characters import Character
from duologue.chat.cast import Member
from duologue.chat.feedback.collect import collect_chat
from duologue.chat.session_schema import MIGRATIONS
from duologue.chat.sessions import Sessions
from duologue.messages import Correction, Message, Opinion, Preference
from duologue.store import open_database, scripts

HERE = Path(__file__).parent
ROWS = (HERE / "chats_version_3_rows.sql").read_text(encoding="utf-8")
TABLES = {"sessions": "id", "messages": "id", "session_states": "session_id", "undo_steps": "id"}
MARA = Member.of(Character(name="Mara"))
# Of each script as it was released: one that changes leaves old databases with another schema than new ones.
RELEASED = {
    "sqlite": ["383380e89d944f92", "1fbcdc7403fecf34", "7211921676a0008f", "c6b11142312bcd19"],
    "postgres": ["0e12b5b29b212300", "fd88d4e0e30154dc", "9503d75ad591604f", "91745b9b007cb4aa"],
}


def rows_of(read: Callable[[str], Any]) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table of version 3."""
    ask = "SELECT * FROM {} ORDER BY {}"
    return {table: [dict(row) for row in read(ask.format(table, key))] for table, key in TABLES.items()}


@pytest.fixture(params=["sqlite", "postgres"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path | str, dict[str, list[dict[str, Any]]]]:
    """A database of version 3, and its rows."""
    if request.param == "sqlite":
        path = tmp_path / "chats.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((HERE / "chats_version_3_sqlite.sql").read_text(encoding="utf-8") + ROWS)
            connection.row_factory = sqlite3.Row
            return path, rows_of(connection.execute)
    url: str = request.getfixturevalue("postgres_url")
    with closing(open_database(url, migrations=MIGRATIONS[:3], name="chats")) as database:
        with database.write() as cursor:
            for statement in ROWS.partition("\n")[2].split(";\n"):
                if statement.strip():
                    cursor.execute(statement)
            for table in ("messages", "undo_steps"):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) AS at FROM {table}")
        return url, rows_of(database.read)


@pytest.fixture
def sessions(old: tuple[Path | str, Any]) -> Iterator[Sessions]:
    opened = Sessions.open(old[0])
    yield opened
    opened.close()


def test_every_row_of_before_is_there_as_it_was(old, sessions: Sessions) -> None:
    database = sessions._database
    found = rows_of(database.read)

    assert {table: len(rows) for table, rows in found.items()} == {
        "sessions": 4,
        "messages": 12,
        "session_states": 2,
        "undo_steps": 4,
    }
    assert {row.pop("text_by") for row in found["messages"]} == {""}
    assert found == old[1]
    assert [entry.message.content for entry in sessions.path("stove")][:2] == [
        "Is the kettle on?",
        "Not yet, the stove is cold.",
    ]
    assert [entry.id for entry in sessions.swipes(3)] == [2, 3, 4]
    assert sessions.info("stove").tags == ("tea", "winter") and sessions.state("branch", "lore") == {"turn": 3}
    assert {hit.message_id for hit in sessions.search("kettles")} == {1, 11}


def test_nobody_has_agreed_to_anything(sessions: Sessions) -> None:
    assert sessions.marks.count_consents(character="mara") == {"": 4}
    assert sessions.marks.list_consented(character="mara") == ()
    assert collect_chat(sessions, "stove", MARA, rating="general").found == ()


def test_old_replies_can_be_liked_and_those_that_are_made_now_be_chosen_and_rewritten(sessions: Sessions) -> None:
    marks = sessions.marks
    marks.set_opinion(6, True)
    marks.set_opinion(10, False)
    sessions.choose(2)
    marks.pick(2)  # nobody knows any more whether a model made it, so this choice says nothing
    asked = sessions.append("stove", Message("user", "And the cups?"))
    made = [
        sessions.append("stove", Message("assistant", text), finish_reason="stop", parent_id=asked, is_generated=True)
        for text in ("In the sink.", "On the table.")
    ]
    sessions.choose(made[0])
    marks.pick(made[0])
    sessions.append("stove", Message("user", "Wash them."))
    rewritten = sessions.append("stove", Message("assistant", "No."), finish_reason="stop", is_generated=True)
    sessions.edit(rewritten, "With pleasure.")
    marks.set_consent("stove", "given")

    feedback = collect_chat(sessions, "stove", MARA, rating="general")

    assert min(made) > 12, "no number of an old message is used again"
    by_kind = {found.kind: found.piece for found in feedback.found}
    assert set(by_kind) == {"like", "swipe", "edit"} and len(feedback.found) == 3
    liked, chosen, corrected = by_kind["like"], by_kind["swipe"], by_kind["edit"]
    assert isinstance(liked, Opinion) and (liked.reply, liked.is_liked) == (
        "On the shelf, behind the blue cups. 茶",
        True,
    )
    assert isinstance(chosen, Preference) and (chosen.chosen, chosen.rejected) == ("In the sink.", "On the table.")
    assert isinstance(corrected, Correction) and (corrected.before, corrected.reply) == ("No.", "With pleasure.")
    assert feedback.account.dropped == {"not_the_models": 2}, "the two beside what was turned to"
    assert collect_chat(sessions, "ana-tea", MARA, rating="general").found == (), "another chat, never asked"


def test_what_was_done_before_can_be_undone_after(sessions: Sessions) -> None:
    done = [sessions.undo("stove") for _ in range(5)]

    assert done == ["edit", "choose", "swipe", "swipe", None]
    [reply] = [entry for entry in sessions.tree("stove").messages if entry.id == 6]
    assert reply.message.content == "On the shelf, behind the cups. It's the blue one."
    assert [entry.id for entry in sessions.path("stove")] == [1, 2], (
        "the first reply is shown, as before the others came"
    )


def test_a_chat_of_before_is_erased_with_its_marks(sessions: Sessions) -> None:
    sessions.marks.set_opinion(6, True)
    sessions.marks.set_consent("stove", "given")
    sessions.delete("stove")

    assert not sessions.has("stove", character="mara")
    assert sessions.marks.read("stove").opinions == {} and sessions.marks.consent("stove").state == ""
    assert {hit.message_id for hit in sessions.search("kettle")} == {11}
    assert [entry.id for entry in sessions.path("ana-tea")] == [8, 9, 10]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_migration_that_was_released_is_never_changed(dialect) -> None:
    digests = [hashlib.sha256(script.encode()).hexdigest()[:16] for script in scripts(MIGRATIONS, dialect)]

    assert digests[: len(RELEASED[dialect])] == RELEASED[dialect]
