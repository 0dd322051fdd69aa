"""Llama-2-13B with LoRA r32: memory and speed in int8 and NF4, measured against the plan.

The weights are random and of the true shape. Each format does warm-up steps and then measured steps on examples of one
length; steps are timed with device events and the median counts. Prints one JSON document with the machine's facts.

    python benchmarks/gpu/first.py --out benchmarks/gpu/results/first-GPU.json     # on a GPU machine, see README.md
    python benchmarks/gpu/first.py --tiny                                          # the same code on any CPU
"""

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from duologue.config import Config, make_config
from duologue.data import measure
from duologue.engine import BaseModel, Event, Example, LoraSettings, ModelFacts, Precision, TrainingJob, detect_hardware
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.random_weights import random_model
from duologue.plan import known_facts, make_plan

MODEL = "meta-llama/Llama-2-13b-chat-hf"
TINY = ModelFacts("tiny", 64, 2, 128, 4, 2, 16, 512, False, 512)
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "duologue")


def main() -> None:
    """Measure both weight formats and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, for the tests and for CPUs")
    parser.add_argument("--steps", type=int, default=20, help="measured steps per weight format")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before them")
    parser.add_argument("--length-tokens", type=int, default=512, help="length of every example")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    arguments = parser.parse_args()
    facts = TINY if arguments.tiny else known_facts(MODEL)
    assert facts is not None
    rows = [
        measure_format(quantization, facts, arguments.steps, warm_up=arguments.warm_up, length=arguments.length_tokens)
        for quantization in ("int8", "nf4")
    ]
    document = {"benchmark": "first", "machine": machine(), "shape": asdict(facts), "rows": rows}
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measure_format(quantization: str, facts: ModelFacts, steps: int, *, warm_up: int, length: int) -> dict[str, Any]:
    """Return what one weight format needs and does, beside what the plan says."""
    is_gpu = torch.cuda.is_available()
    config = recipe(quantization, length)
    examples = made_examples(64, length, facts.vocab_size)
    plan = make_plan(config, measure(examples, ()), facts, detect_hardware(Path.cwd(), measure_cpu=not is_gpu))
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(config, plan.settings.compute_dtype, steps + warm_up, Path(folder))
        if is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        events: list[Event] = []
        model = with_adapter(random_model(facts, job.base), job)
        loaded = torch.cuda.memory_allocated() if is_gpu else 0
        fit = Fit(model, job, train=examples, validation=(), pad_token_id=0, on_event=events.append)
        for _ in range(warm_up):
            fit.step()
        if is_gpu:
            torch.cuda.reset_peak_memory_stats()
        seconds = [timed(fit.step) for _ in range(steps)]
        measured = [event.values for event in events if event.name == "step"][-steps:]
        norms = [float(values["grad_norm"]) for values in measured]
        assert all(norm > 0 for norm in norms), "a gradient norm of 0 means that nothing is trained"
        trained = statistics.mean(float(values["num_trained_tokens"]) for values in measured)
        result = {
            "quantization": quantization,
            "length_tokens": length,
            "micro_batch_size": job.micro_batch_size,
            "median_step_seconds": statistics.median(seconds),
            "trained_tokens_per_second": trained / statistics.median(seconds),
            "tokens_per_second": job.examples_per_step * length / statistics.median(seconds),
            "loaded_bytes": loaded,
            "peak_allocated_bytes": torch.cuda.max_memory_allocated() if is_gpu else 0,
            "peak_reserved_bytes": torch.cuda.max_memory_reserved() if is_gpu else 0,
            "median_grad_norm": statistics.median(norms),
            "losses": [float(values["loss"]) for values in measured],
            "plan": {
                "allocated_gib": plan.memory.allocated_gib,
                "reserved_gib": plan.memory.reserved_gib,
                "device_gib": plan.memory.device_gib,
                "tokens_per_second": plan.time.tokens_per_second,
            },
        }
        del model, fit
    return result


def recipe(quantization: str, length: int) -> Config:
    """Return the recipe `optimized` with the weight format under test."""
    return make_config(
        {
            "model": {"base": MODEL, "quantization": quantization},
            "data": {"train": ["none"], "max_length_tokens": length},
            "lora": {"rank": 32, "alpha": 16},
            "training": {
                "max_steps": 100,
                "micro_batch_size": 2,
                "gradient_accumulation_steps": 4,
                "gradient_checkpointing": "on",
                "learning_rate": 5e-4,
            },
        },
        where="benchmark",
    )


def make_job(config: Config, compute_dtype: Precision, steps: int, folder: Path) -> TrainingJob:
    """Return the job that `duologue train` would make of the recipe."""
    return TrainingJob(
        base=BaseModel(MODEL, quantization=config.model.quantization, compute_dtype=compute_dtype),
        lora=LoraSettings(rank=config.lora.rank, alpha=config.lora.alpha),
        max_steps=steps,
        micro_batch_size=2,
        gradient_accumulation_steps=4,
        learning_rate=config.training.learning_rate,
        lr_schedule="constant",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        use_gradient_checkpointing=True,
        seed=0,
        save_every_steps=steps + 1,
        eval_every_steps=0,
        num_checkpoints=1,
        run_folder=folder,
    )


def made_examples(count: int, length: int, vocab_size: int) -> tuple[Example, ...]:
    """Return random examples of one length, half of whose tokens are trained."""
    draw = random.Random(0)
    examples = []
    for number in range(count):
        ids = tuple(draw.randrange(vocab_size) for _ in range(length))
        labels = tuple(token if at >= length // 2 else -100 for at, token in enumerate(ids))
        examples.append(Example(ids, labels, f"random:{number + 1}"))
    return tuple(examples)


def timed(work: Callable[[], None]) -> float:
    """Return the seconds of one call, by device events on a GPU."""
    if not torch.cuda.is_available():
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    hardware = asdict(detect_hardware(Path.cwd(), measure_cpu=False))
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "from source"
    return {
        "hardware": hardware,
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    main()
