"""Scored lines to the few that are recalled: pinned first, each thing once, nothing that was recalled a moment ago."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from duologue.memory.records import StoredLine
from duologue.memory.words import plain_words

_NEAR_SHARE = 0.9  # two lines are the same when they share this much of their words
_MIN_NEAR_WORDS = 4


@dataclass(frozen=True, slots=True)
class Scored:
    """A line and how well it answers.

    Attributes:
        line: The line.
        score: Higher is better; of one recall only.
        words: The part of the score that is from its words.
        meaning: The part that is from its meaning.
    """

    line: StoredLine
    score: float
    words: float = 0.0
    meaning: float = 0.0


def choose(scored: Sequence[Scored], *, question: str, limit: int, cooled: Collection[int] = ()) -> tuple[Scored, ...]:
    """Return the best lines, best first: pinned ones before all others, equal and nearly equal texts once.

    Args:
        scored: Lines with scores, best first.
        question: A line that only repeats it tells nothing and is left out.
        limit: Most lines to return.
        cooled: Ids that are passed over unless they are pinned or hold the name that is asked for.
    """
    asked_names = _names(question)
    kept: list[Scored] = []
    texts = _Texts(question)
    pinned_first = sorted(scored, key=lambda found: not found.line.is_pinned)  # stable: best first within both
    for found in pinned_first:
        if len(kept) >= limit:
            break
        line = found.line
        if line.memory_id in cooled and not line.is_pinned and not asked_names & set(plain_words(line.text)):
            continue
        if texts.is_new(line):
            kept.append(found)
    return tuple(kept)


class _Texts:
    """The texts that are taken already."""

    def __init__(self, question: str) -> None:
        self._plain = {_plain(question)}
        self._words: list[frozenset[str]] = []
        self._sources: set[tuple[str, int]] = set()

    def is_new(self, line: StoredLine) -> bool:
        plain = _plain(line.text)
        words = frozenset(plain_words(line.text))
        if plain in self._plain or any(_is_near(words, other) for other in self._words):
            return False
        self._plain.add(plain)
        self._words.append(words)
        return True


def _is_near(words: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(words), len(other)) < _MIN_NEAR_WORDS:
        return False
    shared = len(words & other)
    return shared >= _NEAR_SHARE * len(words | other)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


def _names(question: str) -> set[str]:
    """Return the words of a question that are written as names: a capital not at the start of a sentence."""
    pieces = question.split()
    return {
        word
        for before, piece in zip([".", *pieces], pieces, strict=False)
        if piece[:1].isupper() and not before.endswith((".", "!", "?", ":", "…"))
        for word in plain_words(piece)
        if len(word) > 1
    }
