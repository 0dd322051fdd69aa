"""A message of someone in a crisis: answered with care and a helpline, by no model, and the chat goes on after it."""

from collections.abc import Sequence

from duologue.chat.tree import StoredMessage
from duologue.guard import caring_answer, find_crisis
from duologue.messages import Message


def answer_to(said: Sequence[Message], region: str) -> str:
    """Return the whole answer to what was said last; empty where that is for the character to answer.

    Args:
        said: Oldest first.
        region: `guard.crisis_region`.
    """
    if said and said[-1].role == "user" and find_crisis(said[-1].content):
        return caring_answer(region)
    return ""


def is_answered_with_care(path: Sequence[StoredMessage]) -> bool:
    """Return whether the last message of the user was answered so: nobody else has to reply to it."""
    messages = [entry.message for entry in path]
    places = [at for at, message in enumerate(messages) if message.role == "user"]
    return bool(places) and places[-1] < len(messages) - 1 and find_crisis(messages[places[-1]].content)
