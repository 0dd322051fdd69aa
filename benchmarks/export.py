"""Merging a model larger than the memory: what it takes in memory, and its speed beside that of the disk.

Writes a random model of a true shape in safetensors files and a random adapter of rank 32 on all of its linear layers,
folds in a process of its own whose peak of resident memory is taken from the system, and copies the same files on the
same disk before and after: the faster of the two is the pace to compare with. At most twice the largest file plus 1 GB
may be resident, and at least half of the disk's speed must be reached. For a 34B model the same is shown by arithmetic:
memory depends on the largest tensor.

    python benchmarks/export.py --out benchmarks/results/export.json     # 13B: some minutes and 55 GB of disk
    python benchmarks/export.py --shape tiny                             # seconds
"""

import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from duologue.engine import detect_hardware
from duologue.engine.hf.shard import ShardWriter, Slot

SHAPES = {
    "tiny": {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "vocab_size": 4096, "heads": 4},
    "3b": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "vocab_size": 32000, "heads": 24},
    "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "vocab_size": 32000, "heads": 40},
}
SHARD_BYTES = 5 * 10**9  # as the hub's files are cut
RANK = 32
MEMORY_FACTOR, MEMORY_MORE_BYTES = 2.0, 10**9
SPEED_FRACTION = 0.5


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="13b")
    parser.add_argument("--folder", type=Path, help="where the files are written; a temporary folder by default")
    parser.add_argument("--out", type=Path, help="write the result here")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--fold", nargs=3, metavar=("BASE", "ADAPTER", "TO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fold:
        fold_here(*map(Path, options.fold))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = run(Path(folder), options.shape)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['shape']}: {result['model_gb']:.1f} GB in {result['num_files']} files merged in "
            f"{result['seconds']:.0f} s, {result['mb_per_second']:.0f} MB/s, {result['speed_fraction']:.0%} of a copy; "
            f"peak {result['peak_gb']:.2f} GB resident of {result['allowed_gb']:.2f} GB allowed"
        )


def run(folder: Path, shape: str) -> dict[str, Any]:
    """Write the base, copy a part of it, fold; return what was measured."""
    slots = list(tensors_of(SHAPES[shape]))
    base, adapter, merged = folder / "base", folder / "adapter", folder / "merged"
    files = write_base(base, slots, SHAPES[shape])
    write_adapter(adapter, slots)
    total = sum(path.stat().st_size for path in files)
    copy_seconds = [copied(files, folder / "copy")]
    command = [sys.executable, __file__, "--fold", str(base), str(adapter), str(merged)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    folded = json.loads(done.stdout)
    shutil.rmtree(merged)
    copy_seconds.append(copied(files, folder / "copy"))
    copy_speed = total / min(copy_seconds)
    largest = max(path.stat().st_size for path in files)
    speed = total / folded["seconds"]
    allowed = MEMORY_FACTOR * largest + MEMORY_MORE_BYTES
    largest_of_34b = 64000 * 7168  # the embedding of Yi-34B
    return {
        "shape": shape,
        "model_gb": total / 1e9,
        "num_files": len(files),
        "largest_file_gb": largest / 1e9,
        "seconds": folded["seconds"],
        "mb_per_second": speed / 1e6,
        "copy_seconds": copy_seconds,
        "copy_mb_per_second": copy_speed / 1e6,
        "speed_fraction": speed / copy_speed,
        "peak_gb": folded["peak_bytes"] / 1e9,
        "allowed_gb": allowed / 1e9,
        "holds": bool(folded["peak_bytes"] <= allowed and speed >= SPEED_FRACTION * copy_speed),
        "predicted_34b_peak_gb": (folded["idle_bytes"] + 8 * largest_of_34b) / 1e9,
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            **asdict(detect_hardware(folder, measure_cpu=False)),
        },
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def fold_here(base: Path, adapter: Path, to: Path) -> None:
    """Fold in this process and print seconds and peak memory."""
    from duologue.engine import Adapter, BaseModel
    from duologue.engine.hf.fold import find_files, fold

    files = find_files(BaseModel(str(base)))
    assert files is not None
    idle = peak_bytes()
    started = time.perf_counter()
    fold(
        Adapter(adapter, BaseModel(str(base))),
        files,
        to,
        dtype="bfloat16",
        onto="original",
        on_event=lambda _: None,
    )
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "idle_bytes": idle}))


def tensors_of(shape: dict[str, int]) -> Iterator[Slot]:
    """Yield the tensors of a Llama of this shape."""
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    yield Slot("model.embed_tokens.weight", (shape["vocab_size"], width))
    for layer in range(shape["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield Slot(f"{name}.self_attn.{part}.weight", (width, width))
        for part in ("gate_proj", "up_proj"):
            yield Slot(f"{name}.mlp.{part}.weight", (inner, width))
        yield Slot(f"{name}.mlp.down_proj.weight", (width, inner))
        for part in ("input_layernorm", "post_attention_layernorm"):
            yield Slot(f"{name}.{part}.weight", (width,))
    yield Slot("model.norm.weight", (width,))
    yield Slot("lm_head.weight", (shape["vocab_size"], width))


def write_base(folder: Path, slots: list[Slot], shape: dict[str, int]) -> list[Path]:
    """Write random bfloat16 weights in files as the hub cuts them, with their index and settings."""
    folder.mkdir()
    cut: list[list[Slot]] = [[]]
    for slot in slots:
        if sum(each.num_bytes(torch.bfloat16) for each in [*cut[-1], slot]) > SHARD_BYTES:
            cut.append([])
        cut[-1].append(slot)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2**22, generator=generator).to(torch.bfloat16)
    places, files = {}, []
    for number, part in enumerate(cut, start=1):
        path = folder / f"model-{number:05d}-of-{len(cut):05d}.safetensors"
        writer = ShardWriter(path, part, dtype=torch.bfloat16)
        for slot in part:
            count = math.prod(slot.shape)
            weights = noise.repeat(-(-count // len(noise)))[:count].view(slot.shape)
            writer.write(slot.name, [weights])
            places[slot.name] = path.name
        writer.close()
        files.append(path)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    settings = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_attention_heads": shape["heads"]}
    (folder / "config.json").write_text(json.dumps({**settings, **shape, "dtype": "bfloat16"}))
    return files


def write_adapter(folder: Path, slots: list[Slot]) -> None:
    """Write a random adapter on every linear layer of the blocks."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for slot in slots:
        if slot.name.endswith("_proj.weight"):
            module = slot.name.removesuffix(".weight")
            outputs, inputs = slot.shape
            key = f"base_model.model.{module}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(RANK, inputs, generator=generator) / math.sqrt(inputs)
            tensors[f"{key}.lora_B.weight"] = torch.randn(outputs, RANK, generator=generator) * 1e-3
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 16,
        "target_modules": "all-linear",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def copied(sources: list[Path], folder: Path) -> float:
    """Return the seconds it takes to copy files to the same disk, down to the disk; both are gone from memory after."""
    for source in sources:
        drop_from_cache(source)
    folder.mkdir()
    started = time.perf_counter()
    for source in sources:
        with source.open("rb") as reading, (folder / source.name).open("wb") as writing:
            shutil.copyfileobj(reading, writing, 2**24)
            writing.flush()
            os.fsync(writing.fileno())
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    for source in sources:
        drop_from_cache(source)
    return seconds


def drop_from_cache(path: Path) -> None:
    """Let the system forget what it has of a file in memory, so that reading it is reading the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak_bytes() -> int:
    """Return this process's peak of resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
