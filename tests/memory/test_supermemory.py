import threading
import time
from collections.abc import Iterator

import pytest

from duologue.errors import ConfigError
from duologue.memory.service import Document, HostedError
from duologue.memory.supermemory import SupermemoryReader
from tests.memory.supermemory_server import KEY, Service, serving

NAMESPACE = "duologue:u_1:c_mara-1"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Service, SupermemoryReader]]:
    with serving() as service:
        reader = SupermemoryReader(KEY, url=service.url)
        yield service, reader
        reader.close()


@pytest.fixture
def service(running: tuple[Service, SupermemoryReader]) -> Iterator[Service]:
    running[0].reset()
    yield running[0]
    running[0].recover()


@pytest.fixture
def reader(running: tuple[Service, SupermemoryReader], service: Service) -> SupermemoryReader:
    return running[1]


def document(content: str = "[2026-11-01 10:00] User: I keep bees", name: str = "sess-a") -> Document:
    return Document(name, content, "2026-11-01T10:00:00.000+00:00", "a")


def search(reader: SupermemoryReader, question: str = "who keeps bees?", **more: object) -> tuple:
    return reader.search(NAMESPACE, question, limit=5, **{"seconds": 1.0, **more})  # type: ignore[arg-type]


def test_what_was_sent_is_found_with_its_session_and_document(reader: SupermemoryReader) -> None:
    reader.put(NAMESPACE, document(), is_grown=True)

    passage, fact = sorted(search(reader), key=lambda line: not line.is_passage)

    assert passage.text == "[2026-11-01 10:00] User: I keep bees" and passage.is_passage
    assert (fact.text, fact.is_passage) == ("The user said: I keep bees", False)
    assert {passage.session_id, fact.session_id} == {"a"}
    assert {passage.document_id, fact.document_id} == {"sess-a"}


def test_a_repeated_document_is_stored_once_and_a_grown_one_costs_its_growth(
    reader: SupermemoryReader, service: Service
) -> None:
    first, second = "[x] User: I keep bees", "[x] User: I keep bees\n[y] Mara: How many?"
    for content in (first, first, second, second):
        reader.put(NAMESPACE, document(content), is_grown=True)

    [stored] = service.documents[NAMESPACE].values()

    assert stored.content == second
    assert stored.billed_chars == len(second)


def test_a_changed_document_replaces_the_old_one_and_a_lost_one_is_made_again(
    reader: SupermemoryReader, service: Service
) -> None:
    reader.put(NAMESPACE, document("[x] User: I keep bees"), is_grown=True)
    reader.put(NAMESPACE, document("[x] User: I keep goats"), is_grown=False)
    reader.put(NAMESPACE, document("[x] User: I keep cats", "sess-b"), is_grown=False)

    assert "bees" not in service.everything()
    assert service.documents[NAMESPACE]["sess-b"].content == "[x] User: I keep cats"


def test_deleted_documents_are_gone_and_unknown_ones_are_no_fault(reader: SupermemoryReader, service: Service) -> None:
    reader.put(NAMESPACE, document(), is_grown=True)

    answer = reader.delete_documents(NAMESPACE, ["sess-a", "sess-nobody"])

    assert (answer.num_deleted, answer.errors) == (1, ())
    assert service.everything() == ""
    assert search(reader) == ()


def test_everything_that_is_stored_is_listed_over_all_pages(reader: SupermemoryReader) -> None:
    for number in range(103):
        reader.put(NAMESPACE, document(f"[x] User: I have {number} bees", f"sess-{number}"), is_grown=True)

    items = list(reader.list_lines(NAMESPACE))

    assert sum(item["kind"] == "document" for item in items) == 103
    assert sum(item["kind"] == "memory" for item in items) == 103
    assert items[102]["content"] == "[x] User: I have 102 bees"


def test_the_server_learns_nothing_of_this_machine(reader: SupermemoryReader, service: Service) -> None:
    search(reader)

    [request] = service.requests

    assert request.headers["User-Agent"] == "duologue"
    assert not [name for name in request.headers if name.lower().startswith("x-fern")]


def test_the_session_that_asks_is_left_out_even_where_the_filter_is_ignored(
    reader: SupermemoryReader, service: Service
) -> None:
    service.results = [
        {"id": "1", "memory": "own", "metadata": {"session": "a"}},
        {"id": "2", "memory": "other", "metadata": {"session": "b"}},
    ]

    assert [line.text for line in search(reader, exclude_session="a")] == ["other"]
    assert service.requests[-1].body["filter"]["operands"][0] == {
        "field": "session", "operator": "neq", "value": "a"
    }  # fmt: skip


