"""What memory promises, on every database it can lie in."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.errors import DataError
from duologue.memory import MemoryStore, Scope
from duologue.memory.records import Source

SCOPE = Scope("local", "mara")
TEXT = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs", "Cc")), max_size=60)
CHAT = (
    "I keep seven hives of bees behind the mill",
    "Seven! Do they sting you often?",
    "Only when I forget the smoke. My sister Ada lives in Ghent",
    "Does she like honey?",
    "She prefers jam. I am afraid of thunder",
    "I will hold your hand when it storms",
)


def path_of(*texts: str, first: int = 1, revision: int = 0) -> list[Source]:
    speakers = ("user", "assistant")
    return [
        Source(number, revision, speakers[(number - first) % 2], text, f"2026-11-{number:02}T10:00:00.000+00:00")  # type: ignore[arg-type]
        for number, text in enumerate(texts, start=first)
    ]


def texts(memory: MemoryStore, scope: Scope = SCOPE) -> list[str]:
    return [line.text for line in reversed(memory.list_lines(scope=scope, kind="turn"))]


def recall(memory: MemoryStore, question: str, **more: Any) -> list[str]:
    return [line.text for line in memory.recall(question, scope=more.pop("scope", SCOPE), limit=3, **more)]


def test_a_session_is_learned_word_for_word_and_recalled_after_a_restart(places: tuple[Path | str, Path | str]) -> None:
    first = MemoryStore.open(places[1])
    first.follow("one", path_of(*CHAT), scope=SCOPE)
    first.close()
    again = MemoryStore.open(places[1])

    assert texts(again) == list(CHAT)
    assert recall(again, "Where does Ada live?")[0] == CHAT[2]
    assert recall(again, "Who keeps bees?")[0] == CHAT[0]
    again.close()


def test_following_the_path_again_changes_nothing_and_a_swipe_takes_its_lines_along(memory: MemoryStore) -> None:
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    before = memory.list_lines(scope=SCOPE)
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    assert memory.list_lines(scope=SCOPE) == before

    memory.follow("one", [*path_of(*CHAT[:5]), *path_of("Count the seconds with me", first=6, revision=1)], scope=SCOPE)
    assert texts(memory) == [*CHAT[:5], "Count the seconds with me"]

    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    assert texts(memory) == list(CHAT)


def test_what_the_person_did_to_a_line_is_kept(memory: MemoryStore) -> None:
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    bees, _, ada, *_ = sorted(memory.list_lines(scope=SCOPE, kind="turn"), key=lambda line: line.position)

    memory.edit(bees.memory_id, "I keep nine hives of bees", scope=SCOPE)
    memory.set_private(ada.memory_id, scope=SCOPE)
    thunder = next(line for line in memory.list_lines(scope=SCOPE, kind="turn") if "thunder" in line.text)
    memory.pin(thunder.memory_id, scope=SCOPE)

    assert recall(memory, "How many hives of bees?")[:2] == [CHAT[4], "I keep nine hives of bees"]
    assert CHAT[2] not in recall(memory, "Where does Ada live?")
    assert memory.get(bees.memory_id).original == CHAT[0]
    assert [line.text for line in memory.search("hives", scope=SCOPE, limit=5) if line.kind == "turn"] == [
        "I keep nine hives of bees"
    ]


def test_a_forgotten_line_is_gone_stays_gone_and_leaves_a_receipt(memory: MemoryStore) -> None:
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    [ada] = [line for line in memory.list_lines(scope=SCOPE, kind="turn") if "Ghent" in line.text]

    receipt = memory.forget([ada.memory_id], scope=SCOPE)
    memory.follow("one", path_of(*CHAT), scope=SCOPE)

    assert receipt.num_lines == 1 and receipt.is_proved
    assert CHAT[2] not in texts(memory)
    assert all("Ghent" not in text for text in recall(memory, "Does Ada live in Ghent?"))
    assert memory.search("Ghent", scope=SCOPE, limit=5) == ()
    assert [one.receipt_id for one in memory.receipts()] == [receipt.receipt_id]
    assert "Ghent" not in json.dumps(memory.receipts()[0].notes)
    with pytest.raises(DataError, match="no memory"):
        memory.get(ada.memory_id)


def test_sessions_messages_and_scopes_are_forgotten_whole(memory: MemoryStore) -> None:
    for session in ("one", "two"):
        memory.follow(session, path_of(*(f"{text} ({session})" for text in CHAT)), scope=SCOPE)
    memory.forget_message(1, session_id="one")
    assert len(texts(memory)) == 11
    memory.forget_session("one")
    assert texts(memory) == [f"{text} (two)" for text in CHAT]
    memory.forget_scope(SCOPE)
    assert memory.list_lines(scope=SCOPE) == ()


def test_a_line_leads_back_to_where_it_was_said(memory: MemoryStore) -> None:
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    [ada] = [line for line in memory.list_lines(scope=SCOPE, kind="turn") if "Ghent" in line.text]

    why = memory.why(ada.memory_id, scope=SCOPE, num_around=1)

    assert (why.line.session_id, why.line.message_id) == ("one", 3)
    assert [line.text for line in why.around] == list(CHAT[1:4])


def test_everything_goes_out_and_comes_back(memory: MemoryStore) -> None:
    memory.follow("one", path_of(*CHAT), scope=SCOPE)
    lines, diary = list(memory.export_lines(scope=SCOPE)), memory.export_markdown(scope=SCOPE)

    copy, other = Scope("copy", "mara"), Scope("diary", "mara")
    assert memory.import_lines(lines, scope=copy) == len(lines)
    assert memory.import_lines(lines, scope=copy) == 0
    memory.import_markdown(diary, scope=other)

    assert texts(memory, copy) == texts(memory, other) == list(CHAT)
    assert list(memory.export_lines(scope=copy)) == lines
    with pytest.raises(DataError):
        memory.import_lines([*lines, "not a memory"], scope=Scope("third", "mara"))
    assert memory.list_lines(scope=Scope("third", "mara")) == ()


NAMES = ["", "local", "Local", "local ", "../local", "local'", 'lo"cal', "local;--", "%", "_", "*", "user", "ü"]
NAMES += ["u\u0308", "loc\\al"]


def test_nothing_of_one_scope_is_ever_found_in_another(memory: MemoryStore) -> None:
    scopes = [Scope(user, character) for user in NAMES for character in ("mara", "mara%", user)]
    scopes = list(dict.fromkeys(scopes))
    for number, scope in enumerate(scopes):
        memory.follow(f"s{number}", path_of(f"my secret bees are number {number}"), scope=scope)

    for number, scope in enumerate(scopes):
        own = [f"my secret bees are number {number}"]
        assert recall(memory, "what number are your secret bees?", scope=scope) == own
        assert texts(memory, scope) == own
        assert [line.text for line in memory.search("secret bees", scope=scope, limit=9) if line.kind == "turn"] == own
    hidden = memory.list_lines(scope=scopes[0])[0].memory_id
    with pytest.raises(DataError):
        memory.get(hidden, scope=scopes[1])
    assert memory.forget([hidden], scope=scopes[1]).num_lines == 0


FOLLOWING = """
import sys
from pathlib import Path
from duologue.memory import MemoryStore, Scope
from duologue.memory.records import Source
place = sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1])
memory = MemoryStore.open(place)
scope = Scope("local", "mara")
path = []
for n in range(1, 11):
    path.append(Source(n, 0, "user", f"{sys.argv[2]} turn {n}", f"2026-11-{n:02}T10:00:00+00:00"))
    memory.follow(sys.argv[2], path, scope=scope)
    memory.follow("shared", [Source(1, 0, "user", "the same", "2026-11-01T10:00:00+00:00")], scope=scope)
