from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.memory.delivery import MAX_ATTEMPTS, Delivery
from duologue.memory.fusion import fuse
from duologue.memory.outbox import LEASE_SECONDS, Outbox
from duologue.memory.records import Scope
from duologue.memory.schema import MIGRATIONS
from duologue.memory.service import Deletion, Document, HostedError
from duologue.memory.transcript import PART_CHARS, document_id, namespace_of, read_session
from duologue.messages import RecalledLine
from duologue.store import Database, open_database

SCOPE = Scope("local", "mara")


class Shelf:
    """A service in memory."""

    name = "Shelf"

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.calls: list[str] = []
        self.fault: HostedError | None = None

    def put(self, namespace: str, document: Document, *, is_grown: bool) -> None:
        self.calls.append(f"{'grow' if is_grown else 'replace'} {document.id}")
        if self.fault is not None:
            raise self.fault
        self.documents[document.id] = document.content

    def delete_documents(self, namespace: str, ids: list[str]) -> Deletion:
        self.calls.append(f"delete {','.join(ids)}")
        if self.fault is not None:
            raise self.fault
        return Deletion(sum(self.documents.pop(name, None) is not None for name in ids))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "memory.sqlite", migrations=MIGRATIONS, name="memory")
    yield opened
    opened.close()


def say(database: Database, *texts: str, session: str = "a", scope: Scope = SCOPE, is_private: bool = False) -> None:
    with database.write() as cursor:
        for text in texts:
            row = cursor.execute("SELECT count(*) AS number FROM memories WHERE session_id = ?", (session,)).fetchone()
            cursor.execute(
                "INSERT INTO memories (user, character, session_id, message_id, speaker, said_at, text, original,"
                " position, is_private) VALUES (?, ?, ?, ?, 'user', '2026-11-01T10:00:00.000+00:00', ?, ?, ?, ?)",
                (scope.user, scope.character, session, row["number"], text, text, row["number"], int(is_private)),
            )


def unsay(database: Database, text: str) -> None:
    with database.write() as cursor:
        cursor.execute("DELETE FROM memories WHERE text = ?", (text,))


def delivering(database: Database, shelf: Shelf) -> tuple[Outbox, Delivery]:
    outbox = Outbox(database, service=shelf.name)
    return outbox, Delivery(outbox, database, reader=shelf, seed=1)  # type: ignore[arg-type]


def test_what_was_noted_is_sent_after_a_restart(tmp_path: Path) -> None:
    first = open_database(tmp_path / "memory.sqlite", migrations=MIGRATIONS)
    say(first, "I keep bees")
    Outbox(first, service="Shelf").note(SCOPE, "a")
    first.close()
    again, shelf = open_database(tmp_path / "memory.sqlite", migrations=MIGRATIONS), Shelf()

    outbox, delivery = delivering(again, shelf)
    assert delivery.work().num_sent == 1

    assert shelf.documents == {"sess-a": "[2026-11-01 10:00] User: I keep bees"}
    assert outbox.counts().num_waiting == 0
    again.close()


