import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from duologue.errors import ConfigError, DataError
from duologue.store import Script, open_database
from duologue.store.address import parse_address
from duologue.store.postgres import PostgresDatabase
from duologue.store.statement import translate
from tests.conformance.cutting import CuttingLine
from tests.conformance.server import data_folder, postgres_server, postgres_url, with_settings

__all__ = ["postgres_server", "postgres_url"]

NOTES = (
    "CREATE TABLE notes (id {id}, user TEXT NOT NULL, text TEXT NOT NULL, weight {real}, raw {blob});"
    "CREATE INDEX notes_of_user ON notes (user, id);",
)


@pytest.fixture
def database(postgres_url: str) -> Iterator[PostgresDatabase]:
    opened = opened_at(postgres_url)
    yield opened
    opened.close()


def opened_at(url: str, *, name: str = "notes") -> PostgresDatabase:
    database = open_database(url, migrations=NOTES, name=name)
    assert isinstance(database, PostgresDatabase)
    return database


def add(database: PostgresDatabase, text: str, user: str = "mara") -> int:
    with database.write() as cursor:
        row = cursor.execute(
            "INSERT INTO notes (user, text) VALUES (:user, :text) RETURNING id", {"user": user, "text": text}
        ).fetchone()
    assert row is not None
    return int(row["id"])


def texts(database: PostgresDatabase) -> list[str]:
    return [row["text"] for row in database.read("SELECT text FROM notes ORDER BY id")]


def other(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def kill_connections(url: str) -> None:
    with other(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'duologue' AND datname = current_database()"
        )


# ------------------------------------------------------------------------------------------------------- statements


def test_marks_and_names_become_numbers_and_what_is_quoted_stays() -> None:
    assert translate("SELECT '?', \"?\", x FROM a -- ?\n WHERE b = ? AND c = ?").sql == (
        "SELECT '?', \"?\", x FROM a -- ?\n WHERE b = $1 AND c = $2"
    )
    named = translate("SELECT ':no', x::text FROM a WHERE b = :two AND c = :one AND d = :two")
    assert named.sql == "SELECT ':no', x::text FROM a WHERE b = $1 AND c = $2 AND d = $1"
    assert named.values({"one": 1, "two": True, "three": 3}) == (1, 1)


def test_the_column_user_is_quoted_because_the_word_means_something_else_there() -> None:
    assert translate("SELECT user, a.user FROM users WHERE user = ?").sql == (
        'SELECT "user", a."user" FROM users WHERE "user" = $1'
    )
    assert translate("SELECT 'user', \"user\", user_id, $$ user $$").sql == (
        "SELECT 'user', \"user\", user_id, $$ user $$"
    )


@given(text=st.text(alphabet=st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=60))
def test_a_quoted_text_is_never_changed(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"

    assert translate(f"SELECT {quoted} WHERE a = ?").sql == f"SELECT {quoted} WHERE a = $1"


# ---------------------------------------------------------------------------------------------------------- address


def test_the_schema_is_ours_and_the_rest_of_the_address_is_the_servers() -> None:
    address = parse_address("postgresql://m%40ra:p%2Fw@db.example:5433/chat?schema=lila&sslmode=require", name="chats")

    assert (address.schema, address.label) == ("lila_chats", "postgresql://m@ra@db.example:5433/chat?schema=lila")
    assert address.connection["password"] == "p/w"
    assert address.connection["sslmode"] == "require"
    assert "p/w" not in repr(address)


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://mara:topsecret@127.0.0.1:notaport/db",
        "postgresql://mara:topsecret@[::1/db",
        "postgresql://mara:topsecret@host/db?schema=Robert'); DROP TABLE notes",
        "postgresql://mara:topsecret@host/db?schema=",
        "postgresql://mara:topsecret@host/db?nosuchsetting=1",
        "mysql://mara:topsecret@host/db",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(place: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        open_database(place, migrations=NOTES, name="notes")

    assert "topsecret" not in f"{caught.value}{caught.value.__cause__ or ''}"


def test_a_wrong_password_is_named_and_not_shown(postgres_url: str) -> None:
    with other(postgres_url) as connection:
        connection.execute("DROP ROLE IF EXISTS guarded")
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'rightsecret'")
        rules = data_folder() / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text("local all guarded scram-sha-256\n" + before)
        connection.execute("SELECT pg_reload_conf()")
        try:
            place = postgres_url.replace("postgres:@", "guarded:wrongsecret@")
            time.sleep(0.2)
            with pytest.raises(DataError, match="refuses the password") as caught:
                open_database(place, migrations=NOTES, name="notes")
        finally:
            rules.write_text(before)
            connection.execute("SELECT pg_reload_conf()")

    assert "wrongsecret" not in str(caught.value)
    assert "guarded" in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="cannot be reached") as caught:
        open_database("postgresql://mara:topsecret@127.0.0.1:9/db", migrations=NOTES, name="notes")

    assert "127.0.0.1:9" in str(caught.value)
    assert "topsecret" not in str(caught.value)


def test_a_database_that_is_not_there_is_named(postgres_server: str) -> None:
    with pytest.raises(DataError, match="no such database"):
        open_database(postgres_server.replace("/postgres?", "/nobody?"), migrations=NOTES, name="notes")


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_server: str) -> None:
    with other(postgres_server) as connection:
        connection.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(DataError, match="stores texts as LATIN1; expected UTF8"):
        open_database(postgres_server.replace("/postgres?", "/narrow?"), migrations=NOTES, name="notes")


# ------------------------------------------------------------------------------------------------------ transactions


def test_rows_come_back_by_name_with_their_types(database: PostgresDatabase) -> None:
    with database.write() as cursor:
        cursor.execute(
            "INSERT INTO notes (user, text, weight, raw) VALUES (?, ?, ?, ?)", ("mara", "100% of %s?", 0.1, b"\x00\xff")
        )

    [row] = database.read("SELECT * FROM notes WHERE user = ? AND text LIKE '100%'", ("mara",))

    assert (row["user"], row["text"], row["weight"], bytes(row["raw"])) == ("mara", "100% of %s?", 0.1, b"\x00\xff")


def test_a_body_that_raises_leaves_nothing_and_the_next_one_works(database: PostgresDatabase) -> None:
    def half_done() -> None:
        with database.write() as cursor:
            cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'b')")
            assert len(database.read("SELECT * FROM notes")) == 1  # sees what it has done so far
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert texts(database) == []

    add(database, "kept")

    assert texts(database) == ["kept"]


