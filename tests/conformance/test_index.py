"""Both full-text indexes find the same lines with the same scores, and both vector searches are exact."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from duologue.memory.index import Index
from duologue.memory.postgres_index import PostgresIndex, index_of
from duologue.memory.records import Scope
from duologue.memory.schema import MIGRATIONS
from duologue.store import Database, open_database

SCOPE, OTHER = Scope("local", "mara"), Scope("locals", "mara")
WORDS = """
    garden bees honey hive walk walking walked river bridge café naïve letters letter running runs mill miller lantern
    lanterns harbour boat boats sailing sailed storm stormy quiet kitchen bread baking baked tea 42 3.14 e-mail
"""


@pytest.fixture
def databases(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Database, Database]]:
    pair = (
        open_database(tmp_path / "memory.sqlite", migrations=MIGRATIONS),
        open_database(postgres_url, migrations=MIGRATIONS, name="memory"),
    )
    yield pair
    for database in pair:
        database.close()


def fill(database: Database, texts: list[str], *, scope: Scope = SCOPE) -> None:
    with database.write() as cursor:
        for number, text in enumerate(texts):
            cursor.execute(
                "INSERT INTO memories (user, character, session_id, message_id, speaker, said_at, text)"
                " VALUES (?, ?, 's', ?, 'user', '2026-01-01', ?)",
                (scope.user, scope.character, number, text),
            )


def made_up(seed: int, *, num_lines: int = 300) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS.split(), k=draw.randint(1, 25))) + draw.choice(".!?") for _ in range(num_lines)]


@pytest.mark.parametrize(
    "asked", [["bees"], ["walk", "river"], ["cafe", "naive"], ["sails", "boat", "storms"], ["42", "mail"], ["nothing"]]
)
def test_both_find_the_same_lines_with_the_same_scores(databases: tuple[Database, Database], asked: list[str]) -> None:
    for database in databases:
        fill(database, made_up(1))

    expected, found = (list(index_of(one).words(asked, scope=SCOPE, limit=50)) for one in databases)

    assert [line for line, _ in found] == [line for line, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-9)
    assert bool(found) == (asked != ["nothing"])


def test_counts_are_the_same(databases: tuple[Database, Database]) -> None:
    for database in databases:
        fill(database, made_up(2))

    one, two = (index_of(database).counts(["bees", "boats", "nobody", "42"], scope=SCOPE) for database in databases)

    assert one == two
    assert one[0] == 300 and one[1]["bees"] > 0 and one[1]["nobody"] == 0


SYNTAX = ["'", '"', "\\", "a'b", "x:y", "(", "|", "&", "!", "*", "<->", "' | 'bees", "\x00", "", "bees\x00", "%", "$$"]


@pytest.mark.parametrize("word", SYNTAX)
def test_no_word_is_syntax(databases: tuple[Database, Database], word: str) -> None:
    for database in databases:
        fill(database, ["bees", "secret"], scope=OTHER)
        fill(database, ["the garden"])
        index = index_of(database)

        assert index.words([word, "garden"], scope=SCOPE, limit=5)
        assert all(
            database.read("SELECT user FROM memories WHERE id = ?", (line,))[0]["user"] == SCOPE.user
            for line, _ in index.words([word, "bees", "secret"], scope=SCOPE, limit=5)
        )


def test_changed_lines_are_found_by_their_new_words_and_deleted_ones_not_at_all(
    databases: tuple[Database, Database],
) -> None:
    for database in databases:
        index = index_of(database)
        fill(database, ["bees one", "bees two", "bees three"])
        with database.write() as cursor:
            cursor.execute("DELETE FROM memories WHERE text = 'bees two'")
            cursor.execute("UPDATE memories SET text = 'goats' WHERE text = 'bees three'")
        fill(database, ["bees that nobody may see"], scope=OTHER)
        with database.write() as cursor:
            cursor.execute("UPDATE memories SET is_private = 1 WHERE text = 'bees that nobody may see'")

        assert list(index.words(["bees"], scope=OTHER, limit=5)) == []
        assert len(index.words(["bees"], scope=SCOPE, limit=5)) == 1
        assert len(index.words(["goats"], scope=SCOPE, limit=5)) == 1
        assert index.counts(["bees", "two"], scope=SCOPE) == (2, {"bees": 1, "two": 0})


@pytest.fixture
def server(databases: tuple[Database, Database]) -> Database:
    return databases[1]


def test_memories_from_before_the_index_are_found(server: Database) -> None:
    fill(server, ["bees in the garden"])

    assert len(PostgresIndex(server).words(["bee"], scope=SCOPE, limit=5)) == 1
    assert len(PostgresIndex(server).words(["bee"], scope=SCOPE, limit=5)) == 1


def with_vectors(database: Database, matrix: "np.ndarray", *, scope: Scope = SCOPE) -> None:
    fill(database, [f"line {number}" for number in range(len(matrix))], scope=scope)
    rows = database.read("SELECT id FROM memories WHERE user = ? ORDER BY id", (scope.user,))
    with database.write() as cursor:
        cursor.execute(
            "INSERT INTO embedders (id, name, dim, sha256) VALUES (7, 'made', ?, 'x') ON CONFLICT (id) DO NOTHING",
            (matrix.shape[1],),
        )
        for row, vector in zip(rows, matrix, strict=True):
            cursor.execute("INSERT INTO vectors VALUES (?, 7, ?)", (row["id"], vector.astype("<f4").tobytes()))


def unit(seed: int, count: int, dim: int = 384) -> "np.ndarray":
    matrix = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_the_nearest_vectors_are_found_exactly_and_in_their_scope(databases: tuple[Database, Database]) -> None:
    ours, others, asked = unit(1, 60), unit(2, 60), unit(3, 1)[0]
    found = []
    for database in databases:
        index: Index = index_of(database)
        with_vectors(database, ours)
        with_vectors(database, others, scope=OTHER)
        found.append(index.vectors(asked, embedder_id=7, scope=SCOPE, limit=10))
        assert index.vectors(asked, embedder_id=8, scope=SCOPE, limit=10) == []

    expected = np.sort(ours @ asked)[::-1][:10]
    for hits in found:
        assert [score for _, score in hits] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [line for line, _ in found[0]] == [line for line, _ in found[1]]


def test_a_server_without_pgvector_is_served_all_the_same(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresIndex, "_install_pgvector", lambda self: False)
    matrix = unit(1, 20)
    with_vectors(server, matrix)

    [best, *_] = PostgresIndex(server).vectors(matrix[4], embedder_id=7, scope=SCOPE, limit=3)

    assert best[1] == pytest.approx(1.0, abs=1e-5)


def test_bytes_become_the_very_floats_they_were(server: Database) -> None:
    PostgresIndex(server)
    draw = random.Random(1)
    bits = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000]
    bits += [draw.getrandbits(32) & 0xFF7FFFFF for _ in range(500)]
    raw = struct.pack(f"<{len(bits)}I", *bits)

    [row] = server.read("SELECT memory_floats_of(?) AS floats", (raw,))

    assert np.array(row["floats"], "<f4").tobytes() == raw


def test_deleted_memories_leave_no_vector_behind(server: Database) -> None:
    PostgresIndex(server)
    with_vectors(server, unit(1, 5))
    with server.write() as cursor:
        cursor.execute("DELETE FROM memories WHERE text = 'line 2'")

    assert server.read("SELECT count(*) AS number FROM memory_points")[0]["number"] == 4
    assert server.read("SELECT count(*) AS number FROM memory_lexemes")[0]["number"] == 4
