"""Plan, probe, run, compare: how near the plan comes to a run on this machine, before and after a probe.

Makes conversations of unequal lengths, plans a training of the bundled model on them, probes it, plans again, trains
for real, and prints all three beside each other as one JSON document. The probe runs in a process of its own, as
`duologue plan --probe` does, so that the peak memory of the run is its own.

    python benchmarks/probe.py --out benchmarks/results/probe.json           # some minutes; on a quiet machine
    python benchmarks/probe.py --base FOLDER --conversations 24 --steps 6    # a small model, in seconds
"""

import argparse
import json
import multiprocessing
import platform
import random
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duologue.characters import Character
from duologue.config import Config, make_config
from duologue.data import ExampleSets, load_splits, make_examples, measure
from duologue.engine import BaseModel, Hardware, Probe, detect_hardware, open_trainer, probe_training
from duologue.plan import Measured, Plan, make_plan
from duologue.train import Run, make_job, run

WORDS = ("lamp", "train", "night", "ticket", "window", "moon", "station", "tea", "carriage", "rain", "signal", "door")
TARGET = 0.05  # after a probe, time is to be within 5 %


def main() -> None:
    """Measure and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="bundled:smollm2-135m")
    parser.add_argument("--conversations", type=int, default=160)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--longest-words", type=int, default=220, help="of one conversation")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="section.key=value")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = make_folder(folder, arguments)
        hardware = detect_hardware(folder, measure_cpu=True)
        before, probe, after = in_own_process(planned_and_probed, folder, config, hardware)
        result = in_own_process(trained, folder, config, hardware, after)
    document = {
        "benchmark": "probe",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), **asdict(hardware)},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "base": arguments.base,
        "probe": {
            "seconds": probe.seconds,
            "load_seconds": probe.load_seconds,
            "micro_steps": [asdict(step) for step in probe.micro_steps],
            "optimizer_seconds": probe.optimizer_seconds,
        },
        "rows": [
            compared(name, before, after, result) for name in ("train_minutes", "tokens_per_second", "memory_gib")
        ],
    }
    minutes = document["rows"][0]
    document["is_within_target"] = abs(minutes["error_after_probe"]) <= TARGET
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")


def make_folder(folder: Path, arguments: argparse.Namespace) -> Config:
    """Write conversations of unequal lengths and return the config that trains on them."""
    draw = random.Random(0)
    rows = []
    for number in range(arguments.conversations):
        count = draw.randrange(arguments.longest_words // 10, arguments.longest_words)
        reply = " ".join(draw.choices(WORDS, k=max(4, count)))
        rows.append({"instruction": f"Question {number}: tell me about the {draw.choice(WORDS)}.", "output": reply})
    (folder / "made.json").write_text(json.dumps(rows), encoding="utf-8")
    tree = {
        "model": {"base": arguments.base},
        "data": {"train": ["made.json"]},
        "lora": {"rank": 16, "alpha": 32, "num_layers": "all"},
        "training": {"max_steps": arguments.steps, "eval_every_steps": 0, "learning_rate": 1e-3},
    }
    return make_config(tree, overrides=arguments.overrides, where="benchmark")


def examples_of(folder: Path, config: Config) -> ExampleSets:
    """Return the tokenized conversations."""
    tokenizer = open_trainer("hf").tokenizer(BaseModel(config.model.base))
    return make_examples(load_splits(config, folder), tokenizer, config, Character("Lila"))


def planned_and_probed(folder: Path, config: Config, hardware: Hardware) -> tuple[Plan, Probe, Plan]:
    """Return the plan without a probe, the probe, and the plan with it."""
    examples = examples_of(folder, config)
    stats = measure(examples.train, examples.validation)
    facts = open_trainer("hf").facts(BaseModel(config.model.base))
    before = make_plan(config, stats, facts, hardware)
    probe = probe_training(make_job(config, before, folder / "run"), examples.train)
    return before, probe, make_plan(config, stats, facts, hardware, measured=Measured("here", probe=probe))


def trained(folder: Path, config: Config, hardware: Hardware, plan: Plan) -> dict[str, dict[str, float]]:
    """Train for real and return planned and measured values."""
    del hardware
    examples = examples_of(folder, config)
    into = Run(folder / "run")
    into.folder.mkdir()
    return run(
        into,
        config,
        config_text="",
        plan=plan,
        examples=examples,
        stats=measure(examples.train, examples.validation),
        account=load_splits(config, folder).account,
        trainer=open_trainer("hf"),
        on_event=lambda _event: None,
        should_stop=threading.Event(),
    ).plan_versus_actual


def compared(name: str, before: Plan, after: Plan, result: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return one measure: planned without the probe, planned with it, measured, and both errors."""
    actual = result[name]["actual"]
    plans = {
        "train_minutes": (before.time.train_minutes, after.time.train_minutes),
        "tokens_per_second": (before.time.tokens_per_second, after.time.tokens_per_second),
        "memory_gib": (before.memory.allocated_gib, after.memory.allocated_gib),
    }[name]
    return {
        "measure": name,
        "plan": plans[0],
        "plan_after_probe": plans[1],
        "actual": actual,
        "error": plans[0] / actual - 1,
        "error_after_probe": plans[1] / actual - 1,
    }


def in_own_process(work: Any, *arguments: Any) -> Any:  # noqa: ANN401 (whatever the work takes and returns)
    """Return what the work returns, done in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


if __name__ == "__main__":
    main()
