"""A message of someone in a crisis: answered with care and a helpline, by no model, and the chat goes on after it."""

from collections.abc import Sequence

from duologue.chat.tree import StoredMessage
from duologue.guard import caring_answer, find_crisis
from duologue.messages import Message

_READ_CHARS = 20_000  # of each end of a message; reading a whole request would take seconds


def is_urgent(text: str) -> bool:
    """Return whether a message is answered with care before anything else is looked at: its length, limits, a line."""
    if len(text) > 2 * _READ_CHARS:
        text = f"{text[:_READ_CHARS]}\n{text[-_READ_CHARS:]}"
    return find_crisis(text)


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
