"""Token ids to the text that stands at each of them, control tokens included."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from duologue.engine import TextTokenizer

_MOST_TOKENS = 16  # a character takes at most four bytes; a run this long is no character that only needs its end
_HALF = "\ufffd"  # what a decoder writes for bytes that are no whole character
_PROBE = "ab"
_CONTROL_PICTURES = 0x2400


@dataclass(frozen=True, slots=True)
class TokenText:
    """Tokens that make whole characters together: nearly always one.

    Attributes:
        ids: The token ids.
        text: What they read as; a control token has its name, such as `<|im_end|>`.
        is_control: Whether it is a control token of the vocabulary.
    """

    ids: tuple[int, ...]
    text: str
    is_control: bool


class TokenTexts:
    """The texts of one vocabulary."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        """Find the ids of the control tokens, and where the vocabulary puts a space that was not in the text."""
        self._tokenizer = tokenizer
        # Decoders swallow a space at the beginning, so every token is decoded behind another one.
        [probe] = tokenizer.encode_batch([_PROBE])
        self._guard = probe[-1:]
        self._num_guard = len(tokenizer.decode(self._guard))
        names = tokenizer.special_tokens
        encoded = zip(names, tokenizer.encode_batch(names), strict=True)
        # Marks that only the template knows, such as [INST] in Llama 2, are ordinary text for the vocabulary.
        self._names = {ids[0]: name for name, ids in encoded if len(ids) == 1 and not self._decoded(ids)}
        marked = tokenizer.encode_batch([name + _PROBE for name in self._names.values()])
        self._cached: dict[int, str] = {}
        self._has_space_at_start = self._decoded(probe).startswith(" ")
        after = [ids[1:] for ids in marked if ids[0] in self._names and len(ids) > 1]
        self._has_space_after_control = any(self._decoded(ids).startswith(" ") for ids in after)

    def read(self, ids: Sequence[int], borders: Sequence[int] = ()) -> list[TokenText]:
        """Return the tokens with their texts; the texts joined are the text of the ids.

        Args:
            ids: The token ids.
            borders: Places among the ids where a new group begins in any case, ascending.
        """
        groups: list[TokenText] = []
        stops = {*borders, len(ids)}
        waiting: list[int] = []
        is_spaced = self._has_space_at_start
        for place, token in enumerate(ids):
            is_last = place + 1 in stops or ids[place + 1] in self._names
            if token in self._names:
                groups.append(TokenText((token,), self._names[token], is_control=True))
                is_spaced = self._has_space_after_control
                continue
            waiting.append(token)
            text = self._text(waiting)
            if text.endswith(_HALF) and not is_last and len(waiting) < _MOST_TOKENS:
                continue
            groups.append(TokenText(tuple(waiting), text.removeprefix(" ") if is_spaced else text, is_control=False))
            waiting, is_spaced = [], False
        return groups

    def _text(self, ids: list[int]) -> str:
        if len(ids) > 1:
            return self._decoded(ids)
        if ids[0] not in self._cached:
            self._cached[ids[0]] = self._decoded(ids)
        return self._cached[ids[0]]

    def _decoded(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([*self._guard, *ids])[self._num_guard :]


def visible(text: str) -> str:
    """Return a text in which nothing moves the cursor or turns the writing around, for a terminal or a page.

    Line breaks and tabs stay; other control characters become their pictures, such as ␛, and marks that change the
    direction of writing become their code, such as <U+202E>.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in "\n\t" or char.isprintable():
        return char
    code = ord(char)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    is_harmless = unicodedata.category(char) in ("Zs", "Co", "Cn") or char in "\u200c\u200d\u00ad"
    return char if is_harmless else f"<U+{code:04X}>"
