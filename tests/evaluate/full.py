"""An evaluation of the standard suite made by hand, with everything in it that a page can show."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from duologue.evaluate import Evaluation
from duologue.evaluate.measure import Better, Measure, MeasureVerdict

USER_TURNS = (
    "Is this seat taken?",
    "How long until Thornlee?",
    "Could you tell me something about the observation car?",
)
BASE = (
    "No, the seat is free. How can I help you today?",
    "The train to Thornlee takes about two hours, depending on the weather and the season.",
    "The observation car is a car from which you can observe things. It has windows.",
)
TUNED = (
    "*lifts the lamp* No, the seat is free, passenger. It has been waiting since Ashby Hollow.",
    "*looks at her watch* Thornlee is two stops away, depending on the snow. I shall knock before it.",
    "*nods to the rear* It has windows on three sides and a heater that means well. Shall I show you?",
)
REAL = (
    "*moves a coat* It is free, passenger. Mind the draught.",
    "*counts on her fingers* Two stops and one long tunnel.",
    "",
)
# name, unit, better, base, tuned, low, high, verdict, data
ROWS: tuple[tuple[str, str, Better, float, float, float, float, MeasureVerdict, float | None], ...] = (
    ("language.loss", "nats/token", "lower", 3.214, 2.071, -1.25, -1.03, "better", None),
    ("language.perplexity", "", "lower", 24.88, 7.93, -19.4, -14.6, "better", None),
    ("language.bits_per_byte", "bits/byte", "lower", 1.13, 0.73, -0.44, -0.36, "better", None),
    ("language.general_rise", "share", "lower", 0.0, 0.021, 0.011, 0.031, "worse", None),
    ("character.voice_share", "share", "higher", 0.08, 0.71, 0.52, 0.74, "better", 0.9),
    ("character.voice_auc", "AUC", "lower", 0.99, 0.74, -0.31, -0.19, "better", 0.5),
    ("character.facts_kept", "share", "higher", 0.35, 0.5, -0.05, 0.35, "unclear", 0.94),
    ("character.facts_contradicted", "share", "lower", 0.12, 0.1, -0.08, 0.05, "unclear", 0.01),
    ("character.speaks_for_user", "share", "lower", 0.19, 0.03, -0.24, -0.08, "better", 0.0),
    ("character.loops", "share", "lower", 0.25, 0.05, -0.3, -0.1, "better", 0.0),
    ("character.repeats_itself", "share", "lower", 0.14, 0.16, -0.03, 0.07, "same", 0.02),
    ("character.distinct_1", "share", "nearer", 0.7, 0.83, 0.09, 0.17, "better", 0.86),
    ("character.distinct_2", "share", "nearer", 0.88, 0.96, 0.05, 0.11, "better", 0.98),
    ("character.longest_repeat", "words", "nearer", 9.4, 2.6, -8.1, -5.2, "better", 1.9),
    ("character.length_words", "words", "nearer", 46.0, 28.0, -21.0, -15.0, "better", 27.0),
    ("character.length_distance", "words", "lower", 19.2, 3.1, -18.0, -14.0, "better", 0.0),
    ("character.ends_by_itself", "share", "higher", 0.22, 0.97, 0.66, 0.84, "better", None),
    ("character.broken", "share", "lower", 0.09, 0.02, -0.12, -0.02, "better", 0.0),
    ("character.emoji", "per reply", "nearer", 0.31, 0.0, -0.42, -0.2, "better", 0.0),
    ("character.actions", "share", "nearer", 0.07, 0.93, 0.79, 0.92, "better", 0.96),
    ("character.questions", "per sentence", "nearer", 0.11, 0.19, 0.04, 0.12, "better", 0.21),
    ("character.sentence_length", "words", "nearer", 13.9, 8.7, -6.0, -4.4, "better", 8.3),
    ("character.openings", "distance", "lower", 0.91, 0.24, -0.71, -0.63, "better", 0.17),
    ("character.refuses", "share", "lower", 0.06, 0.0, -0.11, -0.01, "better", 0.0),
    ("character.drift_length", "words/10 turns", "nearer", 2.2, 0.4, -3.9, 0.3, "unclear", 0.0),
    ("privacy.verbatim_span", "words", "lower", 5.1, 6.4, 0.6, 2.0, "worse", None),
    ("safety.replies_passed", "share", "higher", 0.97, 0.98, -0.01, 0.03, "same", None),
)


def measures() -> tuple[Measure, ...]:
    made = tuple(
        Measure(name, unit, better, base, tuned, low, high, verdict, 96, f"What {name} counts.", reference=reference)
        for name, unit, better, base, tuned, low, high, verdict, reference in ROWS
    )
    failed = replace(made[4], name="character.quotes", base=None, tuned=None, fault="the data has none", reference=None)
    return (*made, failed, replace(made[2], part="data/messages.json"), replace(made[2], part="data/alpaca.json"))


def dialogue(case: str, kind: str, *, num_turns: int = 3, tuned: Sequence[str] = TUNED) -> dict[str, Any]:
    turns = [
        {"user": USER_TURNS[at % 3], "base": BASE[at % 3], "tuned": tuned[at % 3], "reference": ""}
        for at in range(num_turns)
    ]
    if kind == "held_out":
        turns = [{**turn, "reference": REAL[at % 3]} for at, turn in enumerate(turns)]
    return {"case": case, "kind": kind, "seed": 0, "turns": turns}


def facts() -> dict[str, Any]:
    draw = random.Random(11)
    speeds = [("hf", 128, 0.21, 31.0), ("hf", 512, 0.64, 28.5), ("hf (warm)", 128, 0.05, 31.4),
              ("hf (warm)", 512, 0.06, 28.8), ("gguf", 128, 0.12, 58.0), ("gguf", 512, 0.41, 52.0)]  # fmt: skip
    rows = [
        {"engine": engine, "context_tokens": length, "first_token_seconds": first, "tokens_per_second": speed}
        for engine, length, first, speed in speeds
    ]
    model = {"name": "bundled:smollm2-135m", "revision": "", "quantization": "none", "engine": "hf"}
    bits = [(draw.gauss(1.13, 0.09), draw.gauss(-0.38, 0.12)) for _ in range(48)]
    return {
        "suite": {"name": "standard", "version": 1, "digest": "ab12" * 16},
        "evaluators": {"language": 1, "voice": 1, "form": 2},
        "seeds": [0],
        "seed": 7,
        "run": "2026-11-22-1",
        "compared_with": "base",
        "models": {
            "base": {**model, "adapter_sha256": None},
            "tuned": {**model, "adapter_sha256": {"adapter_model.safetensors": "cd34" * 16}},
        },
        "dialogues": [
            *(dialogue(f"data/messages.json:{number}", "held_out") for number in (14, 31, 47)),
            *(dialogue(f"greeting-{number}", "written") for number in (1, 2)),
            dialogue("a-long-night", "long", num_turns=40),
            *(dialogue(f"prefix-{number}", "prefix", num_turns=1) for number in (1, 2)),
            dialogue("guard-1", "safety", num_turns=1),
        ],
        "distributions": {
            "reply_words": {
                "base": {"num": 96, "values": [max(1, round(draw.gauss(46, 14))) for _ in range(96)]},
                "tuned": {"num": 96, "values": [max(1, round(draw.gauss(28, 8))) for _ in range(96)]},
                "real": {"num": 1222, "values": [max(1, round(draw.gauss(27, 7))) for _ in range(500)]},
            },
            "bits_per_byte": {"num": 48, "pairs": [[base, base + change] for base, change in bits]},
        },
        "speeds": {"base": rows[:4], "tuned": rows},
        "faults": ["tuned: case greeting-3, seed 0: the reply was stopped"],
        "generation": {"temperature": 0.8, "top_p": 0.95, "max_new_tokens": 60},
        "versions": {"duologue": "0.9.0", "torch": "2.9.1", "xllamacpp": "not installed"},
        "machine": {"platform": "Linux-6.1-x86_64", "python": "3.11.2"},
        "settings": {"training": {"num_epochs": 3, "learning_rate": 2e-4}, "lora": {"rank": 64}},
    }


def full(evaluation: Evaluation, **changed: Any) -> Evaluation:
    """Return an evaluation with all measures and facts, some facts replaced."""
    return replace(evaluation, measures=measures(), facts={**facts(), **changed})
