"""The optimizer of an adapter and the learning rate of each step."""

import math
from typing import Any

import torch
from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit, PagedAdamW32bit

from duologue.engine.hf.init import fixes_half
from duologue.engine.hf.load import HfModel
from duologue.engine.job import TrainingJob

_BITSANDBYTES = {
    "adamw_8bit": AdamW8bit,
    "paged_adamw": PagedAdamW32bit,
    "paged_adamw_8bit": PagedAdamW8bit,
}
_UNPAGED = {"paged_adamw": "adamw", "paged_adamw_8bit": "adamw_8bit"}


def make_optimizer(model: HfModel, job: TrainingJob) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters; each group carries `lr_scale`, what the step's rate is multiplied by.

    With `lora.lr_ratio` above 1 the second matrices of the adapter have a group of their own (LoRA+, Hayou 2024). A
    paged optimizer pages on a GPU only; on a CPU it is the same optimizer in memory, as `fast_path.describe` says.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    quick = [parameter for name, parameter in named if job.lora.lr_ratio != 1.0 and "lora_B" in name]
    known = {id(parameter) for parameter in quick}
    groups: list[dict[str, Any]] = [
        {"params": [parameter for _, parameter in named if id(parameter) not in known], "lr_scale": 1.0}
    ]
    if quick:
        groups.append({"params": quick, "lr_scale": job.lora.lr_ratio})
    name = effective_optimizer(job, named[0][1].device)
    decay = effective_weight_decay(job)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=job.learning_rate, weight_decay=decay, fused=True)
    made: torch.optim.Optimizer = _BITSANDBYTES[name](groups, lr=job.learning_rate, weight_decay=decay)
    return made


def effective_optimizer(job: TrainingJob, device: torch.device) -> str:
    """Return the optimizer that is used on a device: pages are the GPU's."""
    return job.optimizer if device.type == "cuda" else _UNPAGED.get(job.optimizer, job.optimizer)


def effective_weight_decay(job: TrainingJob) -> float:
    """Return the weight decay that is used: 0 where half of the adapter must not move."""
    return 0.0 if fixes_half(job) else job.weight_decay


def learning_rate(job: TrainingJob, step: int) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then the schedule down to a tenth (constant: none)."""
    if step < job.warmup_steps:
        return job.learning_rate * (step + 1) / job.warmup_steps
    if job.lr_schedule == "constant":
        return job.learning_rate
    progress = (step - job.warmup_steps) / max(1, job.max_steps - job.warmup_steps)
    shape = 0.5 * (1 + math.cos(math.pi * progress)) if job.lr_schedule == "cosine" else 1 - progress
    return job.learning_rate * (0.1 + 0.9 * shape)
