"""The hosted memory as a chat meets it: the real SDK, a server on this machine, faults included."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from duologue.errors import DataError
from duologue.memory import MemoryStore, Scope
from duologue.memory.hosted import RECALL_SECONDS, HostedMemory
from duologue.memory.records import Source
from duologue.memory.supermemory import SupermemoryReader
from duologue.memory.transcript import namespace_of
from tests.memory.supermemory_server import KEY, Service, serving, wait_until

SCOPE = Scope("local", "mara")
OTHER = Scope("somebody", "mara")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Service, SupermemoryReader]]:
    with serving() as service:
        reader = SupermemoryReader(KEY, url=service.url)
        reader.close = lambda: None  # type: ignore[method-assign]  # shared by the tests of this file
        yield service, reader
        SupermemoryReader.close(reader)


@pytest.fixture
def service(running: tuple[Service, SupermemoryReader]) -> Iterator[Service]:
    running[0].reset()
    yield running[0]
    running[0].recover()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryStore]:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hosted(
    running: tuple[Service, SupermemoryReader], service: Service, memory: MemoryStore, clock: Clock
) -> Iterator[HostedMemory]:
    made = HostedMemory(running[1], memory.database, clock=clock)
    yield made
    service.recover()
    made.close()


def talk(memory: MemoryStore, *texts: str, session: str = "one", scope: Scope = SCOPE) -> None:
    path = [
        Source(number, 0, "user" if number % 2 else "assistant", text, f"2026-11-0{number}T10:00:00.000+00:00")
        for number, text in enumerate(texts, start=1)
    ]
    memory.follow(session, path, scope=scope)


def deliver(hosted: HostedMemory) -> None:
    while hosted.delivery.work().num_sent:
        pass


def recall(hosted: HostedMemory, question: str = "who keeps bees?", **more: str) -> list[str]:
    return [line.text for line in hosted.recall(question, scope=SCOPE, limit=5, **more)]


def test_a_turn_reaches_the_service_in_the_background_and_comes_back_marked(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, "I keep bees in the garden", "How lovely!")
    hosted.start()
    hosted.note_turn("one", scope=SCOPE)

    assert wait_until(lambda: hosted.counts().num_waiting == 0)
    lines = hosted.recall("who keeps bees?", scope=SCOPE, limit=5)

    assert {(line.text, line.speaker, line.kind) for line in lines} == {
        ("I keep bees in the garden", "user", "turn"),
        ("The user said: I keep bees in the garden", "user", "fact"),
    }
    assert all(line.origin == "supermemory" and line.memory_id < 0 and line.session_id == "one" for line in lines)
    assert hosted.notices() == ()


def test_the_speaker_of_a_passage_is_who_said_it(memory: MemoryStore, hosted: HostedMemory) -> None:
    talk(memory, "hello", "The lighthouse is my favourite place")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)

    [line] = hosted.recall("which place is the lighthouse", scope=SCOPE, limit=5)

    assert (line.speaker, line.said_at) == ("assistant", "2026-11-02T10:00:00+00:00")


def test_a_guess_is_marked_as_one_and_outdated_memories_stay_away(hosted: HostedMemory, service: Service) -> None:
    service.results = [
        {"id": "1", "memory": "may like honey", "isInference": True, "similarity": 0.9},
        {"id": "2", "memory": "lived in Lyon", "isLatest": False},
        {"id": "3", "memory": "lives in Ghent", "isInference": False, "isLatest": True},
    ]

    lines = hosted.recall("where", scope=SCOPE, limit=5)

    assert [(line.text, line.is_guess) for line in lines] == [("may like honey", True), ("lives in Ghent", False)]


def test_nothing_of_one_scope_is_found_in_another(memory: MemoryStore, hosted: HostedMemory) -> None:
    for scope in (SCOPE, OTHER):
        talk(memory, f"I keep bees, says {scope.user}", session=scope.user, scope=scope)
        hosted.note_turn(scope.user, scope=scope)
    deliver(hosted)

    assert all("somebody" not in text for text in recall(hosted))
    assert len(hosted.recall("bees", scope=OTHER, limit=5)) == 2


def test_the_session_that_asks_is_not_quoted_to_itself(memory: MemoryStore, hosted: HostedMemory) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)

    assert recall(hosted, exclude_session="one") == []
    assert recall(hosted, exclude_session="two") != []


@pytest.mark.parametrize(
    "fault",
    [
        *("400", "401", "402", "403", "404", "409", "422", "429:3", "500", "502", "503"),
        *("html 200", "html 403", "html 502", "empty 200", "json null", "json list", "json empty", "json nulls"),
        *("json cut", "json deep", "not utf-8", "bad gzip", "gzip bomb", "cut", "slam", "huge", "redirect"),
    ],
)
def test_whatever_the_service_does_the_chat_goes_on_and_says_so_once(
    memory: MemoryStore, hosted: HostedMemory, service: Service, fault: str
) -> None:
    talk(memory, "I keep bees")
    service.fail(fault)

    for _ in range(5):
        assert recall(hosted) == []
        hosted.note_turn("one", scope=SCOPE)
        hosted.delivery.work()

    notices = [notice for notice in hosted.notices() if "too often" not in notice]
    assert len(notices) == 1, notices
    assert "Supermemory (127.0.0.1)" in notices[0] and "goes on" in notices[0]
    assert KEY not in notices[0]
    assert len(memory.recall("who keeps bees?", scope=SCOPE, limit=3)) == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_service_that_stalls_costs_two_turns_their_patience_and_no_other(
    hosted: HostedMemory, service: Service, fault: str
) -> None:
    recall(hosted)
    service.fail(fault)
    seconds = []
    for _ in range(6):
        begun = time.monotonic()
        assert recall(hosted) == []
        seconds.append(time.monotonic() - begun)
        wait_until(lambda: hosted._calls._value == 2)  # the late answer has been counted

    assert all(each < RECALL_SECONDS + 0.3 for each in seconds)
    assert sum(each > 0.1 for each in seconds) <= 2
    assert len(hosted.notices()) == 1


def test_a_service_that_recovers_is_asked_again_without_anybody_waiting(
    memory: MemoryStore, hosted: HostedMemory, service: Service, clock: Clock
) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    service.fail("slam")
    assert recall(hosted) == []
    service.recover()
    assert recall(hosted) == []  # left alone
    num_requests = len(service.took("search"))
    assert num_requests == 1

    clock.now += 11
    assert recall(hosted) == []  # this question finds out, and does not wait
    assert wait_until(lambda: not hosted._breaker.is_open)

    assert recall(hosted) != []
    assert [notice for notice in hosted.notices() if "answers again" in notice]


def test_without_credit_it_is_left_alone_for_an_hour(hosted: HostedMemory, service: Service, clock: Clock) -> None:
    service.fail("402")
    recall(hosted)
    clock.now += 3500
    recall(hosted)
    assert len(service.took("search")) == 1
    assert "credit" in hosted.notices()[0]

    clock.now += 200
    recall(hosted)
    assert wait_until(lambda: len(service.took("search")) == 2)


def test_a_refused_key_is_not_tried_again(hosted: HostedMemory, service: Service, clock: Clock) -> None:
    service.fail("401")
    recall(hosted)
    clock.now += 10**6
    recall(hosted)

    assert len(service.took("search")) == 1
    assert "SUPERMEMORY_API_KEY" in hosted.notices()[0]


def test_an_answer_that_is_lost_makes_no_second_document(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    service.fail("lost", times=1)
    assert hosted.delivery.work().fault is not None
    deliver(hosted)

    [document] = service.documents[namespace_of(SCOPE)].values()
    assert document.content.count("I keep bees") == 1
    assert len(service.took("document")) == 2


def test_what_is_noted_without_a_network_is_sent_after_a_restart(
    memory: MemoryStore, running: tuple[Service, SupermemoryReader], service: Service
) -> None:
    nobody = SupermemoryReader(KEY, url="http://127.0.0.1:9")
    nobody.name = running[1].name  # the same service, out of reach
    before = HostedMemory(nobody, memory.database)
    for session in ("one", "two"):
        talk(memory, f"I keep bees in {session}", session=session)
        before.note_turn(session, scope=SCOPE)
    assert before.delivery.work().num_sent == 0
    before.close()

    after = HostedMemory(running[1], memory.database)
    deliver(after)

    assert len(service.documents[namespace_of(SCOPE)]) == 2
    after.close()


def test_forgetting_deletes_the_copy_and_looks_for_it(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    memory.also_forget = hosted.also_forget
    talk(memory, "I like long walks", "So do I", "I hide the key under the blue pot")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    [line] = [one for one in memory.list_lines(scope=SCOPE) if "blue pot" in one.text]

    receipt = memory.forget([line.memory_id])
    deliver(hosted)

    assert "deleted 1 documents" in receipt.hosted and "finds nothing" in receipt.hosted
    assert "blue pot" not in receipt.hosted
    assert "blue pot" not in service.everything()
    assert "long walks" in service.everything()
    assert all("blue pot" not in text for text in recall(hosted, "where is the key hidden, under the pot?"))


def test_conclusions_that_outlive_their_document_are_forgotten_by_name(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, "I hide the key under the blue pot")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    for learned in service.learned[namespace_of(SCOPE)]:
        learned.is_stubborn = True
    talk(memory)

    answer = hosted.forget(scope=SCOPE, session_ids=["one"], texts=["I hide the key under the blue pot"])

    assert (answer.state, answer.num_documents, answer.num_lines, answer.num_found) == ("done", 1, 1, 0)


def test_a_service_that_still_finds_it_is_named(memory: MemoryStore, hosted: HostedMemory, service: Service) -> None:
    talk(memory, "I hide the key under the blue pot")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    talk(memory)
    service.results = [{"id": "", "memory": "someone said: I hide the key under the blue pot"}]

    answer = hosted.forget(scope=SCOPE, session_ids=["one"], texts=["I hide the key under the blue pot"])

    assert (answer.state, answer.num_found) == ("partly", 1)
    assert "still finds 1" in answer.sentence


def test_a_deletion_waits_for_a_service_that_cannot_be_reached_and_shows_nothing_meanwhile(
    memory: MemoryStore, hosted: HostedMemory, service: Service, clock: Clock
) -> None:
    memory.also_forget = hosted.also_forget
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    service.fail("503", only="document")

    receipt = memory.forget_session("one")

    assert "will be deleted" in receipt.hosted
    assert hosted.counts().num_doomed == 1
    clock.now += 11
    recall(hosted)
    assert wait_until(lambda: not hosted._breaker.is_open)
    assert "bees" in service.everything()
    assert recall(hosted) == []

    service.recover()
    hosted.delivery.work()
    assert service.everything() == ""
    assert hosted.counts().num_doomed == 0


def test_what_becomes_private_is_taken_back(memory: MemoryStore, hosted: HostedMemory, service: Service) -> None:
    talk(memory, "I like long walks", "So do I", "I hide the key under the blue pot")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    [line] = [one for one in memory.list_lines(scope=SCOPE) if "blue pot" in one.text and one.kind == "turn"]

    memory.set_private(line.memory_id)
    hosted.withdraw(["one"], scope=SCOPE)
    deliver(hosted)

    assert [request.method for request in service.took("document")] == ["POST", "DELETE", "POST"]
    assert "blue pot" not in service.everything() and "long walks" in service.everything()


def test_a_session_that_was_never_sent_needs_no_service_to_be_forgotten(hosted: HostedMemory, service: Service) -> None:
    service.fail("hang")

    assert hosted.forget(scope=SCOPE, session_ids=["one"], texts=["x"]).state == "none"


def test_forgetting_in_a_session_from_before_does_not_send_it(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    memory.also_forget = hosted.also_forget
    talk(memory, "I keep bees", "Nice", "I hide the key under the blue pot")
    [line] = [one for one in memory.list_lines(scope=SCOPE, kind="turn") if "blue pot" in one.text]

    assert memory.forget([line.memory_id]).hosted == "none"
    deliver(hosted)

    assert service.requests == []


def test_forgetting_a_long_session_asks_for_a_few_of_its_texts_only(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, *(f"I said thing number {number}" for number in range(1, 10)), session="one")
    for part in range(5):
        talk(memory, *(f"I said thing number {number} of {part}" for number in range(1, 10)), session=f"more {part}")
        hosted.note_turn(f"more {part}", scope=SCOPE)
    deliver(hosted)
    lines = [line for line in memory.list_lines(scope=SCOPE, limit=200) if line.session_id != "one"]

    answer = hosted.also_forget(lines)

    assert "deleted 5 documents" in answer
    assert len(service.took("search")) == 20


def test_a_service_that_deletes_but_does_not_search_is_not_called_proved(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    talk(memory)
    erase = hosted.delivery.erase_doomed

    def then_fail(scope: Scope, session_id: str) -> int:
        number = erase(scope, session_id)
        service.fail("503", only="search")
        return number

    hosted.delivery.erase_doomed = then_fail  # type: ignore[method-assign]
    answer = hosted.forget(scope=SCOPE, session_ids=["one"], texts=["I keep bees"])

    assert (answer.state, answer.num_documents) == ("partly", 1)
    assert "not answered" in answer.sentence


def test_everything_there_can_be_read_back(memory: MemoryStore, hosted: HostedMemory, service: Service) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)

    items = list(hosted.export(scope=SCOPE))

    assert [item["kind"] for item in items] == ["document", "memory"]
    assert "I keep bees" in items[0]["content"]
    service.fail("500")
    with pytest.raises(DataError):
        list(hosted.export(scope=SCOPE))


def test_sessions_from_before_are_sent_when_asked(memory: MemoryStore, hosted: HostedMemory, service: Service) -> None:
    for session in ("old", "older"):
        talk(memory, f"I said this in {session}", session=session)

    assert hosted.send_all(scope=SCOPE) == 2
    deliver(hosted)

    assert len(service.documents[namespace_of(SCOPE)]) == 2


def test_noting_a_turn_never_waits_for_the_service(memory: MemoryStore, hosted: HostedMemory, service: Service) -> None:
    service.fail("hang", only="document")
    talk(memory, "I keep bees")
    hosted.start()
    hosted.note_turn("one", scope=SCOPE)
    is_sent = wait_until(lambda: bool(service.took("document")))  # it is being sent, and hangs
    assert is_sent, (hosted.notices(), hosted.counts(), [thread.name for thread in threading.enumerate()])
    begun = time.monotonic()

    for _ in range(5):
        hosted.note_turn("one", scope=SCOPE)

    assert time.monotonic() - begun < 1.0
    assert hosted.counts().num_waiting == 1


def test_what_is_noted_between_two_looks_is_sent_at_once(
    memory: MemoryStore, hosted: HostedMemory, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = hosted.outbox.counts

    def count_late() -> object:
        """Somebody says something after the worker found nothing and before it counts what is left."""
        if not service.took("document") and not count().num_waiting:
            talk(memory, "I keep bees")
            hosted.note_turn("one", scope=SCOPE)
        return count()

    monkeypatch.setattr(hosted.outbox, "counts", count_late)
    hosted.start()

    assert wait_until(lambda: bool(service.took("document")), seconds=40)  # not after the minute of a lease


def test_many_threads_recall_at_once_and_none_waits_longer_than_it_may(hosted: HostedMemory, service: Service) -> None:
    recall(hosted)
    service.fail("hang")
    seconds: list[float] = []

    def ask() -> None:
        begun = time.monotonic()
        recall(hosted)
        seconds.append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(seconds) < RECALL_SECONDS + 0.5
    assert sum(each > 0.5 for each in seconds) <= 2


def test_documents_at_a_service_that_is_no_longer_configured_are_mentioned(
    memory: MemoryStore, hosted: HostedMemory, service: Service
) -> None:
    talk(memory, "I keep bees")
    hosted.note_turn("one", scope=SCOPE)
    deliver(hosted)
    other = HostedMemory(SupermemoryReader(KEY, url="http://localhost:9"), memory.database)

    other.start()

    assert "Supermemory (127.0.0.1) has 1 documents" in other.notices()[0]
    other.close()


@pytest.mark.offline  # with a key it asks the network on purpose
def test_the_real_service_speaks_the_interface_we_were_written_for(
    memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = os.environ.get("SUPERMEMORY_API_KEY", "")
    if not key:
        pytest.skip("needs a key of Supermemory in SUPERMEMORY_API_KEY")
    monkeypatch.undo()  # lets this one test out to the network
    scope = Scope(f"test-{os.getpid()}-{int(time.time())}", "mara")
    hosted = HostedMemory(SupermemoryReader(key), memory.database)
    talk(memory, "I keep seven hives of bees behind the mill", scope=scope)
    hosted.note_turn("one", scope=scope)
    try:
        delivered = hosted.delivery.work()
        assert delivered.fault is None, delivered.fault
        assert wait_until(lambda: bool(list(hosted.export(scope=scope))), seconds=60)
    finally:
        talk(memory, scope=scope)
        answer = hosted.forget(scope=scope, session_ids=["one"], texts=["I keep seven hives of bees behind the mill"])
        hosted.close()
    assert answer.state in {"done", "partly"}
