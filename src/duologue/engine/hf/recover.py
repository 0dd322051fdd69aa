"""Out of memory: what to change so that the same optimizer step, with the same examples, fits.

First the micro-batch is halved and the accumulation grows, so that the global batch, the schedule and the order stay as
they are; then activations are recomputed; then they are kept in system memory.
"""

import gc
from dataclasses import dataclass, replace

import torch

from duologue.engine.job import TrainingJob

_WORDS = (
    "out of memory",  # CUDA, bitsandbytes
    "can't allocate memory",  # torch's CPU allocator
    "cannot allocate memory",
    "not enough memory",  # the same on Windows
    "bad_alloc",
    "alloc_failed",  # cuBLAS, cuDNN
    "could not create a memory object",  # oneDNN
)


@dataclass(frozen=True, slots=True)
class WayOut:
    """What is tried next.

    Attributes:
        job: The job with the changed setting.
        text: The change in words.
    """

    job: TrainingJob
    text: str


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or in the system."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def way_out(job: TrainingJob, *, longest_tokens: int, has_gpu: bool) -> WayOut | None:
    """Return the next change to try, or None when nothing is left.

    Args:
        job: With the settings that did not fit.
        longest_tokens: Of the longest example: a packed row cannot be shorter.
        has_gpu: Whether activations can be moved away from where the model is.
    """
    if job.pack_length_tokens > longest_tokens:
        shorter = max(longest_tokens, job.pack_length_tokens // 2)
        return WayOut(
            replace(job, pack_length_tokens=shorter),
            f"packed rows of {shorter} tokens instead of {job.pack_length_tokens} (the same examples per step)",
        )
    if not job.pack_length_tokens and job.micro_batch_size > 1:
        micro = _half(job.micro_batch_size, of=job.examples_per_step)
        accumulation = job.examples_per_step // micro
        return WayOut(
            replace(job, micro_batch_size=micro, gradient_accumulation_steps=accumulation),
            f"micro-batches of {micro} instead of {job.micro_batch_size}, {accumulation} per step instead of "
            f"{job.gradient_accumulation_steps} (the same examples per step)",
        )
    if not job.use_gradient_checkpointing:
        return WayOut(
            replace(job, use_gradient_checkpointing=True),
            "activations are recomputed in the backward pass (gradient checkpointing), which costs about a quarter "
            "of the speed",
        )
    if has_gpu and not job.use_activation_offload:
        return WayOut(
            replace(job, use_activation_offload=True), "activations are kept in system memory (activation offload)"
        )
    return None


def free_memory() -> None:
    """Give back what a failed attempt left behind; its exception, whose traceback holds tensors, must be gone."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _half(micro_batch_size: int, *, of: int) -> int:
    """The largest size up to the half that divides the global batch: 6 of 12 becomes 3, 3 becomes 1."""
    return max(size for size in range(1, micro_batch_size // 2 + 1) if of % size == 0)
