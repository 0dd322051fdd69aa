"""Spans of words that a text shares with the training replies and with nothing that was held out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duologue.evaluate.evaluators.wording import words_of


@dataclass(frozen=True, slots=True)
class Span:
    """The longest run of words of a text that stands in the training replies.

    Attributes:
        num_words: Its words; punctuation and case do not count.
        num_chars: Characters of those words, a space between each two.
    """

    num_words: int = 0
    num_chars: int = 0


class SpanIndex:
    """All runs of words of some texts, so that the longest one shared with another text is found in linear time.

    A suffix automaton (Blumer et al. 1985) over words; each text ends with a mark that no text holds, so that no run
    goes over two.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Read the texts."""
        self._next: list[dict[str, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        last = 0
        for number, text in enumerate(texts):
            for word in (*words_of(text), f"\n{number}"):
                last = self._extend(last, word)

    def ends(self, words: Sequence[str]) -> list[int]:
        """Return, for each word, the length of the longest run that ends with it and stands in the texts."""
        state, length = 0, 0
        found = []
        for word in words:
            while state and word not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if word in self._next[state]:
                state = self._next[state][word]
                length += 1
            found.append(length)
        return found

    def _extend(self, last: int, word: str) -> int:
        new = self._add(self._length[last] + 1, {})
        at = last
        while at != -1 and word not in self._next[at]:
            self._next[at][word] = new
            at = self._link[at]
        if at == -1:
            self._link[new] = 0
            return new
        target = self._next[at][word]
        if self._length[target] == self._length[at] + 1:
            self._link[new] = target
            return new
        clone = self._add(self._length[at] + 1, dict(self._next[target]))
        self._link[clone] = self._link[target]
        while at != -1 and self._next[at].get(word) == target:
            self._next[at][word] = clone
            at = self._link[at]
        self._link[target] = self._link[new] = clone
        return new

    def _add(self, length: int, following: dict[str, int]) -> int:
        self._next.append(following)
        self._link.append(0)
        self._length.append(length)
        return len(self._length) - 1


def longest_span(text: str, trained: SpanIndex, *common: SpanIndex) -> Span:
    """Return the longest run of words that stands in the training replies and not, as a whole, in the other texts.

    Args:
        text: What a model said.
        trained: The training replies.
        common: Texts that were not trained on, and what the model was told: runs found there are no memory.
    """
    words = words_of(text)
    best = Span()
    elsewhere = [max(lengths) for lengths in zip(*(index.ends(words) for index in common), strict=True)] or [0] * len(
        words
    )
    for at, length in enumerate(trained.ends(words)):
        if length > elsewhere[at] and length >= best.num_words:
            num_chars = len(" ".join(words[at + 1 - length : at + 1]))
            best = max(best, Span(length, num_chars), key=lambda span: (span.num_words, span.num_chars))
    return best


def num_words_continued(reply: str, reference: str) -> int:
    """Return how many words a reply begins like the real one."""
    num = 0
    for said, real in zip(words_of(reply), words_of(reference), strict=False):
        if said != real:
            break
        num += 1
    return num
