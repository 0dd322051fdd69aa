"""Control tokens in a person's text made harmless, in the same way for every engine."""

import re
from collections.abc import Sequence
from functools import lru_cache

WORD_JOINER = "\u2060"

# Marks that a template writes and that need not be tokens: <think>, </tool_call>, <|user|>, <<SYS>>, [INST], [/INST].
_MARK = re.compile(r"<{1,2}[|/]?[A-Za-z_][\w|.:-]*>{1,2}|\[/?[A-Z][A-Z_]+\]")

# String literals of a template that are looked for: 'x' in y, y.split('x'), y.startswith("x") and the like.
_SOUGHT = re.compile(
    r"""(?P<q>['"])(?P<text>[^'"\n]{2,80}?)(?P=q)\s+(?:not\s+)?in\s"""
    r"""|\b(?:split|startswith|endswith|replace|partition|find|count|regex_replace)\(\s*(?P<r>['"])(?P<other>[^\n]{1,80}?)(?P=r)"""
)


def neutralise(text: str, special_tokens: Sequence[str]) -> str:
    """Return `text` with every control token broken by an invisible word joiner after its first character.

    A text such as `<|im_end|>` typed by a person reads the same afterwards, but the vocabulary no longer takes it
    for the end of the message. Applying it twice changes nothing.

    Args:
        text: What a person, a card or a memory supplied.
        special_tokens: `Tokenizer.special_tokens`.
    """
    for first in _first_characters(tuple(special_tokens)):
        if first in text:
            break
    else:
        return text
    for token in special_tokens:
        while len(token) > 1 and token in text:  # again, because a token may overlap itself
            text = text.replace(token, token[0] + WORD_JOINER + token[1:])
    return text


def count_neutralised(before: str, after: str) -> int:
    """Return how many control tokens `neutralise` broke."""
    return after.count(WORD_JOINER) - before.count(WORD_JOINER) if len(after) != len(before) else 0


def template_marks(template: str) -> tuple[str, ...]:
    """Return the marks that a chat template's source writes or looks for, such as `[INST]` or `</think>`.

    Inside a message they would forge a turn or make the template treat the message differently.
    """
    return tuple(dict.fromkeys(_MARK.findall(template)))


def watched_texts(template: str) -> tuple[str, ...]:
    """Return the texts that a chat template looks for inside messages, such as `/no_think`; white space left out."""
    found = (match["text"] or match["other"] for match in _SOUGHT.finditer(template))
    return tuple(dict.fromkeys(text for text in found if text.replace("\\n", "").strip()))


@lru_cache(maxsize=64)
def _first_characters(special_tokens: tuple[str, ...]) -> frozenset[str]:
    return frozenset(token[0] for token in special_tokens if len(token) > 1)
