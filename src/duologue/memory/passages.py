"""A long message in passages, so that recalling one line never costs as much as the whole message."""

import re

PASSAGE_CHARS = 400  # about 100 tokens, so that a long message does not outgrow memory.max_recalled_tokens as a whole
_SENTENCE_END = re.compile(r"(?<=[.!?…\n])\s+")


def passages(text: str) -> list[str]:
    """Return a text whole, or, when it is long, in groups of whole sentences of at most `PASSAGE_CHARS` characters.

    A sentence that is longer on its own is cut.
    """
    if len(text) <= PASSAGE_CHARS:
        return [text] if text.strip() else []
    pieces = [
        sentence[at : at + PASSAGE_CHARS]
        for sentence in _SENTENCE_END.split(text)
        for at in range(0, len(sentence), PASSAGE_CHARS)
    ]
    groups = [""]
    for piece in pieces:
        if groups[-1] and len(groups[-1]) + 1 + len(piece) > PASSAGE_CHARS:
            groups.append(piece)
        else:
            groups[-1] = f"{groups[-1]} {piece}".strip()
    return [group for group in groups if group.strip()]
