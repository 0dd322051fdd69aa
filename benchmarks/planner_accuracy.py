"""Every published measurement against the planner and three others: the residuals, by tier and by bar.

    python benchmarks/planner_accuracy.py --peers peers/bin/python --write

Reads `../shared/data/training_measurements.csv` beside the project, or `--data FILE`. `--write` writes the page
docs/explanation/planner-accuracy.md and benchmarks/results/planner_accuracy.json. How the environment of the other
planners is made stands in benchmarks/planner_peers.py; without `--peers` their part of the last result is kept.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from duologue.plan import points
from duologue.plan import profiles as stack_profiles
from duologue.plan.shapes import num_params
from duologue.plan.stacks import Unstated

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "training_measurements.csv"
RESULT = ROOT / "benchmarks" / "results" / "planner_accuracy.json"
PAGE = ROOT / "docs" / "explanation" / "planner-accuracy.md"
PEERS = ("fitcheck-llm", "canifinetune", "ftuneai")
GIB = 2**30
LONG_TOKENS = 2000

STOCK = "allocated, unmodified transformers + PEFT"
FUSED = "allocated, fused or chunked loss, no fp32 upcasts"
OTHER = "allocated, litgpt and the like"
DEVICE = "reserved and device"
LONG = "speed, 2,000 tokens per micro-batch and more"
GEFORCE = "speed on GeForce"
SHORT = "speed on short micro-batches"
BARS = {STOCK: 2.0, FUSED: 3.0, OTHER: 5.0, DEVICE: 8.0, LONG: 12.0, GEFORCE: 20.0, SHORT: 30.0}
_KEY = {STOCK: "allocated", FUSED: "allocated", OTHER: "allocated"}

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Residual:
    """One measured number beside its prediction; GB are 1e9 bytes, speeds tokens per second."""

    row: int
    model: str
    source: str
    stack: str
    bar: str
    quantity: str
    measured: float
    predicted: float

    @property
    def percent(self) -> float:
        """Signed error in percent; negative is under the measurement."""
        return 100 * (self.predicted / self.measured - 1)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a measurements file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measured(row: Row) -> list[tuple[str, str, float]]:
    """Return what a row measured as (bar, quantity, number); quantity is allocated, reserved, device or speed."""
    found: list[tuple[str, str, float]] = []
    tier, notes, peak = row["tier"], row["notes"], row["peak_gb"]
    if peak not in ("", "OOM"):
        if tier.startswith("allocated"):
            found.append((_allocated_bar(row["stack"]), "allocated", float(peak)))
        if tier == "reserved":
            found.append((DEVICE, "reserved", float(peak)))
        if tier == "unstated":  # a number of the whole card, read off nvidia-smi or the like
            found.append((DEVICE, "device", float(peak)))
        shown = re.search(r"nvidia-smi ([\d.]+) GB", notes)
        if shown:
            found.append((DEVICE, "device", float(shown[1])))
        kept = re.search(r"reserved ([\d.]+) GiB;", notes)
        if kept and tier == "allocated+reserved":
            found.append((DEVICE, "reserved", float(kept[1]) * GIB / 1e9))
    if row["tokens_per_s"]:
        found.append((_speed_bar(row), "speed", float(row["tokens_per_s"])))
    return found


def residuals(rows: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> list[Residual]:
    """Return every measured number that has a prediction; predictions by quantity, as `ours` gives them."""
    found = []
    for number, (row, predicted) in enumerate(zip(rows, predictions, strict=True)):
        for bar, quantity, value in measured(row):
            guess = predicted.get(quantity)
            if guess is not None:
                found.append(
                    Residual(number, row["model"], row["source"], row["stack"], bar, quantity, value, float(guess))
                )
    return found


def ours(rows: Sequence[Row], *, change: Any = None) -> list[dict[str, Any]]:  # noqa: ANN401 (a profile changer)
    """Return duologue's predictions by quantity."""
    return [
        {
            "allocated": found.predicted_allocated_gb,
            "reserved": found.predicted_reserved_gb,
            "device": found.predicted_device_gb,
            "speed": found.predicted_tokens_per_s,
            "verdict": found.verdict,
            "why": found.why,
        }
        for found in points.predict_points(rows, change=change)
    ]


