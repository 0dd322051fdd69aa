"""A bot around the fake engine, with real stores in a folder of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.chat import Bot, Cast, Sessions
from duologue.engine import Generator
from duologue.engine.fake import FakeGenerator
from duologue.guard import Judge
from duologue.memory import MemoryStore
from tests.chat.made import NYX, Clock, a_config

MakeBot = Callable[..., Bot]


@pytest.fixture
def make_bot(tmp_path: Path) -> Iterator[MakeBot]:
    """Opens bots in one folder and closes them after the test."""
    opened: list[Bot] = []

    def make(
        generator: Generator | None = None,
        *,
        character: Character | Cast = NYX,
        clock: Clock | None = None,
        is_trained: bool = False,
        character_section: dict[str, object] | None = None,
        judge: Judge | None = None,
        num_replies: int = 1,
        **sections: dict[str, object],
    ) -> Bot:
        bot = Bot(
            generator or FakeGenerator(),
            character,
            config=a_config(character={"user_name": "Sam", **(character_section or {})}, **sections),
            sessions=Sessions.open(tmp_path / "chats.sqlite"),
            memory=MemoryStore.open(tmp_path / "memory.sqlite"),
            clock=clock or Clock(),
            is_trained=is_trained,
            judge=judge,
            num_replies=num_replies,
        )
        opened.append(bot)
        return bot

    yield make
    for bot in opened:
        bot.close()
