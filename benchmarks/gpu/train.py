"""Training on a GPU: a plain notebook against duologue, 34B in 22.5 GiB, utilisation at 8B, weight formats at 13B.

The weights are random and of the true shape; the examples have the lengths of real conversations (lengths.json), and
random tokens. Every part trains real optimizer steps, times each with device events, and counts the median. Tokens per
second are *trained* tokens, the targets of the loss; tokens without padding stand beside them. A gradient norm of 0
ends the benchmark.

    python benchmarks/gpu/train.py --out benchmarks/gpu/results/train-GPU.json     # on a GPU machine, see README.md
    python benchmarks/gpu/train.py --tiny                                          # the same code on any CPU
"""

import argparse
import gc
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from first import TINY, machine, timed
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from duologue.config import Config, load_recipe, make_config
from duologue.data import measure
from duologue.engine import BaseModel, Event, Example, ModelFacts, detect_hardware
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.random_weights import random_model
from duologue.plan import known_facts, make_plan
from duologue.train import make_job

B13 = "meta-llama/Llama-2-13b-chat-hf"
B34 = "chargoddard/Yi-34B-200K-Llama"
B8 = "meta-llama/Llama-3.1-8B-Instruct"
CARD_GIB = 22.5  # of a 24 GB card, what a display and the driver leave
DENSE_BF16_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "4090": 165e12, "3090": 71e12}
LENGTHS = Path(__file__).with_name("lengths.json")


@dataclass(frozen=True)
class Steps:
    """How much is measured."""

    measured: int
    warm_up: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.measured + self.warm_up


