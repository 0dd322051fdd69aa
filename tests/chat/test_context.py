"""What is in a prompt, why, and what is not: lore, notes, memories, example dialogue, and what was cached."""

import json
import threading
from dataclasses import replace

import pytest

from duologue.characters import Character, DepthPrompt, parse_lorebook
from duologue.chat import Bot, Cast, Context, Member
from duologue.engine.fake import FakeGenerator
from duologue.messages import Message
from duologue.prompt import build
from tests.chat.conftest import MakeBot
from tests.chat.made import FLAG, NYX, Recording, say


def a_book(*entries: dict[str, object]) -> object:
    document = {"entries": [{"enabled": True, "insertion_order": 1, "extensions": {}, **entry} for entry in entries]}
    return parse_lorebook({"extensions": {}, **document}, where="test")


FOG = {"keys": ["fog"], "content": "The fog horn is called Bertha.", "name": "horn"}
ALWAYS = {"keys": [], "constant": True, "content": "The island has nine houses.", "name": "island"}
RICH = replace(
    NYX,
    example_dialogue="<START>\n{{user}}: Is it late?\n{{char}}: It is always late here.\n<START>\n{{char}}: Hm.",
    lorebook=a_book(FOG, ALWAYS),
    depth_prompt=DepthPrompt("{{char}} never hurries.", depth=4, role="system"),
    post_history_instructions="Answer as {{char}}.",
)


def kinds(context: Context) -> list[str]:
    return [block.kind for block in context.blocks]


def talked(bot: Bot, *said: str) -> str:
    session_id = bot.new_session()
    for text in said:
        say(bot, session_id, text)
    return session_id


def test_stable_parts_stand_at_the_front_and_the_rest_near_the_end(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=RICH, character_section={"persona": "A traveller.", "author_note": "Be brief."})
    session_id = talked(bot, "one", "two", "three", "What of the fog?")
    context = bot.context(session_id)
    head = [block.kind for block in context.blocks if block.depth < 0]
    assert head == ["system", "persona", "lore", "examples", "examples"]
    prompt = engine.prompts[-1]
    assert prompt.startswith(
        "system\nYou are Nyx Harrow. A lighthouse keeper.\n\nAbout Sam: A traveller.\n\nThe island has nine houses.\n\n"
        "How Nyx Harrow talks, for example:\nSam: Is it late?\nNyx Harrow: It is always late here.\n\nNyx Harrow: Hm.\n"
    )
    assert prompt.endswith(
        "system\nThe fog horn is called Bertha.\nuser\nWhat of the fog?\nsystem\nAnswer as Nyx Harrow.\nassistant\n"
    )
    by_kind = {block.kind: block for block in context.blocks}
    assert (by_kind["lore"].depth, by_kind["post_history"].depth) == (1, 0)
    assert "fog" in by_kind["lore"].why
    assert 4 <= by_kind["note"].depth <= 12
    assert 4 <= by_kind["depth_prompt"].depth <= 12


