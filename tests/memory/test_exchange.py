"""Memories travel as JSON lines and as a Markdown diary, and nothing is lost on the way."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.errors import DataError
from duologue.memory import MemoryStore, Scope
from duologue.memory.diary import _escape, _unescape
from tests.memory.made import ANA, NOON, find, tell

BEA = Scope("bea", "lila")
LATER = "2026-11-09T12:00:00+00:00"


def fill(memory: MemoryStore) -> None:
    tell(memory, 'She said "naïve"\nand left 🌧 --> <b>', "Good * night_.", "I live in Rome. A [x](y) \\ line")
    tell(memory, "I live in Oslo. My cat is called Biscuit.", session_id="second", at=LATER)
    memory.pin(find(memory, "I live in Rome", kind="fact").memory_id)
    memory.set_private(find(memory, "Good * night_.").memory_id)
    memory.edit(find(memory, "My cat is called Biscuit", kind="fact").memory_id, "The cat is called Biscuit\u2028")


def everything(memory: MemoryStore, scope: Scope) -> list[tuple]:
    return sorted(
        (
            *(n.kind, n.text, n.original, n.slot, n.value, n.session_id, n.message_id, n.revision, n.part, n.position),
            *(n.said_at, n.speaker, n.name, n.is_pinned, n.is_private, n.used_until),
        )
        for n in memory.list_lines(scope=scope, limit=1000)
    )


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
def test_exported_memories_come_back_equal_and_only_once(memory: MemoryStore, tmp_path: Path, form: str) -> None:
    fill(memory)
    other = MemoryStore.open(tmp_path / "other.sqlite")

    def carry() -> int:
        if form == "jsonl":
            lines = list(memory.export_lines(scope=ANA))
            assert all("\n" not in line for line in lines)
            return other.import_lines([*lines, "", "\n"], scope=BEA)
        return other.import_markdown(memory.export_markdown(scope=ANA), scope=BEA)

    assert carry() == len(memory.list_lines(scope=ANA)) == 7
    assert everything(other, BEA) == everything(memory, ANA)
    assert carry() == 0
    assert other.list_lines(scope=ANA) == ()
    other.close()


def test_marks_of_imported_lines_hold_when_their_session_is_followed(memory: MemoryStore, tmp_path: Path) -> None:
    fill(memory)
    other = MemoryStore.open(tmp_path / "other.sqlite")
    other.import_lines(memory.export_lines(scope=ANA), scope=ANA)
    tell(other, "I live in Oslo. My cat is called Biscuit.", "Oh!", session_id="second", at=LATER)
    assert any(line.text == "The cat is called Biscuit\u2028" for line in other.list_lines(scope=ANA))
    other.close()


def test_the_diary_is_ordered_by_date_and_a_changed_line_is_an_edit(memory: MemoryStore, tmp_path: Path) -> None:
    fill(memory)
    diary = memory.export_markdown(scope=ANA)
    assert diary.index("## 2026-11-01") < diary.index("## 2026-11-09")
    assert "[fact] [used to be so until 2026 11 09] [pinned]: I live in Rome" in diary
    other = MemoryStore.open(tmp_path / "other.sqlite")
    other.import_markdown(diary.replace(": Good \\* night_.", ": Good morning."), scope=BEA)
    line = find(other, "Good morning.", scope=BEA)
    assert (line.original, line.is_edited, line.is_private) == ("Good * night_.", True, True)
    other.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80))
def test_any_text_survives_being_written_in_a_diary(text: str) -> None:
    escaped = _escape(text)
    assert "\n" not in escaped and "\r" not in escaped
    assert _unescape(escaped) == text


def test_a_faulty_diary_names_every_line_and_stores_nothing(memory: MemoryStore) -> None:
    diary = "# Mine\n\n- just a note\n- **user**: text <!--{not json}-->\n"
    with pytest.raises(DataError) as caught:
        memory.import_markdown(diary, scope=ANA, where="mine.md")
    assert "mine.md:3:" in str(caught.value) and "mine.md:4:" in str(caught.value)
    assert memory.list_lines(scope=ANA) == ()


GOOD = {"text": "a line", "speaker": "user", "session_id": "s", "message_id": 1, "said_at": NOON}


def test_lines_of_the_older_form_are_read(memory: MemoryStore) -> None:
    assert memory.import_lines([json.dumps(GOOD)], scope=ANA) == 1
    assert find(memory, "a line").original == "a line"


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
        json.dumps({**GOOD, "kind": "guess"}),
        json.dumps({**GOOD, "is_pinned": 1}),
        "[" * 100_000,
    ]
    with pytest.raises(DataError) as caught:
        memory.import_lines(rows, scope=ANA, where="mine.jsonl")
    message = str(caught.value)
    assert "13 lines are not memories" in message
    assert [f"mine.jsonl:{row}:" in message for row in range(1, 15)] == [False, *[True] * 13]
    assert memory.list_lines(scope=ANA) == ()