def main() -> None:
    """Run the parts and write the JSON after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, for the tests and for CPUs")
    parser.add_argument("--only", default="", help="one part: notebook, longest, utilisation or formats")
    parser.add_argument("--steps", type=int, default=12, help="measured steps of each row")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them")
    parser.add_argument("--out", type=Path, help="write the JSON here after every part")
    arguments = parser.parse_args()
    steps = Steps(arguments.steps, arguments.warm_up)
    parts: dict[str, Callable[[], Any]] = {
        "notebook": lambda: notebook_against_duologue(steps, is_tiny=arguments.tiny),
        "utilisation": lambda: utilisation(steps, is_tiny=arguments.tiny),
        "formats": lambda: weight_formats(steps, is_tiny=arguments.tiny),
        "longest": lambda: longest_context(is_tiny=arguments.tiny),
    }
    document: dict[str, Any] = {"benchmark": "train", "machine": machine(), "parts": {}}
    for name, part in parts.items():
        if arguments.only in ("", name):
            document["parts"][name] = part()
            if arguments.out:
                arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))


def notebook_against_duologue(steps: Steps, *, is_tiny: bool) -> dict[str, Any]:
    """The recipe `optimized` as a plain notebook runs it, in duologue, and what `best-24gb` makes of the same data."""
    facts = shape_of(B13, is_tiny=is_tiny)
    config = load_recipe("optimized")
    examples = real_examples("roleplay_alpaca.json", facts.vocab_size, config.data.max_length_tokens, is_tiny=is_tiny)
    best = load_recipe("best-24gb")
    best_facts = shape_of(best.model.base, is_tiny=is_tiny)
    best_examples = real_examples(
        "roleplay_alpaca.json", best_facts.vocab_size, best.data.max_length_tokens, is_tiny=is_tiny
    )
    rows = {
        "notebook": notebook(config, facts, examples, steps),
        "optimized": measured(config, facts, examples, steps),
        "best-24gb": measured(best, best_facts, best_examples, steps),
        "best settings, same base": measured(with_base(best, config), facts, examples, steps),
    }
    speeds = {name: row["trained_tokens_per_second"] for name, row in rows.items()}
    plain = rows["notebook"]["reserved_gib"]
    return {
        "rows": rows,
        "speed_ratio": {name: speed / speeds["notebook"] for name, speed in speeds.items()},
        "memory_ratio": {name: row["reserved_gib"] / plain if plain else None for name, row in rows.items()},
    }


def utilisation(steps: Steps, *, is_tiny: bool) -> dict[str, Any]:
    """Llama-3.1-8B in NF4, rows packed to 2,048 tokens: the share of the card's peak that the hardware works.

    Work per token of a frozen base under LoRA: 2 FLOPs per parameter forward, 2 backward for the activations, 2 more
    where activations are recomputed, and attention's 4 (8, 4) x layers x heads x head_dim x length / 2 (causal).
    """
    facts = shape_of(B8, is_tiny=is_tiny)
    length = 64 if is_tiny else 2048
    rows = {}
    for checkpointing in ("off", "on"):
        config = config_of(
            facts,
            {"quantization": "nf4"},
            {"micro_batch_size": 8, "packing": True, "gradient_checkpointing": checkpointing},
            length=length,
        )
        examples = real_examples("personachat_messages.jsonl", facts.vocab_size, length, is_tiny=is_tiny)
        row = measured(config, facts, examples, steps)
        passes = 3 if checkpointing == "on" else 2
        lengths = [example.num_tokens for example in examples]
        mean_length = sum(n * n for n in lengths) / sum(lengths)
        attention = 4 * facts.num_layers * facts.num_heads * facts.head_dim * mean_length / 2
        flops = 2 * num_linear_params(facts) * passes + attention * (1 + 2 + (passes - 2))
        peak = peak_flops()
        row["flops_per_token"] = flops
        row["hardware_flops_utilisation"] = flops * row["tokens_per_second"] / peak if peak else None
        rows[f"checkpointing {checkpointing}"] = row
    return {"rows": rows, "peak_flops": peak_flops()}


def weight_formats(steps: Steps, *, is_tiny: bool) -> dict[str, Any]:
    """13B: int8 with thresholds 6 and 0, NF4 with and without double quantisation, and bfloat16."""
    facts = shape_of(B13, is_tiny=is_tiny)
    formats: dict[str, dict[str, Any]] = {
        "int8, threshold 6": {"quantization": "int8", "int8_threshold": 6.0},
        "int8, threshold 0": {"quantization": "int8", "int8_threshold": 0.0},
        "nf4, double": {"quantization": "nf4", "use_double_quantization": True},
        "nf4": {"quantization": "nf4", "use_double_quantization": False},
        "bf16": {"quantization": "none"},
    }
    length = 64 if is_tiny else 512
    examples = real_examples("roleplay_alpaca.json", facts.vocab_size, length, is_tiny=is_tiny)
    training = {"micro_batch_size": 8, "gradient_checkpointing": "on"}
    return {
        "rows": {
            name: measured(config_of(facts, model, training, length=length), facts, examples, steps)
            for name, model in formats.items()
        }
    }


def longest_context(*, is_tiny: bool) -> dict[str, Any]:
    """Yi-34B in NF4 held to 22.5 GiB: the longest example, with adapters on all linear layers and on attention only."""
    facts = shape_of(B34, is_tiny=is_tiny)
    is_gpu = torch.cuda.is_available()
    if is_gpu:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CARD_GIB * 2**30 / total))
    found = {}
    lengths = (32, 64) if is_tiny else (1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384)
    for name, modules in {"all-linear": "all-linear", "attention": ["q_proj", "k_proj", "v_proj", "o_proj"]}.items():
        rows: list[dict[str, Any]] = []
        for length in lengths:
            config = config_of(
                facts,
                {"quantization": "nf4", "use_double_quantization": True},
                {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "gradient_checkpointing": "on"},
                length=length,
                lora={"rank": 16, "alpha": 16, "target_modules": modules},
            )
            examples = even_examples(8, length, facts.vocab_size)
            try:
                row = measured(config, facts, examples, Steps(2, 1))
            except (torch.OutOfMemoryError, MemoryError):
                row = {"outcome": "out of memory"}
            free()
            rows.append({"length_tokens": length, **row})
            if "outcome" in row:
                break
        fitting = [row["length_tokens"] for row in rows if "outcome" not in row]
        found[name] = {"rows": rows, "longest_tokens": max(fitting, default=0)}
    if is_gpu:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"limit_gib": CARD_GIB if is_gpu else None, **found}


def measured(config: Config, facts: ModelFacts, examples: Sequence[Example], steps: Steps) -> dict[str, Any]:
    """Train with duologue and return speed and memory; everything is freed on the way out."""
    hardware = detect_hardware(Path.cwd(), measure_cpu=not torch.cuda.is_available())
    plan = make_plan(config, measure(examples, ()), facts, hardware)
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        job = replace(make_job(config, plan, Path(folder)), max_steps=steps.total, save_every_steps=steps.total + 1)
        reset_peak()
        model = with_adapter(random_model(facts, job.base), job)
        fit = Fit(model, job, train=examples, validation=(), pad_token_id=0, on_event=events.append)
        for _ in range(steps.warm_up):
            fit.step()
        seconds = [timed(fit.step) for _ in range(steps.measured)]
        row = result(
            seconds,
            [event.values for event in events if event.name == "step"][-steps.measured :],
            micro_batch_size=job.micro_batch_size,
            is_checkpointed=job.use_gradient_checkpointing,
        )
        row["plan"] = {
            "verdict": plan.verdict,
            "allocated_gib": plan.memory.allocated_gib,
            "reserved_gib": plan.memory.reserved_gib,
            "tokens_per_second": plan.time.tokens_per_second,
        }
        del model, fit
    free()
    return row


def notebook(config: Config, facts: ModelFacts, examples: Sequence[Example], steps: Steps) -> dict[str, Any]:
    """Train as a plain notebook does: k-bit preparation, Trainer, every row padded to `max_length_tokens`."""
    base = BaseModel(
        facts.name, quantization="int8", int8_threshold=config.model.int8_threshold, compute_dtype="bfloat16"
    )
    length = config.data.max_length_tokens if facts.num_layers > TINY.num_layers else 64
    reset_peak()
    model = prepare_model_for_kbit_training(random_model(facts, base))
    lora = config.lora
    model = get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear" if lora.target_modules == "all-linear" else list(lora.target_modules),
            task_type="CAUSAL_LM",
        ),
    )
    training = config.training
    clock = Clock(steps)
    counts = [example.num_trained_tokens for example in examples]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=int(training.micro_batch_size),
                gradient_accumulation_steps=int(training.gradient_accumulation_steps),
                max_steps=steps.total,
                learning_rate=training.learning_rate,
                bf16=torch.cuda.is_available(),
                gradient_checkpointing=True,
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=torch.cuda.is_available(),
                seed=0,
            ),
            train_dataset=[padded(example, length) for example in examples],
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)  # standard output belongs to the JSON
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "grad_norm" in entry][-steps.measured :]
    per_step = int(training.micro_batch_size) * int(training.gradient_accumulation_steps)
    values = [
        {
            "num_trained_tokens": statistics.mean(counts) * per_step,
            "num_tokens": statistics.mean(example.num_tokens for example in examples) * per_step,
            "grad_norm": entry["grad_norm"],
        }
        for entry in logged
    ]
    row = result(clock.seconds(), values, micro_batch_size=int(training.micro_batch_size), is_checkpointed=True)
    del model, trainer
    free()
    return {**row, "padded_to_tokens": length}


class Clock(TrainerCallback):  # type: ignore[misc]
    """The time of each step of the Trainer, by device events on a GPU."""

    def __init__(self, steps: Steps) -> None:
        """Remember how many steps are warm-up."""
        self._steps = steps
        self._marks: list[Any] = []

    def on_step_begin(self, *_arguments: object, **_named: object) -> None:
        """Mark the beginning."""
        self._mark()

    def on_step_end(self, *_arguments: object, **_named: object) -> None:
        """Mark the end."""
        self._mark()

    def seconds(self) -> list[float]:
        """Return the durations of the measured steps."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            pairs = zip(self._marks[::2], self._marks[1::2], strict=True)
            durations = [begin.elapsed_time(end) / 1000 for begin, end in pairs]
        else:
            durations = [end - begin for begin, end in zip(self._marks[::2], self._marks[1::2], strict=True)]
        return durations[self._steps.warm_up :]

    def _mark(self) -> None:
        if torch.cuda.is_available():
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())


