"""A model that compares replies: opened when asked, closed at the end, and only when one is named."""

import pytest

from duologue.cli import judging
from duologue.cli.judging import opened_judge
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError
from duologue.messages import Message

QUESTION = (Message("user", "Which one?"),)


class Watched(FakeGenerator):
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_without_a_name_nobody_is_asked():
    with opened_judge("") as judge:
        assert judge is None


@pytest.mark.parametrize(
    ("name", "engine", "key"),
    [
        ("http://127.0.0.1:1/v1#judge", "remote", "secret"),
        ("models/judge.gguf", "gguf", ""),
        ("bundled:smollm2-135m", "hf", ""),
    ],
)
def test_the_judge_is_opened_once_when_it_is_first_asked_and_closed_at_the_end(monkeypatch, name, engine, key):
    monkeypatch.setenv("DUOLOGUE_JUDGE_KEY", "secret")
    opened = []

    def open_generator(which, base, *, api_key):
        opened.append((which, base.name, api_key, Watched(reply="FIRST")))
        return opened[-1][3]

    monkeypatch.setattr(judging, "open_generator", open_generator)
    with opened_judge(name) as judge:
        assert not opened
        assert [judge(QUESTION), judge(QUESTION)] == ["FIRST", "FIRST"]
        assert not opened[0][3].is_closed
    assert [each[:3] for each in opened] == [(engine, name, key)]
    assert opened[0][3].is_closed


def test_a_judge_that_cannot_be_opened_fails_when_asked_and_not_before(tmp_path):
    with opened_judge(str(tmp_path / "missing.gguf")) as judge, pytest.raises(EngineError):
        judge(QUESTION)
