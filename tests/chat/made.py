"""Made-up parts of a bot."""

import threading
from dataclasses import dataclass

from duologue.characters import Character
from duologue.chat import Bot
from duologue.config import Config, make_config
from duologue.engine.fake import FakeGenerator
from duologue.memory import Scope

NYX = Character(
    "Nyx Harrow",
    description="A lighthouse keeper.",
    greeting="{{user}}, come in. {{char}} has made tea.",
)
SCOPE = Scope("local", "nyx-harrow")


def a_config(**sections: dict[str, object]) -> Config:
    tree: dict[str, object] = {
        "model": {"base": "bundled:smollm2-135m"},
        "data": {"train": ["data/*.json"]},
        "character": {"user_name": "Sam"},
    }
    return make_config({**tree, **sections}, where="test")


@dataclass
class Clock:
    """Seconds that pass only when the test says so, or a little at every look."""

    seconds: float = 100.0
    step: float = 0.0

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


FLAG = "zqflag"  # the content policy's stand-in for a sexual word
NOTICE = "This reply was withheld by the content policy."


def say(bot: Bot, session_id: str, text: str) -> str:
    return bot.reply(session_id, text, cancel=threading.Event()).read().text


def texts(bot: Bot, session_id: str) -> list[str]:
    return [entry.message.content for entry in bot.sessions.messages(session_id)]


def remembered(bot: Bot) -> list[str]:
    assert bot.memory is not None
    bot.settle()
    return [line.text for line in reversed(bot.memory.list_lines(scope=SCOPE, kind="turn"))]


class Recording(FakeGenerator):
    """Keeps the prompts it was given, as text."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.prompts: list[str] = []

    def stream(self, prompt_ids, sampling, *, cancel):
        self.prompts.append(self.tokenizer.decode(prompt_ids))
        return super().stream(prompt_ids, sampling, cancel=cancel)