def result(
    seconds: Sequence[float], values: Sequence[dict[str, Any]], *, micro_batch_size: int, is_checkpointed: bool
) -> dict[str, Any]:
    """Return one row of numbers.

    Raises:
        AssertionError: A gradient norm is 0.
    """
    norms = [float(entry["grad_norm"]) for entry in values]
    assert all(norm > 0 for norm in norms), "a gradient norm of 0 means that nothing is trained"
    step = statistics.median(seconds)
    is_gpu = torch.cuda.is_available()
    return {
        "median_step_seconds": step,
        "trained_tokens_per_second": statistics.mean(float(entry["num_trained_tokens"]) for entry in values) / step,
        "tokens_per_second": statistics.mean(float(entry["num_tokens"]) for entry in values) / step,
        "allocated_gib": torch.cuda.max_memory_allocated() / 2**30 if is_gpu else 0.0,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if is_gpu else 0.0,
        "median_grad_norm": statistics.median(norms),
        "micro_batch_size": micro_batch_size,
        "is_checkpointed": is_checkpointed,
    }


def padded(example: Example, length: int) -> dict[str, list[int]]:
    """Return a row as a notebook's tokenizer makes it: padded to the full length."""
    gap = length - example.num_tokens
    return {
        "input_ids": [*example.input_ids, *[0] * gap],
        "attention_mask": [1] * example.num_tokens + [0] * gap,
        "labels": [*example.labels, *[-100] * gap],
    }


