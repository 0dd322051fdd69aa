"""A message of someone in a crisis: answered with care and a helpline, by no model, and the chat goes on after it."""

import re
from collections.abc import Sequence

from duologue.chat.tree import StoredMessage
from duologue.guard import caring_answer, find_crisis
from duologue.messages import Message

_READ_CHARS = 20_000  # of each end of a message; reading a whole request would take seconds
# What stands before a turn or ends it: in the marks of templates, and in lines that begin with a name.
_TEMPLATE = (
    r"<\|im_start\|>\w+|<\|im_end\|>|<\|start_header_id\|>\w+<\|end_header_id\|>|<\|eot_id\|>|<start_of_turn>\w+|"
    r"<end_of_turn>|<\|(?:user|assistant|system|model|end)\|>|\[/?INST\]|</?s>|### ?\w+:|\b(?:USER|ASSISTANT):"
)
_MARKS = rf"{_TEMPLATE}|^[^\n:<\[]{{1,40}}:"
_MARK = re.compile(_MARKS, re.MULTILINE)
_TEMPLATE_MARKS = re.compile(rf"(?:(?:{_TEMPLATE})\s*)+")
_ROW_OF_MARKS = re.compile(rf"(?:(?:{_MARKS})\s*)+", re.MULTILINE)
_CUE = re.compile(rf"(?:(?:{_MARKS})\s*)+\Z", re.MULTILINE)


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


def last_turn(prompt: str) -> str:
    """Return what was said last in a raw prompt that ends with the beginning of a reply; empty for other texts.

    Clients of llama.cpp put a whole chat into one text, in marks of a template (`<|im_start|>assistant`) or with names
    at the beginning of lines (`Lila:`). What ends in neither is no chat: a novel is gone on with.

    Args:
        prompt: The whole text, of which the end is read.
    """
    text = prompt[-2 * _READ_CHARS :].rstrip()
    cue = _CUE.search(text)
    if cue is None:
        return ""
    for mark in _MARK.findall(cue[0]):
        reply = text.rfind(mark, 0, cue.start())
        if reply >= 0:
            marks = _TEMPLATE_MARKS if _TEMPLATE_MARKS.match(mark) else _ROW_OF_MARKS
            end = marks.search(text, reply + len(mark), cue.start())
            return text[end.end() : cue.start()].strip() if end else ""
    # Nobody has replied yet: a card and what is told of the scene may stand before.
    return next((turn.strip() for turn in reversed(_MARK.split(text[: cue.start()])) if turn.strip()), "")