memory.close()
"""


def test_processes_that_learn_at_once_lose_nothing_and_learn_nothing_twice(
    memory: MemoryStore, places: tuple[Path | str, Path | str]
) -> None:
    command = [sys.executable, "-c", FOLLOWING, str(places[1])]
    processes = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "abc"]
    complaints = [process.communicate(timeout=120)[1] for process in processes]

    assert complaints == ["", "", ""]
    assert sorted(texts(memory)) == sorted(["the same", *(f"{name} turn {n}" for name in "abc" for n in range(1, 11))])


def test_what_another_process_learned_is_recalled_here(
    memory: MemoryStore, places: tuple[Path | str, Path | str]
) -> None:
    memory.follow("one", path_of("I keep bees"), scope=SCOPE)
    assert recall(memory, "Where is the lighthouse?") == []
    other = MemoryStore.open(places[1])
    other.follow("two", path_of("The lighthouse stands in Ghent"), scope=SCOPE)

    assert recall(memory, "Where is the lighthouse?") == ["The lighthouse stands in Ghent"]

    other.forget_session("two")
    assert recall(memory, "Where is the lighthouse?") == []
    other.close()


def test_threads_share_the_memory(memory: MemoryStore) -> None:
    def work(number: int) -> None:
        scope = Scope(f"user {number}", "mara")
        memory.follow("one", path_of(*(f"{text} {number}" for text in CHAT)), scope=scope)
        recall(memory, "Who keeps bees?", scope=scope)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))

    for number in range(16):
        assert texts(memory, Scope(f"user {number}", "mara")) == [f"{text} {number}" for text in CHAT]


PATHS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 2), TEXT), max_size=5, unique_by=lambda message: message[0]
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["follow", "follow", "forget", "edit", "private", "pin"]), st.integers(0, 5), PATHS),
    max_size=6,
)


def play(memory: MemoryStore, scope: Scope, step: tuple[str, int, list[tuple[int, int, str]]]) -> Any:
    kind, number, path = step
    if kind == "follow":
        sources = [
            Source(message, revision, "user" if message % 2 else "assistant", text, "2026-11-01T10:00:00.000+00:00")
            for message, revision, text in sorted(path)
        ]
        memory.follow(f"{scope.user} {number % 2}", sources, scope=scope)
        return None
    lines = sorted(
        memory.list_lines(scope=scope), key=lambda line: (line.session_id, line.position, line.kind, line.part)
    )
    if not lines:
        return "nothing"
    line = lines[number % len(lines)]
    if kind == "forget":
        receipt = memory.forget([line.memory_id], scope=scope)
        return receipt.num_lines, receipt.num_facts, receipt.num_found
    if kind == "edit":
        return memory.edit(line.memory_id, f"edited {number}", scope=scope).text
    return (memory.pin if kind == "pin" else memory.set_private)(line.memory_id, scope=scope).text


def view(memory: MemoryStore, scope: Scope) -> Any:
    """Return everything that can be seen but the numbers of rows."""
    return (
        sorted(json.dumps(json.loads(line), sort_keys=True) for line in memory.export_lines(scope=scope)),
        sorted((line.text, line.is_pinned, line.is_private) for line in memory.list_lines(scope=scope)),
        [(line.text, round(line.score, 6)) for line in memory.recall("what was edited", scope=scope, limit=9)],
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_script_of_changes_leaves_the_same_memories_everywhere(
    both_memories: tuple[MemoryStore, MemoryStore], steps: list[tuple[str, int, list[tuple[int, int, str]]]]
) -> None:
    counted.append(0)
    scope = Scope(f"user {len(counted)}", "mara")
    one, two = both_memories
    for step in steps:
        assert play(one, scope, step) == play(two, scope, step)
        assert view(one, scope) == view(two, scope)


counted: list[int] = []
