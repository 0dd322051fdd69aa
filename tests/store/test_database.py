"""The store keeps what it acknowledged, in one piece, and touches nothing it cannot read."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import duologue
from duologue.errors import DataError
from duologue.store import Database, open_database

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n"
AUTHORS = """
CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE works (author_id INTEGER NOT NULL REFERENCES authors (id) ON DELETE CASCADE, title TEXT);
CREATE TRIGGER shout AFTER INSERT ON authors BEGIN
    UPDATE authors SET name = upper(name) WHERE id = new.id;
END;
"""


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.read("SELECT text FROM notes ORDER BY id")]


def add(database: Database, text: str) -> None:
    with database.write() as cursor:
        cursor.execute("INSERT INTO notes (text) VALUES (?)", (text,))


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    database = open_database(path, migrations=[NOTES])
    add(database, "kept")
    database.close()
    again = open_database(path, migrations=[NOTES])
    assert texts(again) == ["kept"]
    again.close()


def test_the_connection_is_durable_erases_and_checks_references(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    settings = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout")
    assert [database.read(f"PRAGMA {name}")[0][0] for name in settings] == ["wal", 2, 1, 1, 10000]
    database.close()


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    add(database, "private")
    assert {file.name: file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {
        "a.sqlite": 0,
        "a.sqlite-wal": 0,
        "a.sqlite-shm": 0,
    }
    database.close()


def test_missing_migrations_are_applied_in_order_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    first = open_database(path, migrations=[NOTES])
    add(first, "old row")
    first.close()
    second = open_database(path, migrations=[NOTES, AUTHORS])
    with second.write() as cursor:
        cursor.execute("INSERT INTO authors (name) VALUES ('lila')")
    assert second.read("SELECT name FROM authors")[0]["name"] == "LILA"
    assert texts(second) == ["old row"]
    assert second.read("PRAGMA user_version")[0][0] == 2
    second.close()
    third = open_database(path, migrations=[NOTES, AUTHORS])
    assert len(third.read("SELECT * FROM authors")) == 1
    third.close()


def test_a_failing_migration_leaves_the_schema_it_found(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    open_database(path, migrations=[NOTES]).close()
    broken = "CREATE TABLE half (id);\nCREATE TABLE notes (id);\n"
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(path, migrations=[NOTES, broken])
    database = open_database(path, migrations=[NOTES])
    tables = [row["name"] for row in database.read("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert tables == ["notes"]
    database.close()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    open_database(path, migrations=[NOTES, AUTHORS]).close()
    with pytest.raises(DataError, match="schema version 2; expected at most 1"):
        open_database(path, migrations=[NOTES])


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    with pytest.raises(sqlite3.IntegrityError), database.write() as cursor:
        cursor.executemany("INSERT INTO notes (text) VALUES (?)", [("half",), (None,)])
    assert texts(database) == []
    add(database, "whole")
    assert texts(database) == ["whole"]
    database.close()


def test_our_own_mistakes_are_not_dressed_up_as_disk_faults(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES, AUTHORS])
    with pytest.raises(sqlite3.IntegrityError), database.write() as cursor:
        cursor.execute("INSERT INTO works (author_id, title) VALUES (99, 'no author')")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.read("SELECT * FROM missing_table")
    database.close()


@pytest.mark.parametrize("damage", ["header", "page", "cut", "text"])
def test_a_damaged_file_is_reported_and_left_untouched(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.sqlite"
    database = open_database(path, migrations=[NOTES])
    for number in range(300):
        add(database, f"row {number} " + "x" * 100)
    database.close()
    whole = path.read_bytes()
    broken = {
        "header": b"\0" * 100 + whole[100:],
        "page": whole[:4096] + b"\xff" * 4096 + whole[8192:],
        "cut": whole[: len(whole) // 2 + 700],
        "text": b"this is not a database at all, it is a text file of some length\n" * 20,
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(DataError, match="damaged") as caught:
        open_database(path, migrations=[NOTES])
    assert caught.value.where == str(path)
    assert "left as it is" in caught.value.action
    assert path.read_bytes() == broken


def test_damage_beside_an_unmerged_log_leaves_both_files_untouched(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.sqlite", tmp_path / "copy.sqlite"
    database = open_database(path, migrations=[NOTES])
    for number in range(300):
        add(database, f"row {number} " + "x" * 100)
    database.purge()
    add(database, "only in the log")
    copy.write_bytes(path.read_bytes()[:5000])
    log = copy.with_name("copy.sqlite-wal")
    log.write_bytes(path.with_name("a.sqlite-wal").read_bytes())
    database.close()
    before = copy.read_bytes(), log.read_bytes()
    with pytest.raises(DataError):
        open_database(copy, migrations=[NOTES])
    assert (copy.read_bytes(), log.read_bytes()) == before


def test_a_vanished_file_with_a_log_beside_it_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    log = tmp_path / "a.sqlite-wal"
    log.write_bytes(b"the last messages")
    with pytest.raises(DataError, match="write-ahead log is not empty"):
        open_database(path, migrations=[NOTES])
    assert log.read_bytes() == b"the last messages"
    assert not path.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened") as caught:
        open_database(tmp_path / "nowhere" / "a.sqlite", migrations=[NOTES])
    assert "nowhere" in caught.value.where


def test_a_full_disk_says_what_to_do_and_keeps_the_rows_before(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    add(database, "before")
    database.read("PRAGMA max_page_count = 1")  # SQLite then answers as it does on a full disk
    with pytest.raises(DataError, match="the disk is full") as caught:
        add(database, "x" * 100_000)
    assert caught.value.action == "Free some space and try again."
    database.read("PRAGMA max_page_count = 100000")
    assert texts(database) == ["before"]
    add(database, "after")
    assert texts(database) == ["before", "after"]
    database.close()


def test_threads_share_one_database_without_losing_a_row(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])

    def write(name: int) -> None:
        for number in range(25):
            add(database, f"{name}/{number}")
            assert database.read("SELECT count(*) FROM notes")[0][0] > 0

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(database)) == sorted(f"{name}/{number}" for name in range(6) for number in range(25))
    database.close()


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(duologue.__file__).parents[1])}
WRITER = """
import sys
from pathlib import Path
from duologue.store import open_database
database = open_database(Path(sys.argv[1]), migrations=[sys.argv[2]])
for number in range(int(sys.argv[3])):
    with database.write() as cursor:
        cursor.execute("INSERT INTO notes (text) VALUES (?)", (str(number),))
    print(number, flush=True)