def test_results_with_missing_or_odd_fields_are_taken_as_far_as_they_go(
    reader: SupermemoryReader, service: Service
) -> None:
    service.results = [
        {},
        {"id": None, "memory": None, "chunk": None},
        {"memory": "only a text"},
        {"id": 4, "memory": "odd", "similarity": "high", "isInference": "yes", "system": None, "metadata": []},
        {"id": "5", "memory": "old", "isLatest": False},
        {"id": "6", "memory": "guess", "isInference": True, "similarity": 0.5, "included": {"document": None}},
    ]

    lines = search(reader)

    assert [(line.text, line.is_guess, line.similarity) for line in lines] == [
        ("only a text", False, 0.0),
        ("odd", False, 0.0),
        ("guess", True, 0.5),
    ]


@pytest.mark.parametrize(
    "fault, kind",
    [
        ("400", "rejected"),
        ("401", "refused"),
        ("402", "unpaid"),
        ("403", "refused"),
        ("404", "missing"),
        ("409", "conflict"),
        ("413", "rejected"),
        ("422", "rejected"),
        ("429", "busy"),
        ("500", "broken"),
        ("503", "broken"),
        ("html 200", "garbled"),
        ("html 403", "rejected"),
        ("html 404", "unsupported"),
        ("html 502", "broken"),
        ("empty 200", "garbled"),
        ("json null", "garbled"),
        ("json list", "garbled"),
        ("json text", "garbled"),
        ("json empty", "garbled"),
        ("json deep", "garbled"),
        ("json nulls", "garbled"),
        ("json cut", "garbled"),
        ("not utf-8", "garbled"),
        ("bad gzip", "garbled"),
        ("gzip bomb", "garbled"),
        ("cut", "unreachable"),
        ("slam", "unreachable"),
        ("redirect", "garbled"),
    ],
)
def test_every_failure_is_named_and_asked_for_once(
    reader: SupermemoryReader, service: Service, fault: str, kind: str
) -> None:
    service.fail(fault)

    with pytest.raises(HostedError) as caught:
        search(reader)

    assert caught.value.fault == kind
    assert len(service.requests) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("fault, kind", [("hang", "slow"), ("drip", "slow"), ("huge", "garbled")])
def test_a_search_ends_in_time_however_the_server_stalls(
    reader: SupermemoryReader, service: Service, fault: str, kind: str
) -> None:
    search(reader)  # the SDK is loaded
    service.fail(fault)
    begun = time.monotonic()

    with pytest.raises(HostedError) as caught:
        search(reader, seconds=0.5)

    assert caught.value.fault == kind
    assert time.monotonic() - begun < 1.0


def test_a_busy_server_says_how_long_to_wait(reader: SupermemoryReader, service: Service) -> None:
    service.fail("429:7")

    with pytest.raises(HostedError) as caught:
        search(reader)

    assert caught.value.retry_after_seconds == 7


def test_a_server_that_is_not_there_is_unreachable() -> None:
    reader = SupermemoryReader(KEY, url="http://127.0.0.1:9")

    with pytest.raises(HostedError) as caught:
        search(reader)

    assert caught.value.fault == "unreachable"
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://api.supermemory.ai", "ftp://x", "", "https://", "http://10.0.0.1:6767", "http://[bad"]
)
def test_the_key_is_never_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        SupermemoryReader(KEY, url=url)


@pytest.mark.parametrize("key", ["", " ", "two words", "line\nbreak", "Schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SupermemoryReader(key)

    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a?b", "a#b", "a/b", "", "x" * 101, "a b", "ä"])
def test_a_namespace_or_id_that_would_change_the_url_never_reaches_it(
    reader: SupermemoryReader, service: Service, name: str
) -> None:
    with pytest.raises(HostedError, match="not safe"):
        reader.search(name, "bees", limit=1, seconds=1.0)
    with pytest.raises(HostedError, match="not safe"):
        reader.put(NAMESPACE, document(name=name if len(name) != 101 else "x" * 256), is_grown=True)

    assert service.requests == []


def test_threads_share_a_reader_and_each_has_its_own_limit(reader: SupermemoryReader, service: Service) -> None:
    reader.put(NAMESPACE, document(), is_grown=True)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(search(reader)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [2] * 8
