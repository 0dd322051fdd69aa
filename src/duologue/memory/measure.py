"""How much of what answers a question is recalled: turn-level evidence recall on a set of turns and questions.

The share of a question's evidence in the first k turns, averaged over questions, as the LoCoMo benchmark defines it
(A. Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", 2024).
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from duologue.engine.embed import Embedder
from duologue.errors import DataError
from duologue.memory.records import Scope, Source
from duologue.memory.store import MemoryStore
from duologue.messages import Role

CUTOFFS = (5, 10, 25, 50)
_SPARE_LINES = 25  # asked for beyond the largest cutoff: a long turn may be recalled in several passages
_USER = "eval"
_TIME_FORMATS = ("%I:%M %p on %d %B, %Y", "%d %B, %Y", "%d %B %Y", "%B %d, %Y", "%Y/%m/%d (%a) %H:%M", "%Y/%m/%d")


@dataclass(frozen=True, slots=True)
class AskedTurn:
    """A turn of the set."""

    turn_id: str
    conversation: str
    session: str
    index: float
    speaker: str
    text: str
    said_at: str


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of the set, with the ids of the turns that answer it."""

    text: str
    evidence: tuple[str, ...]
    category: str
    conversation: str


@dataclass(frozen=True, slots=True)
class TestSet:
    """Turns and questions, and how often something in their files was not as it should be."""

    turns: tuple[AskedTurn, ...]
    questions: tuple[AskedQuestion, ...]
    faults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was recalled.

    Attributes:
        num_turns: Turns that were remembered.
        num_questions: Questions in the file.
        num_scored: Those with evidence.
        recall: Percent of the evidence in the first k turns, by k.
        by_category: The same for each category, with its number of questions.
        latency_ms: `p50` and `p95` of a recall, embedding of the question included.
        seconds_to_learn: Storing and embedding all turns.
        faults: What was not as it should be in the files, and how often.
    """

    num_turns: int
    num_questions: int
    num_scored: int
    recall: Mapping[int, float]
    by_category: Mapping[str, tuple[int, Mapping[int, float]]]
    latency_ms: Mapping[str, float]
    seconds_to_learn: float
    faults: Mapping[str, int]


def read_set(turns: Path, questions: Path) -> TestSet:
    """Read the two JSON lines files of a set.

    A row that cannot be used is counted, not fatal.

    Raises:
        DataError: A file is missing, or no turn or no question is left.
    """
    faults: Counter[str] = Counter()
    found = tuple(_turns(turns, faults))
    asked = tuple(_questions(questions, faults))
    for what, rows, path in (("turn", found, turns), ("question", asked, questions)):
        if not rows:
            raise DataError(
                f"no {what} could be read ({dict(faults)})",
                where=str(path),
                needed='turns {"id", "session", "index", "speaker", "text", "time"} and questions {"question",'
                ' "evidence", "category"}, one JSON object per line',
            )
    known = {(turn.conversation, turn.turn_id) for turn in found}
    for question in asked:
        faults["evidence ids that are no turn"] += sum(
            (question.conversation, turn_id) not in known for turn_id in question.evidence
        )
    return TestSet(found, asked, {fault: count for fault, count in faults.items() if count})


def measure(test_set: TestSet, *, embedder: Embedder | None) -> Measured:
    """Remember the turns of a set, ask its questions, and count what is recalled, exactly as a chat recalls.

    Args:
        test_set: From `read_set`.
        embedder: None for words alone (tier 0).
    """
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore.open(Path(folder) / "memory.sqlite", embedder=embedder)
        try:
            return _measure(store, test_set)
        finally:
            store.close()


def _measure(store: MemoryStore, test_set: TestSet) -> Measured:
    faults = Counter(test_set.faults)
    began = time.perf_counter()
    turn_of: dict[tuple[str, int], str] = {}
    for (conversation, session), path in _paths(test_set.turns, turn_of).items():
        followed = store.follow(session, path, scope=Scope(_USER, conversation))
        faults["turns refused by the content limits"] += followed.num_refused
    store.catch_up()
    seconds_to_learn = time.perf_counter() - began
    known = {(turn.conversation, turn.turn_id) for turn in test_set.turns}
    scored: list[tuple[str, dict[int, float]]] = []
    latencies: list[float] = []
    for conversation in dict.fromkeys(turn.conversation for turn in test_set.turns):  # read into RAM before the clock
        store.recall("warm", scope=Scope(_USER, conversation), limit=1)
    for question in test_set.questions:
        evidence = {turn_id for turn_id in question.evidence if (question.conversation, turn_id) in known}
        if not evidence:
            faults["questions without evidence, left out"] += 1
            continue
        began = time.perf_counter()
        lines = store.recall(question.text, scope=Scope(_USER, question.conversation), limit=CUTOFFS[-1] + _SPARE_LINES)
        latencies.append((time.perf_counter() - began) * 1000)
        recalled = list(dict.fromkeys(turn_of[question.conversation, line.message_id] for line in lines))
        shares = {cutoff: len(evidence.intersection(recalled[:cutoff])) / len(evidence) for cutoff in CUTOFFS}
        scored.append((question.category, shares))
    return Measured(
        num_turns=len(test_set.turns),
        num_questions=len(test_set.questions),
        num_scored=len(scored),
        recall=_mean([shares for _, shares in scored]),
        by_category={
            category: (sum(c == category for c, _ in scored), _mean([shares for c, shares in scored if c == category]))
            for category in sorted({category for category, _ in scored})
        },
        latency_ms={"p50": _percentile(latencies, 0.50), "p95": _percentile(latencies, 0.95)},
        seconds_to_learn=round(seconds_to_learn, 2),
        faults={fault: count for fault, count in faults.items() if count},
    )


def _paths(turns: Sequence[AskedTurn], turn_of: dict[tuple[str, int], str]) -> dict[tuple[str, str], list[Source]]:
    """Return the path of every session; `turn_of` learns which turn a message is."""
    first_speaker: dict[str, str] = {}
    ordered = sorted(enumerate(turns, start=1), key=lambda pair: (pair[1].index, pair[0]))
    for turn in turns:
        first_speaker.setdefault(turn.conversation, turn.speaker)
    paths: dict[tuple[str, str], list[Source]] = {(turn.conversation, turn.session): [] for turn in turns}
    for number, turn in ordered:
        role: Role = "user" if turn.speaker == first_speaker[turn.conversation] else "assistant"
        turn_of[turn.conversation, number] = turn.turn_id
        paths[turn.conversation, turn.session].append(Source(number, 0, role, turn.text, turn.said_at, turn.speaker))
    return paths


def _turns(path: Path, faults: Counter[str]) -> Iterator[AskedTurn]:
    seen: set[tuple[str, str]] = set()
    for row, document in _documents(path, faults):
        text = document.get("text")
        if not isinstance(text, str) or not text.strip() or "id" not in document:
            faults["turns without id or text, left out"] += 1
            continue
        key = (str(document.get("conversation", "")), str(document["id"]))
        if key in seen:
            faults["turns whose id was there already, left out"] += 1
            continue
        seen.add(key)
        said_at = _time(document.get("time"))
        faults["turns without a time"] += not said_at
        index = document.get("index", row)
        is_number = isinstance(index, int | float) and not isinstance(index, bool)
        speaker = str(document.get("speaker") or "")
        yield AskedTurn(
            key[1],
            key[0],
            str(document.get("session", "")),
            float(index) if is_number else float(row),
            speaker,
            text.encode("utf-8", "replace").decode(),
            said_at,
        )


def _questions(path: Path, faults: Counter[str]) -> Iterator[AskedQuestion]:
    for _, document in _documents(path, faults):
        text, evidence = document.get("question"), document.get("evidence")
        if not isinstance(text, str) or not text.strip():
            faults["questions without text, left out"] += 1
            continue
        ids = [evidence] if isinstance(evidence, str) else evidence if isinstance(evidence, list) else []
        yield AskedQuestion(
            text.encode("utf-8", "replace").decode(),
            tuple(str(turn_id) for turn_id in ids),
            str(document.get("category", "")),
            str(document.get("conversation", "")),
        )


def _documents(path: Path, faults: Counter[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", where=str(path)) from error
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            yield row, document
        else:
            faults["lines that are no JSON object"] += 1


def _time(value: object) -> str:
    """Return a time as ISO-8601, from that or a few written forms; empty when it is none."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        pass
    for form in _TIME_FORMATS:
        try:
            return datetime.strptime(text, form).isoformat()
        except ValueError:
            continue
    return ""


def _mean(rows: Iterable[Mapping[int, float]]) -> dict[int, float]:
    listed = list(rows)
    return {
        cutoff: round(100 * sum(row[cutoff] for row in listed) / len(listed), 2) if listed else 0.0
        for cutoff in CUTOFFS
    }


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0
