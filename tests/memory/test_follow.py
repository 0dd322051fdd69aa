"""Whatever happens to a chat, memory is what a replay of its chosen path from scratch would be."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from duologue.memory import MemoryStore, Scope, Source
from tests.memory.made import ANA, WordEmbedder, find, recalled, source, tell, turns

TEXTS = st.sampled_from(
    [
        "I live in Rome.",
        "I live in Oslo.",
        "My cat is called Biscuit and I love tea.",
        "I don't like tea.",
        "The harbour was loud today.",
        "Nothing much.",
        "Long ago there was a mill. " * 30,
        "",
        "  ",
    ]
)
BO = Scope("ana", "bo")


class Chat(RuleBasedStateMachine):
    """A chat with swipes, edits, deletions and branches, followed by a memory that lives through all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore.open(_folder() / "memory.sqlite", embedder=WordEmbedder())
        self.versions: dict[int, list[Source]] = {}  # what stands at each place, all swipes
        self.paths: dict[str, list[Source]] = {"main": []}
        self.dropped: dict[str, list[Source]] = {}
        self.marks: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.next_id = 1

    def teardown(self) -> None:  # once per script: a new database costs too much to make after every step
        self.equals_a_replay_from_scratch()
        self.memory.close()

    def follow(self, session: str) -> None:
        self.memory.follow(session, self.paths[session], scope=ANA)

    @rule(data=st.data(), text=TEXTS)
    def say(self, data: st.DataObject, text: str) -> None:
        session = data.draw(st.sampled_from(sorted(self.paths)))
        speaker = "user" if len(self.paths[session]) % 2 == 0 else "assistant"
        at = f"2026-11-{1 + self.next_id % 28:02d}T12:00:00+00:00"
        self.paths[session].append(source(self.next_id, text, speaker=speaker, at=at))
        self.next_id += 1
        self.follow(session)

    @precondition(lambda self: any(self.paths.values()))
    @rule(data=st.data(), text=TEXTS, is_edit=st.booleans())
    def change(self, data: st.DataObject, text: str, is_edit: bool) -> None:
        session = data.draw(st.sampled_from([name for name, path in sorted(self.paths.items()) if path]))
        at = data.draw(st.integers(0, len(self.paths[session]) - 1))
        old = self.paths[session][at]
        self.dropped.setdefault(session, []).append(old)
        new_id = old.message_id if is_edit else self.next_id
        revision = old.revision + 1 if is_edit else 0
        while is_edit and any(
            other.message_id == new_id and other.revision == revision for other in self.dropped.get(session, [])
        ):
            revision += 1
        self.next_id += 1
        self.paths[session][at] = Source(new_id, revision, old.speaker, text, old.said_at)
        if not is_edit:
            del self.paths[session][at + 1 :]  # the messages after a swipe belong to the other one
        self.follow(session)

    @precondition(lambda self: any(self.dropped.values()))
    @rule(data=st.data())
    def choose_again(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([name for name, old in sorted(self.dropped.items()) if old]))
        old = data.draw(st.sampled_from(self.dropped[session]))
        path = [entry for entry in self.paths[session] if entry.message_id != old.message_id]
        self.paths[session] = [*path, old]
        self.follow(session)

    @precondition(lambda self: any(self.paths.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([name for name, path in sorted(self.paths.items()) if path]))
        at = data.draw(st.integers(0, len(self.paths[session]) - 1))
        self.dropped.setdefault(session, []).extend(self.paths[session][at:])
        del self.paths[session][at:]
        self.follow(session)

    @rule(data=st.data())
    def branch(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(sorted(self.paths)))
        length = data.draw(st.integers(0, len(self.paths[session])))
        name = f"branch{self.next_id}"
        self.next_id += 1
        self.paths[name] = list(self.paths[session][:length])
        self.follow(name)

    @precondition(lambda self: any(entry.text.strip() for path in self.paths.values() for entry in path))
    @rule(data=st.data(), mark=st.sampled_from(["pin", "private", "edit"]))
    def mark(self, data: st.DataObject, mark: str) -> None:
        line = data.draw(st.sampled_from(sorted(turns(self.memory), key=_place)))
        key = (line.session_id, line.message_id, line.revision, line.kind, line.part)
        marks = self.marks.setdefault(key, {})
        if mark == "pin":
            marks["pin"] = self.memory.pin(line.memory_id).is_pinned
        elif mark == "private":
            marks["private"] = self.memory.set_private(line.memory_id).is_private
        else:
            marks["edit"] = self.memory.edit(line.memory_id, f"edited {len(self.marks)} boats").text

    def equals_a_replay_from_scratch(self) -> None:
        with closing(MemoryStore.open(_folder() / "memory.sqlite", embedder=WordEmbedder())) as fresh:
            for session in sorted(self.paths):
                fresh.follow(session, self.paths[session], scope=ANA)
            for line in fresh.list_lines(scope=ANA, limit=10_000):
                marks = self.marks.get((line.session_id, line.message_id, line.revision, line.kind, line.part), {})
                if "pin" in marks:
                    fresh.pin(line.memory_id)
                if "private" in marks:
                    fresh.set_private(line.memory_id)
                if "edit" in marks:
                    fresh.edit(line.memory_id, marks["edit"])
            fresh.catch_up()
            self.memory.catch_up()
            assert _state(self.memory) == _state(fresh)
            for question in ("where do I live?", "do I like tea?", "edited boats", "the mill"):
                found, expected = (
                    sorted((line.text, round(line.score, 4)) for line in store.recall(question, scope=ANA, limit=50))
                    for store in (self.memory, fresh)
                )
                assert found == expected


def _place(line: Any) -> tuple[Any, ...]:
    return (line.session_id, line.position, line.kind, line.part)


def _state(memory: MemoryStore) -> list[tuple[Any, ...]]:
    return sorted(
        (
            *(*_place(line), line.message_id, line.revision, line.text, line.original, line.slot, line.value),
            *(line.is_pinned, line.is_private, line.used_until, line.speaker, line.said_at),
        )
        for line in memory.list_lines(scope=ANA, limit=10_000)
    )


_BASE: list[Path] = []
_COUNT = iter(range(1_000_000))


def _folder() -> Path:
    folder = _BASE[0] / str(next(_COUNT))
    folder.mkdir()
    return folder


def test_any_script_of_changes_leaves_what_a_replay_would(tmp_path: Path) -> None:
    _BASE[:] = [tmp_path]
    run_state_machine_as_test(Chat, settings=settings(max_examples=20, stateful_step_count=12, deadline=None))


def test_following_the_same_path_again_changes_nothing(memory: MemoryStore) -> None:
    path = [source(1, "I live in Rome."), source(2, "Lovely.", speaker="assistant")]
    assert memory.follow("a", path, scope=ANA).num_new == 3  # two turns, one fact
    before = memory.list_lines(scope=ANA)
    followed = memory.follow("a", path, scope=ANA)
    assert (followed.num_new, followed.num_gone) == (0, 0)
    assert memory.list_lines(scope=ANA) == before


def test_a_growing_chat_keeps_the_numbers_of_its_lines(memory: MemoryStore) -> None:
    tell(memory, "One boat.")
    first = find(memory, "One boat.").memory_id
    tell(memory, "One boat.", "Two boats.")
    assert find(memory, "One boat.").memory_id == first


def test_a_swipe_takes_its_lines_and_coming_back_brings_them_with_their_pin(memory: MemoryStore) -> None:
    ask = source(1, "Which boat?")
    green, red = source(2, "The green boat.", speaker="assistant"), source(3, "The red boat.", speaker="assistant")
    memory.follow("a", [ask, green], scope=ANA)
    memory.pin(find(memory, "The green boat.").memory_id)
    memory.follow("a", [ask, red], scope=ANA)
    assert {line.text for line in turns(memory)} == {"Which boat?", "The red boat."}
    memory.follow("a", [ask, green], scope=ANA)
    assert find(memory, "The green boat.").is_pinned


def test_an_edit_of_a_memory_ends_with_an_edit_of_its_message(memory: MemoryStore) -> None:
    memory.follow("a", [source(1, "The boat is green.")], scope=ANA)
    memory.edit(find(memory, "The boat is green.").memory_id, "The ship is green.")
    memory.follow("a", [source(1, "The boat is green.")], scope=ANA)
    assert [line.text for line in turns(memory)] == ["The ship is green."]
    memory.follow("a", [source(1, "The boat is blue.", revision=1)], scope=ANA)
    assert [line.text for line in turns(memory)] == ["The boat is blue."]


def test_each_character_follows_a_chat_for_itself(memory: MemoryStore) -> None:
    memory.follow("a", [source(1, "The boat is green.")], scope=ANA)
    memory.follow("a", [source(1, "The boat is green."), source(2, "Aye.", speaker="assistant")], scope=BO)
    memory.follow("a", (), scope=ANA)
    assert turns(memory) == []
    assert len(turns(memory, BO)) == 2


def test_what_was_forgotten_is_not_learned_again_until_its_message_changes(memory: MemoryStore) -> None:
    path = [source(1, "I live in Rome. The weather is fine here.")]
    memory.follow("a", path, scope=ANA)
    receipt = memory.forget([find(memory, path[0].text).memory_id])
    assert (receipt.num_lines, receipt.num_facts) == (1, 1)
    memory.follow("a", path, scope=ANA)
    assert memory.list_lines(scope=ANA) == ()
    memory.follow("a", [source(1, "I live in Rome, by the river.", revision=1)], scope=ANA)
    assert len(memory.list_lines(scope=ANA)) == 2


def test_what_was_forgotten_or_pinned_is_so_in_a_branch_too(memory: MemoryStore) -> None:
    tell(memory, "The boat is green.", "Nice one.", "The house is tall.", session_id="a")
    memory.pin(find(memory, "The house is tall.").memory_id)
    memory.forget([find(memory, "The boat is green.").memory_id])
    copies = [source(11, "The boat is green."), source(12, "Nice one.", speaker="assistant")]
    copies.append(source(13, "The house is tall."))
    memory.copy_marks("a", "b", [((number, 0), (number + 10, 0)) for number in (1, 2, 3)])
    memory.follow("b", copies, scope=ANA)
    assert {line.text: line.is_pinned for line in turns(memory) if line.session_id == "b"} == {
        "Nice one.": False,
        "The house is tall.": True,
    }


def test_a_reply_is_no_source_of_facts_and_echoes_teach_nothing(memory: MemoryStore) -> None:
    tell(memory, "Hello.", "You told me: I live in Rome.", 'You said "I live in Rome".', "I live in Rome.")
    assert [line for line in memory.list_lines(scope=ANA) if line.kind == "fact"] == []


@pytest.mark.parametrize("said_at", ["", "yesterday", "9999-99-99"])
def test_a_time_that_is_none_stops_nothing(memory: MemoryStore, said_at: str) -> None:
    tell(memory, "The boat is green", at=said_at)
    assert recalled(memory, "when was the boat green?") == ["The boat is green"]