def theirs(rows: Sequence[Row], python: str) -> dict[str, list[dict[str, Any]]]:
    """Ask the other planners, in their own interpreter; a row nobody can state is a refusal of everybody."""
    cases = [_case(row) for row in rows]
    asked = [case for case in cases if case is not None]
    script = str(Path(__file__).with_name("planner_peers.py"))
    done = subprocess.run([python, script], input=json.dumps(asked), capture_output=True, text=True, check=True)
    answers = iter(json.loads(done.stdout))
    by_tool: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    for case in cases:
        answer = next(answers) if case is not None else {}
        for name in PEERS:
            said = answer.get(name, {"refused": "the row does not state enough"})
            by_tool[name].append(
                {
                    "allocated": said.get("allocated_gb"),
                    "reserved": said.get("reserved_gb"),
                    "device": said.get("device_gb"),
                    "speed": said.get("tokens_per_s"),
                    "verdict": said.get("verdict"),
                    "why": said.get("refused", ""),
                }
            )
    return by_tool


def summary(found: Sequence[Residual]) -> dict[str, dict[str, float]]:
    """Return number, mean |error|, worst under and worst over in percent, by bar."""
    table = {}
    for bar in BARS:
        errors = [item.percent for item in found if item.bar == bar]
        if errors:
            table[bar] = {
                "n": len(errors),
                "mean_percent": round(mean(map(abs, errors)), 2),
                "lowest_percent": round(min(errors), 1),
                "highest_percent": round(max(errors), 1),
            }
    return table


def verdicts(rows: Sequence[Row], predictions: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Count out-of-memory rows called `fits`, and runs that worked (limits of a card included) called `no`."""
    failed = [guess for row, guess in zip(rows, predictions, strict=True) if row["peak_gb"] == "OOM"]
    worked = [guess for row, guess in zip(rows, predictions, strict=True) if row["peak_gb"] not in ("", "OOM")]
    judged = [guess for guess in worked if guess["verdict"] is not None]
    return {
        "oom": sum(guess["verdict"] is not None for guess in failed),
        "oom_called_fits": sum(guess["verdict"] == "fits" for guess in failed),
        "worked": len(judged),
        "worked_called_no": sum(guess["verdict"] == "no" for guess in judged),
        "allocated_under_by_5_percent": sum(
            item.percent < -5 for item in residuals(rows, predictions) if item.quantity == "allocated"
        ),
    }


def without_source(rows: Sequence[Row]) -> list[Residual]:
    """Predict every source with the numbers of the others: each fitted constant becomes their median."""
    found: list[Residual] = []
    for family in sorted({_family(row["stack"]) for row in rows}):
        change = _change_without(family)
        kept = [row for row in rows if _family(row["stack"]) == family]
        found += residuals(kept, ours(kept, change=change))
    return found


def without_model(found: Sequence[Residual]) -> list[Residual]:
    """Correct each stack by a factor fitted on its other models only; a stack with one model stays as it is."""
    result = []
    for item in found:
        others = [
            other.measured / other.predicted
            for other in found
            if (other.stack, other.quantity) == (item.stack, item.quantity) and other.model != item.model
        ]
        result.append(replace(item, predicted=item.predicted * (median(others) if others else 1.0)))
    return result


def main() -> None:
    """Print the tables; with `--write` write page and result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--peers", help="the interpreter of an environment with the other planners")
    parser.add_argument("--write", action="store_true", help="write the page and the JSON")
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        print(f"skipped: {arguments.data} is not there", file=sys.stderr)
        return
    rows = read_rows(arguments.data)
    document = measure(rows, peers=_peers(rows, arguments.peers))
    print("\n".join(_summary_lines(document)))
    if arguments.write:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(document), encoding="utf-8")
        print(f"wrote {RESULT.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}", file=sys.stderr)