def test_every_block_has_its_tokens_and_together_they_are_nearly_the_prompt(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."), character=RICH)
    context = bot.context(talked(bot, "one", "What of the fog?"))
    assert all(block.num_tokens > 0 and block.text for block in context.blocks)
    total = sum(block.num_tokens for block in context.blocks)
    assert total <= context.num_prompt_tokens <= total + 6 * len(context.blocks)
    assert context.num_prompt_tokens <= context.room_tokens


def test_the_context_says_what_was_left_out_and_why(make_bot: MakeBot) -> None:
    bot = make_bot(
        FakeGenerator(reply="Aye."), character=RICH, generation={"context_tokens": 230, "max_new_tokens": 40}
    )
    session_id = talked(bot, *(f"this is message number {number}" for number in range(12)))
    left = {entry.kind: entry for entry in bot.context(session_id).left_out}
    assert left["message"].num > 5
    assert left["examples"].why.startswith("no room")
    assert left["examples"].text


def test_the_context_is_plain_json(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."), character=RICH)
    session_id = talked(bot, "What of the fog?")
    document = json.loads(json.dumps(bot.context(session_id).as_json()))
    assert document["blocks"][0]["kind"] == "system"
    assert document["cached_fraction"] is not None
    assert [trace["name"] for trace in document["lore"] if trace["is_fired"]]


def test_the_context_can_be_asked_for_before_anything_was_sent(make_bot: MakeBot) -> None:
    bot = make_bot(FakeGenerator(reply="Aye."))
    session_id = bot.new_session()
    context = bot.context(session_id)
    assert kinds(context) == ["system", "message"]
    assert (context.num_cached_tokens, context.cached_fraction) == (-1, None)


def test_lore_fires_once_and_then_stays_where_it_is(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=RICH)
    talked(bot, "What of the fog?", "And the fog?", "Fog again.")
    assert [prompt.count("Bertha") for prompt in engine.prompts] == [1, 1, 1]


def test_the_same_reply_made_again_has_the_same_prompt(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    lore = a_book({**FOG, "extensions": {"probability": 50, "useProbability": True}}, ALWAYS)
    bot = make_bot(engine, character=replace(RICH, lorebook=lore), character_section={"author_note": "Be brief."})
    session_id = talked(bot, "one", "What of the fog?")
    for _ in range(3):
        bot.regenerate(session_id, cancel=threading.Event()).read()
    assert len(set(engine.prompts[1:])) == 1


def test_lore_timers_go_back_with_the_chat(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    sticky = a_book({**FOG, "extensions": {"sticky": 8, "cooldown": 30}})
    bot = make_bot(engine, character=replace(NYX, lorebook=sticky))
    session_id = talked(bot, "What of the fog?")
    question = bot.sessions.path(session_id)[1]
    assert "Bertha" in engine.prompts[-1]
    bot.edit_and_reply(session_id, question.id, "What of the rain?", cancel=threading.Event()).read()
    assert "Bertha" not in engine.prompts[-1]
    bot.edit_and_reply(session_id, question.id, "No, the fog!", cancel=threading.Event()).read()
    assert "Bertha" in engine.prompts[-1]  # it is not cooling down: it never fired in this version of the chat


def test_lore_that_crosses_a_limit_is_left_out_and_the_message_is_answered(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=replace(NYX, lorebook=a_book({**FOG, "content": f"{FLAG} in the fog"})))
    session_id = talked(bot, "What of the fog?")
    assert FLAG not in engine.prompts[-1]
    assert [left.why for left in bot.context(session_id).left_out if left.kind == "lore"] == ["the content policy"]


def test_a_note_of_the_session_replaces_that_of_the_configuration_and_leaves_at_once(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character_section={"author_note": "Be brief."})
    session_id = talked(bot, "one")
    assert "Be brief." in engine.prompts[-1]
    bot.editor.set_note(session_id, "Be {{char}}.", depth=0)
    say(bot, session_id, "two")
    assert "Be brief." not in engine.prompts[-1]
    assert engine.prompts[-1].endswith("user\ntwo\nsystem\nBe Nyx Harrow.\nassistant\n")
    bot.editor.set_note(session_id, "")
    say(bot, session_id, "three")
    assert "Be Nyx Harrow." not in engine.prompts[-1]


def test_without_volatile_parts_chat_sends_what_training_trains(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye, {{user}}.")
    bot = make_bot(engine, character=replace(NYX, system_prompt="Stay as <BOT>.  {{original}}\n\nAlways."))
    talked(bot, "I am {{user}}.", "two  \n lines")
    character = bot.character
    conversation = [
        Message("assistant", character.greeting),
        Message("user", "I am {{user}}."),
        Message("assistant", "Aye, {{user}}."),
        Message("user", "two  \n lines"),
    ]
    trained = build(character, conversation, user_name="Sam")
    ids = engine.tokenizer.render(trained, add_generation_prompt=True)
    assert engine.prompts[-1] == engine.tokenizer.decode(ids)


def test_a_model_trained_on_the_character_gets_no_example_dialogue(make_bot: MakeBot) -> None:
    engine = Recording(reply="Aye.")
    bot = make_bot(engine, character=RICH, is_trained=True)
    session_id = talked(bot, "one")
    assert "always late" not in engine.prompts[-1]
    assert [left.kind for left in bot.context(session_id).left_out] == ["examples"]


@pytest.mark.parametrize("num_turns", [40])
def test_over_forty_turns_nine_in_ten_prompt_tokens_are_cached(make_bot: MakeBot, num_turns: int) -> None:
    words = ["fog", "lamp", "boat", "tide", "rope", "gull", "storm", "bell"]
    book = a_book(*({"keys": [word], "content": f"Of the {word}: " + "it is old. " * 8} for word in words), ALWAYS)
    character = replace(RICH, lorebook=book)
    bot = make_bot(
        FakeGenerator(reply="So it is, and so it was when my father kept the light on this island. " * 2),
        character=character,
        character_section={"author_note": "Be brief and kind."},
    )
    for word in words:
        talked(bot, f"My uncle once lost a {word} near the pier, and that is a long story.")
    bot.settle()
    session_id = bot.new_session()
    replies = [
        bot.reply(session_id, f"Tell me about the {words[turn % 8]}.", cancel=threading.Event()).read()
        for turn in range(num_turns)
    ]
    prompt_tokens = sum(reply.num_prompt_tokens for reply in replies)
    assert sum(reply.num_cached_tokens for reply in replies) >= 0.9 * prompt_tokens
    context = bot.context(session_id)
    assert context.session_prompt_tokens == prompt_tokens
    assert (context.session_cached_fraction or 0) >= 0.9
    assert {"lore", "memory", "note", "depth_prompt", "post_history"} <= set(kinds(context))


def test_when_turns_have_left_the_next_prompts_begin_alike_again(make_bot: MakeBot) -> None:
    book = a_book({**FOG, "content": "The fog horn is called Bertha. " * 4}, ALWAYS)
    bot = make_bot(
        FakeGenerator(reply="So it is, and so it was when my father kept the light. " * 2),
        character=replace(RICH, lorebook=book),
        character_section={"author_note": "Be brief and kind."},
        generation={"context_tokens": 1200, "max_new_tokens": 60},
    )
    session_id = bot.new_session()
    said = ["Tell me of the fog.", "And the tide?", "Who was here before you, and for how long?"]
    replies = [bot.reply(session_id, said[turn % 3], cancel=threading.Event()).read() for turn in range(60)]
    beginnings = [reply.num_forgotten_messages for reply in replies]
    num_changes = len(set(beginnings)) - 1
    assert num_changes >= 3
    read_anew = [reply for reply in replies if reply.num_cached_tokens < 0.5 * reply.num_prompt_tokens]
    assert len(read_anew) <= num_changes + 1  # the first, and one for each time that turns left
    left = [entry for entry in bot.context(session_id).left_out if entry.kind == "examples"]
    assert len(left) == 2
    assert all("does not come back" in entry.why and entry.text for entry in left)


def test_parts_of_earlier_turns_take_a_quarter_of_the_room_at_most_and_leave_at_once(make_bot: MakeBot) -> None:
    words = [f"harbour{number}" for number in range(40)]
    book = a_book(*({"keys": [word], "content": f"In {word} " + "they mend nets. " * 12} for word in words))
    bot = make_bot(
        FakeGenerator(reply="So it is."),
        character=replace(NYX, lorebook=book),
        generation={"context_tokens": 2000, "max_new_tokens": 60},
    )
    session_id, anew = bot.new_session(), 0
    for word in words:
        reply = bot.reply(session_id, f"What of {word}?", cancel=threading.Event()).read()
        lore = [block for block in bot.context(session_id).blocks if block.kind == "lore"]
        assert sum(block.num_tokens for block in lore) <= 0.25 * 1940 + 60
        anew += reply.num_cached_tokens < 0.5 * reply.num_prompt_tokens
    assert reply.num_forgotten_messages == 0
    assert 3 <= anew <= 8  # about every sixth turn, not at each


def test_a_cast_of_one_is_a_character(make_bot: MakeBot) -> None:
    assert make_bot(character=Cast((Member.of(Character("Tom")),))).name == "Tom"
