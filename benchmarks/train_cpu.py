"""Training on a CPU: duologue against a plain TRL SFTTrainer script, the same examples, model and adapter.

Both sides train LoRA r32 on all linear layers of the bundled model, 2 x 4 examples of at most 512 tokens a step, on the
first rows of GPTeacher's Roleplay set (`../shared/data/roleplay_alpaca.json` beside the project, or `--data FILE`).
They get the same token ids and labels, the same number of examples, the same learning rate and schedule. Each side is a
process of its own; they take turns, `--rounds` times, and medians are compared.

- duologue: packed rows (`training.packing`), everything else as it is.
- TRL: `SFTTrainer` with its defaults, gradient checkpointing included. Its default `bf16=True` is refused on a machine
  without a GPU; `--trl-dtype float32` (default) sets `bf16=False`, which is the quicker way on a processor without bf16
  units; `--trl-dtype bfloat16` sets `use_cpu=True`.

The speed is trained tokens (targets, no context, no padding) per second of the steps; loading, the first step of each
side (threads, caches) and evaluation are left out. The losses at the end are taken by one and the same function on
held-out examples, from the adapters that both sides saved, and must agree within `--tolerance`.

    python benchmarks/train_cpu.py --json --out benchmarks/results/train_cpu.json

TRL lives in an environment of its own: `--trl-python PATH`, or one made with pip below `~/.cache/duologue-benchmarks`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "roleplay_alpaca.json"
CACHE = Path.home() / ".cache" / "duologue-benchmarks" / "trl"
PACKAGES = ("torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "trl==1.16.0", "datasets==5.2.0")
BASE = "bundled:smollm2-135m"
RANK, ALPHA, LEARNING_RATE = 32, 64, 2e-4
MICRO_BATCH, ACCUMULATION, LONGEST = 2, 4, 512


def main() -> None:
    """Run the rounds and print what came out."""
    arguments = parsed()
    if arguments.side:
        side = {"duologue": duologue_side, "trl": trl_side, "loss": loss_side}[arguments.side]
        side(Path(arguments.work), arguments)
        return
    if not arguments.data.is_file():
        print(f"skipped: {arguments.data} is not there", file=sys.stderr)
        return
    trl_python = arguments.trl_python or made_environment()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        counts = prepare(work, arguments)
        rounds = []
        for number in range(arguments.rounds):
            sides = ("duologue", "trl") if number % 2 == 0 else ("trl", "duologue")
            measured = {side: run_side(side, work, trl_python, arguments=arguments) for side in sides}
            rounds.append(measured)
            print(f"round {number + 1}: {json.dumps(measured)}", file=sys.stderr)
        losses = {
            name: run_side("loss", work, sys.executable, arguments=arguments, adapter=name)["loss"]
            for name in ("base", "duologue", "trl")
        }
    document = report(rounds, losses, counts, arguments=arguments)
    text = json.dumps(document, indent=2)
    print(text if arguments.json else summary(document))
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    if not document["is_same_loss"]:
        sys.exit("the losses at the end differ by more than the tolerance")


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps of 8 examples; the first is not timed")
    parser.add_argument("--held-out", type=int, default=24, help="examples the losses are taken on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.02, help="largest difference of the losses, in nats")
    parser.add_argument("--trl-python", default="")
    parser.add_argument("--trl-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    for hidden in ("--side", "--work", "--adapter"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def made_environment() -> str:
    """Return the Python of an environment with TRL, made when it is not there."""
    python = CACHE / "bin" / "python"
    if not python.exists():
        venv.create(CACHE, with_pip=True)
        for package in PACKAGES:  # torch first: the others would bring a build for GPUs
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True, stdout=sys.stderr)
    return str(python)


def prepare(work: Path, arguments: argparse.Namespace) -> dict[str, int]:
    """Write the model as a folder and the examples as JSON, both made by duologue; return their counts."""
    from duologue.cli.workflow import prepare as prepared
    from duologue.engine import BaseModel
    from duologue.engine.hf.load import load_model, load_tokenizer

    (work / "duologue.toml").write_text(
        f'[model]\nbase = "{BASE}"\n[data]\ntrain = ["{arguments.data.resolve()}"]\nmax_length_tokens = {LONGEST}\n',
        encoding="utf-8",
    )
    examples = prepared(work, []).examples
    train = [examples.train[at] for at in range(arguments.steps * MICRO_BATCH * ACCUMULATION)]
    for name, part in (("train", train), ("held_out", list(examples.validation)[: arguments.held_out])):
        rows = [{"input_ids": list(e.input_ids), "labels": list(e.labels), "source": e.source} for e in part]
        (work / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    load_model(BaseModel(BASE)).save_pretrained(work / "model")
    load_tokenizer(BaseModel(BASE)).save(work / "model")
    return {
        "num_examples": len(train),
        "num_tokens": sum(example.num_tokens for example in train),
        "num_trained_tokens": sum(example.num_trained_tokens for example in train),
    }


def run_side(
    side: str, work: Path, python: str, *, arguments: argparse.Namespace, adapter: str = ""
) -> dict[str, float]:
    """Run one side in a process of its own; return the JSON of its last line."""
    command = [python if side == "trl" else sys.executable, __file__, "--side", side, "--work", str(work)]
    command += ["--steps", str(arguments.steps), "--trl-dtype", arguments.trl_dtype, "--adapter", adapter]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    measured: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    return measured


def duologue_side(work: Path, arguments: argparse.Namespace) -> None:
    """Train with duologue's engine, as `duologue train` does."""
    from duologue.engine import BaseModel, LoraSettings, TrainingJob, open_trainer

    seconds, trained = [], []

    def on_event(event: Any) -> None:  # noqa: ANN401
        if event.name == "step":
            seconds.append(event.values["seconds"])
            trained.append(event.values["num_trained_tokens"])

    run_folder = Path(tempfile.mkdtemp(dir=work))
    job = TrainingJob(
        base=BaseModel(str(work / "model")),
        lora=LoraSettings(rank=RANK, alpha=ALPHA),
        max_steps=arguments.steps,
        micro_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=ACCUMULATION,
        learning_rate=LEARNING_RATE,
        lr_schedule="constant",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        use_gradient_checkpointing=False,
        seed=0,
        save_every_steps=arguments.steps + 1,
        eval_every_steps=0,
        num_checkpoints=1,
        run_folder=run_folder,
        pack_length_tokens=LONGEST,
    )
    trainer = open_trainer("hf")
    result = trainer.fit(job, read(work, "train"), (), on_event=on_event, should_stop=threading.Event())
    save_as(work / "duologue", result.adapter.folder)
    print(json.dumps(speed(seconds, trained)))


