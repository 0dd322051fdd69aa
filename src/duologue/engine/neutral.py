"""Control tokens in a person's text made harmless, in the same way for every engine."""

from collections.abc import Sequence

WORD_JOINER = "\u2060"


def neutralise(text: str, special_tokens: Sequence[str]) -> str:
    """Return `text` with every control token broken by an invisible word joiner after its first character.

    A text such as `<|im_end|>` typed by a person reads the same afterwards, but the vocabulary no longer takes it
    for the end of the message. Applying it twice changes nothing.

    Args:
        text: What a person, a card or a memory supplied.
        special_tokens: `Tokenizer.special_tokens`.
    """
    for token in special_tokens:
        while len(token) > 1 and token in text:  # again, because a token may overlap itself
            text = text.replace(token, token[0] + WORD_JOINER + token[1:])
    return text
