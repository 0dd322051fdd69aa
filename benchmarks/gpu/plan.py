"""The plan against reality: 7B, 8B, 13B and 34B shapes in NF4, int8 and bf16, two lengths, checkpointing on and off.

The weights are random and of the true shape, made on the device. Each configuration is planned, trained for some steps
and measured: allocated, reserved and device memory, tokens per second (median of device events), gradient norm. One
that cannot fit is not tried; one that runs out of memory is written down as such, beside the verdict. The JSON is
written after every configuration, so that an interrupted benchmark keeps what it has; --resume goes on with the rest.

    python benchmarks/gpu/plan.py --out benchmarks/gpu/results/plan-GPU.json     # on a GPU machine, see README.md
    python benchmarks/gpu/plan.py --tiny                                         # the same code on any CPU
"""

import argparse
import gc
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from first import TINY, machine, made_examples, timed

from duologue.config import Config, make_config
from duologue.data import measure
from duologue.engine import Event, Hardware, ModelFacts, Quantization, detect_hardware
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.memory_use import used_on_gpu_bytes
from duologue.engine.hf.random_weights import random_model
from duologue.plan import Plan, known_facts, make_plan
from duologue.train import make_job

MODELS = {
    "7B": "meta-llama/Llama-2-7b-chat-hf",
    "8B": "meta-llama/Llama-3.1-8B-Instruct",
    "13B": "meta-llama/Llama-2-13b-chat-hf",
    "34B": "chargoddard/Yi-34B-200K-Llama",
}
HOPELESS = 1.3  # times the free memory: such a configuration is not worth its minutes
MEASURES = ("allocated_gib", "reserved_gib", "device_gib", "tokens_per_second")


@dataclass(frozen=True)
class Case:
    """One configuration."""

    size: str
    quantization: Quantization
    length_tokens: int
    is_checkpointed: bool

    @property
    def name(self) -> str:
        """As it is shown and filtered."""
        form = "bf16" if self.quantization == "none" else self.quantization
        return f"{self.size} {form} {self.length_tokens} ckpt-{'on' if self.is_checkpointed else 'off'}"


CASES = (
    Case("7B", "nf4", 512, is_checkpointed=True),
    Case("7B", "nf4", 2048, is_checkpointed=True),
    Case("7B", "nf4", 2048, is_checkpointed=False),
    Case("7B", "int8", 512, is_checkpointed=True),
    Case("7B", "none", 2048, is_checkpointed=True),
    Case("8B", "nf4", 512, is_checkpointed=True),
    Case("8B", "nf4", 2048, is_checkpointed=True),
    Case("8B", "int8", 2048, is_checkpointed=False),
    Case("8B", "none", 512, is_checkpointed=False),
    Case("8B", "none", 2048, is_checkpointed=True),
    Case("13B", "nf4", 512, is_checkpointed=True),
    Case("13B", "nf4", 2048, is_checkpointed=False),
    Case("13B", "int8", 512, is_checkpointed=True),
    Case("13B", "int8", 2048, is_checkpointed=True),
    Case("13B", "none", 512, is_checkpointed=False),
    Case("34B", "nf4", 512, is_checkpointed=True),
    Case("34B", "nf4", 2048, is_checkpointed=True),
    Case("34B", "nf4", 512, is_checkpointed=False),
    Case("34B", "int8", 512, is_checkpointed=True),
    Case("34B", "none", 512, is_checkpointed=True),
)


