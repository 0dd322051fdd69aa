"""Examples and jobs made by arithmetic."""

from pathlib import Path

from duologue.engine import BaseModel, Example, LoraSettings, TrainingJob


def some_examples(count: int, *, shortest: int = 8) -> tuple[Example, ...]:
    """Examples of unequal lengths with unequal shares of trained tokens, made by arithmetic."""
    examples = []
    for number in range(count):
        length = shortest + (number * 7) % 19
        ids = tuple(100 + (number * 31 + at * 17) % 900 for at in range(length))
        first_trained = 2 + number % 5
        labels = tuple(-100 if at < first_trained else token for at, token in enumerate(ids))
        examples.append(Example(ids, labels, f"made.json:{number + 1}"))
    return tuple(examples)


def a_job(base: BaseModel, run_folder: Path, **changes) -> TrainingJob:
    """A small job; any field can be changed."""
    settings = {
        "base": base,
        "lora": LoraSettings(rank=4, alpha=8),
        "max_steps": 4,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "lr_schedule": "cosine",
        "warmup_steps": 1,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "use_gradient_checkpointing": False,
        "seed": 3,
        "save_every_steps": 2,
        "eval_every_steps": 0,
        "num_checkpoints": 2,
        "run_folder": run_folder,
    }
    return TrainingJob(**{**settings, **changes})
