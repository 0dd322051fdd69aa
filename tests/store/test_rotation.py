"""Backups make themselves, are checked before an older one goes, and hold nothing that was forgotten."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from duologue.errors import DataError
from duologue.store import open_database, rotation, written_alone
from duologue.store.rotation import Backup, Rotation, kept_backups, list_backups

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was used once."""
    path = tmp_path / "a.sqlite"
    write(path, "first")
    return path


def write(path: Path, *texts: str) -> None:
    database = open_database(path, migrations=[NOTES])
    with database.write() as cursor:
        cursor.executemany("INSERT INTO notes (text) VALUES (?)", [(text,) for text in texts])
    database.close()


def texts(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]
    connection.close()
    return found


def fail(text: str) -> None:
    raise AssertionError(text)


def test_a_new_database_has_no_backup_and_a_used_one_has_one(path: Path) -> None:
    assert list_backups(path) == []
    write(path)
    [backup] = list_backups(path)
    assert texts(backup.path) == ["first"]
    assert backup.path.parent == path.parent / "backups"
    assert backup.path.stat().st_mode & 0o077 == 0
    assert backup.path.parent.stat().st_mode & 0o077 == 0


def test_a_file_that_did_not_change_or_has_a_fresh_backup_gets_none(path: Path) -> None:
    write(path)
    [first] = list_backups(path)
    for _ in range(2):  # unchanged, then changed within the hour
        write(path, "more")
        assert list_backups(path) == [first]
    old = first.path.with_name("a-000001-20260101T000000Z.sqlite")
    first.path.rename(old)  # as if it were made long ago
    write(path)
    assert [backup.number for backup in list_backups(path)] == [2, 1]
    unchanged = list_backups(path)[0].path
    os.utime(unchanged, (path.stat().st_mtime + 1, path.stat().st_mtime + 1))
    unchanged.rename(unchanged.with_name("a-000002-20260101T000000Z.sqlite"))
    write(path)
    assert [backup.number for backup in list_backups(path)] == [2, 1]


def test_a_backup_comes_after_many_writes_and_no_writer_waits_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "WRITES_BETWEEN", 20)
    database = open_database(path, migrations=[NOTES])
    database.close()
    database = open_database(path, migrations=[NOTES])
    for number in range(20):
        with database.write() as cursor:
            cursor.execute("INSERT INTO notes (text) VALUES (?)", (str(number),))
    database.close()
    newest = list_backups(path)[0]
    assert newest.number == 2
    assert set(texts(newest.path)) >= {"first", *map(str, range(20))}


def test_a_backup_comes_when_a_day_has_passed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    database = open_database(path, migrations=[NOTES])
    day = rotation.time.monotonic() + 86_400
    monkeypatch.setattr(rotation.time, "monotonic", lambda: day)
    with database.write() as cursor:
        cursor.execute("INSERT INTO notes (text) VALUES ('the next day')")
    database.close()
    assert texts(list_backups(path)[0].path) == ["first", "the next day"]


def test_the_newest_five_and_one_of_each_of_seven_days_are_kept() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    backups = [Backup(Path(str(n)), n, now - timedelta(hours=6 * (60 - n))) for n in range(60, 0, -1)]
    kept = kept_backups(backups)
    assert [backup.number for backup in kept[:5]] == [60, 59, 58, 57, 56]
    days = {backup.made_at.date() for backup in kept}
    assert len(days) == 7
    for day in days:
        newest = max((backup for backup in backups if backup.made_at.date() == day), key=lambda backup: backup.number)
        assert newest in kept
    assert len(kept) <= 12


def test_a_clock_that_goes_back_does_not_make_the_newest_backup_the_oldest(path: Path) -> None:
    folder = path.parent / "backups"
    folder.mkdir()
    for number in range(1, 8):
        (folder / f"a-{number:06}-2031010{number}T000000Z.sqlite").write_bytes(b"")
    Rotation(path, notify=fail).make_now()
    assert list_backups(path)[0].number == 8
    assert texts(list_backups(path)[0].path) == ["first"]


def test_the_last_good_backup_stays_when_a_new_one_cannot_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    [good] = list_backups(path)
    content = good.path.read_bytes()
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 4096)
    with pytest.raises(DataError, match="damaged"):
        Rotation(path, notify=fail).make_now()
    assert list_backups(path) == [good]
    assert good.path.read_bytes() == content
    assert not list(good.path.parent.glob("*.partial*"))


def test_a_failed_backup_is_told_and_stops_nobody(path: Path) -> None:
    (path.parent / "backups").write_text("a file in the place of the folder")
    told: list[str] = []
    database = open_database(path, migrations=[NOTES], notify=told.append)
    with database.write() as cursor:
        cursor.execute("INSERT INTO notes (text) VALUES ('goes on')")
    database.close()
    assert texts(path) == ["first", "goes on"]
    [sentence] = told
    assert sentence.startswith("No backup was made: ")
    assert "backups" in sentence


def test_copies_of_a_killed_process_are_swept(path: Path) -> None:
    folder = path.parent / "backups"
    folder.mkdir()
    (folder / "a-000004-20260101T000000Z.sqlite.4711.partial").write_bytes(b"half")
    Rotation(path, notify=fail).make_now()
    assert not list(folder.glob("*.partial"))


def test_a_purge_leaves_no_byte_in_the_backups_and_one_good_backup(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    write(path, *(f"kept {n}" for n in range(50)), *(f"secretquokka{n}" for n in range(50)))
    write(path)
    Rotation(path, notify=fail).make_now()
    (tmp_path / "a.damaged-20260101T000000000000Z.sqlite").write_bytes(b"secretquokka in a damaged file")
    (tmp_path / "backups" / "a-000009-20260101T000000Z.sqlite.1.partial").write_bytes(b"secretquokka in half a copy")
    assert sum(b"secretquokka" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()) >= 4
    database = open_database(path, migrations=[NOTES])
    with database.write() as cursor:
        cursor.execute("DELETE FROM notes WHERE text LIKE 'secret%'")
    database.purge()
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"secretquokka" not in file.read_bytes(), file
    [backup] = list_backups(path)
    assert texts(backup.path) == [f"kept {n}" for n in range(50)]
    assert path.with_name("a.sqlite-wal").stat().st_size == 0
    database.close()


def test_two_stores_share_the_folder_without_touching_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "chats.sqlite", tmp_path / "chats-old.sqlite"
    for path, text in ((one, "one"), (two, "two")):
        write(path, text)
        write(path)
    assert texts(list_backups(one)[0].path) == ["one"]
    assert texts(list_backups(two)[0].path) == ["two"]
    database = open_database(one, migrations=[NOTES])
    database.purge()
    database.close()
    assert len(list_backups(two)) == 1


def waits_for(lock: Callable[[], AbstractContextManager[None]]) -> bool:
    """Whether a second one who takes a lock comes in only after the first has left."""
    came = threading.Event()

    def enter() -> None:
        with lock():
            came.set()

    second = threading.Thread(target=enter)
    with lock():
        second.start()
        has_waited = not came.wait(0.2)
    second.join(20)
    return has_waited and came.is_set()


def test_no_two_write_the_same_file_or_its_backups_at_once(path: Path) -> None:
    assert waits_for(lambda: written_alone(path))
    assert waits_for(Rotation(path, notify=fail).locked)
