"""What falls out of the buffer is summed up behind the chat, and the summary goes when what it covers changes."""

import threading

import pytest

from duologue.engine.fake import FakeGenerator
from duologue.errors import GuardError
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, Recording, say

SMALL = {"context_tokens": 300, "max_new_tokens": 40, "summarise": True}


class Telling(Recording):
    """Replies in a word, and sums up by counting what it was told."""

    def stream(self, prompt_ids, sampling, *, cancel):
        text = self.tokenizer.decode(prompt_ids)
        is_summary = text.startswith("system\nYou keep the record")
        self._reply = f"Summary with {text.count('Sam:')} lines of Sam." if is_summary else "Aye."
        return super().stream(prompt_ids, sampling, cancel=cancel)

    def told(self) -> list[str]:
        return [text for text in self.prompts if not text.startswith("system\nYou keep the record")]


def full_chat(bot) -> str:
    session_id = bot.new_session()
    for number in range(16):
        say(bot, session_id, f"Here is line {number} about the weather of the coast.")
        bot.settle()
    return session_id


def test_what_fell_out_is_summed_up_and_the_summary_is_part_of_the_prompt(make_bot: MakeBot) -> None:
    engine = Telling()
    bot = make_bot(engine, generation=SMALL)
    session_id = full_chat(bot)
    summary = bot.editor.summary(session_id)
    assert summary is not None
    num_left = bot.context(session_id).left_out[0].num
    assert summary.num_messages == num_left
    say(bot, session_id, "And now?")
    assert f"[What happened before, in short: {summary.text}]" in engine.told()[-1]
    assert [block.why for block in bot.context(session_id).blocks if block.kind == "summary"] == [
        f"sums up {num_left} earlier messages"
    ]


def test_a_later_summary_is_made_of_the_earlier_one_and_what_came_after_it(make_bot: MakeBot) -> None:
    engine = Telling()
    bot = make_bot(engine, generation=SMALL)
    full_chat(bot)
    asked = [text for text in engine.prompts if text.startswith("system\nYou keep the record")]
    assert len(asked) >= 2
    assert "So far: Summary with" not in asked[0]
    assert "So far: Summary with" in asked[1]
    assert "line 0 about" not in asked[1]


def test_without_the_setting_nothing_is_summed_up(make_bot: MakeBot) -> None:
    engine = Telling()
    bot = make_bot(engine, generation={**SMALL, "summarise": False})
    session_id = full_chat(bot)
    assert bot.editor.summary(session_id) is None
    assert len(engine.prompts) == 16


def test_a_summary_goes_when_a_message_it_covers_changes_and_is_made_again(make_bot: MakeBot) -> None:
    engine = Telling()
    bot = make_bot(engine, generation=SMALL)
    session_id = full_chat(bot)
    bot.editor.edit(session_id, bot.sessions.path(session_id)[1].id, "Something else.")
    assert bot.editor.summary(session_id) is None
    say(bot, session_id, "And now?")
    assert "What happened before" not in engine.told()[-1]
    bot.settle()
    assert bot.editor.summary(session_id) is not None
    assert any("Sam: Something else." in text for text in engine.prompts[-4:])
    bot.editor.edit(session_id, bot.sessions.path(session_id)[-1].id, "Nay.")  # still in the buffer
    assert bot.editor.summary(session_id) is not None


def test_the_persons_own_summary_is_used_and_kept_in_the_next_one(make_bot: MakeBot) -> None:
    engine = Telling()
    bot = make_bot(engine, generation=SMALL)
    session_id = full_chat(bot)
    bot.editor.set_summary(session_id, "Sam spoke\nof the weather.")
    say(bot, session_id, "And now?")
    assert "in short: Sam spoke of the weather.]" in engine.told()[-1]
    bot.settle()
    with pytest.raises(GuardError):
        bot.editor.set_summary(session_id, FLAG)
    bot.editor.set_summary(session_id, "")
    assert bot.editor.summary(session_id) is None


def test_what_the_person_writes_while_a_summary_is_made_stands(make_bot: MakeBot) -> None:
    written = []

    class Meanwhile(Telling):
        def stream(self, prompt_ids, sampling, *, cancel):
            stream = super().stream(prompt_ids, sampling, cancel=cancel)
            if self._reply.startswith("Summary") and bot.editor.summary(session_id) and not written:
                bot.editor.set_summary(session_id, "Sam likes fog.")
                written.append(True)
            return stream

    bot = make_bot(Meanwhile(), generation=SMALL)
    session_id = bot.new_session()
    for number in range(40):
        say(bot, session_id, f"Here is line {number} about the weather of the coast.")
        bot.settle()
        if written:
            break
    summary = bot.editor.summary(session_id)
    assert summary is not None
    assert (summary.text, summary.is_edited) == ("Sam likes fog.", True)


def test_nothing_can_be_summed_up_while_everything_fits(make_bot: MakeBot) -> None:
    bot = make_bot()
    with pytest.raises(GuardError, match="nothing has fallen out"):
        bot.editor.set_summary(bot.new_session(), "text")


def test_a_summary_makes_way_for_a_person(make_bot: MakeBot) -> None:
    is_summing, may_end = threading.Event(), threading.Event()

    class Slow(Telling):
        def stream(self, prompt_ids, sampling, *, cancel):
            pieces = super().stream(prompt_ids, sampling, cancel=cancel)
            if not self.prompts[-1].startswith("system\nYou keep the record"):
                return pieces
            return self._slowly(pieces, cancel)

        def _slowly(self, pieces, cancel):
            yield next(pieces)
            is_summing.set()
            while not cancel.wait(0.01) and not may_end.is_set():
                pass
            yield from pieces

    bot = make_bot(Slow(), generation=SMALL)
    session_id = bot.new_session()
    number = 0
    while not is_summing.wait(0.05):
        number += 1
        assert number < 60, "no summary was begun"
        say(bot, session_id, f"Here is line {number} about the weather of the coast.")
    assert say(bot, session_id, "I am in a hurry.") == "Aye."
    assert bot.editor.summary(session_id) is None  # it was stopped, and is begun again behind the reply
    may_end.set()
    bot.settle()
    assert bot.editor.summary(session_id) is not None


def test_a_withheld_summary_is_not_kept(make_bot: MakeBot) -> None:
    class Rude(Telling):
        def stream(self, prompt_ids, sampling, *, cancel):
            pieces = super().stream(prompt_ids, sampling, cancel=cancel)
            if self.prompts[-1].startswith("system\nYou keep the record"):
                return FakeGenerator(reply=f"{FLAG}. And so on.").stream(prompt_ids, sampling, cancel=cancel)
            return pieces

    bot = make_bot(Rude(), generation=SMALL)
    assert bot.editor.summary(full_chat(bot)) is None