"""


def test_processes_that_make_the_same_database_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), NOTES, "10"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    outcomes = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert outcomes == [("", 0)] * 4
    database = open_database(path, migrations=[NOTES])
    assert len(texts(database)) == 40
    database.close()


def test_an_acknowledged_row_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    command = [sys.executable, "-c", WRITER, str(path), NOTES, "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
    database = open_database(path, migrations=[NOTES])
    assert texts(database)[:20] == acknowledged
    database.close()


def test_a_held_database_is_reported_as_held(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = open_database(path, migrations=[NOTES])
    database.read("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DataError, match="another program holds the database"):
        add(database, "waits")
    other.execute("ROLLBACK")
    other.close()
    add(database, "goes on")
    assert texts(database) == ["goes on"]
    database.close()


def test_a_backup_is_one_whole_file_that_opens(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    add(database, "kept twice")
    folder = tmp_path / "backups"
    folder.mkdir()
    target = folder / "a.sqlite"
    target.write_bytes(b"an older backup")
    database.backup(target)
    add(database, "later")
    assert [file.name for file in folder.iterdir()] == ["a.sqlite"]
    restored = open_database(target, migrations=[NOTES])
    assert texts(restored) == ["kept twice"]
    restored.close()
    database.close()


def test_a_backup_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", migrations=[NOTES])
    with pytest.raises(DataError, match="the backup cannot be written"):
        database.backup(tmp_path / "nowhere" / "a.sqlite")
    target = tmp_path / "old"
    target.mkdir()  # a folder in the place of the file: the last step, the rename, fails
    with pytest.raises(DataError, match="the backup cannot be written"):
        database.backup(target)
    assert sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith("a.sqlite")) == ["old"]
    database.close()


def test_a_purge_leaves_no_byte_of_deleted_rows_and_the_other_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = open_database(path, migrations=[NOTES])
    for number in range(400):
        add(database, f"marker{number}end " + "x" * (number % 7 * 150))
    with database.write() as cursor:
        cursor.execute("DELETE FROM notes WHERE id % 3 = 0")
    database.purge()
    raw = path.read_bytes() + path.with_name("a.sqlite-wal").read_bytes()
    kept = {int(text.split("end")[0].removeprefix("marker")) for text in texts(database)}
    assert {number for number in range(400) if f"marker{number}end".encode() in raw} == kept
    assert len(kept) == 267
    assert path.with_name("a.sqlite-wal").stat().st_size == 0
    database.close()


def test_a_log_that_another_program_reads_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = open_database(path, migrations=[NOTES])
    database.read("PRAGMA busy_timeout = 1")
    add(database, "read by two")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM notes").fetchall()
    add(database, "newer than the reader")
    with pytest.raises(DataError, match="another program reads the database"):
        database.purge()
    other.close()
    database.purge()
    assert texts(database) == ["read by two", "newer than the reader"]
    database.close()