def real_examples(file: str, vocab_size: int, longest: int, *, is_tiny: bool) -> tuple[Example, ...]:
    """Return examples of random tokens with the lengths and the trained share of real conversations."""
    draw = random.Random(0)
    pairs = json.loads(LENGTHS.read_text(encoding="utf-8"))[file]
    examples = []
    for number, (tokens, trained) in enumerate(pairs[:64] if is_tiny else pairs):
        length = max(4, tokens // 16) if is_tiny else min(tokens, longest)
        kept = max(1, trained * length // tokens)
        ids = tuple(draw.randrange(vocab_size) for _ in range(length))
        labels = tuple(token if at >= length - kept else -100 for at, token in enumerate(ids))
        examples.append(Example(ids, labels, f"{file}:{number + 1}"))
    return tuple(examples)


def even_examples(count: int, length: int, vocab_size: int) -> tuple[Example, ...]:
    """Return examples of one length, half of it trained."""
    draw = random.Random(0)
    rows = [tuple(draw.randrange(vocab_size) for _ in range(length)) for _ in range(count)]
    return tuple(
        Example(ids, tuple(-100 if at < length // 2 else token for at, token in enumerate(ids)), f"random:{number}")
        for number, ids in enumerate(rows, start=1)
    )


def shape_of(name: str, *, is_tiny: bool) -> ModelFacts:
    """Return a model's true shape."""
    facts = known_facts(name)
    assert facts is not None, name
    return replace(TINY, name=name) if is_tiny else facts


def config_of(
    facts: ModelFacts,
    model: dict[str, Any],
    training: dict[str, Any],
    *,
    length: int,
    lora: dict[str, Any] | None = None,
) -> Config:
    """Return a config for a benchmark row."""
    tree = {
        "model": {"base": facts.name, **model},
        "data": {"train": ["none"], "max_length_tokens": length},
        "lora": lora or {"rank": 32, "alpha": 16},
        "training": {"max_steps": 100, "gradient_accumulation_steps": 2, "learning_rate": 1e-4, **training},
    }
    return make_config(tree, where="benchmark")


def with_base(config: Config, other: Config) -> Config:
    """Return a config with another one's base, adapter shape and length: only what makes it fast is its own."""
    model = config.model.model_copy(update={"base": other.model.base})
    return config.model_copy(update={"model": model, "lora": other.lora, "data": other.data})


def num_linear_params(facts: ModelFacts) -> int:
    """Return the parameters that every token is multiplied with: linear layers and output projection."""
    attention = facts.hidden_size * facts.head_dim * (2 * facts.num_heads + 2 * facts.num_kv_heads)
    feed_forward = 3 * facts.hidden_size * facts.intermediate_size
    return facts.num_layers * (attention + feed_forward) + facts.hidden_size * facts.vocab_size


def peak_flops() -> float | None:
    """Return the dense bfloat16 rate of the card, or None when it is not in the table."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name(0)
    return next((rate for chip, rate in DENSE_BF16_FLOPS.items() if chip in name), None)


def reset_peak() -> None:
    """Begin a measurement of memory."""
    free()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def free() -> None:
    """Give back what the last row held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