def trl_side(work: Path, arguments: argparse.Namespace) -> None:
    """Train with a plain SFTTrainer script; runs in TRL's own environment."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    rows = json.loads((work / "train.json").read_text(encoding="utf-8"))
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_arguments: object, **_settings: object) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_arguments: object, **_settings: object) -> None:
            seconds.append(time.perf_counter() - self.started)

    folder = tempfile.mkdtemp(dir=work)
    trainer = SFTTrainer(
        model=str(work / "model"),
        args=SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=MICRO_BATCH,
            gradient_accumulation_steps=ACCUMULATION,
            max_length=LONGEST,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            report_to="none",
            **({"bf16": False} if arguments.trl_dtype == "float32" else {"use_cpu": True}),
        ),
        train_dataset=Dataset.from_list([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    trainer.train()
    trainer.save_model(folder)
    save_as(work / "trl", Path(folder))
    # The order is TRL's, so a step's own count is not known here; all steps hold eight examples.
    count = sum(label != -100 for row in rows for label in row["labels"])
    print(json.dumps(speed(seconds, [count / len(seconds)] * len(seconds))))


def loss_side(work: Path, arguments: argparse.Namespace) -> None:
    """Print the loss of a saved adapter on the held-out examples, by plain transformers and PEFT."""
    import torch
    from peft import PeftModel
    from torch.nn import functional
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32)
    if arguments.adapter != "base":
        model = PeftModel.from_pretrained(model, str(work / arguments.adapter))
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for example in read(work, "held_out"):
            logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, :-1]
            total += float(functional.cross_entropy(logits, torch.tensor(example.labels[1:]), reduction="sum"))
            count += example.num_trained_tokens
    print(json.dumps({"loss": total / count}))


def read(work: Path, name: str) -> list[Any]:
    """Return the examples of a split."""
    from duologue.engine import Example

    rows = json.loads((work / f"{name}.json").read_text(encoding="utf-8"))
    return [Example(tuple(row["input_ids"]), tuple(row["labels"]), row["source"]) for row in rows]


def save_as(link: Path, folder: Path) -> None:
    """Let a name stand for the newest adapter of a side."""
    link.unlink(missing_ok=True)
    link.symlink_to(folder)


def speed(seconds: list[float], trained: list[float]) -> dict[str, float]:
    """Return trained tokens per second without the first step."""
    return {"trained_tokens_per_second": sum(trained[1:]) / sum(seconds[1:]), "seconds": sum(seconds[1:])}


def report(
    rounds: list[dict[str, dict[str, float]]],
    losses: dict[str, float],
    counts: dict[str, int],
    *,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Return the benchmark's document."""
    speeds = {
        side: statistics.median(measured[side]["trained_tokens_per_second"] for measured in rounds)
        for side in ("duologue", "trl")
    }
    ratios = [
        measured["duologue"]["trained_tokens_per_second"] / measured["trl"]["trained_tokens_per_second"]
        for measured in rounds
    ]
    difference = losses["duologue"] - losses["trl"]
    return {
        "benchmark": "train_cpu",
        "machine": {"platform": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "base": BASE,
        "trl_dtype": arguments.trl_dtype,
        "tokens_counted": "targets only; context and padding are not counted",
        **counts,
        "trained_tokens_per_second": speeds,
        "ratio": statistics.median(ratios),
        "ratio_by_round": ratios,
        "held_out_loss": losses,
        "held_out_loss_difference": difference,
        "is_same_loss": abs(difference) <= arguments.tolerance,
        "tolerance": arguments.tolerance,
    }


def summary(document: dict[str, Any]) -> str:
    """Return the document in two lines."""
    speeds, losses = document["trained_tokens_per_second"], document["held_out_loss"]
    return (
        f"duologue {speeds['duologue']:.0f}, TRL {speeds['trl']:.0f} trained tokens/s: {document['ratio']:.2f} times\n"
        f"held-out loss: base {losses['base']:.4f}, duologue {losses['duologue']:.4f}, TRL {losses['trl']:.4f}"
    )


def processor() -> str:
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


if __name__ == "__main__":
    main()
