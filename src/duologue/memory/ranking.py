"""Lexical hits to a ranking: a line also counts for what its neighbours say and for who said it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from duologue.messages import RecalledLine, Role

NEIGHBOUR_WEIGHT = 0.4  # both weights: LoCoMo, recall at 10 from 63.2 to 70.9 % without any model
SPEAKER_BONUS = 0.1


@dataclass(frozen=True, slots=True)
class Neighbours:
    """A line and the lines said right before and after it in its session."""

    line: RecalledLine
    around: tuple[RecalledLine, ...]


def rank(hits: Sequence[Neighbours], *, question: str, speaker: Role | None, limit: int) -> tuple[RecalledLine, ...]:
    """Return the best lines, best first, each text once.

    Args:
        hits: Lines that share words with the question, with their relevance as `score`.
        question: A line that only repeats it tells nothing and is left out.
        speaker: Whose lines count a little more.
        limit: Most lines to return.
    """
    best = max((hit.line.score for hit in hits), default=0.0) or 1.0
    own = {hit.line.memory_id: hit.line.score / best for hit in hits}
    from_neighbour: dict[int, float] = {}
    lines: dict[int, RecalledLine] = {}
    for hit in hits:
        lines[hit.line.memory_id] = hit.line
        for line in hit.around:
            lines.setdefault(line.memory_id, line)
            heard = max(from_neighbour.get(line.memory_id, 0.0), own[hit.line.memory_id])
            from_neighbour[line.memory_id] = heard
    scored = [
        replace(line, score=_score(line, own=own, from_neighbour=from_neighbour, speaker=speaker))
        for line in lines.values()
    ]
    scored.sort(key=lambda line: (line.score, line.memory_id), reverse=True)
    return tuple(_without_repeats(scored, question=question))[:limit]


def _score(
    line: RecalledLine, *, own: Mapping[int, float], from_neighbour: Mapping[int, float], speaker: Role | None
) -> float:
    bonus = SPEAKER_BONUS if line.speaker == speaker else 0.0
    heard = from_neighbour.get(line.memory_id, 0.0)
    return own.get(line.memory_id, 0.0) + NEIGHBOUR_WEIGHT * heard + bonus


def _without_repeats(lines: Iterable[RecalledLine], *, question: str) -> Iterable[RecalledLine]:
    seen = {_plain(question)}
    for line in lines:
        plain = _plain(line.text)
        if plain not in seen:
            seen.add(plain)
            yield line


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
