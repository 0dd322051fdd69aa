"""Several characters over one loaded base: how long a swap of adapters takes against loading anew, and what it saves.

    python -m benchmarks.adapters [--out FILE] [--adapters 4] [--rank 16] [--base bundled:smollm2-135m]

Everything is measured in one process on one machine; what counts are the ratios. They are of processor time, all
threads together, so that other work on the machine changes little; wall-clock times stand beside them, with the load
average.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import LoraConfig, get_peft_model

from duologue.engine import Adapter, BaseModel, Sampling, detect_hardware
from duologue.engine.hf.generate import HfGenerator
from duologue.engine.hf.load import load_model, quiet
from duologue.engine.hf.several import Several

TARGET = 50.0  # times faster than loading anew
PROMPT = tuple(range(1000, 1064))
REPLY = Sampling(max_new_tokens=16, temperature=0.0, repetition_penalty=1.0)
NUM_ROUNDS = 5
BUSY_LOAD = 0.5  # per core, before the benchmark itself: above it wall-clock times are provisional


@dataclass(frozen=True)
class Took:
    """What something took: seconds of the processor, and by the clock."""

    cpu: float
    wall: float


def main() -> None:
    """Measure and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="bundled:smollm2-135m")
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    base, load_average = BaseModel(arguments.base), os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        adapters = made(base, Path(name), count=arguments.adapters, rank=arguments.rank)
        shared = measured_shared(base, adapters)
        own = measured_own(base, adapters)
        hardware = detect_hardware(Path(name), measure_cpu=False)
    ratio = own["load_cpu_seconds"] / shared["swap_cpu_seconds"]
    document = {
        "benchmark": "adapters",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), **asdict(hardware)},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": load_average,
        "is_wall_clock_provisional": load_average[0] > BUSY_LOAD * (os.cpu_count() or 1),
        "base": arguments.base,
        "num_adapters": arguments.adapters,
        "rank": arguments.rank,
        "shared": shared,
        "own": own,
        "target": TARGET,
        "swap_is_faster_by": round(ratio, 1),
        "reached": ratio >= TARGET,
        "memory_of_all_over_one_base": round(shared["grown_bytes"] / own["grown_bytes"], 3),
        "decode_over_folded": round(shared["decode_cpu_seconds"] / own["decode_cpu_seconds"], 3),
    }
    text = json.dumps(document, indent=1, default=str)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def made(base: BaseModel, folder: Path, *, count: int, rank: int) -> list[Adapter]:
    """Return adapters with random weights."""
    adapters = []
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with quiet():
        model = get_peft_model(load_model(base), config)
        for number in range(count):
            with torch.no_grad():
                for key, parameter in model.named_parameters():
                    if "lora_B" in key:
                        parameter.normal_(std=0.01)
            model.save_pretrained(folder / str(number))
            adapters.append(Adapter(folder / str(number), base))
    return adapters


def measured_shared(base: BaseModel, adapters: list[Adapter]) -> dict[str, Any]:
    """Return times and memory of one base with all adapters on it."""
    before = resident_bytes()
    several, load = timed(lambda: Several.open(base))
    put_on, generators = [], []
    for adapter in adapters:
        generator, took = timed(lambda adapter=adapter: several.generator(adapter))
        generators.append(generator)
        put_on.append(took)
    grown = resident_bytes() - before
    swaps = []
    for _ in range(NUM_ROUNDS):
        for generator in generators:
            swaps.append(timed(lambda generator=generator: _turn(generator))[1])
    decodes = [timed(lambda: reply(generators[0]))[1] for _ in range(NUM_ROUNDS)][1:]
    for generator in generators:
        generator.close()
    several.close()
    figures = {
        **named("load", [load]),
        **named("put_on", put_on),
        **named("swap", swaps),
        **named("decode", decodes),
    }
    return {**figures, "grown_bytes": grown}


def measured_own(base: BaseModel, adapters: list[Adapter]) -> dict[str, Any]:
    """Return times and memory of a model for each adapter, which is folded in."""
    gc.collect()
    before = resident_bytes()
    generators, loads = [], []
    for adapter in adapters:
        generator, took = timed(lambda adapter=adapter: HfGenerator.open(base, adapter=adapter))
        generators.append(generator)
        loads.append(took)
    grown = resident_bytes() - before
    decodes = [timed(lambda: reply(generators[0]))[1] for _ in range(NUM_ROUNDS)][1:]
    for generator in generators:
        generator.close()
    return {**named("load", loads), **named("decode", decodes), "grown_bytes": grown}


def named(what: str, rounds: Sequence[Took]) -> dict[str, float]:
    """Return the medians of some rounds under their names."""
    return {
        f"{what}_cpu_seconds": round(statistics.median(took.cpu for took in rounds), 6),
        f"{what}_wall_seconds": round(statistics.median(took.wall for took in rounds), 6),
    }


def _turn(generator: HfGenerator) -> None:
    with generator._seat.turn():
        pass


def reply(generator: HfGenerator) -> None:
    """Read a prompt and say a few tokens; from the second time on, the prompt is in the cache."""
    list(generator.stream(PROMPT, REPLY, cancel=threading.Event()))


def timed(work: Callable[[], Any]) -> tuple[Any, Took]:
    """Return what work returns and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Took(time.process_time() - cpu, time.perf_counter() - wall)


def resident_bytes() -> int:
    """Return the memory the process holds, after what nobody needs is freed."""
    gc.collect()
    return psutil.Process().memory_info().rss


if __name__ == "__main__":
    main()
