"""Long messages are remembered in passages that fit a prompt, and each message once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.chat.recollection import PASSAGE_CHARS, Recollection, passages
from duologue.memory import MemoryStore
from duologue.messages import Role
from tests.chat.made import SCOPE, a_config


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryStore]:
    store = MemoryStore.open(tmp_path / "memory.sqlite")
    yield store
    store.close()


def remember(recollection: Recollection, text: str, *, message_id: int = 1, speaker: Role = "user") -> None:
    recollection.remember(
        text, speaker=speaker, user="local", session_id="s", message_id=message_id, said_at="2026-11-01T20:00:00+00:00"
    )


def test_a_message_is_remembered_verbatim_and_once(memory: MemoryStore) -> None:
    recollection = Recollection(memory, a_config(), character="nyx-harrow")
    remember(recollection, "My boat  is green.\nReally!")
    remember(recollection, "My boat  is green.\nReally!")
    assert [line.text for line in memory.list_lines(scope=SCOPE)] == ["My boat  is green.\nReally!"]
    [line] = recollection.recall("What about my boat?", session_id="other", user="local")
    assert line.text == "My boat  is green.\nReally!"
    assert recollection.recall("What about my boat?", session_id="s", user="local") == ()
    assert recollection.recall("What about my boat?", session_id="other", user="bea") == ()


def test_as_many_lines_are_recalled_as_the_settings_say(memory: MemoryStore) -> None:
    for number in range(6):
        remember(Recollection(memory, a_config(), character="nyx-harrow"), f"boat {number}", message_id=number)
    for wanted in (0, 1, 4):
        config = a_config(memory={"num_recalled": wanted})
        recollection = Recollection(memory, config, character="nyx-harrow")
        assert len(recollection.recall("which boat?", session_id="other", user="local")) == wanted


def test_without_a_store_nothing_is_remembered() -> None:
    recollection = Recollection(None, a_config(), character="nyx-harrow")
    remember(recollection, "My boat is green.")
    recollection.forget_message(1, session_id="s")
    recollection.forget_session("s")
    assert recollection.recall("boat", session_id="other", user="local") == ()
    recollection.close()


def test_a_long_message_is_cut_between_sentences() -> None:
    sentences = [f"This is sentence number {number} of a long story." for number in range(30)]
    parts = passages(" ".join(sentences))
    assert all(len(part) <= PASSAGE_CHARS for part in parts)
    assert " ".join(parts) == " ".join(sentences)
    assert all(part.startswith("This is") and part.endswith("story.") for part in parts)


@given(text=st.text(max_size=2000) | st.text(alphabet="ab. \n", max_size=3000))
def test_passages_are_short_and_lose_no_word(text: str) -> None:
    parts = passages(text)
    assert all(part.strip() and len(part) <= PASSAGE_CHARS for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
