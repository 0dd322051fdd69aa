"""A question as recall reads it: its telling words, whom it is about, the days and the kind of answer it asks for."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from duologue.memory.times import asked_days, date_words
from duologue.memory.words import STOPWORDS, plain_words, stem
from duologue.messages import Role

MAX_WORDS = 32  # a long message asks with its first words; more would make the query slow, not better
_FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself"})
_SECOND_PERSON = frozenset({"you", "your", "yours", "yourself"})


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: The question as it came.
        words: Its telling words, each once, as they stand.
        stems: Their stems, each once, without the names of speakers.
        speaker: Whose lines are meant, as far as pronouns tell.
        names: The names of known speakers that stand in it, in lower case.
        asks_when: Whether it asks for a time.
        days: The days it names, as `duologue.memory.times.Days`.
    """

    text: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    speaker: Role | None
    names: frozenset[str]
    asks_when: bool = False
    days: tuple[tuple[float, float], ...] = ()

    @property
    def meaning(self) -> str:
        """The question as the speaker would put it: `When did Ana marry?` means `When did I marry?` in Ana's lines.

        An embedder finds a name where it is called out (`Bye, Ana!`), which is where the other one speaks.
        """
        text = self.text
        for name in self.names:
            first, *rest = name.split()
            whole = re.escape(first) + "".join(f"(?: {re.escape(word)})?" for word in rest)
            called = re.compile(rf"\b{whole}\b(?P<s>['\u2019]s)?", re.IGNORECASE)
            text = called.sub(lambda found: "my" if found["s"] else "I", text)
        return text


def read_question(
    text: str, *, names: Collection[str] = (), now: datetime | None = None, years: tuple[int, ...] = ()
) -> Question:
    """Return what a question asks.

    Args:
        text: A person's message.
        names: Of the speakers whose lines are searched, in lower case.
        now: When it is asked; `last week` counts from there.
        years: Those a month without a year may be in.
    """
    spoken_to = {name for name in names if _is_named(name, text, frozenset(plain_words(text)))}
    text = _without_calls(text, spoken_to)
    words = plain_words(text)
    days_named = date_words(text)
    telling = list(dict.fromkeys(word for word in words if word not in STOPWORDS and word not in days_named))[
        :MAX_WORDS
    ]
    present = set(words)
    named = {name for name in names if _is_named(name, text, present)}
    name_words = {word for name in spoken_to for word in plain_words(name)}
    return Question(
        text=text,
        words=tuple(telling),
        stems=tuple(dict.fromkeys(stem(word) for word in telling if word not in name_words)),
        speaker=asked_speaker(words),
        names=frozenset(named),
        asks_when=bool({"when", "date", "day", "month", "year"} & present) or "how long" in text.lower(),
        days=asked_days(text, now=now or datetime.now(UTC), years=years),
    )


def _without_calls(text: str, names: Collection[str]) -> str:
    """Return a question without the names it calls: `Ana, where is it?` asks Ana, it does not ask about her."""
    for name in names:
        first = re.escape(name.split()[0])
        called = re.compile(rf"^\W*(?:(?:hey|hi|oh|so|well)\W+)?{first}\s*[,!:]\s*|,\s*{first}(?=\W*$)", re.IGNORECASE)
        text = called.sub("", text)
    return text


def _is_named(name: str, text: str, words: Collection[str]) -> bool:
    """Return whether a name, or its first word, stands in a text; `Will` only where it is written large."""
    first = next(iter(plain_words(name)), "")
    if first not in words:
        return False
    return first not in STOPWORDS or re.search(rf"\b{re.escape(first.capitalize())}\b", text) is not None


def asked_speaker(words: Collection[str]) -> Role | None:
    """Return who a question is about, as far as its pronouns tell: `my cat` the user, `your cat` the character."""
    present = set(words)
    asks_user, asks_assistant = bool(present & _FIRST_PERSON), bool(present & _SECOND_PERSON)
    if asks_user == asks_assistant:
        return None
    return "user" if asks_user else "assistant"
