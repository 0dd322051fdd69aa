"""A reply is saved while it grows, survives a kill, and is remembered, recalled, replaced and forgotten."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import duologue
from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, SCOPE, Clock, Recording, remembered, say, texts


def test_a_growing_reply_is_saved_at_once_and_then_every_second(make_bot: MakeBot) -> None:
    clock = Clock()
    bot = make_bot(clock=clock)
    session_id = bot.new_session()
    stream = bot.reply(session_id, "Is the lamp lit?", cancel=threading.Event())
    next(stream)
    assert texts(bot, session_id)[-1] == "You"
    clock.seconds += 0.9
    next(stream)
    assert texts(bot, session_id)[-1] == "You"
    clock.seconds += 0.2
    next(stream)
    last = bot.sessions.messages(session_id)[-1]
    assert (last.message.content, last.finish_reason) == ("You said: Is", "")
    stream.close()


SPEAKER = """
import sys, threading
from pathlib import Path
from duologue.chat import Bot, Sessions
from duologue.characters import Character
from duologue.config import make_config
from duologue.engine.fake import FakeGenerator
from duologue.memory import MemoryStore

folder, num_pieces = Path(sys.argv[1]), int(sys.argv[2])
config = make_config({"model": {"base": "fake"}, "data": {"train": ["none.json"]}}, where="test")
bot = Bot(
    FakeGenerator(reply="one two three four"), Character("Nyx Harrow"), config=config,
    sessions=Sessions.open(folder / "chats.sqlite"), memory=MemoryStore.open(folder / "memory.sqlite"),
)
session_id = bot.new_session()
stream = bot.reply(session_id, "an acknowledged message", cancel=threading.Event())
for _ in range(num_pieces):
    next(stream)
