"""A damaged database is put aside and restored, with what can still be read; nothing is made anew in silence."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from duologue.errors import DataError
from duologue.store import open_database
from duologue.store.rotation import list_backups

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);\n"
REMARKS = """
CREATE TABLE remarks (
    note_id INTEGER NOT NULL REFERENCES notes (id) ON DELETE CASCADE,
    author TEXT NOT NULL,
    PRIMARY KEY (note_id, author)
);
CREATE VIRTUAL TABLE words USING fts5 (text, content = 'notes', content_rowid = 'id');
CREATE TRIGGER added AFTER INSERT ON notes BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
"""
PAGE = 4096


def fill(path: Path, numbers: range, *, migrations: tuple[str, ...] = (NOTES,)) -> None:
    database = open_database(path, migrations=migrations)
    for start in range(numbers.start, numbers.stop, 100):
        with database.write() as cursor:
            for number in range(start, min(start + 100, numbers.stop)):
                cursor.execute("INSERT INTO notes (text) VALUES (?)", (f"note {number} " + "x" * 100,))
    database.close()


def numbers(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    found = [int(text.split()[1]) for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]
    connection.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a backup of its first 300 rows and 300 newer rows."""
    path = tmp_path / "a.sqlite"
    fill(path, range(300))
    fill(path, range(0))  # opened again, and closed when the backup was made
    fill(path, range(300, 600))
    assert len(numbers(list_backups(path)[0].path)) == 300
    return path


