"""Replies that run in threads: followed, stopped, and bounded in number."""

import asyncio
import threading

import pytest

from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from duologue.messages import Message
from duologue.serve.generation import Generation, Generations
from tests.serve.running import Gate, GatedGenerator, make_bot

MESSAGES = (Message("user", "Hi"),)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def bot(tmp_path, gate):
    made = make_bot(tmp_path, generator=GatedGenerator(gate, reply="one two three"))
    yield made
    gate.opened.set()
    made.close()


def ask(bot):
    return lambda cancel: bot.completions.of_character(MESSAGES, Sampling(), cancel=cancel)


async def read(generation: Generation) -> str:
    while not generation.is_done:
        await generation.more(len(generation.text), timeout_seconds=5)
    return generation.text


def test_any_number_of_readers_follow_one_reply(bot, gate):
    generation = Generations(1).start(ask(bot))

    async def follow() -> list[str]:
        readers = [asyncio.create_task(read(generation)) for _ in range(3)]
        await generation.more(0, timeout_seconds=5)
        gate.opened.set()
        return await asyncio.gather(*readers)

    assert asyncio.run(follow()) == ["one two three"] * 3
    assert generation.reply.finish_reason == "stop"


def test_waiting_for_more_ends_with_its_time(bot, gate):
    generation = Generations(1).start(ask(bot))
    assert gate.started.wait(5)

    async def wait() -> bool:
        return await generation.more(len("one"), timeout_seconds=0.01)

    assert asyncio.run(wait()) is False


def test_a_cancelled_reply_ends_and_keeps_what_was_said(bot, gate):
    generation = Generations(1).start(ask(bot))
    assert gate.started.wait(5)
    generation.cancel.set()

    assert asyncio.run(read(generation)) == "one"
    assert generation.reply.finish_reason == "cancelled"


def test_closing_stops_every_reply_and_waits_for_it(bot, gate):
    generations = Generations(1)
    running, waiting = generations.start(ask(bot)), generations.start(ask(bot))
    assert gate.started.wait(5)
    generations.close(timeout_seconds=5)

    assert running.is_done
    assert waiting.is_done
    assert generations.num_running == 0


def test_one_chat_writes_one_reply_at_a_time(bot, gate):
    generations = Generations(5)
    first = generations.start(ask(bot), session_id="a")
    with pytest.raises(GuardError) as caught:
        generations.start(ask(bot), session_id="a")
    generations.start(ask(bot), session_id="b")

    assert caught.value.reason == "reply_running"
    assert generations.find("a") is first
    assert generations.find("c") is None
    gate.opened.set()
    generations.close(timeout_seconds=5)


def test_a_refused_message_becomes_the_generations_error(bot):
    generation = Generations(1).start(
        lambda cancel: bot.completions.of_character((Message("user", " "),), Sampling(), cancel=cancel)
    )
    asyncio.run(read(generation))

    assert generation.error.reason == "empty"
    assert generation.reply is None


def test_a_reader_whose_loop_has_ended_disturbs_nobody(tmp_path):
    bot = make_bot(tmp_path, generator=FakeGenerator(reply="word " * 50))
    started, go_on = threading.Event(), threading.Event()

    def open_stream(cancel):
        started.set()
        assert go_on.wait(5)
        return bot.completions.of_character(MESSAGES, Sampling(), cancel=cancel)

    generation = Generations(1).start(open_stream)
    assert started.wait(5)
    loop = asyncio.new_event_loop()
    task = loop.create_task(generation.more(0, timeout_seconds=60))
    loop.run_until_complete(asyncio.sleep(0))
    go_on.set()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()

    assert asyncio.run(read(generation)).startswith("word")
    bot.close()