print(session_id, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("num_pieces", "expected"), [(0, []), (1, ["one"])])
def test_a_kill_after_the_acknowledgement_loses_no_message(
    tmp_path: Path, make_bot: MakeBot, num_pieces: int, expected: list[str]
) -> None:
    command = [sys.executable, "-c", SPEAKER, str(tmp_path), str(num_pieces)]
    environment = {**os.environ, "PYTHONPATH": str(Path(duologue.__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        assert process.stdout is not None
        session_id = process.stdout.readline().strip()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    bot = make_bot()
    assert texts(bot, session_id) == ["an acknowledged message", *expected]
    assert bot.sessions.list_sessions(character="nyx-harrow")[0].id == session_id
    assert say(bot, session_id, "Are you back?")


def test_both_sides_of_a_finished_turn_are_remembered_with_their_source(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "My boat is called Petrel.", cancel=threading.Event())
    next(stream)
    assert remembered(bot) == []  # not before the reply is finished
    stream.read()
    assert bot.memory is not None
    bot.settle()
    reply, question = bot.memory.list_lines(scope=SCOPE, kind="turn")
    stored = bot.sessions.messages(session_id)
    assert (question.text, question.speaker, question.said_at) == (
        "My boat is called Petrel.",
        "user",
        stored[1].created_at,
    )
    assert (reply.text, reply.speaker) == (stored[2].message.content, "assistant")
    assert (question.message_id, reply.message_id) == (stored[1].id, stored[2].id)
    assert {question.session_id, reply.session_id} == {session_id}


def test_a_later_session_recalls_what_was_said_and_keeps_with_the_reply_what_it_recalled(make_bot: MakeBot) -> None:
    engine = Recording(reply="I see.")
    bot = make_bot(engine)
    say(bot, bot.new_session(), "My boat is called Petrel.")
    bot.settle()
    session_id = bot.new_session()
    reply = bot.reply(session_id, "What is my boat called?", cancel=threading.Event()).read()
    assert [line.text for line in reply.recalled] == ["My boat is called Petrel.", "I see."]
    assert bot.sessions.messages(session_id)[-1].recalled == reply.recalled
    assert 'Sam said: "My boat is called Petrel."' in engine.prompts[-1]
    say(bot, session_id, "And my boat's colour?")
    assert engine.prompts[-1].count("Petrel") == 1  # from the earlier session only, never from this one


def test_recalled_lines_stay_within_their_budget(make_bot: MakeBot) -> None:
    for budget in (0, 10, 30, 60, 120, 400):
        engine = Recording(reply="Aye.")
        bot = make_bot(engine, memory={"max_recalled_tokens": budget, "num_recalled": 20})
        if budget == 0:
            for number in range(12):
                say(bot, bot.new_session(), f"The boat number {number} carries " + "barrels " * (number % 4 * 5 + 1))
        session_id = bot.new_session()
        reply = bot.reply(session_id, "Which boat carries what?", cancel=threading.Event()).read()
        with_memory = reply.num_prompt_tokens
        plain = make_bot(FakeGenerator(), memory={"num_recalled": 0})
        empty = plain.reply(plain.new_session(), "Which boat carries what?", cancel=threading.Event()).read()
        assert with_memory - empty.num_prompt_tokens <= budget
        assert bool(reply.recalled) == (budget >= 30)


def test_a_recalled_line_that_would_make_the_message_refused_is_left_out(make_bot: MakeBot) -> None:
    adult = make_bot(FakeGenerator(reply="Aye."), guard={"rating": "adult"})
    say(adult, adult.new_session(), f"The boat and the {FLAG}")
    engine = Recording(reply="Aye.")
    general = make_bot(engine)
    reply = general.reply(general.new_session(), "What about the boat?", cancel=threading.Event()).read()
    assert (reply.text, reply.recalled) == ("Aye.", ())
    assert FLAG not in engine.prompts[-1]


def test_users_do_not_hear_of_each_other(make_bot: MakeBot) -> None:
    engine = Recording()
    bot = make_bot(engine)
    bot.reply(bot.new_session(user="ana"), "My boat is Petrel.", cancel=threading.Event(), user="ana").read()
    reply = bot.reply(bot.new_session(user="bea"), "Which boat?", cancel=threading.Event(), user="bea").read()
    assert reply.recalled == ()
    assert "Petrel" not in engine.prompts[-1]


def test_deleting_a_session_forgets_what_was_remembered_of_it(make_bot: MakeBot, tmp_path: Path) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    gone, kept = bot.new_session(), bot.new_session()
    say(bot, gone, "The password is quokkafish.")
    say(bot, kept, "What is the password?")  # recalls it, so it is quoted there
    say(bot, kept, "I like rain.")
    bot.delete_session(gone)
    assert texts(bot, gone) == []
    assert b"quokkafish" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert any("rain" in text for text in remembered(bot))


class Counting(Recording):
    """Says another sentence every time."""

    def stream(self, prompt_ids, sampling, *, cancel):
        self._reply = f"Answer number {len(self.prompts)}."
        return super().stream(prompt_ids, sampling, cancel=cancel)


def test_regenerating_replaces_the_reply_and_its_memory(make_bot: MakeBot) -> None:
    engine = Counting()
    bot = make_bot(engine)
    session_id = bot.new_session()
    assert say(bot, session_id, "Is the lamp lit?") == "Answer number 0."
    again = bot.regenerate(session_id, cancel=threading.Event()).read()
    assert again.text == "Answer number 1."
    assert texts(bot, session_id)[1:] == ["Is the lamp lit?", "Answer number 1."]
    assert remembered(bot) == ["Is the lamp lit?", "Answer number 1."]
    assert engine.prompts[0] == engine.prompts[1]


def test_the_old_reply_stays_until_the_new_one_has_a_word(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(), threading.Event()
    session_id = bot.new_session()
    first = say(bot, session_id, "Is the lamp lit?")
    cancel.set()
    assert bot.regenerate(session_id, cancel=cancel).read().text == ""
    assert texts(bot, session_id)[-1] == first
    assert first in remembered(bot)


def test_a_message_without_a_reply_gets_one(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    bot.reply(session_id, "Is the lamp lit?", cancel=threading.Event())  # never iterated
    assert texts(bot, session_id)[1:] == ["Is the lamp lit?"]
    assert bot.regenerate(session_id, cancel=threading.Event()).read().text.startswith("You said: Is the lamp lit?")


def test_a_greeting_is_not_regenerated(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    with pytest.raises(GuardError, match="no message to reply to"):
        bot.regenerate(session_id, cancel=threading.Event())
    assert len(texts(bot, session_id)) == 1
