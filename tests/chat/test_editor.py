"""A story one can rewind: versions, edits, branches, deletions, greetings, going on, and the user's own next line."""

import threading
from dataclasses import replace

import pytest

from duologue.engine.fake import FakeGenerator
from duologue.errors import DataError, GuardError
from duologue.messages import Message
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, NOTICE, NYX, Recording, say, texts

GREETER = replace(NYX, alternate_greetings=("{{char}} waves.", "Fog again, {{user}}."))


class Counting(Recording):
    """Says another sentence every time."""

    def stream(self, prompt_ids, sampling, *, cancel):
        self._reply = f"Answer {len(self.prompts)}."
        return super().stream(prompt_ids, sampling, cancel=cancel)


def test_the_greetings_are_versions_of_the_first_message(make_bot: MakeBot) -> None:
    bot = make_bot(character=GREETER)
    session_id = bot.new_session()
    first = bot.sessions.path(session_id)[0]
    assert (first.swipe, first.num_swipes) == (1, 3)
    assert bot.sessions.undo_kinds(session_id) == ()
    shown = bot.editor.swipe(session_id, by=1)
    assert shown is not None
    assert shown.message.content == "Nyx Harrow waves."
    assert bot.editor.swipe(session_id, by=-1) is not None
    assert bot.editor.swipe(session_id, by=-1) is None
    assert texts(bot, bot.new_session(greeting=2)) == ["Fog again, Sam."]
    with pytest.raises(DataError, match="a number from 1 to 3"):
        bot.new_session(greeting=3)


def test_another_version_of_a_reply_stays_beside_the_old_one(make_bot: MakeBot) -> None:
    bot = make_bot(Counting())
    session_id = bot.new_session()
    say(bot, session_id, "Is the lamp lit?")
    bot.regenerate(session_id, cancel=threading.Event()).read()
    last = bot.sessions.path(session_id)[-1]
    assert (last.message.content, last.swipe, last.num_swipes) == ("Answer 1.", 2, 2)
    bot.editor.swipe(session_id, by=-1)
    assert texts(bot, session_id)[-1] == "Answer 0."
    say(bot, session_id, "Good.")
    bot.editor.choose(session_id, last.id)
    assert texts(bot, session_id)[1:] == ["Is the lamp lit?", "Answer 1."]
    bot.editor.undo(session_id)
    assert texts(bot, session_id)[1:] == ["Is the lamp lit?", "Answer 0.", "Good.", "Answer 2."]


def test_an_earlier_reply_can_be_made_again_and_its_prompt_ends_there(make_bot: MakeBot) -> None:
    engine = Counting()
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, "one")
    say(bot, session_id, "two")
    earlier = bot.sessions.path(session_id)[2]
    bot.regenerate(session_id, cancel=threading.Event(), message_id=earlier.id).read()
    assert engine.prompts[-1] == engine.prompts[0]
    assert texts(bot, session_id)[1:] == ["one", "Answer 2."]
    with pytest.raises(GuardError, match="this message is no reply"):
        bot.regenerate(session_id, cancel=threading.Event(), message_id=bot.sessions.path(session_id)[1].id)


def test_a_reply_is_gone_on_with_where_it_ended(make_bot: MakeBot) -> None:
    engine = Recording(reply="and on.")
    bot = make_bot(engine)
    session_id = bot.new_session()
    bot.sessions.append(session_id, _user("Tell me."))
    bot.sessions.append(session_id, _assistant("It began"), finish_reason="length")
    reply = bot.continue_reply(session_id, cancel=threading.Event()).read()
    assert engine.prompts[-1].endswith("user\nTell me.\nassistant\nIt began")
    assert reply.text == texts(bot, session_id)[-1] == "It began and on."
    assert len(bot.sessions.path(session_id)) == 3


def test_a_continuation_that_crosses_the_policy_leaves_the_reply_as_it_was(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply=f" and {FLAG}. And more."))
    session_id = bot.new_session()
    bot.sessions.append(session_id, _user("Tell me."))
    bot.sessions.append(session_id, _assistant("It began"), finish_reason="length")
    reply = bot.continue_reply(session_id, cancel=threading.Event()).read()
    assert (reply.text, reply.finish_reason) == (NOTICE, "content_filter")
    last = bot.sessions.path(session_id)[-1]
    assert (last.message.content, last.finish_reason) == ("It began", "length")


def test_only_a_reply_can_be_gone_on_with(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    bot.say(session_id, "hello")
    with pytest.raises(GuardError, match="no reply that could be gone on with"):
        bot.continue_reply(session_id, cancel=threading.Event())


def test_the_users_next_line_is_written_but_not_stored(make_bot: MakeBot) -> None:
    engine = Recording(reply="I would like some tea.")
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, "hello")
    before = texts(bot, session_id)
    reply = bot.impersonate(session_id, cancel=threading.Event()).read()
    assert reply.text == "I would like some tea."
    assert "Now write what Sam says next" in engine.prompts[-1]
    assert texts(bot, session_id) == before


def test_what_is_written_for_the_user_is_checked_as_well(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply=f"I want {FLAG}."))
    session_id = bot.new_session()
    assert bot.impersonate(session_id, cancel=threading.Event()).read().text == NOTICE


