"""The content policy on conversations."""

import pytest

from duologue.data.found import RowFault
from duologue.data.screen import screen
from duologue.guard import ContentPolicy
from duologue.messages import Conversation, Message


def conversation(*texts):
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[n % 2], text) for n, text in enumerate(texts)), "a.json:3")


def refusal(policy, texts, places=()):
    with pytest.raises(RowFault) as caught:
        screen(conversation(*texts), policy, places=places)
    return caught.value


def test_a_harmless_conversation_passes():
    screen(conversation("Is the kettle on?", "It sings."), ContentPolicy("general"))


def test_the_message_is_named_and_not_quoted():
    fault = refusal(ContentPolicy("general"), ["Hello.", "Hi.", "Some zqflag here.", "No."])
    assert fault.field == "messages[2].content"
    assert fault.reason == "refused by the content policy: guard.rating is 'general'"


def test_the_place_in_the_file_is_named_where_it_is_known():
    places = [(3, "conversations[0].value"), (3, "conversations[2].value")]
    fault = refusal(ContentPolicy("general"), ["Hello.", "zqflag"], places)
    assert fault.field == "conversations[2].value"


def test_a_hard_limit_holds_at_every_rating_and_is_not_quoted():
    fault = refusal(ContentPolicy("adult"), ["A child is here.", "zqflag"])
    assert fault.field == "messages[1].content"
    assert fault.reason == "refused by the content policy: a limit at every rating"
    assert fault.__suppress_context__, "the guard's own message quotes the words"


def test_the_rating_decides_what_is_no_hard_limit():
    screen(conversation("Hello.", "zqflag"), ContentPolicy("adult"))
