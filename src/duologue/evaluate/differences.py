"""What two replies have in common, word by word, so that a page can mark where they differ."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

LEAST_SHARED = 0.2
"""Two texts that share fewer of their words are two different answers; marking all of both would say nothing."""
_MOST_WORDS = 1_500  # of each text; the comparison takes the square of it
_WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring words of a text.

    Attributes:
        text: The words with their spaces, as they stand.
        is_shared: Whether the other text has them too, in the same order.
    """

    text: str
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """Two texts in stretches. The texts of a side put together are that side's text.

    Attributes:
        first: The first text.
        second: The second.
        shared: Words in common over the words of the longer text.
    """

    first: tuple[Stretch, ...]
    second: tuple[Stretch, ...]
    shared: float

    @property
    def is_worth_marking(self) -> bool:
        """Whether the texts have enough in common, and not all."""
        return LEAST_SHARED <= self.shared < 1.0


def compare_words(first: str, second: str) -> Difference:
    """Return where two texts have the same words in the same order.

    Case counts, spaces do not. Of very long texts the end is not compared and counts as different.

    Args:
        first: A text.
        second: Another.
    """
    ours, theirs = _WORD.findall(first), _WORD.findall(second)
    left, right = ([word.strip() for word in each[:_MOST_WORDS]] for each in (ours, theirs))
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    blocks = matcher.get_matching_blocks()
    longer = max(len(ours), len(theirs))
    return Difference(
        _stretches(ours, [(block.a, block.size) for block in blocks]),
        _stretches(theirs, [(block.b, block.size) for block in blocks]),
        sum(block.size for block in blocks) / longer if longer else 1.0,
    )


def _stretches(words: list[str], blocks: list[tuple[int, int]]) -> tuple[Stretch, ...]:
    found, at = [], 0
    for start, size in blocks:
        found += [("".join(words[at:start]), False), ("".join(words[start : start + size]), True)]
        at = start + size
    found.append(("".join(words[at:]), False))
    return tuple(Stretch(text, is_shared) for text, is_shared in found if text)
