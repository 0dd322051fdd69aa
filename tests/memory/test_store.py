"""What was said is found again in its own scope, and forgotten without a trace."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.errors import DataError, GuardError
from duologue.memory import MemoryStore, Scope
from duologue.messages import Role

ANA = Scope("ana", "Lila")
SAID_AT = "2026-11-01T20:00:00+00:00"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryStore]:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    yield store
    store.close()


def add(
    memory: MemoryStore,
    text: str,
    *,
    scope: Scope = ANA,
    session_id: str = "first",
    speaker: Role = "user",
    message_id: int = 1,
) -> int:
    return memory.add(text, speaker=speaker, scope=scope, session_id=session_id, message_id=message_id, said_at=SAID_AT)


def recalled(memory: MemoryStore, question: str, *, scope: Scope = ANA, exclude_session: str = "") -> list[str]:
    return [line.text for line in memory.recall(question, scope=scope, limit=5, exclude_session=exclude_session)]


def test_a_recalled_line_is_verbatim_and_carries_its_source(memory: MemoryStore) -> None:
    memory_id = add(memory, "My cat is called  Biscuit — she's *tiny*!", message_id=7)
    [line] = memory.recall("what are cats called?", scope=ANA, limit=3)
    assert (line.text, line.speaker, line.memory_id) == ("My cat is called  Biscuit — she's *tiny*!", "user", memory_id)
    assert (line.session_id, line.said_at) == ("first", SAID_AT)
    assert line.score > 0


def test_words_are_found_in_other_forms_and_without_accents(memory: MemoryStore) -> None:
    add(memory, "I was painting the café window")
    assert recalled(memory, "Which cafe did I paint?") == ["I was painting the café window"]


def test_the_answer_to_a_matching_question_is_recalled_with_it(memory: MemoryStore) -> None:
    add(memory, "Do you have a sister?", speaker="assistant")
    add(memory, "Yes, Maren. She lives in Oslo.")
    add(memory, "The kettle is on.", speaker="assistant", session_id="other")
    assert recalled(memory, "Tell me about my sister") == ["Do you have a sister?", "Yes, Maren. She lives in Oslo."]


def test_the_session_that_asks_is_not_recalled_not_even_as_a_neighbour(memory: MemoryStore) -> None:
    add(memory, "My boat is green", session_id="old")
    add(memory, "My boat is red now", session_id="present")
    assert recalled(memory, "my boat?", exclude_session="present") == ["My boat is green"]
    assert len(recalled(memory, "my boat?")) == 2


def test_identical_texts_are_recalled_once_but_searched_and_listed_each(memory: MemoryStore) -> None:
    for number in range(4):
        add(memory, "I love thunder", session_id=f"s{number}")
    assert recalled(memory, "what about thunder?") == ["I love thunder"]
    assert len(memory.search("thunder", scope=ANA, limit=10)) == 4
    assert len(memory.list_lines(scope=ANA)) == 4


def test_lines_are_listed_newest_first(memory: MemoryStore) -> None:
    for text in ("one", "two", "three"):
        add(memory, text)
    assert [line.text for line in memory.list_lines(scope=ANA, limit=2)] == ["three", "two"]


def test_a_question_without_telling_words_recalls_nothing(memory: MemoryStore) -> None:
    add(memory, "you and I and the")
    assert recalled(memory, "what do you and I do?") == []
    assert recalled(memory, "") == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=60) | st.text(alphabet='"*()-:^+{}ANDORNEAR \x00€', max_size=30))
def test_no_text_is_read_as_query_syntax(memory: MemoryStore, question: str) -> None:
    add(memory, "an ordinary line")
    memory.recall(question, scope=ANA, limit=3)
    memory.search(question, scope=ANA, limit=3)


names = st.sampled_from(
    ["", "ana", "Ana", "ana ", "../ana", "ana?x#y", "ana%", "ana_", "%", "*", "a' OR '1'='1"]
) | st.text(max_size=12)


@settings(max_examples=100, deadline=None)
@given(scopes=st.lists(st.builds(Scope, user=names, character=names), min_size=2, max_size=6, unique=True))
def test_nothing_said_in_one_scope_is_ever_found_in_another(
    scopes: list[Scope], tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory = MemoryStore.open(tmp_path_factory.mktemp("scopes") / "memory.sqlite")
    for number, scope in enumerate(scopes):
        add(memory, f"the secret word is marker{number}", scope=scope, session_id="shared")
        add(memory, f"and {number} besides", scope=scope, session_id="shared", speaker="assistant")
    for number, scope in enumerate(scopes):
        expected = {f"the secret word is marker{number}", f"and {number} besides"}
        assert set(recalled(memory, "what is the secret word?", scope=scope)) == expected
        assert {line.text for line in memory.search("secret besides", scope=scope, limit=99)} == expected
        assert {line.text for line in memory.list_lines(scope=scope)} == expected
        assert {json.loads(line)["text"] for line in memory.export_lines(scope=scope)} == expected
    memory.close()


def test_what_crosses_a_limit_of_every_rating_is_not_remembered(memory: MemoryStore) -> None:
    with pytest.raises(GuardError) as caught:
        add(memory, "zqflag with a schoolchild")  # the policy's stand-in for a sexual word
    assert caught.value.reason == "content_policy"
    assert memory.list_lines(scope=ANA) == ()


def files_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("seed", [97, 113, 122])
def test_forgetting_leaves_no_byte_in_any_file(tmp_path: Path, seed: int) -> None:
    # With these seeds readable copies stayed behind when only secure_delete and FTS5 'optimize' were used.
    rng = random.Random(seed)
    memory = MemoryStore.open(tmp_path / "memory.sqlite")
    marker_of: dict[int, str] = {}
    for number in range(240):
        marker = "".join(rng.choices("bcdfghjklmnpqrstvwxyz", k=12))
        words = [
            "".join(rng.choices("aeioubdgklmnrst", k=rng.randint(2, 9))) for _ in range(rng.choice([1, 5, 30, 300]))
        ]
        words.insert(rng.randint(0, len(words)), marker)
        marker_of[add(memory, " ".join(words), message_id=number)] = marker
    forgotten = rng.sample(sorted(marker_of), 90)
    assert memory.forget(forgotten) == 90
    raw = files_bytes(tmp_path)
    # FTS5 stores a word without the letters it shares with the word before: the tail alone must be gone as well.
    found = [marker for marker in (marker_of[i] for i in forgotten) if marker[3:].encode() in raw]
    assert found == []
    kept = [marker_of[i] for i in marker_of if i not in forgotten]
    assert all(marker.encode() in raw for marker in kept)
    assert [len(memory.search(marker, scope=ANA, limit=9)) for marker in kept] == [1] * len(kept)
    memory.close()
    assert not any(marker_of[i].encode() in files_bytes(tmp_path) for i in forgotten)


def test_forgetting_a_message_or_a_session_takes_exactly_its_lines(memory: MemoryStore) -> None:
    add(memory, "quokka one", session_id="a", message_id=1)
    add(memory, "quokka two", session_id="a", message_id=2)
    add(memory, "quokka two again", session_id="a", message_id=2)
    add(memory, "quokka two elsewhere", session_id="b", message_id=2)
    assert memory.forget_message(2, session_id="a") == 2
    assert (memory.knows(1, session_id="a"), memory.knows(2, session_id="a")) == (True, False)
    assert {line.text for line in memory.list_lines(scope=ANA)} == {"quokka one", "quokka two elsewhere"}
    assert memory.forget_session("a") == 1
    assert recalled(memory, "quokka?") == ["quokka two elsewhere"]


def test_forgetting_what_is_not_there_counts_nothing(memory: MemoryStore) -> None:
    kept = add(memory, "kept")
    assert memory.forget([kept + 1, -5]) == 0
    assert memory.forget([]) == 0
    assert recalled(memory, "what was kept?") == ["kept"]


def test_exported_lines_come_back_equal_and_only_once(memory: MemoryStore, tmp_path: Path) -> None:
    add(memory, 'She said "naïve"\nand left 🌧', message_id=3)
    add(memory, "Good night.", speaker="assistant", session_id="second", message_id=4)
    exported = list(memory.export_lines(scope=ANA))
    assert all("\n" not in line for line in exported)
    other = MemoryStore.open(tmp_path / "other.sqlite")
    bea = Scope("bea", "Lila")
    assert other.import_lines([*exported, "", "\n"], scope=bea) == 2
    assert other.import_lines(exported, scope=bea) == 0
    assert list(other.export_lines(scope=bea)) == exported
    assert other.list_lines(scope=ANA) == ()
    other.close()


GOOD = {"text": "a line", "speaker": "user", "session_id": "s", "message_id": 1, "said_at": SAID_AT}


def test_a_faulty_import_names_every_row_and_stores_nothing(memory: MemoryStore) -> None:
    rows = [
        json.dumps(GOOD),
        "{not json",
        "[1, 2]",
        json.dumps({"text": "only text"}),
        json.dumps({**GOOD, "speaker": "system"}),
        json.dumps({**GOOD, "message_id": True}),
        json.dumps({**GOOD, "message_id": 2**63}),
        json.dumps({**GOOD, "said_at": "yesterday"}),
        json.dumps({**GOOD, "text": "half \ud800 character"}),
        json.dumps({**GOOD, "text": ["a"]}),
        json.dumps({**GOOD, "text": "zqflag with a schoolchild"}),
        "[" * 100_000,
    ]
    with pytest.raises(DataError) as caught:
        memory.import_lines(rows, scope=ANA, where="mine.jsonl")
    message = str(caught.value)
    assert "11 lines are not memories" in message
    assert [f"mine.jsonl:{row}:" in message for row in range(1, 13)] == [False, *[True] * 11]
    assert memory.list_lines(scope=ANA) == ()


def test_threads_add_and_recall_at_once(memory: MemoryStore) -> None:
    def work(name: int) -> None:
        for number in range(10):
            add(memory, f"thread{name} says number{number}", session_id=str(name))
            memory.recall(f"number{number}", scope=ANA, limit=3)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory.list_lines(scope=ANA)) == 50


def test_a_damaged_memory_is_reported_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    before = path.read_bytes()
    with pytest.raises(DataError, match="damaged"):
        MemoryStore.open(path)
    assert path.read_bytes() == before
