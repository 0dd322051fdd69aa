"""What counts as feedback, and that nothing comes out of a chat whose person has not agreed."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.chat import Bot, Feedback, collect_feedback, duels, remove_found
from duologue.chat.duels import Duel
from duologue.chat.feedback import collect
from duologue.engine.fake import FakeGenerator
from duologue.messages import Correction, Message, Opinion, Preference
from tests.chat.made import FLAG, NYX, a_config, say

TOML_CONFIG = a_config(character={"user_name": "Sam", "card": "character.json"})


class Numbered(FakeGenerator):
    """Says another thing each time."""

    num_said = 0

    def stream(self, prompt_ids, sampling, *, cancel):
        self.num_said += 1
        self._reply = f"Reply {self.num_said}."
        return super().stream(prompt_ids, sampling, cancel=cancel)


@pytest.fixture
def bot(make_bot, tmp_path: Path) -> Bot:
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": NYX.name, "first_mes": NYX.greeting}}
    (tmp_path / "character.json").write_text(json.dumps(document))
    return make_bot(Numbered())


@pytest.fixture
def chat(bot: Bot) -> str:
    """A chat with consent, a greeting, a question and a reply."""
    session_id = bot.new_session()
    bot.sessions.marks.set_consent(session_id, "given")
    say(bot, session_id, "Is the lamp lit?")
    return session_id


def collected(folder: Path) -> Feedback:
    return collect_feedback(folder, TOML_CONFIG)


def another(bot: Bot, session_id: str) -> int:
    bot.regenerate(session_id, cancel=threading.Event()).read()
    return last(bot, session_id)


def last(bot: Bot, session_id: str) -> int:
    return bot.sessions.path(session_id)[-1].id


def test_a_version_turned_back_to_and_gone_on_with_is_better_than_the_one_beside_it(bot, chat, tmp_path):
    first = last(bot, chat)
    second = another(bot, chat)
    bot.editor.swipe(chat, by=-1)
    assert collected(tmp_path).account.dropped == {"not_gone_on": 1}
    say(bot, chat, "Good.")

    feedback = collected(tmp_path)

    greeting, asked = bot.sessions.path(chat)[:2]
    assert feedback.preferences == (
        Preference((greeting.message, asked.message), "Reply 1.", "Reply 2.", f"swipe {first} over {second}"),
    )
    assert (feedback.account.used, feedback.account.dropped) == ({"swipe": 1}, {})


def test_a_reply_made_anew_that_nobody_chose_is_no_evidence(bot, chat, tmp_path):
    another(bot, chat)
    another(bot, chat)
    say(bot, chat, "Good.")

    feedback = collected(tmp_path)

    assert feedback.preferences == ()
    assert feedback.account.dropped == {"no_choice": 2}


def test_a_version_that_came_after_the_choice_is_not_compared(bot, chat, tmp_path):
    first = last(bot, chat)
    second = another(bot, chat)
    bot.editor.swipe(chat, by=-1)
    say(bot, chat, "Good.")
    bot.regenerate(chat, cancel=threading.Event(), message_id=first).read()
    bot.editor.choose(chat, first)

    feedback = collected(tmp_path)

    assert [piece.source for piece in feedback.preferences] == [f"swipe {first} over {second}"]
    assert feedback.account.dropped == {"not_seen": 1}


def test_what_was_said_before_the_choice_is_not_going_on_after_it(bot, chat, tmp_path):
    first = last(bot, chat)
    say(bot, chat, "Good.")
    bot.regenerate(chat, cancel=threading.Event(), message_id=first).read()
    bot.editor.swipe(chat, by=-1)

    assert collected(tmp_path).account.dropped == {"not_gone_on": 1}


def test_a_rewritten_reply_is_a_correction_and_better_than_what_the_model_had_said(bot, chat, tmp_path):
    reply = last(bot, chat)
    bot.editor.edit(chat, reply, "It burns.")
    bot.editor.edit(chat, reply, "It burns, Sam.")

    feedback = collected(tmp_path)

    context = tuple(entry.message for entry in bot.sessions.path(chat)[:2])
    assert feedback.corrections == (Correction(context, "Reply 1.", "It burns, Sam.", f"edit {reply}"),)
    assert feedback.preferences == (Preference(context, "It burns, Sam.", "Reply 1.", f"edit {reply}"),)
    assert feedback.account.used == {"edit": 1}


def test_an_edit_that_was_undone_is_none_and_a_later_one_still_knows_what_the_model_had_said(bot, chat, tmp_path):
    reply = last(bot, chat)
    bot.editor.edit(chat, reply, "It burns.")
    bot.editor.undo(chat)
    assert collected(tmp_path).found == ()
    bot.editor.edit(chat, reply, "It is out.")

    [correction] = collected(tmp_path).corrections

    assert (correction.before, correction.reply) == ("Reply 1.", "It is out.")


def test_a_rewritten_reply_that_the_model_went_on_with_is_no_correction(bot, chat, tmp_path):
    bot.editor.edit(chat, last(bot, chat), "It burns.")
    bot.continue_reply(chat, cancel=threading.Event()).read()

    feedback = collected(tmp_path)

    assert (feedback.corrections, feedback.account.dropped) == ((), {"not_the_models": 1})


def test_a_reply_that_was_cut_is_never_the_better_one_and_may_be_the_worse_one(bot, chat, tmp_path):
    asked = bot.sessions.path(chat)[-2].id
    for text, finish_reason in (("Half a", "length"), ("Withheld.", "content_filter")):
        options = {"finish_reason": finish_reason, "parent_id": asked, "is_generated": True}
        bot.sessions.append(chat, Message("assistant", text), **options)
    cut = bot.editor.swipe(chat, by=-1)
    say(bot, chat, "Go on.")
    assert cut.message.content == "Half a"
    assert collected(tmp_path).account.dropped == {"unfinished": 2}

    bot.editor.swipe(chat, by=-1, message_id=cut.id)
    say(bot, chat, "Good.")

    feedback = collected(tmp_path)
    assert [(piece.chosen, piece.rejected) for piece in feedback.preferences] == [("Reply 1.", "Half a")]
    assert feedback.account.dropped == {"unfinished": 1}


def test_a_reply_behind_another_characters_is_not_this_ones_to_learn(bot, chat, tmp_path):
    bot.sessions.append(chat, Message("assistant", "I am here too."), finish_reason="stop", speaker="Otto")
    bot.sessions.append(chat, Message("user", "And you?"))
    reply = bot.sessions.append(chat, Message("assistant", "Me too."), finish_reason="stop")
    bot.sessions.marks.set_opinion(reply, True)

    feedback = collected(tmp_path)

    assert (feedback.opinions, feedback.account.dropped) == ((), {"several_speakers": 1})


def test_what_was_deleted_and_brought_back_has_lost_its_marks(bot, chat, tmp_path):
    reply = last(bot, chat)
    bot.editor.edit(chat, reply, "It burns.")
    bot.sessions.marks.set_opinion(reply, True)
    bot.editor.delete_message(chat, reply)
    bot.editor.undo(chat)

    feedback = collected(tmp_path)

    assert feedback.found == ()
    assert feedback.account.dropped == {"original_gone": 1}


def test_likes_of_single_replies_are_opinions_and_of_two_versions_a_preference(bot, chat, tmp_path):
    first = last(bot, chat)
    bot.sessions.marks.set_opinion(first, False)
    [opinion] = collected(tmp_path).opinions
    assert (opinion.reply, opinion.is_liked, opinion.source) == ("Reply 1.", False, f"like {first}")
    second = another(bot, chat)
    bot.sessions.marks.set_opinion(second, True)

    feedback = collected(tmp_path)

    assert feedback.opinions == ()
    assert [(piece.chosen, piece.rejected) for piece in feedback.preferences] == [("Reply 2.", "Reply 1.")]
    bot.sessions.marks.set_opinion(first, None)
    assert [type(found.piece) for found in collected(tmp_path).found] == [Opinion]


def test_an_opinion_is_of_the_text_that_was_there(bot, chat, tmp_path):
    reply = last(bot, chat)
    bot.sessions.marks.set_opinion(reply, True)
    bot.editor.edit(chat, reply, "It burns.")

    feedback = collected(tmp_path)

    assert feedback.opinions == ()
    assert feedback.account.dropped == {"text_changed": 1}
    assert bot.sessions.marks.opinions(chat) == {}


def test_hidden_replies_are_not_taken_and_hidden_messages_are_in_no_context(bot, chat, tmp_path):
    say(bot, chat, "And the fog?")
    path = bot.sessions.path(chat)
    bot.sessions.marks.set_opinion(path[-1].id, True)
    bot.editor.hide(chat, path[1].id)
    [opinion] = collected(tmp_path).opinions
    assert [message.content for message in opinion.context] == [path[0].message.content, "Reply 1.", "And the fog?"]
    bot.editor.hide(chat, path[-1].id)

    feedback = collected(tmp_path)

    assert (feedback.opinions, feedback.account.dropped) == ((), {"hidden": 1})


def test_a_greeting_and_the_answer_to_somebody_in_distress_are_not_the_models_to_learn_from(bot, chat, tmp_path):
    say(bot, chat, "I want to kill myself.")
    for entry in bot.sessions.path(chat):
        bot.sessions.marks.set_opinion(entry.id, False)

    feedback = collected(tmp_path)

    assert [opinion.reply for opinion in feedback.opinions] == ["Reply 1."]
    assert feedback.account.dropped == {"crisis": 1, "no_question": 1}


def test_what_the_guard_refuses_is_counted_and_not_taken(bot, chat, tmp_path, monkeypatch):
    bot.sessions.marks.set_opinion(last(bot, chat), True)
    session_id = bot.sessions.create(character=bot.model_id)
    bot.sessions.append(session_id, Message("user", "Say it."))
    reply = bot.sessions.append(session_id, Message("assistant", f"A {FLAG}."), finish_reason="stop")
    bot.sessions.marks.set_opinion(reply, True)
    bot.sessions.marks.set_consent(session_id, "given")
    monkeypatch.setattr("duologue.guard.scene.find_heat", flagged)

    feedback = collected(tmp_path)

    assert [opinion.reply for opinion in feedback.opinions] == ["Reply 1."]
    assert feedback.account.dropped == {"policy": 1}


def flagged(texts):
    from duologue.guard.scene import Heat

    return Heat(explicit=FLAG) if any(FLAG in text for text in texts) else Heat()


def test_the_same_said_in_two_chats_counts_once(bot, chat, tmp_path):
    for session_id in (chat, bot.sessions.branch(chat, last(bot, chat))):
        bot.sessions.marks.set_consent(session_id, "given")
        bot.sessions.marks.set_opinion(last(bot, session_id), True)

    feedback = collected(tmp_path)

    assert (len(feedback.opinions), feedback.account.num_merged) == (1, 1)


def test_a_branch_begins_without_consent_and_without_marks(bot, chat):
    bot.sessions.marks.set_opinion(last(bot, chat), True)

    branch = bot.sessions.branch(chat, last(bot, chat))

    assert bot.sessions.marks.consent(branch).state == ""
    assert bot.sessions.marks.opinions(branch) == {}


def test_a_removed_piece_does_not_come_back(bot, chat, tmp_path):
    reply = last(bot, chat)
    bot.editor.edit(chat, reply, "It burns.")
    say(bot, chat, "Good.")
    bot.sessions.marks.set_opinion(last(bot, chat), True)
    for found in collected(tmp_path).found:
        remove_found(bot.sessions, found)

    feedback = collected(tmp_path)

    assert feedback.found == ()
    assert feedback.account.dropped == {"left_out": 1}


def test_refusing_takes_everything_out_at_once_and_forgets_what_the_model_had_said(bot, chat, tmp_path):
    bot.editor.edit(chat, last(bot, chat), "It burns.")
    assert len(collected(tmp_path).corrections) == 1
    bot.sessions.marks.set_consent(chat, "refused")
    assert collected(tmp_path) == Feedback(account=collected(tmp_path).account)

    bot.sessions.marks.set_consent(chat, "given")

    assert collected(tmp_path).account.dropped == {"original_gone": 1}


def test_a_question_does_not_undo_an_answer(bot, chat):
    bot.sessions.marks.set_consent(chat, "asked")
    assert bot.sessions.marks.consent(chat).state == "given"


@pytest.mark.parametrize("taken", ["consent", "message", "chat"])
def test_what_is_taken_back_while_feedback_is_collected_is_not_handed_on(bot, chat, tmp_path, monkeypatch, taken):
    reply = last(bot, chat)
    bot.sessions.marks.set_opinion(reply, True)
    take = {
        "consent": lambda: bot.sessions.marks.set_consent(chat, "refused"),
        "message": lambda: bot.editor.delete_message(chat, reply),
        "chat": lambda: bot.sessions.delete(chat),
    }[taken]
    look, looks = collect._look, []

    def look_and_take(*arguments, **options):
        evidence = look(*arguments, **options)
        looks.append(len(evidence.found))
        if len(looks) == 1:
            take()
        return evidence

    monkeypatch.setattr(collect, "_look", look_and_take)

    assert collected(tmp_path).found == ()
    assert looks[0] == 1  # it was there when it was first looked at


def test_a_chat_that_never_stands_still_is_left_for_the_next_time(bot, chat, tmp_path, monkeypatch):
    bot.sessions.marks.set_opinion(last(bot, chat), True)
    look = collect._look

    def look_and_talk(*arguments, **options):
        evidence = look(*arguments, **options)
        bot.sessions.append(chat, Message("user", "And on."))
        return evidence

    monkeypatch.setattr(collect, "_look", look_and_talk)

    feedback = collected(tmp_path)

    assert (feedback.found, feedback.account.dropped) == ((), {"withdrawn": 1})


def test_erasing_and_deleting_leave_no_mark_behind(bot, chat):
    reply = last(bot, chat)
    bot.sessions.marks.set_opinion(reply, True)
    bot.editor.edit(chat, reply, "It burns.")
    bot.sessions.erase_message(reply)
    say(bot, chat, "Hello?")
    bot.sessions.marks.set_opinion(last(bot, chat), True)
    bot.sessions.marks.leave_out(chat, "edit 1")
    bot.sessions.delete_user("local")

    counts = {
        table: num_rows(bot, table) for table in ("opinions", "originals", "picks", "consents", "feedback_left_out")
    }

    assert set(counts.values()) == {0}


def num_rows(bot: Bot, table: str) -> int:
    return bot.sessions._database.read(f"SELECT count(*) AS num FROM {table}")[0]["num"]


def test_duels_count_when_they_were_picked_at_this_machine_and_can_be_removed(bot, tmp_path):
    for duel_id, account in (("one", "local"), ("two", "a-of-somebody-else")):
        duel = Duel(
            id=duel_id,
            account=account,
            character=bot.model_id,
            base="fake",
            messages=({"role": "user", "content": f"Tea {duel_id}?"},),
            left_run="a",
            right_run="base",
            left_reply="Green.",
            right_reply="Black.",
            left_facts={},
            right_facts={},
            sampling={},
        )
        duels.keep(tmp_path, duel)
        duels.put_pick(tmp_path, duel, "right")
    feedback = collected(tmp_path)
    [preference] = feedback.preferences
    assert (preference.context[0].content, preference.chosen, preference.rejected) == ("Tea one?", "Black.", "Green.")
    assert feedback.account.used == {"duel": 1}

    remove_found(bot.sessions, feedback.found[0], folder=tmp_path)

    assert collected(tmp_path).found == ()


def test_duels_with_a_cut_reply_or_somebody_in_distress_are_counted_and_not_taken(bot, tmp_path):
    whole, cut = {"finish_reason": "stop"}, {"finish_reason": "length"}
    for duel_id, said, facts in (
        ("whole", "Tea?", (whole, cut)),
        ("cut", "Tea, please?", (cut, whole)),
        ("crisis", "I want to kill myself.", (whole, whole)),
    ):
        duel = Duel(
            id=duel_id,
            account="local",
            character=bot.model_id,
            base="fake",
            messages=({"role": "user", "content": said},),
            left_run="a",
            right_run="base",
            left_reply="Green.",
            right_reply="Black.",
            left_facts=facts[0],
            right_facts=facts[1],
            sampling={},
            pick="left",
        )
        duels.keep(tmp_path, duel)
    without_chats = tmp_path / "without"
    without_chats.mkdir()
    for name in ("duels.sqlite", "character.json"):
        shutil.copy(tmp_path / name, without_chats)
    for folder in (tmp_path, without_chats):
        feedback = collected(folder)
        assert [found.piece.source for found in feedback.found] == ["duel whole"]
        assert feedback.account.dropped == {"crisis": 1, "unfinished": 1}


def test_a_folder_without_chats_has_no_feedback(tmp_path):
    feedback = collect_feedback(tmp_path, a_config())
    assert feedback == Feedback()
    assert not (tmp_path / "chats.sqlite").exists()


DEEDS = st.lists(
    st.sampled_from(
        ["say", "anew", "left", "right", "edit", "like", "dislike", "hide", "undo", "given", "asked", "refused"]
    ),
    max_size=14,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=st.lists(DEEDS, min_size=1, max_size=2))
def test_nothing_comes_out_of_a_chat_whose_person_has_not_agreed(bot, tmp_path, deeds):
    bot.sessions.delete_user("local")
    agreed = {}
    for each in deeds:
        session_id = bot.new_session()
        agreed[session_id] = False
        for deed in each:
            do(bot, session_id, deed)
            if deed in ("given", "refused"):
                agreed[session_id] = deed == "given"

    feedback = collected(tmp_path)

    assert {found.session_id for found in feedback.found} <= {each for each in agreed if agreed[each]}
    assert len(feedback.found) >= len(feedback.opinions) + len(feedback.corrections)
    pieces = (*feedback.preferences, *feedback.opinions, *feedback.corrections)
    assert all(piece.context[-1].role == "user" for piece in pieces)


def do(bot: Bot, session_id: str, deed: str) -> None:
    path = bot.sessions.path(session_id)
    marks = bot.sessions.marks
    if deed in ("asked", "given", "refused"):
        marks.set_consent(session_id, deed)
    elif deed == "say":
        say(bot, session_id, f"Word {len(path)}")
    elif deed == "undo":
        bot.editor.undo(session_id)
    elif len(path) < 3 or path[-1].message.role != "assistant":
        return
    elif deed == "anew":
        another(bot, session_id)
    elif deed in ("left", "right"):
        bot.editor.swipe(session_id, by=-1 if deed == "left" else 1)
    elif deed == "edit":
        bot.editor.edit(session_id, path[-1].id, f"Rewritten {path[-1].revision}")
    elif deed == "hide":
        bot.editor.hide(session_id, path[-1].id)
    else:
        marks.set_opinion(path[-1].id, deed == "like")
