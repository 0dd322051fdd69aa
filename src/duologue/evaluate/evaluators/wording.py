"""Words, sentences and repetitions of a text, without a tokenizer: the same for every model and language."""

import re
from collections.abc import Sequence

LEAST_REPEATS = 3
"""A sequence of words is a loop when it stands so many times behind itself,"""
SHORTEST_LOOP_WORDS = 8
"""over so many words or more: `hop, hop, hop` is none."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['\u2019\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002]+[\"'\u201d\u2019)*\]]*(?:\s+|$)|\n+")
_LEAST_GRAMS = 12
_LEAST_DISTINCT = 0.5


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; in Chinese and Japanese each character is one."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text that hold a word."""
    return [part.strip() for part in _SENTENCE_END.split(text) if _WORD.search(part)]


def grams(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Return all sequences of `length` words."""
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


def distinct(words: Sequence[str], length: int) -> float | None:
    """Return the different sequences of `length` words over all of them (distinct-n, Li et al. 2016)."""
    found = grams(words, length)
    return len(set(found)) / len(found) if found else None


def windowed_distinct(words: Sequence[str], length: int, *, window: int) -> tuple[float, float]:
    """Return the sum over all windows of so many words of their distinct-n, and the number of windows.

    Distinct-n falls with the length of a text; in windows of one size it does not (moving-average type-token ratio,
    Covington and McFall 2010). A text of fewer words has no window.
    """
    found = grams(words, length)
    size = window - length + 1
    if len(found) < size or size < 1:
        return 0.0, 0.0
    seen: dict[tuple[str, ...], int] = {}
    total = 0.0
    for at, gram in enumerate(found):
        seen[gram] = seen.get(gram, 0) + 1
        if at >= size:
            gone = found[at - size]
            seen[gone] -= 1
            if not seen[gone]:
                del seen[gone]
        if at >= size - 1:
            total += len(seen) / size
    return total, float(len(found) - size + 1)


def longest_repeat(words: Sequence[str]) -> int:
    """Return the length in words of the longest sequence that stands in a text twice; the two may overlap."""
    low, high = 0, max(0, len(words) - 1)
    while low < high:  # whatever repeats has a shorter part that repeats too
        middle = (low + high + 1) // 2
        found = grams(words, middle)
        if len(set(found)) < len(found):
            low = middle
        else:
            high = middle - 1
    return low


def has_loop(words: Sequence[str]) -> bool:
    """Return whether a text goes round in circles.

    So it does when a sequence of words stands three times behind itself over eight words or more, or when fewer than
    half of its sequences of four words differ: the rules that training uses on tokens.
    """
    found = grams(words, 4)
    if len(found) >= _LEAST_GRAMS and len(set(found)) < _LEAST_DISTINCT * len(found):
        return True
    for length in range(1, len(words) // LEAST_REPEATS + 1):
        needed = max(LEAST_REPEATS * length, SHORTEST_LOOP_WORDS) - length
        run = 0
        for at in range(length, len(words)):
            run = run + 1 if words[at] == words[at - length] else 0
            if run >= needed:
                return True
    return False


def overlap(first: Sequence[str], second: Sequence[str], *, length: int = 3) -> float:
    """Return the sequences of words that two texts share over those that either has (Jaccard).

    Texts of fewer words than one sequence are compared as a whole.
    """
    one, two = set(grams(first, length)), set(grams(second, length))
    if not one or not two:
        return float(bool(first) and list(first) == list(second))
    return len(one & two) / len(one | two)