def test_a_hundred_turns_are_one_row_and_one_document(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    for number in range(100):
        say(database, f"turn {number}")
        outbox.note(SCOPE, "a")

    assert outbox.counts().num_waiting == 1
    delivery.work()

    assert shelf.calls == ["grow sess-a"]
    assert shelf.documents["sess-a"].count("\n") == 99


def test_a_session_that_only_grew_is_added_to_and_a_changed_one_is_replaced(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    for change in (lambda: say(database, "one"), lambda: say(database, "two"), lambda: unsay(database, "one")):
        change()
        outbox.note(SCOPE, "a")
        delivery.work()
    outbox.note(SCOPE, "a")
    delivery.work()  # nothing has changed

    assert shelf.calls == ["grow sess-a", "grow sess-a", "replace sess-a"]
    assert shelf.documents == {"sess-a": "[2026-11-01 10:00] User: two"}


def test_what_is_private_is_never_sent(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "open")
    say(database, "between us", is_private=True)
    outbox.note(SCOPE, "a")
    delivery.work()

    assert shelf.documents == {"sess-a": "[2026-11-01 10:00] User: open"}


def test_a_long_session_goes_in_parts_and_only_the_last_one_is_sent_again(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, *("word " * 500 for _ in range(12)))
    outbox.note(SCOPE, "a")
    delivery.work()
    assert set(shelf.documents) == {"sess-a", "sess-a-p2"}
    assert all(len(content) <= PART_CHARS for content in shelf.documents.values())
    shelf.calls.clear()

    say(database, "one more")
    outbox.note(SCOPE, "a")
    delivery.work()

    assert shelf.calls == ["grow sess-a-p2"]


def test_what_is_forgotten_is_deleted_there_and_the_rest_gets_a_new_name(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "keep this", "the secret")
    outbox.note(SCOPE, "a")
    delivery.work()

    unsay(database, "the secret")
    assert outbox.doom(SCOPE, ["a"]) == 1
    assert outbox.doomed_sessions(SCOPE) == {"a"}
    delivery.work()

    assert shelf.calls == ["grow sess-a", "delete sess-a", "grow sess-a-g2"]
    assert shelf.documents == {"sess-a-g2": "[2026-11-01 10:00] User: keep this"}
    assert outbox.doomed_sessions(SCOPE) == frozenset()


def test_a_session_without_lines_leaves_nothing_behind(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "gone soon")
    outbox.note(SCOPE, "a")
    delivery.work()

    unsay(database, "gone soon")
    outbox.note(SCOPE, "a")
    delivery.work()

    assert shelf.documents == {}


def test_what_is_forgotten_while_it_is_being_sent_is_deleted_when_it_arrives(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "keep this", "the secret")
    outbox.note(SCOPE, "a")
    put = shelf.put

    def forgotten_meanwhile(namespace: str, document: Document, *, is_grown: bool) -> None:
        put(namespace, document, is_grown=is_grown)
        shelf.put = put  # type: ignore[method-assign]
        unsay(database, "the secret")
        outbox.doom(SCOPE, ["a"])

    shelf.put = forgotten_meanwhile  # type: ignore[method-assign]
    delivery.work()

    assert "the secret" not in "".join(shelf.documents.values())
    assert shelf.documents == {"sess-a-g2": "[2026-11-01 10:00] User: keep this"}


def test_a_crash_between_a_deletion_and_its_note_is_made_good_at_the_next_start(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "keep this", "the secret")
    say(database, "other", session="b")
    for session in ("a", "b"):
        outbox.note(SCOPE, session)
    delivery.work()
    unsay(database, "the secret")  # and nobody notes it

    assert delivery.recheck() == 1
    delivery.work()

    assert "the secret" not in "".join(shelf.documents.values())
    assert delivery.recheck() == 0


def test_a_change_during_sending_is_not_lost(database: Database) -> None:
    outbox = Outbox(database, service="Shelf")
    outbox.note(SCOPE, "a")
    entry = outbox.take()
    assert entry is not None
    outbox.note(SCOPE, "a")
    outbox.done(entry)

    assert outbox.counts().num_waiting == 1


def test_two_processes_do_not_take_the_same_session_and_one_that_died_gives_it_free(database: Database) -> None:
    clock = Clock()
    one, two = (Outbox(database, service="Shelf", clock=clock) for _ in range(2))
    one.note(SCOPE, "a")

    assert one.take() is not None
    assert two.take() is None
    clock.now += LEASE_SECONDS + 1
    assert two.take() is not None
    clock.now -= 10 * 365 * 86400  # the clock is set back by years
    assert two.take() is not None


def test_a_session_the_service_refuses_is_put_aside_and_does_not_hold_up_the_others(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    put = shelf.put

    def picky(namespace: str, document: Document, *, is_grown: bool) -> None:
        if "poison" in document.content:
            raise HostedError("no", fault="rejected")
        put(namespace, document, is_grown=is_grown)

    shelf.put = picky  # type: ignore[method-assign]
    say(database, "poison", session="bad")
    say(database, "fine", session="good")
    outbox.note(SCOPE, "bad")
    outbox.note(SCOPE, "good")
    passes = [delivery.work() for _ in range(MAX_ATTEMPTS)]

    assert list(shelf.documents) == ["sess-good"]
    assert sum(one.num_aside for one in passes) == 1
    assert (outbox.counts().num_waiting, outbox.counts().num_aside) == (0, 1)
    assert outbox.retry_aside() == 1
    assert outbox.counts().num_waiting == 1


@pytest.mark.parametrize("fault", ["unreachable", "slow", "busy", "unpaid"])
def test_a_service_that_is_down_never_costs_a_session_its_place(database: Database, fault: str) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "patience")
    outbox.note(SCOPE, "a")
    shelf.fault = HostedError("down", fault=fault)  # type: ignore[arg-type]
    pauses = [delivery.work().pause_seconds or 0 for _ in range(3 * MAX_ATTEMPTS)]
    assert outbox.counts().num_waiting == 1
    assert all(pause > 0 for pause in pauses)

    shelf.fault = None
    delivery.work()

    assert shelf.documents == {"sess-a": "[2026-11-01 10:00] User: patience"}


def test_pauses_grow_to_a_quarter_of_an_hour_and_no_two_replicas_keep_step(database: Database) -> None:
    shelf = Shelf()
    shelf.fault = HostedError("down", fault="unreachable")
    say(database, "x")
    rows = []
    for seed in (1, 2):
        outbox = Outbox(database, service="Shelf")
        outbox.note(SCOPE, "a")
        delivery = Delivery(outbox, database, reader=shelf, seed=seed)  # type: ignore[arg-type]
        rows.append([delivery.work().pause_seconds for _ in range(14)])

    assert rows[0] != rows[1]
    for pauses in rows:
        assert pauses[0] is not None and 2 <= pauses[0] <= 2.5
        assert pauses[-1] is not None and 900 <= pauses[-1] <= 1125


def test_the_service_is_left_alone_as_long_as_it_asks(database: Database) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    outbox.note(SCOPE, "a")
    say(database, "x")
    shelf.fault = HostedError("busy", fault="busy", retry_after_seconds=120)

    pause = delivery.work().pause_seconds

    assert pause is not None and 120 <= pause <= 150


@pytest.mark.parametrize("fault", ["refused", "unsupported"])
def test_a_wrong_key_stops_the_sending_until_the_next_start(database: Database, fault: str) -> None:
    shelf = Shelf()
    outbox, delivery = delivering(database, shelf)
    say(database, "x")
    outbox.note(SCOPE, "a")
    shelf.fault = HostedError("no", fault=fault)  # type: ignore[arg-type]
    delivery.work()
    delivery.work()
    assert len(shelf.calls) == 1

    shelf.fault = None
    assert delivering(database, shelf)[1].work().num_sent == 1


def test_another_service_is_another_record(database: Database) -> None:
    old, new = Shelf(), Shelf()
    new.name = "New"
    say(database, "x")
    outbox, delivery = delivering(database, old)
    outbox.note(SCOPE, "a")
    delivery.work()

    outbox, delivery = delivering(database, new)
    outbox.note(SCOPE, "a")
    delivery.work()

    assert new.documents == old.documents
    assert outbox.elsewhere() == {"Shelf": 1}


TEXTS = st.text(max_size=40)


@given(one=st.tuples(TEXTS, TEXTS), two=st.tuples(TEXTS, TEXTS))
def test_two_scopes_never_share_a_namespace_and_every_one_is_safe(one: tuple[str, str], two: tuple[str, str]) -> None:
    names = [namespace_of(Scope(*pair)) for pair in (one, two)]

    assert (names[0] == names[1]) == (one == two)
    for name in names:
        assert name.isascii() and len(name) <= 100
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-:")


@given(session=st.text(max_size=300), part=st.integers(1, 99), generation=st.integers(1, 99))
def test_every_session_has_a_document_name_that_is_safe_in_a_url(session: str, part: int, generation: int) -> None:
    name = document_id(session, part=part, generation=generation)

    assert 1 <= len(name) <= 255
    assert name.replace("-", "").replace("_", "").isalnum() and name.isascii()


def test_an_address_alone_is_not_sent_as_an_address(database: Database) -> None:
    say(database, "https://example.org/private")

    [part] = read_session(database, SCOPE, "a")

    assert not part.content.startswith("http")


def recalled(text: str, *, origin: str = "local", **more: object) -> RecalledLine:
    return RecalledLine(text, "user", 1, "s", "", 1.0, origin=origin, **more)  # type: ignore[arg-type]


def test_both_readers_findings_are_mixed_and_nothing_is_said_twice() -> None:
    local = [recalled("I keep bees"), recalled("I live in Ghent, near the old harbour")]
    hosted = [
        recalled("I keep  BEES", origin="supermemory"),
        recalled("The user has two hives", origin="supermemory"),
        recalled("the user has  two hives", origin="supermemory"),
        recalled("User: I live in Ghent, near the old harbour", origin="supermemory"),
        recalled("The user may like honey", origin="supermemory", is_guess=True),
    ]

    fused = fuse(local, hosted, limit=10)

    assert [line.text for line in fused] == [
        "I keep bees",
        "I live in Ghent, near the old harbour",
        "The user has two hives",
        "The user may like honey",
    ]
    assert [line.score for line in fused] == sorted((line.score for line in fused), reverse=True)


def test_a_pinned_line_stays_first_and_the_limit_holds() -> None:
    local = [recalled("a" * 30), recalled("b" * 30, is_pinned=True)]

    assert [line.text[0] for line in fuse(local, [recalled("c" * 30, origin="supermemory")], limit=2)] == ["b", "a"]
