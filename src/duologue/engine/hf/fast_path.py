"""What makes a run fast, switched on before the model is loaded, and said in lines that a person can read."""

import os
import platform
from pathlib import Path

import torch

from duologue.engine.hf.attention import takes_documents
from duologue.engine.hf.compiling import COST, compile_fault
from duologue.engine.hf.fused import num_fused
from duologue.engine.hf.load import HfModel
from duologue.engine.hf.loss import find_head
from duologue.engine.hf.optimizer import effective_optimizer, effective_weight_decay
from duologue.engine.job import TrainingJob

_ALLOCATOR = "expandable_segments:True"


def prepare(job: TrainingJob) -> None:
    """Set what must be set before the model is loaded: the GPU allocator's growth, and how idle threads wait.

    What the person has set in the environment stays.
    """
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", _ALLOCATOR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = job.base.compute_dtype != "float32"
    elif torch.get_num_threads() > (cores := usable_cores()):
        torch.set_num_threads(cores)  # more threads than cores wait for each other at the end of every product


def describe(model: HfModel, job: TrainingJob) -> tuple[str, ...]:
    """Return one line per part of the fast path: what is on, or what switched it off.

    Args:
        model: With the adapter on it.
        job: What it is trained with.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = next(base.parameters()).device
    return (
        _weights_line(job),
        _attention_line(base, job),
        _loss_line(base),
        _fused_line(base),
        _optimizer_line(job, device),
        _memory_line(job),
        _device_line(job, device),
        _compile_line(job),
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_matrix_units(*, flags: str | None = None) -> bool:
    """Tell whether the processor multiplies 16-bit matrices in hardware (Intel AMX, AVX-512 BF16, Arm BF16).

    Args:
        flags: The processor's flags, as the system lists them; read from the system when not given.
    """
    if flags is None:
        path = Path("/proc/cpuinfo")
        flags = path.read_text(encoding="utf-8") if path.is_file() else ""
    return bool({"amx_bf16", "avx512_bf16", "bf16"} & set(flags.split()))


def _weights_line(job: TrainingJob) -> str:
    base = job.base
    held = {
        "none": f"held as {base.compute_dtype}",
        "nf4": f"NF4{', scales quantised too' if base.use_double_quantization else ''}",
        "int8": f"int8, outliers above {base.int8_threshold:g} in 16 bit"
        if base.int8_threshold
        else "int8, no outliers",
    }[base.quantization]
    return (
        f"base weights: {held}; computed in {base.compute_dtype}, nothing converted up; adapter in {job.adapter_dtype}"
    )


def _attention_line(base: HfModel, job: TrainingJob) -> str:
    name = base.config._attn_implementation
    if takes_documents(base):
        shared = (
            "equal beginnings once"
            if not _has_noise(base, job)
            else "equal beginnings repeated: dropout or noise is on"
        )
        return f"attention: example by example in rows without padding, {shared}"
    reason = "; ".join(fault for fault in getattr(base, "fast_path_faults", ()) if "adapters" not in fault)
    how = "kept apart by a mask in packed rows" if job.pack_length_tokens else "batches of similar length, padded"
    return f"attention: {name}, examples {how}" + (f" ({reason})" if reason else "")


def _has_noise(base: HfModel, job: TrainingJob) -> bool:
    return bool(job.lora.dropout or job.neftune_alpha or getattr(base.config, "attention_dropout", 0.0))


def _loss_line(base: HfModel) -> str:
    fault = find_head(base).fault
    if fault:
        return f"loss: all logits of a micro-batch at once, because {fault}"
    return "loss: output projection of trained tokens only, in chunks; all logits never exist"


def _fused_line(base: HfModel) -> str:
    counts = num_fused(base)
    done = ", ".join(f"{number} {name}s" for name, number in counts.items() if number)
    faults = [fault for fault in getattr(base, "fast_path_faults", ()) if "adapters" in fault]
    return "fused layers: " + "; ".join([done or "none", *faults])


def _optimizer_line(job: TrainingJob, device: torch.device) -> str:
    name = effective_optimizer(job, device)
    parts = [f"optimizer: {name}" + (", fused" if name == "adamw" else " of bitsandbytes")]
    if name != job.optimizer:
        parts.append(f"instead of {job.optimizer}, whose pages need a GPU")
    if effective_weight_decay(job) != job.weight_decay:
        parts.append("no weight decay, because half of a PiSSA adapter is fixed")
    return "; ".join(parts)


def _memory_line(job: TrainingJob) -> str:
    on = "activations recomputed (gradient checkpointing)" if job.use_gradient_checkpointing else "activations kept"
    return f"memory: {on}" + (", in system memory" if job.use_activation_offload and torch.cuda.is_available() else "")


def _device_line(job: TrainingJob, device: torch.device) -> str:
    if device.type == "cuda":
        return (
            f"device: {torch.cuda.get_device_name(device)}; allocator {os.environ.get('PYTORCH_CUDA_ALLOC_CONF', '')}"
        )
    slow = job.base.compute_dtype != "float32" and not has_matrix_units()
    note = f"; {job.base.compute_dtype} is slower than float32 on this processor" if slow else ""
    kind = platform.machine()
    return f"device: CPU ({kind}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}){note}"


def _compile_line(job: TrainingJob) -> str:
    if not job.use_compile:
        return "compile: off"
    fault = compile_fault()
    return f"compile: off, because {fault}" if fault else f"compile: on; {COST}"
