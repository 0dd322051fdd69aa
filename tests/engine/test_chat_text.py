"""What a chat template cannot carry is folded, the same way wherever a prompt is made."""

import pytest

from duologue.engine import TemplateTraits
from duologue.engine.chat_text import OPENING, ChatText, folded
from duologue.errors import DataError
from duologue.messages import Message

CARRIES_ALL = TemplateTraits()
NO_LATE = TemplateTraits(carries_late_system=False)
NO_SYSTEM = TemplateTraits(carries_system=False, carries_late_system=False, carries_greeting=False)
NO_GREETING = TemplateTraits(carries_greeting=False)


def talk(script):
    """`s:rules u:hi a:hello` as messages."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [Message(roles[word[0]], word[2:].replace("_", " ")) for word in script.split()]


def shown(messages):
    return [f"{message.role[0]}:{message.content}" for message in messages]


@pytest.mark.parametrize(
    ("traits", "script", "expected"),
    [
        (CARRIES_ALL, "s:card u:hi a:yes s:snow u:oh", ["s:card", "u:hi", "a:yes", "s:snow", "u:oh"]),
        (CARRIES_ALL, "s:card s:rain u:hi", ["s:card\n\nrain", "u:hi"]),
        (NO_LATE, "s:card u:hi a:yes s:snow u:oh", ["s:card", "u:hi", "a:yes", "u:[System note: snow]\n\noh"]),
        (NO_LATE, "s:card u:hi s:snow a:yes", ["s:card", "u:hi\n\n[System note: snow]", "a:yes"]),
        (NO_LATE, "s:card u:hi a:yes s:snow", ["s:card", "u:hi", "a:yes", "u:[System note: snow]"]),
        (NO_SYSTEM, "s:card u:hi a:yes u:oh", ["u:card\n\nhi", "a:yes", "u:oh"]),
        (NO_SYSTEM, "s:card a:welcome u:hi", ["u:card", "a:welcome", "u:hi"]),
        (NO_SYSTEM, "s:card u:hi a:yes s:snow u:oh", ["u:card\n\nhi", "a:yes", "u:[System note: snow]\n\noh"]),
        (NO_SYSTEM, "a:welcome u:hi", [f"u:{OPENING}", "a:welcome", "u:hi"]),
        (NO_GREETING, "s:card a:welcome u:hi", ["s:card", f"u:{OPENING}", "a:welcome", "u:hi"]),
        (NO_GREETING, "s:card u:hi a:yes", ["s:card", "u:hi", "a:yes"]),
    ],
)
def test_messages_are_folded_into_what_the_template_carries(traits, script, expected):
    assert shown(folded(talk(script), traits, before_reply=False)) == expected


@pytest.mark.parametrize("traits", [CARRIES_ALL, NO_LATE, NO_SYSTEM, NO_GREETING])
@pytest.mark.parametrize("script", ["s:card a:one u:two a:three s:four u:five s:six a:seven", "a:one u:two a:three"])
def test_what_stands_before_a_reply_does_not_change_when_the_reply_is_added(traits, script):
    whole = talk(script)
    for place, message in enumerate(whole):
        if message.role == "assistant":
            before = folded(whole[:place], traits, before_reply=True)
            with_reply = folded(whole[: place + 1], traits, before_reply=False)
            assert with_reply == [*before, message]


def fill(template):
    """A template given as a function of messages and whether a reply comes next."""
    return ChatText(template, ("<eot>",), source="")


def bracketed(messages, add_generation_prompt):
    text = "".join(f"<{m.role}>{m.content}<eot>" for m in messages)
    return text + "<assistant>" if add_generation_prompt else text


def alternating(messages, add_generation_prompt):
    spoken = messages[1:] if messages[0].role == "system" else messages
    for place, message in enumerate(spoken):
        if (message.role == "user") != (place % 2 == 0):
            raise DataError("roles must alternate")
    return bracketed(messages, add_generation_prompt)


def system_in_last_user(messages, add_generation_prompt):
    """As Mistral's templates of 2024: the system text stands in the last message, if that is the user's."""
    system = messages[0].content if messages[0].role == "system" else ""
    spoken = list(messages[1:] if system else messages)
    if system and spoken and spoken[-1].role == "user":
        spoken[-1] = Message("user", f"{system}\n\n{spoken[-1].content}")
    return alternating(spoken, add_generation_prompt)


def dropping_late_system(messages, add_generation_prompt):
    kept = [m for place, m in enumerate(messages) if m.role != "system" or place == 0]
    return bracketed(kept, add_generation_prompt)


def test_the_traits_are_found_by_filling_the_template():
    assert fill(bracketed).traits == CARRIES_ALL
    assert fill(alternating).traits == TemplateTraits(carries_late_system=False, carries_greeting=False)
    assert fill(system_in_last_user).traits == NO_SYSTEM
    assert fill(dropping_late_system).traits == NO_LATE


def test_a_template_that_moves_the_system_text_gets_it_in_the_first_user_message():
    text = fill(system_in_last_user).render(talk("s:card u:hi a:yes u:oh"), add_generation_prompt=True)
    assert text == "<user>card\n\nhi<eot><assistant>yes<eot><user>oh<eot><assistant>"


def test_a_template_that_refuses_everything_is_an_error():
    def refuse(messages, add_generation_prompt):
        raise DataError("never")

    with pytest.raises(DataError, match="never"):
        fill(refuse).render(talk("u:hi"), add_generation_prompt=True)


def forgetting(messages, add_generation_prompt):
    """As Qwen 3: a thought block stands before the reply to come and before the last one, not before earlier ones."""
    text = ""
    for place, message in enumerate(messages):
        is_last_reply = message.role == "assistant" and place + 1 == len(messages)
        text += f"<{message.role}>{'<think></think>' if is_last_reply else ''}{message.content}<eot>"
    return text + "<assistant><think></think>" if add_generation_prompt else text


@pytest.mark.parametrize("script", ["u:hi a:yes", "u:hi a:yes u:oh", "s:card u:hi a:yes u:oh a:no"])
def test_a_reply_keeps_the_thought_block_it_was_generated_behind(script):
    chat_text = fill(forgetting)
    assert chat_text.traits.reply_primer == "<think></think>"
    whole = talk(script)
    text = chat_text.render(whole, add_generation_prompt=False)
    assert text == "".join(
        f"<{m.role}>{'<think></think>' if m.role == 'assistant' else ''}{m.content}<eot>" for m in whole
    )
    for place, message in enumerate(whole):
        if message.role == "assistant":
            assert text.startswith(chat_text.render(whole[:place], add_generation_prompt=True))


def test_control_tokens_are_neutralised_before_the_template_sees_them():
    text = fill(bracketed).render([Message("user", "a<eot>b")], add_generation_prompt=False)
    assert text == "<user>a<\u2060eot>b<eot>"


def test_private_use_characters_in_a_message_are_kept():
    whole = [Message("user", "\ue0f10reply\ue0f2"), Message("assistant", "\ue0f10end\ue0f2 \ue0f1")]
    text = fill(forgetting).render(whole, add_generation_prompt=False)
    assert text == "<user>\ue0f10reply\ue0f2<eot><assistant><think></think>\ue0f10end\ue0f2 \ue0f1<eot>"


# -------------------------------------------------------------------------------------------------- an open reply


def trimming(messages, add_generation_prompt):
    """As Gemma's and Llama 3's templates: the content is stripped."""
    return bracketed([Message(m.role, m.content.strip()) for m in messages], add_generation_prompt)


TEMPLATES = [bracketed, alternating, system_in_last_user, dropping_late_system, forgetting, trimming]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("script", ["u:hi a:yes", "a:welcome", "s:card u:hi a:yes s:snow u:oh a:no"])
def test_an_open_reply_is_its_prompt_and_its_text_and_the_beginning_of_the_finished_one(template, script):
    chat_text, whole = fill(template), talk(script)
    text = chat_text.render(whole, add_generation_prompt=False, continues=True)
    assert text == chat_text.render(whole[:-1], add_generation_prompt=True) + whole[-1].content
    assert chat_text.render(whole, add_generation_prompt=False).startswith(text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_open_reply_keeps_its_last_space_whatever_the_template_trims(template):
    whole = [Message("user", "hi"), Message("assistant", "She went to the ")]
    assert fill(template).render(whole, add_generation_prompt=True, continues=True).endswith("to the ")


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_empty_open_reply_is_a_new_one(template):
    asked = fill(template).render(talk("u:hi"), add_generation_prompt=True)
    assert fill(template).render(talk("u:hi a:"), add_generation_prompt=False, continues=True) == asked


def test_control_tokens_in_an_open_reply_are_neutralised():
    whole = [Message("user", "hi"), Message("assistant", "a<eot>b\ue0f10end\ue0f2")]
    text = fill(bracketed).render(whole, add_generation_prompt=False, continues=True)
    assert text == "<user>hi<eot><assistant>a<\u2060eot>b\ue0f10end\ue0f2"


@pytest.mark.parametrize("script", ["", "u:hi", "u:hi a:yes s:snow"])
def test_only_a_reply_can_be_gone_on_with(script):
    with pytest.raises(DataError, match="no reply can be gone on with"):
        fill(bracketed).render(talk(script), add_generation_prompt=True, continues=True)