def test_readers_see_nothing_of_an_open_transaction(database: PostgresDatabase) -> None:
    seen: list[int] = []
    with database.write() as cursor:
        cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'b')")
        reader = threading.Thread(target=lambda: seen.append(len(texts(database))))
        reader.start()
        reader.join()

    assert seen == [0]


def test_a_statement_that_failed_cannot_be_swallowed_into_a_silent_rollback(database: PostgresDatabase) -> None:
    def swallowing() -> None:
        with database.write() as cursor:
            cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'b')")
            with suppress(psycopg.Error):
                cursor.execute("SELECT nonsense FROM notes")

    with pytest.raises(AssertionError, match="swallowed"):
        swallowing()

    assert texts(database) == []


def test_several_rows_at_once_are_counted_together(database: PostgresDatabase) -> None:
    for text in "abcd":
        add(database, text)

    with database.write() as cursor:
        cursor.executemany("DELETE FROM notes WHERE text = ?", [("a",), ("b",), ("x",)])
        assert cursor.rowcount == 2


COUNTING = """
import sys
from duologue.store import open_database
database = open_database(sys.argv[1], migrations=("CREATE TABLE counter (number {integer} NOT NULL);",), name="count")
for _ in range(25):
    with database.write() as cursor:
        [row] = database.read("SELECT coalesce(max(number), 0) AS number FROM counter")
        cursor.execute("DELETE FROM counter")
        cursor.execute("INSERT INTO counter VALUES (?)", (row["number"] + 1,))
database.close()
"""


