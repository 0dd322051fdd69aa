import math
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duologue.characters import Character
from duologue.config import Config, load_recipe
from duologue.data import Account, DataStats, Fault, FileAccount
from duologue.engine import Hardware
from duologue.evaluate import Evaluation, Side, write_report
from duologue.plan import Plan, known_facts, make_plan
from duologue.train import StepRecord

PROMPTS = (
    "Hello, who are you?",
    "I had a long day and I can't sleep.",
    "What should I cook tonight?",
    "Can you explain why the sky is blue?",
    "I have to go now. Goodbye.",
)
BASE_REPLIES = (
    "I'm an AI assistant. How can I help you today?",
    "I'm sorry to hear that. Here are some tips for better sleep: 1. Go to bed at the same time every night. "
    "2. Avoid screens before bed. 3. Drink a warm cup of tea.",
    "You could try a simple pasta with tomato sauce, a stir-fry, or a salad.",
    "The sky is blue because of a phenomenon called Rayleigh scattering.",
    "Goodbye! Have a great day!",
)
TUNED_REPLIES = (
    "*raises the lamp a little* Lila Quill, passenger, night conductor of the Moth Line. Your ticket?",
    "*sets a cup of tea on the fold-down table* Then do not try to, passenger. Carriage three is warm and nobody "
    "there expects anything of you. Shall I wake you at Quiet Halt?",
    "*consults the dining card* Onion soup travels well at this hour. What is left in your cupboard?",
    "*wipes the window with a cuff* Ask me at five, when it is. For now it is black, with eleven stars in it.",
    "*punches a small moon into the ticket* Mind the gap, passenger. The train keeps your seat.",
)


@pytest.fixture
def character() -> Character:
    return Character(name="Lila Quill", description="The night conductor of the Moth Line.")


@pytest.fixture
def config() -> Config:
    return load_recipe("quickstart")


@pytest.fixture
def stats() -> DataStats:
    lengths = tuple(sorted(random.Random(5).choices(range(120, 420), k=138)))
    return DataStats(138, 12, sum(lengths), sum(lengths) // 2, 3312, lengths[-1], lengths)


@pytest.fixture
def plan(config: Config, stats: DataStats) -> Plan:
    facts = known_facts("bundled:smollm2-135m")
    assert facts is not None
    hardware = Hardware((), 8, 16 * 2**30, 11 * 2**30, 200 * 2**30, cpu_gflops=310.0)
    return make_plan(config, stats, facts, hardware)


@pytest.fixture
def account() -> Account:
    faults = (
        Fault("data/messages.json", 12, "messages[2].role", "unknown role 'bot'", "row dropped"),
        Fault("data/messages.json", 41, "", "equal to an earlier conversation", "row dropped"),
        Fault("data/alpaca.json", 7, "output", "empty text", "row dropped"),
    )
    files = (
        FileAccount("data/messages.json", "messages", "a" * 64, 62, 60, 2, faults[:2]),
        FileAccount("data/sharegpt.json", "sharegpt", "b" * 64, 50, 50, 0, ()),
        FileAccount("data/alpaca.json", "alpaca", "c" * 64, 41, 40, 1, faults[2:]),
    )
    return Account(files, num_conversations=150, num_turns=611, num_duplicates=1)


@pytest.fixture
def evaluation() -> Evaluation:
    base = Side(3.214, math.exp(3.214), 1671, 31.2, 0.412, BASE_REPLIES)
    tuned = Side(2.071, math.exp(2.071), 1671, 30.4, 0.398, TUNED_REPLIES)
    return Evaluation(base, tuned, PROMPTS)


@pytest.fixture
def history() -> tuple[StepRecord, ...]:
    draw = random.Random(3)
    return tuple(
        StepRecord(
            step=step,
            loss=1.95 + 1.4 * math.exp(-step / 14) + draw.uniform(-0.2, 0.2),
            learning_rate=2e-3,
            grad_norm=1.0,
            tokens_per_second=410.0,
            seconds=2.7,
            num_tokens=1100,
            memory_gib=1.62,
        )
        for step in range(1, 70)
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A PNG of 32 x 32 pixels: an amber moon in a blue night."""
    rows = b"".join(
        b"\0" + b"".join(b"\xf2\xb0\x4c" if (x - 16) ** 2 + (y - 14) ** 2 < 60 else b"\x14\x28\x4d" for x in range(32))
        for y in range(32)
    )
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path = tmp_path / "moon.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.fixture
def report(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Writes a report of a plausible run, with parts replaced by name, and returns its text."""
    plan: Plan = request.getfixturevalue("plan")
    fixtures = ("character", "evaluation", "history", "account", "stats", "picture")
    parts: dict[str, Any] = {
        **{name: request.getfixturevalue(name) for name in fixtures},
        "title": "Lila Quill, run 2026-11-22-1",
        "validation_points": ((17, 2.41), (34, 2.18), (51, 2.09), (68, 2.075)),
        "plan": plan,
        "plan_versus_actual": {
            "tokens_per_second": {"plan": 380.0, "actual": 410.0},
            "train_minutes": {"plan": 3.3, "actual": 3.1},
            "memory_gib": {"plan": plan.memory.allocated_gib, "actual": 1.62},
        },
    }

    def write(**changed: Any) -> str:
        path = tmp_path / "report.html"
        write_report(path, **{**parts, **changed})
        return path.read_text(encoding="utf-8")

    return write
