"""DRY's sequence breakers: texts as the tokens that hold them, as llama.cpp finds them (`src/llama-sampler.cpp`)."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

History = np.ndarray[tuple[int], np.dtype[np.int64]]  # token ids, oldest first

_MAX_BREAKER_CHARS = 40
_MAX_TAIL_TOKENS = 20


class Breakers:
    """Token sequences that no repeated sequence reaches across.

    Args:
        sequences: Each with at least one token.
        vocab_size: All ids are below it.
    """

    def __init__(self, sequences: Collection[tuple[int, ...]] = (), *, vocab_size: int = 0) -> None:
        """Sort the sequences by their first token."""
        self._tails: dict[int, list[tuple[int, ...]]] = {}
        for head, *tail in sorted(set(sequences)):
            self._tails.setdefault(head, []).append(tuple(tail))
        self._is_head_V = np.zeros(vocab_size, dtype=np.bool_)
        self._is_head_V[list(self._tails)] = True

    def is_breaker(self, token: int) -> bool:
        """Tell whether the token holds a whole breaker."""
        return () in self._tails.get(token, ())

    def length_since(self, history: History) -> int:
        """Return how many tokens stand behind the last breaker; all of them when there is none."""
        if not self._tails:
            return len(history)
        for place in np.flatnonzero(self._is_head_V[history])[::-1].tolist():
            behind = history[place + 1 :].tolist()
            matches = [len(tail) for tail in self._tails[history[place]] if behind[: len(tail)] == list(tail)]
            if matches:
                return len(behind) - max(matches)
        return len(history)


def find_breakers(
    texts: Collection[str], vocabulary: Sequence[str], encode: Callable[[str], Sequence[int]]
) -> Breakers:
    """Return the token sequences that hold one of the texts.

    A token that holds the whole text is one. Where a token ends with the beginning of the text, the tokens of the rest
    must follow it.

    Args:
        texts: The breakers.
        vocabulary: Text of each token.
        encode: Ids of a text.
    """
    found: set[tuple[int, ...]] = set()
    for text in (text[:_MAX_BREAKER_CHARS] for text in texts if text):
        starts = tuple(text[:size] for size in range(1, len(text)))
        tails: dict[int, tuple[int, ...]] = {}
        for token, word in enumerate(vocabulary):
            if text in word:
                found.add((token,))
                continue
            for size in (len(start) for start in starts if word.endswith(start)):
                if size not in tails:
                    tails[size] = tuple(encode(text[size:]))[:_MAX_TAIL_TOKENS]
                found.add((token, *tails[size]))
    return Breakers(found, vocab_size=len(vocabulary))