def main() -> None:
    """Measure the cases and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, for the tests and for CPUs")
    parser.add_argument("--only", default="", help="cases whose name holds this text, such as '13B nf4'")
    parser.add_argument("--steps", type=int, default=8, help="measured steps of each case")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them; memory peaks from the second on")
    parser.add_argument("--resume", action="store_true", help="keep the cases that --out already holds")
    parser.add_argument("--out", type=Path, help="write the JSON here after every case")
    arguments = parser.parse_args()
    used_before = 0 if arguments.tiny else used_on_gpu_bytes()
    hardware = detect_hardware(Path.cwd(), measure_cpu=not torch.cuda.is_available())
    rows = _known_rows(arguments.out) if arguments.resume else []
    known = {row["case"] for row in rows}
    document: dict[str, Any] = {}
    for case in CASES:
        if arguments.only in case.name and case.name not in known:
            facts = _facts(case, is_tiny=arguments.tiny)
            length = 16 + case.length_tokens // 64 if arguments.tiny else case.length_tokens
            shown = replace(case, length_tokens=length)
            row = measure_case(
                shown,
                facts,
                arguments.steps,
                warm_up=arguments.warm_up,
                hardware=hardware,
                used_before_bytes=used_before,
            )
            rows.append({"case": case.name, **row})
        document = {"benchmark": "plan", "machine": machine(), "summary": summary(rows), "rows": rows}
        if arguments.out:
            arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))


def measure_case(
    case: Case, facts: ModelFacts, steps: int, *, warm_up: int, hardware: Hardware, used_before_bytes: int
) -> dict[str, Any]:
    """Return what one case was planned to need and do, and what it needed and did."""
    config = _config(case, facts)
    examples = made_examples(64, case.length_tokens, facts.vocab_size)
    plan = make_plan(config, measure(examples, ()), facts, hardware)
    row: dict[str, Any] = {**asdict(case), "shape": asdict(facts), "plan": _planned(plan)}
    if plan.memory.low_gib > HOPELESS * plan.memory.available_gib:
        return {**row, "outcome": "not tried", "agrees": None}
    try:
        measured = _measured(config, plan, facts, steps, warm_up=warm_up, used_before_bytes=used_before_bytes)
    except (torch.OutOfMemoryError, MemoryError):
        measured = None  # outside the handler the traceback no longer holds the tensors
    _free()
    if measured is None:
        return {**row, "outcome": "out of memory", "agrees": plan.verdict != "fits"}
    errors = {name: row["plan"][name] / measured[name] - 1 for name in MEASURES if measured[name]}
    return {**row, "outcome": "ran", "agrees": plan.verdict != "no", "measured": measured, "errors": errors}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and worst error of each measure, and the verdicts that were wrong."""
    found: dict[str, Any] = {}
    for name in MEASURES:
        errors = [row["errors"][name] for row in rows if name in row.get("errors", {})]
        if errors:
            mean = statistics.mean(abs(error) for error in errors)
            found[name] = {"rows": len(errors), "mean_abs": mean, "lowest": min(errors), "highest": max(errors)}
    found["wrong_verdicts"] = [row["case"] for row in rows if row["agrees"] is False]
    return found


def _known_rows(out: Path | None) -> list[dict[str, Any]]:
    if out is None or not out.is_file():
        return []
    rows: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["rows"]
    return rows


def _facts(case: Case, *, is_tiny: bool) -> ModelFacts:
    if is_tiny:
        layers = 2 + list(MODELS).index(case.size) // 2
        return replace(TINY, name=f"tiny-{case.size}", num_layers=layers)
    facts = known_facts(MODELS[case.size])
    assert facts is not None
    return facts


def _config(case: Case, facts: ModelFacts) -> Config:
    return make_config(
        {
            "model": {"base": facts.name, "quantization": case.quantization},
            "data": {"train": ["none"], "max_length_tokens": case.length_tokens},
            "lora": {"rank": 16, "alpha": 16},
            "training": {
                "max_steps": 100,
                "micro_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "gradient_checkpointing": "on" if case.is_checkpointed else "off",
                "learning_rate": 1e-4,
            },
        },
        where="benchmark",
    )


def _planned(plan: Plan) -> dict[str, Any]:
    memory = plan.memory
    return {
        "verdict": plan.verdict,
        "allocated_gib": memory.allocated_gib,
        "reserved_gib": memory.reserved_gib,
        "device_gib": memory.device_gib,
        "low_gib": memory.low_gib,
        "high_gib": memory.high_gib,
        "available_gib": memory.available_gib,
        "tokens_per_second": plan.time.tokens_per_second,
        "components": [asdict(component) for component in memory.components],
    }


def _measured(
    config: Config, plan: Plan, facts: ModelFacts, steps: int, *, warm_up: int, used_before_bytes: int
) -> dict[str, Any]:
    """Train the adapter for some steps and return what was measured; everything is freed on the way out."""
    is_gpu = torch.cuda.is_available()
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(config, plan, Path(folder))
        examples = made_examples(64, config.data.max_length_tokens, facts.vocab_size)
        if is_gpu:
            torch.cuda.reset_peak_memory_stats()
        model = with_adapter(random_model(facts, job.base), job)
        loaded = torch.cuda.memory_allocated() if is_gpu else 0
        load_peak = torch.cuda.max_memory_allocated() if is_gpu else 0
        fit = Fit(model, job, train=examples, validation=(), pad_token_id=0, on_event=events.append)
        for _ in range(warm_up):
            fit.step()
        if is_gpu:
            torch.cuda.reset_peak_memory_stats()
        seconds = [timed(fit.step) for _ in range(steps)]
    done = [event.values for event in events if event.name == "step"][-steps:]
    norms = [float(values["grad_norm"]) for values in done]
    assert all(norm > 0 for norm in norms), "a gradient norm of 0 means that nothing is trained"
    tokens = statistics.mean(int(values["num_tokens"]) for values in done)
    on_device = used_on_gpu_bytes() - used_before_bytes if is_gpu else 0
    return {
        "loaded_gib": loaded / 2**30,
        "load_peak_gib": load_peak / 2**30,
        "allocated_gib": torch.cuda.max_memory_allocated() / 2**30 if is_gpu else 0.0,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if is_gpu else 0.0,
        "device_gib": max(0, on_device) / 2**30,
        "median_step_seconds": statistics.median(seconds),
        "tokens_per_second": tokens / statistics.median(seconds),
        "median_grad_norm": statistics.median(norms),
    }


def _free() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