def test_processes_that_start_together_share_a_schema_and_lose_no_update(postgres_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNTING, postgres_url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    complaints = [process.communicate(timeout=60)[1] for process in processes]

    assert complaints == [""] * 4
    with other(postgres_url) as connection:
        assert connection.execute("SELECT number FROM duologue_count.counter").fetchall() == [(100,)]


def test_threads_share_a_database(database: PostgresDatabase) -> None:
    threads = [threading.Thread(target=add, args=(database, f"note {number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(texts(database)) == sorted(f"note {number}" for number in range(20))


# -------------------------------------------------------------------------------------------------------- migrations


def test_stores_and_schemas_in_one_database_do_not_touch_each_other(postgres_url: str) -> None:
    one, two, three = (
        opened_at(postgres_url),
        opened_at(postgres_url, name="other"),
        opened_at(with_settings(postgres_url, schema="lila")),
    )
    add(one, "only here")

    assert [texts(two), texts(three)] == [[], []]
    assert {one.schema, two.schema, three.schema} == {"duologue_notes", "duologue_other", "lila_notes"}
    for database in (one, two, three):
        database.close()


def test_a_schema_is_brought_to_the_newest_version_and_a_newer_one_is_refused(postgres_url: str) -> None:
    opened_at(postgres_url).close()
    more = (
        *NOTES,
        Script(sqlite="nonsense", postgres="ALTER TABLE notes ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'"),
    )
    newer = open_database(postgres_url, migrations=more, name="notes")
    with newer.write() as cursor:
        cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'b')")
    assert newer.read("SELECT mood FROM notes")[0]["mood"] == "calm"
    newer.close()

    with pytest.raises(DataError, match="schema version 2; expected at most 1"):
        opened_at(postgres_url)


def test_a_migration_that_fails_leaves_the_schema_as_it_was(postgres_url: str) -> None:
    broken = (*NOTES, "ALTER TABLE notes ADD COLUMN mood TEXT; ALTER TABLE nowhere ADD COLUMN mood TEXT;")
    with pytest.raises(psycopg.Error):
        open_database(postgres_url, migrations=broken, name="notes")

    database = opened_at(postgres_url)
    assert "mood" not in database.read("SELECT * FROM notes RIGHT JOIN (SELECT 1) AS one ON false")[0]
    database.close()


def test_a_user_who_may_only_use_the_schema_can_open_it(postgres_url: str) -> None:
    opened_at(postgres_url).close()
    with other(postgres_url) as connection:
        connection.execute("DROP ROLE IF EXISTS modest")
        connection.execute("CREATE ROLE modest LOGIN")
        connection.execute("GRANT USAGE, CREATE ON SCHEMA duologue_notes TO modest")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA duologue_notes TO modest")
    database = opened_at(postgres_url.replace("postgres:@", "modest:@"))

    add(database, "modestly")

    assert texts(database) == ["modestly"]
    database.close()
    with other(postgres_url) as connection:
        connection.execute("DROP OWNED BY modest; DROP ROLE modest")


# ------------------------------------------------------------------------------------------------------------ faults


def test_reading_and_writing_go_on_after_every_connection_was_lost(
    database: PostgresDatabase, postgres_url: str
) -> None:
    add(database, "before")
    kill_connections(postgres_url)
    assert texts(database) == ["before"]

    kill_connections(postgres_url)
    add(database, "after")

    assert texts(database) == ["before", "after"]


def test_a_connection_that_is_lost_inside_a_transaction_stores_nothing(
    database: PostgresDatabase, postgres_url: str
) -> None:
    def interrupted() -> None:
        with database.write() as cursor:
            cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'half')")
            kill_connections(postgres_url)
            cursor.execute("INSERT INTO notes (user, text) VALUES ('a', 'other half')")

    with pytest.raises(DataError):
        interrupted()

    assert texts(database) == []


@contextmanager
def cutting(postgres_url: str, tmp_path: Path, *, passes_on: bool) -> Iterator[PostgresDatabase]:
    """The store of notes behind a line that is cut at its first COMMIT."""
    folder = str(conninfo_to_dict(postgres_url)["host"])
    line = CuttingLine(Path(folder) / ".s.PGSQL.5432", tmp_path, passes_on=passes_on)
    through = PostgresDatabase(parse_address(postgres_url.replace(folder, str(tmp_path)), name="notes"))
    yield through
    through.close()
    line.close()


def test_a_commit_whose_answer_is_lost_is_asked_after_and_found_stored(
    database: PostgresDatabase, postgres_url: str, tmp_path: Path
) -> None:
    with cutting(postgres_url, tmp_path, passes_on=True) as through:
        add(through, "stored")  # no error: the server says that it is

    assert texts(database) == ["stored"]


def test_a_commit_that_never_arrived_is_an_error_and_stores_nothing(
    database: PostgresDatabase, postgres_url: str, tmp_path: Path
) -> None:
    with cutting(postgres_url, tmp_path, passes_on=False) as through:
        with pytest.raises(DataError, match="nothing of the change was stored"):
            add(through, "lost")
        add(through, "again")

    assert texts(database) == ["again"]


@pytest.mark.parametrize(
    "code, message",
    [
        ("53100", "disk is full"),
        ("53200", "out of memory"),
        ("40001", "another program changed"),
        ("40P01", "another program changed"),
        ("25006", "takes no writes"),
        ("42501", "may not do this"),
        ("58030", "disk failed"),
        ("XX001", "damaged"),
    ],
)
def test_what_the_server_reports_is_said_in_words(database: PostgresDatabase, code: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught, database.write() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}', DETAIL = 'Key (x)'; END $$")

    assert "as asked" in str(caught.value) and "Key (x)" not in str(caught.value)
    assert texts(database) == []


def test_a_text_with_nul_is_refused_in_words(database: PostgresDatabase) -> None:
    with pytest.raises(DataError, match="NUL"):
        add(database, "a\x00b")


def test_a_statement_that_takes_too_long_is_ended(database: PostgresDatabase) -> None:
    def slow() -> None:
        with database.write() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '50ms'")
            cursor.execute("SELECT pg_sleep(5)")

    with pytest.raises(DataError, match="too long"):
        slow()

    add(database, "still there")


def test_a_schema_that_another_program_holds_is_an_error_after_a_while(
    database: PostgresDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duologue.store.postgres._SETTINGS", ("SET lock_timeout = '100ms'",))
    hasty = PostgresDatabase(parse_address(postgres_url, name="notes"))
    with database.write(), pytest.raises(DataError, match="another program holds"), hasty.write():
        pass
    hasty.close()


def test_a_backup_is_left_to_the_servers_own_tools(database: PostgresDatabase, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pg_dump --schema=duologue_notes"):
        database.backup(tmp_path / "copy")

    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- purge


def files_with(text: str) -> list[Path]:
    """The files of tables and indexes that hold a text."""
    return [
        path for path in (data_folder() / "base").rglob("*") if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_no_byte_of_a_deleted_row_is_left_in_the_tables(database: PostgresDatabase, postgres_url: str) -> None:
    for number in range(300):
        add(database, f"the turnip number {number}")
    with other(postgres_url) as connection:
        connection.execute("CHECKPOINT")
        assert files_with("the turnip number")

        with database.write() as cursor:
            cursor.execute("DELETE FROM notes WHERE id > ?", (0,))
        add(database, "still here")
        database.purge()
        connection.execute("CHECKPOINT")

    assert files_with("the turnip number") == []
    assert texts(database) == ["still here"]


def test_a_purge_that_an_old_transaction_keeps_from_its_work_says_so(
    database: PostgresDatabase, postgres_url: str
) -> None:
    add(database, "the turnip")
    with psycopg.connect(postgres_url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1").fetchall()
        with database.write() as cursor:
            cursor.execute("DELETE FROM notes WHERE id > ?", (0,))

        with pytest.raises(DataError, match="1 deleted rows are still in the tables"):
            database.purge()

    database.purge()


def test_large_tables_are_vacuumed_without_being_written_anew(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duologue.store.postgres.REWRITE_BYTES", 0)
    add(database, "the turnip")
    with database.write() as cursor:
        cursor.execute("DELETE FROM notes WHERE id > ?", (0,))
    [before] = database.read("SELECT pg_relation_filenode('notes'::regclass) AS number")

    database.purge()

    assert database.read("SELECT pg_relation_filenode('notes'::regclass) AS number") == [before]


def test_closing_ends_every_connection(postgres_url: str, wait: Callable[[Callable[[], bool]], bool]) -> None:
    database = opened_at(postgres_url)
    texts(database)
    database.close()

    with other(postgres_url) as connection:
        assert wait(
            lambda: (
                connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'duologue'"
                    " AND datname = current_database()"
                ).fetchone()
                == (0,)
            )
        )


@pytest.fixture
def wait() -> Callable[[Callable[[], bool]], bool]:
    def until(is_so: Callable[[], bool]) -> bool:
        end = time.monotonic() + 5
        while not is_so() and time.monotonic() < end:
            time.sleep(0.02)
        return is_so()

    return until