def test_a_character_may_go_on_although_the_user_says_nothing(make_bot: MakeBot) -> None:
    engine = Counting()
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, "hello")
    bot.go_on(session_id, cancel=threading.Event()).read()
    assert texts(bot, session_id)[1:] == ["hello", "Answer 0.", "Answer 1."]
    assert engine.prompts[-1].endswith("assistant\nAnswer 0.\nuser\n[Sam says nothing. Go on.]\nassistant\n")


def test_an_edit_changes_one_message_and_keeps_what_follows(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, "one")
    bot.editor.edit(session_id, bot.sessions.path(session_id)[2].id, "No.")
    say(bot, session_id, "two")
    assert "assistant\nNo.\nuser\ntwo" in engine.prompts[-1]
    assert bot.editor.undo(session_id) == "edit"
    assert texts(bot, session_id)[2] == "Aye."


@pytest.mark.parametrize(
    ("text", "reason"), [("", "empty"), (f"{FLAG}", "content_policy"), ("\x07", "control_characters")]
)
def test_a_refused_edit_changes_nothing(make_bot: MakeBot, text: str, reason: str) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    message_id = bot.sessions.path(session_id)[0].id
    for change in (bot.editor.edit, bot.editor.edit_beside):
        with pytest.raises(GuardError) as caught:
            change(session_id, message_id, text)
        assert caught.value.reason == reason
    assert texts(bot, session_id) == ["Sam, come in. Nyx Harrow has made tea."]


def test_a_branch_goes_on_by_itself(make_bot: MakeBot) -> None:
    bot = make_bot(Counting())
    session_id = bot.new_session()
    say(bot, session_id, "one")
    say(bot, session_id, "two")
    branch = bot.editor.branch(session_id, bot.sessions.path(session_id)[2].id)
    say(bot, branch, "three")
    assert texts(bot, branch)[1:] == ["one", "Answer 0.", "three", "Answer 2."]
    assert texts(bot, session_id)[1:] == ["one", "Answer 0.", "two", "Answer 1."]


def test_a_deleted_message_takes_what_follows_and_comes_back(make_bot: MakeBot) -> None:
    bot = make_bot(Counting())
    session_id = bot.new_session()
    say(bot, session_id, "one")
    say(bot, session_id, "two")
    whole = texts(bot, session_id)
    assert bot.editor.delete_message(session_id, bot.sessions.path(session_id)[3].id) == 2
    assert texts(bot, session_id)[1:] == ["one", "Answer 0."]
    assert bot.editor.undo(session_id) == "delete"
    assert texts(bot, session_id) == whole


def test_a_message_of_another_session_cannot_be_changed_from_here(make_bot: MakeBot) -> None:
    bot = make_bot()
    mine, other = bot.new_session(), bot.new_session()
    message_id = bot.sessions.path(other)[0].id
    for change in (
        lambda: bot.editor.edit(mine, message_id, "x"),
        lambda: bot.editor.delete_message(mine, message_id),
        lambda: bot.editor.choose(mine, message_id),
        lambda: bot.editor.branch(mine, message_id),
        lambda: bot.editor.hide(mine, message_id),
    ):
        with pytest.raises(DataError, match="there is no message"):
            change()


def test_a_hidden_message_is_in_the_chat_but_not_in_the_prompt(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine)
    session_id = bot.new_session()
    say(bot, session_id, "keep this between us")
    bot.editor.hide(session_id, bot.sessions.path(session_id)[1].id)
    say(bot, session_id, "two")
    assert "between us" not in engine.prompts[-1]
    assert "keep this between us" in texts(bot, session_id)


def test_a_reply_whose_question_was_deleted_while_it_waited_is_refused(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    stream = bot.reply(session_id, "hello", cancel=threading.Event())
    bot.editor.delete_message(session_id, bot.sessions.path(session_id)[-1].id)
    with pytest.raises(DataError, match="no longer part of the chat"):
        stream.read()


def test_a_reply_ends_within_one_token_after_it_is_cancelled(make_bot: MakeBot) -> None:
    bot, cancel = make_bot(FakeGenerator(reply="word " * 50)), threading.Event()
    stream = bot.reply(bot.new_session(), "hello", cancel=cancel)
    for number, piece in enumerate(stream):
        if number == 4:
            cancel.set()
            num_tokens = piece.num_tokens
    assert stream.reply.num_reply_tokens <= num_tokens + 1


def _user(text: str) -> Message:
    return Message("user", text)


def _assistant(text: str) -> Message:
    return Message("assistant", text)


def test_a_note_and_a_summary_are_read_with_the_messages_around_them(make_bot: MakeBot) -> None:
    bot = make_bot()
    session_id = bot.new_session()
    bot.sessions.append(session_id, Message("user", "We talk about the weather."))
    bot.sessions.append(session_id, Message("assistant", f"It is {FLAG} today."), finish_reason="stop")

    for change in (bot.editor.set_note, bot.editor.set_summary):
        with pytest.raises(GuardError) as refused:
            change(session_id, "She is 15.")
        assert refused.value.reason == "content_policy"
    assert bot.editor.note(session_id).text != "She is 15."
    assert bot.editor.summary(session_id) is None