def measure(rows: Sequence[Row], *, peers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return everything the page shows."""
    own = ours(rows)
    found = residuals(rows, own)
    tools = {"duologue": own, **peers}
    return {
        "num_rows": len(rows),
        "bars_percent": BARS,
        "summary": {name: summary(residuals(rows, guesses)) for name, guesses in tools.items()},
        "verdicts": {name: verdicts(rows, guesses) for name, guesses in tools.items()},
        "held_out": {"source": summary(without_source(rows)), "model": summary(without_model(found))},
        "residuals": [{**asdict(item), "percent": round(item.percent, 1), **_beside(item, peers)} for item in found],
        "not_predicted": [
            {"row": number, "model": row["model"], "source": row["source"], "why": guess["why"]}
            for number, (row, guess) in enumerate(zip(rows, own, strict=True))
            if guess["allocated"] is None
        ],
        "verdict_rows": [
            {
                "row": number,
                "model": row["model"],
                "gpu": row["gpu"],
                "peak_gb": row["peak_gb"],
                "seq_len": row["seq_len"],
                "stack": row["stack"],
                **{name: guesses[number]["verdict"] for name, guesses in tools.items()},
            }
            for number, row in enumerate(rows)
            if row["peak_gb"] == "OOM" or row["tier"] == "limit"
        ],
        "peers": peers,
    }


def _beside(item: Residual, peers: dict[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    found = {}
    for name, guesses in peers.items():
        guess = guesses[item.row].get(item.quantity)
        found[name] = round(100 * (guess / item.measured - 1), 1) if guess else None
    return found


def _peers(rows: Sequence[Row], python: str | None) -> dict[str, list[dict[str, Any]]]:
    if python:
        return theirs(rows, python)
    if RESULT.is_file():
        kept: dict[str, list[dict[str, Any]]] = json.loads(RESULT.read_text(encoding="utf-8"))["peers"]
        if all(len(guesses) == len(rows) for guesses in kept.values()):
            return kept
    return {}


def _case(row: Row) -> dict[str, Any] | None:
    try:
        work = points.workload_of(row)
    except Unstated:
        return None
    machine = points.machine_of_row(row)
    facts = work.facts
    shape = {name: value for name, value in asdict(facts).items() if name not in ("name", "weights_bytes")}
    return {
        **shape,
        "model": row["model"],
        "num_params": num_params(facts),
        "length": work.stats.max_tokens,
        "mean_length": round(work.mean_tokens),
        "micro_batch": work.micro_batch_size,
        "rank": work.lora.rank,
        "modules": list(work.lora.target_modules),
        "is_quantized": work.quantization != "none",
        "has_double_quantization": work.use_double_quantization,
        "has_checkpointing": work.use_gradient_checkpointing,
        "has_paged_optimizer": work.optimizer.startswith("paged"),
        "has_fused_loss": not work.profile.has_logits,
        "card_bytes": machine.gpu.total_bytes if machine and machine.gpu else 80 * GIB,
        "card_flops": machine.gpu_facts.tensor_flops if machine and machine.gpu_facts else 0,
        "card_bandwidth": machine.gpu_facts.bandwidth_bytes_per_second if machine and machine.gpu_facts else 0,
    }


def _allocated_bar(stack: str) -> str:
    if stack in ("hf-kbit", "peft") or ("-plain-" in stack and not stack.startswith("fms-nf4-")):
        return STOCK
    return FUSED if stack.startswith(("fms-", "unsloth")) else OTHER


def _speed_bar(row: Row) -> str:
    if "RTX" in row["gpu"]:
        return GEFORCE
    longest = re.findall(r"\d+", row["seq_len"])
    lengths = int(longest[-1]) * int(row["micro_batch"]) if longest and row["micro_batch"].isdigit() else 0
    return LONG if lengths >= LONG_TOKENS else SHORT


def _family(stack: str) -> str:
    return stack.split("-", maxsplit=1)[0] if stack else "other"


_FITTED = ("gap_logit_bytes", "gap_block", "fixed_bytes", "traffic", "launch_seconds", "rotary_bytes")
_FAMILIES = {
    "fms": (stack_profiles.FMS_PLAIN, stack_profiles.FMS_FOAK, stack_profiles.FMS_KBIT),
    "hf": (stack_profiles.HF_KBIT,),
    "litgpt": (stack_profiles.LITGPT,),
    "torchtune": (stack_profiles.TORCHTUNE,),
    "unsloth": (stack_profiles.UNSLOTH,),
    "qwen1": (stack_profiles.QWEN1, stack_profiles.QWEN1_GPTQ),
    "answerai": (stack_profiles.ANSWERAI,),
    "peft": (stack_profiles.PEFT_PURE,),
}


def _change_without(family: str) -> Callable[[stack_profiles.StackProfile], stack_profiles.StackProfile]:
    others = [profile for name, group in _FAMILIES.items() if name != family for profile in group]
    values = {name: median(getattr(profile, name) for profile in others) for name in _FITTED}

    def change(profile: stack_profiles.StackProfile) -> stack_profiles.StackProfile:
        # What a loss keeps is known from its code: 14 where logits are materialised in stock transformers, 10 fused.
        logits = {"fms-foak": 10.0, "qwen1 gptq": 10.0, "litgpt": 10.0, "litgpt config_hub": 10.0, "torchtune": 3.0}
        kept = min(profile.kept_linear_inputs, 1.0)
        return replace(
            profile,
            **values,
            logit_bytes=logits.get(profile.name, 16.0 if profile.has_float32_tables else 14.0),
            kept_linear_inputs=kept,
            load_bytes_per_param=0.0,
            step_bytes_per_param=4.0,
            gradient_inner_bytes=8.0 if profile.has_float32_stream else 6.0,
            gradient_hidden_bytes=6.0,
        )

    return change


def _summary_lines(document: dict[str, Any]) -> Iterable[str]:
    tools = list(document["summary"])
    yield "| rows | bar | " + " | ".join(tools) + " |"
    yield "|---|---|" + "---|" * len(tools)
    for bar, limit in document["bars_percent"].items():
        cells = [_cell(document["summary"][tool].get(bar)) for tool in tools]
        yield f"| {bar} | ≤ {limit:g}% | " + " | ".join(cells) + " |"
    names = {
        "allocated_under_by_5_percent": ("allocated rows under by more than 5%", "0"),
        "oom_called_fits": ("out-of-memory rows called `fits`", "0"),
        "worked_called_no": ("runs that worked called `no`", "≤ 2%"),
    }
    of = {"oom_called_fits": "oom", "worked_called_no": "worked"}
    for key, (title, limit) in names.items():
        cells = [
            f"{counts[key]} of {counts[of[key]]}" if key in of else str(counts[key])
            for counts in document["verdicts"].values()
        ]
        yield f"| {title} | {limit} | " + " | ".join(cells) + " |"


def _cell(values: dict[str, float] | None) -> str:
    if values is None:
        return "no answer"
    return (
        f"{values['mean_percent']:.1f}% (n {values['n']:.0f}; {values['lowest_percent']:+.0f} to "
        f"{values['highest_percent']:+.0f})"
    )


def page(document: dict[str, Any]) -> str:
    """Return the page docs/explanation/planner-accuracy.md."""
    from planner_page import render  # beside this file; only the page needs it

    return render(document, list(_summary_lines(document)))


if __name__ == "__main__":
    main()
