"""One server for all tests of the API that do not need their own, with an engine that each test may change."""

import threading
from collections.abc import Callable, Iterator

import openai
import pytest

from duologue.engine import Generator
from duologue.engine.fake import FakeGenerator
from tests.serve.api.serving import client_of
from tests.serve.running import Running, make_bot, running

Use = Callable[[Generator], Generator]


class Switch(FakeGenerator):
    """An engine that lets another one speak, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = FakeGenerator()
        self.speaking: Generator = self.plain
        self.prompts: list[str] = []
        self.samplings: list[object] = []

    def stream(self, prompt_ids, sampling, *, cancel: threading.Event):
        self.prompts.append(self.tokenizer.decode(prompt_ids))
        self.samplings.append(sampling)
        return self.speaking.stream(prompt_ids, sampling, cancel=cancel)


@pytest.fixture(scope="session")
def switch() -> Switch:
    """The engine of the server."""
    return Switch()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, switch: Switch) -> Iterator[Running]:
    """A server that no test changes but by its engine."""
    with running(make_bot(tmp_path_factory.mktemp("bot"), generator=switch)) as started:
        yield started


@pytest.fixture
def use(server: Running, switch: Switch) -> Iterator[Use]:
    """Lets another engine speak for the length of a test."""

    def change(generator: Generator) -> Generator:
        switch.speaking = generator
        return generator

    yield change
    server.wait_until_idle()
    switch.speaking = switch.plain


@pytest.fixture
def sent(switch: Switch) -> Switch:
    """What the engine is sent from now on."""
    switch.prompts.clear()
    switch.samplings.clear()
    return switch


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    """The openai client of that server."""
    with client_of(server) as opened:
        yield opened
