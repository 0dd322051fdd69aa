"""Long-term memory: recall on made-up dialogues, and latency at 10,000 and 100,000 turns, embedding included.

The dialogues (`memory_dialogues.py`) are two people's talks over a year: topics told in one wording and asked for in
another, the same topics told by both, small talk in between from real conversations (`../shared/data` beside the
project). The weights of the ranking were chosen on the topics marked `tune`; those `held out` were printed beside.
Latency is of `MemoryStore.recall`, limit 3, in a warm process: the question's embedding, scoring, reading the lines.

    python benchmarks/memory.py --out benchmarks/results/memory.json
    python benchmarks/memory.py --only latency --num-turns 10000
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory_dialogues import make_dialogue
from duologue.engine.embed import open_embedder
from duologue.memory import MemoryStore, Scope, Source
from duologue.memory.measure import AskedQuestion, AskedTurn, TestSet, measure

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "personachat_messages.jsonl"
SETS = {"tune": range(6), "held out": range(100, 106)}
SCOPE = Scope("local", "benchmark")
NUM_QUESTIONS = 200


def chatter() -> list[tuple[str, ...]]:
    """Return short exchanges of real conversations."""
    exchanges = []
    for line in DATA.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            said = [message["content"] for message in json.loads(line)["messages"][1:]]
            said = [text for text in said if "[User" not in text]
            for at in range(2, len(said) - 4, 4):
                exchanges.append(tuple(said[at : at + random.Random(at).randint(2, 5)]))
    return exchanges


def made_set(family: str, seeds: Sequence[int], exchanges: Sequence[tuple[str, ...]]) -> TestSet:
    """Return the dialogues of a family as one set."""
    turns: list[AskedTurn] = []
    questions: list[AskedQuestion] = []
    for seed in seeds:
        said, asked = make_dialogue(seed, family=family, chatter=exchanges)
        turns += [
            AskedTurn(t["id"], t["conversation"], str(t["session"]), t["index"], t["speaker"], t["text"], t["time"])
            for t in said
        ]
        questions += [
            AskedQuestion(q["question"], tuple(q["evidence"]), q["category"], q["conversation"]) for q in asked
        ]
    return TestSet(tuple(turns), tuple(questions))


def quality() -> dict[str, Any]:
    """Measure recall on both families at both tiers."""
    exchanges = chatter()
    results: dict[str, Any] = {}
    for family, seeds in SETS.items():
        made = made_set(family, seeds, exchanges)
        for tier in (0, 1):
            measured = measure(made, embedder=open_embedder("minilm" if tier else "none"))
            results[f"{family}, tier {tier}"] = {
                "num_turns": measured.num_turns,
                "num_questions": measured.num_scored,
                "recall": {str(cutoff): value for cutoff, value in measured.recall.items()},
                "recall_at_10_by_category": {name: value[10] for name, (_, value) in measured.by_category.items()},
            }
    return results


def latency(num_turns: int) -> dict[str, Any]:
    """Measure recall and learning in a memory of so many turns.

    Vectors are drawn at random: how long a product takes does not depend on what they say.
    """
    texts = [text for exchange in chatter() for text in exchange]
    draw = random.Random(7)
    embedder = open_embedder("minilm")
    assert embedder is not None
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore.open(Path(folder) / "memory.sqlite", embedder=embedder)
        fill(store, [f"{draw.choice(texts)} {draw.choice(texts)}" for _ in range(num_turns)])
        began = time.perf_counter()
        store.recall("warm up", scope=SCOPE, limit=3)
        first_seconds = time.perf_counter() - began
        questions = [draw.choice([text for text in texts if text.endswith("?")]) for _ in range(NUM_QUESTIONS)]
        told = num_turns
        recalls, follows = [], []
        for number, question in enumerate(questions):
            began = time.perf_counter()
            store.recall(question, scope=SCOPE, limit=3)
            recalls.append(time.perf_counter() - began)
            if number % 10 == 0:  # a turn is told in between, as in a chat
                path = [source(told + n, text) for n, text in enumerate((question, draw.choice(texts)))]
                began = time.perf_counter()
                store.follow(f"new {number}", path, scope=SCOPE)
                follows.append(time.perf_counter() - began)
                told += 2
        embeds = []
        for question in questions[:50]:
            began = time.perf_counter()
            embedder.embed([question])
            embeds.append(time.perf_counter() - began)
        store.close()
    return {
        "num_turns": num_turns,
        "num_questions": NUM_QUESTIONS,
        "recall_ms": percentiles(recalls),
        "of_which_embedding_ms": percentiles(embeds),
        "first_recall_seconds": round(first_seconds, 2),
        "follow_ms_in_the_background": percentiles(follows),
        "load_average": round(os.getloadavg()[0], 1),
    }


def fill(store: MemoryStore, texts: Sequence[str]) -> None:
    """Store texts as sessions of 25 turns, with vectors."""
    embedder, store.embedder = store.embedder, None
    for at in range(0, len(texts), 25):
        path = [source(at + n, text) for n, text in enumerate(texts[at : at + 25])]
        store.follow(f"session {at}", path, scope=SCOPE)
    store.embedder = embedder
    number = store.embedder_id()
    rng = np.random.default_rng(7)
    with store.database.write() as cursor:
        for row in cursor.execute("SELECT id FROM memories").fetchall():
            vector = rng.standard_normal(384).astype(np.float32)
            vector /= np.linalg.norm(vector)
            cursor.execute(
                "INSERT INTO vectors (memory_id, embedder_id, vector) VALUES (?, ?, ?)",
                (row["id"], number, vector.tobytes()),
            )


def source(number: int, text: str) -> Source:
    """Return a message of one of the two."""
    speaker, name = ("user", "Maya") if number % 2 == 0 else ("assistant", "Jonas")
    return Source(number, 0, speaker, text, "2026-03-01T12:00:00", name)  # type: ignore[arg-type]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["quality", "latency"])
    parser.add_argument("--num-turns", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "num_cores": os.cpu_count()}
    }
    if arguments.only != "latency":
        results["quality"] = quality()
    if arguments.only != "quality":
        results["latency"] = [latency(num_turns) for num_turns in arguments.num_turns]
    text = json.dumps(results, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