def break_file(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    path.write_bytes(
        {
            "header": b"\0" * 100 + whole[100:],
            "page": whole[: 6 * PAGE] + b"\xff" * PAGE + whole[7 * PAGE :],
            "cut": whole[: len(whole) // 2 + 700],
            "text": b"this is not a database at all, it is a text file of some length\n" * 20,
            "empty": b"",
        }[damage]
    )


@pytest.mark.parametrize("damage", ["header", "page", "cut", "text", "empty"])
def test_a_damaged_file_is_put_aside_and_restored_from_its_backup(path: Path, damage: str) -> None:
    break_file(path, damage)
    broken = path.read_bytes()
    told: list[str] = []
    open_database(path, migrations=[NOTES], notify=told.append).close()
    assert numbers(path)[:300] == list(range(300))
    [aside] = path.parent.glob("a.damaged-*.sqlite")
    assert aside.read_bytes() == broken
    [notice] = told
    assert notice.startswith("a.sqlite: ")
    assert "restored from the backup of 20" in notice
    assert aside.name in notice
    told.clear()
    open_database(path, migrations=[NOTES], notify=told.append).close()
    assert told == []
    assert not list(path.parent.glob("*.restor*"))


def test_newer_rows_that_can_still_be_read_are_saved_and_counted(path: Path) -> None:
    break_file(path, "page")
    told: list[str] = []
    open_database(path, migrations=[NOTES], notify=told.append).close()
    found = numbers(path)
    assert found[:300] == list(range(300))  # also those on the page that is gone
    assert found == list(range(600))  # the page held older rows, which the backup has
    assert "300 newer rows" in told[0]


def test_rows_on_a_lost_page_are_counted_and_the_rest_is_saved(path: Path) -> None:
    whole = path.read_bytes()
    pages = len(whole) // PAGE
    late = pages - 4  # in the middle of the newer rows
    path.write_bytes(whole[: late * PAGE] + b"\xff" * PAGE + whole[(late + 1) * PAGE :])
    told: list[str] = []
    database = open_database(path, migrations=[NOTES], notify=told.append)
    with database.write() as cursor:
        new_id = cursor.execute("INSERT INTO notes (text) VALUES ('note 600') RETURNING id").fetchone()["id"]
    database.close()
    found = numbers(path)
    lost = 601 - len(found)
    assert 10 < lost < 60
    assert found[-1] == 600
    assert f"Up to {lost} rows could not be read" in told[0]
    assert f"{600 - lost - 300} newer rows" in told[0]
    assert new_id == 601  # no id of a lost row is given out again


def test_a_vanished_file_is_restored_and_says_so(path: Path) -> None:
    path.unlink()
    told: list[str] = []
    open_database(path, migrations=[NOTES], notify=told.append).close()
    assert numbers(path) == list(range(300))
    assert "the database is gone, but it has backups" in told[0]
    assert "move the folder backups away" in told[0]


def test_a_damaged_backup_is_passed_over_for_an_older_good_one(path: Path) -> None:
    [good] = list_backups(path)
    newer = good.path.with_name("a-000002-20261101T000000Z.sqlite")
    newer.write_bytes(good.path.read_bytes()[: 5 * PAGE])
    break_file(path, "text")
    told: list[str] = []
    open_database(path, migrations=[NOTES], notify=told.append).close()
    assert numbers(path) == list(range(300))
    assert newer.name in told[0]


def test_without_a_good_backup_nothing_is_touched(path: Path) -> None:
    [backup] = list_backups(path)
    backup.path.write_bytes(b"not a database, and long enough to be looked at as one " * 10)
    break_file(path, "page")
    before = path.read_bytes()
    with pytest.raises(DataError, match="damaged") as caught:
        open_database(path, migrations=[NOTES], notify=lambda _: None)
    assert "left as it is" in caught.value.action
    assert path.read_bytes() == before
    assert not list(path.parent.glob("a.damaged-*"))


def test_a_damaged_file_that_another_program_has_open_is_not_moved(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("SELECT count(*) FROM notes").fetchall()
    whole = path.read_bytes()
    with path.open("rb+") as file:  # the other program's file, not a new one
        file.seek(6 * PAGE)
        file.write(b"\xff" * PAGE)
    with pytest.raises(DataError, match="another program has it open"):
        open_database(path, migrations=[NOTES], notify=lambda _: None)
    other.close()
    assert len(path.read_bytes()) == len(whole)
    open_database(path, migrations=[NOTES], notify=lambda _: None).close()
    assert numbers(path) == list(range(600))


def test_a_restoration_that_was_cut_off_between_its_renames_is_completed(path: Path) -> None:
    ready = path.with_name("a.sqlite.restored")
    shutil.copy(path, ready)  # holds 600 rows, the backup 300
    path.rename(path.with_name("a.damaged-20261101T000000000000Z.sqlite"))
    path.with_name("a.sqlite-wal").write_bytes(b"the log of the damaged file")
    told: list[str] = []
    open_database(path, migrations=[NOTES], notify=told.append).close()
    assert numbers(path) == list(range(600))
    assert told == ["a.sqlite: the restoration that was interrupted is complete."]
    [log] = path.parent.glob("a.damaged-*-wal")
    assert log.read_bytes() == b"the log of the damaged file"


def test_what_a_killed_restoration_left_is_not_read_into_the_next_one(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    fill(other, range(1000, 1010))
    database = open_database(other, migrations=[NOTES])
    with database.write() as cursor:
        cursor.execute("DELETE FROM notes")
    shutil.copy(tmp_path / "other.sqlite-wal", path.with_name("a.sqlite.restoring-wal"))
    database.close()
    break_file(path, "text")
    open_database(path, migrations=[NOTES], notify=lambda _: None).close()
    assert numbers(path) == list(range(300))


def test_a_restoration_killed_anywhere_is_made_good_by_the_next_start(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_file(path, "page")
    real = Path.replace
    folders = []
    for num_renames in range(6):
        folder = tmp_path / f"killed-{num_renames}"
        shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("killed-*"))
        left = [num_renames]

        def replace(self: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt  # nothing that comes after is done
            left[0] -= 1
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        try:
            open_database(folder / "a.sqlite", migrations=[NOTES], notify=lambda _: None).close()
        except KeyboardInterrupt:
            folders.append(folder)
        monkeypatch.setattr(Path, "replace", real)
        open_database(folder / "a.sqlite", migrations=[NOTES], notify=lambda _: None).close()
        assert numbers(folder / "a.sqlite") == list(range(600))
        shutil.rmtree(folder)
    assert len(folders) >= 3


def test_a_log_that_was_not_merged_is_read_and_put_aside_with_its_file(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.sqlite", tmp_path / "copy" / "a.sqlite"
    fill(path, range(300))
    fill(path, range(0))
    fill(path, range(300, 310))
    database = open_database(path, migrations=[NOTES])
    for number in range(310, 330):
        with database.write() as cursor:
            cursor.execute("INSERT INTO notes (text) VALUES (?)", (f"note {number} x",))
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))  # as a power cut leaves it
    database.close()
    break_file(copy, "page")
    open_database(copy, migrations=[NOTES], notify=lambda _: None).close()
    assert numbers(copy) == list(range(330))


def test_a_restored_file_has_the_newest_schema_and_whole_references_and_indexes(tmp_path: Path) -> None:
    path, both = tmp_path / "a.sqlite", (NOTES, REMARKS)
    fill(path, range(300), migrations=both)
    fill(path, range(0), migrations=both)
    fill(path, range(300, 600), migrations=both)
    database = open_database(path, migrations=both)
    with database.write() as cursor:
        cursor.executemany("INSERT INTO remarks VALUES (?, ?)", [(number, "ana") for number in range(1, 601)])
        cursor.execute("UPDATE notes SET text = 'note 10 heron' WHERE id = 11")
    database.close()
    page = len(path.read_bytes()) // PAGE // 2
    whole = path.read_bytes()
    path.write_bytes(whole[: page * PAGE] + b"\xff" * PAGE + whole[(page + 1) * PAGE :])
    database = open_database(path, migrations=both, notify=lambda _: None)
    assert database.read("PRAGMA quick_check(1)")[0][0] == "ok"
    assert database.read("PRAGMA foreign_key_check") == []
    ids = {row["id"] for row in database.read("SELECT id FROM notes")}
    assert {row["note_id"] for row in database.read("SELECT note_id FROM remarks")} <= ids
    found = {row["id"] for row in database.read("SELECT rowid AS id FROM words WHERE words MATCH 'note'")}
    assert found == ids
    database.close()


def test_a_backup_of_an_older_schema_is_migrated(path: Path) -> None:
    open_database(path, migrations=[NOTES, REMARKS]).close()
    for backup in list_backups(path)[:-1]:
        backup.path.unlink()  # only the one of the old schema is left
    break_file(path, "page")
    told: list[str] = []
    database = open_database(path, migrations=[NOTES, REMARKS], notify=told.append)
    assert database.read("SELECT count(*) AS num FROM notes")[0]["num"] == 600
    assert database.read("SELECT count(*) AS num FROM words WHERE words MATCH 'note'")[0]["num"] == 600
    database.close()
