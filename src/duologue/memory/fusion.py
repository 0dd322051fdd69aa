"""Two readers' findings to one list: nothing twice, what is ours first when both say the same."""

from collections.abc import Sequence
from dataclasses import replace

from duologue.messages import RecalledLine

_RANK_OFFSET = 10  # reciprocal ranks: 1 / (10 + rank); small, so that the first places of both count most
_HOSTED_WEIGHT = 0.9  # of two equals, the line that leads back to its turn is the better one
_GUESS_WEIGHT = 0.5
_TELLING_CHARS = 20


def fuse(local: Sequence[RecalledLine], hosted: Sequence[RecalledLine], *, limit: int) -> tuple[RecalledLine, ...]:
    """Return the best lines of both readers, best first; `score` is their place in this list, higher is better.

    A hosted line that says what a local one says is left out. Pinned lines stay first.

    Args:
        local: Our own findings, best first.
        hosted: The second reader's, best first.
        limit: Most lines to return.
    """
    known = [plain(line.text) for line in local]
    ranked = [(_weight(line, at), line) for at, line in enumerate(local)]
    at = 0
    for line in hosted:
        text = plain(line.text)
        if not text or any(_says(text, other) for other in known):
            continue
        known.append(text)
        ranked.append((_weight(line, at), line))
        at += 1
    ranked.sort(key=lambda pair: (pair[1].is_pinned, pair[0]), reverse=True)
    return tuple(replace(line, score=score) for score, line in ranked[: max(0, limit)])


def plain(text: str) -> str:
    """Return a text without what does not matter when two are compared: case and white space."""
    return " ".join(text.casefold().split())


def _says(text: str, other: str) -> bool:
    """Whether two texts are the same, or one holds the other whole; a few words are in too many to tell."""
    shorter, longer = sorted((text, other), key=len)
    return shorter == longer or (len(shorter) > _TELLING_CHARS and shorter in longer)


def _weight(line: RecalledLine, at: int) -> float:
    weight = 1.0 if line.origin == "local" else _HOSTED_WEIGHT
    return weight * (_GUESS_WEIGHT if line.is_guess else 1.0) / (_RANK_OFFSET + at)
