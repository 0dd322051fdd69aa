"""Encoding text by the words in it, each encoded once: the same ids as encoding the whole, several times faster.

Why the ids are the same: no token of the vocabulary reaches over a space that follows another character, so no merge
does, and what stands left and right of such a space is encoded independently. What can look beyond it is known and
left to the library: a space after white space or after an added token, and added tokens with a space inside.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, islice
from typing import cast

from tokenizers import AddedToken, Tokenizer

_MAX_WORDS = 200_000  # about 40 MB
_LONGEST_WORD = 200  # characters; texts with longer ones are rare
_ANCHOR = "a"  # words are encoded behind it, because some vocabularies treat the beginning of a text specially
# How vocabularies write white space in their tokens: Ġ and ▁ for the space, the others for newlines and tabs.
_REACHES_OVER_A_SPACE = re.compile(r"[^\sĠ▁Ċĉčċč][Ġ▁ ]")


class WordEncoder:
    """Encodes texts with a tokenizer of the tokenizers library; control tokens are read, none is added."""

    def __init__(self, library: Tokenizer) -> None:
        """Wrap the library's tokenizer."""
        self._library = library
        self._first: dict[str, list[int]] = {}  # by the text up to the first space
        self._later: dict[str, list[int]] = {}  # by the text between two spaces

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        if not self._is_by_words:
            return self._encode_whole(texts)
        split = [text.split(" ") for text in texts]
        self._learn(split)
        found = list(map(self._joined, texts, split))
        unknown = [at for at, ids in enumerate(found) if ids is None]
        for at, ids in zip(unknown, self._encode_whole([texts[at] for at in unknown]), strict=True):
            found[at] = ids
        return cast(list[list[int]], found)

    def _joined(self, text: str, words: list[str]) -> list[int] | None:
        """Return the ids of a text by its words; None when its spaces cannot be told apart."""
        if self._gaps and any(gap in text for gap in self._gaps):
            return None
        try:
            first = self._first[words[0]]
            if len(words) == 1:
                return list(first)
            return [*first, *chain.from_iterable(map(self._later.__getitem__, islice(words, 1, None)))]
        except KeyError:
            return None

    @cached_property
    def _is_by_words(self) -> bool:
        if any(_REACHES_OVER_A_SPACE.search(token) for token in self._library.get_vocab(with_added_tokens=False)):
            return False
        anchor, followed = self._encode_whole([_ANCHOR, f"{_ANCHOR} b"])
        return followed[: self._num_anchor] == anchor and len(followed) > len(anchor)

    @cached_property
    def _num_anchor(self) -> int:
        return len(self._encode_whole([_ANCHOR])[0])

    @cached_property
    def _added_tokens(self) -> tuple[str, ...]:
        added: dict[int, AddedToken] = self._library.get_added_tokens_decoder()
        return tuple(token.content for token in added.values())

    @cached_property
    def _gaps(self) -> tuple[str, ...]:
        """Return added tokens with a space inside."""
        return tuple(token for token in self._added_tokens if " " in token)

    def _learn(self, split: Sequence[list[str]]) -> None:
        for known in (self._first, self._later):
            if len(known) > _MAX_WORDS:
                known.clear()
        first = [word for word in {words[0] for words in split}.difference(self._first) if self._ends_plainly(word)]
        self._first.update(zip(first, self._encode_whole(first), strict=True))
        later = set(chain.from_iterable(islice(words, 1, None) for words in split)).difference(self._later)
        found = [word for word in later if self._ends_plainly(word)]
        encoded = self._encode_whole([f"{_ANCHOR} {word}" for word in found])
        self._later.update((word, ids[self._num_anchor :]) for word, ids in zip(found, encoded, strict=True))

    def _ends_plainly(self, word: str) -> bool:
        """Tell whether the word can be kept: what follows its last character, a space, has nothing to do with it.

        It has after white space (an empty word is a space itself) and after an added token: some take in the space,
        and some vocabularies treat what follows one as the beginning of a text.
        """
        if not word or len(word) > _LONGEST_WORD:
            return False
        return not word[-1].isspace() and not word.endswith(self._added_tokens)

    def _encode_whole(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._library.encode_batch_fast(texts, add_special_tokens=False)]
