"""A process that imports the model libraries once, then forks one child per run: to be killed, or to be kept short.

Started by `tests/engine/test_hf_killed.py` with a folder and one of the jobs below; prints one JSON document.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from duologue.engine import BaseModel, LoraSettings, open_trainer
from duologue.engine.hf import checkpoint
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.checkpoint import Checkpoint, load_newest, save_checkpoint
from duologue.engine.hf.load import load_model, load_tokenizer, quiet
from duologue.errors import DuologueError
from tests.engine.made import a_job, some_examples

COMPARED = ("loss", "grad_norm", "validation_loss", "kept_step")
ROOM_BYTES = 60 * 2**20
FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir")


def child(work: Callable[[], object]) -> int:
    """Do the work in a fork of this process; return how it ended (negative: the signal that killed it)."""
    sys.stdout.flush()
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        except DuologueError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except BaseException:  # noqa: BLE001 (said, and told by the exit code)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_runs(folder: Path, model: str, *, num_rounds: int, seed: int) -> dict[str, object]:
    """Runs killed again and again at random moments until they end, beside one that was left alone."""
    examples = some_examples(14)
    lora = LoraSettings(rank=4, alpha=8, dropout=0.1)

    def fit(name: str, *, kill_after_seconds: float = 0.0) -> Callable[[], object]:
        job = a_job(
            BaseModel(model),
            folder / name,
            lora=lora,
            max_steps=10,
            save_every_steps=1,
            eval_every_steps=3,
            early_stopping_patience=9,
        )
        job.run_folder.mkdir(exist_ok=True)
        log = (job.run_folder / "losses.txt").open("a", encoding="utf-8")

        def on_event(event):
            if event.name == "loading" and kill_after_seconds:
                threading.Timer(kill_after_seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            if event.name in ("step", "evaluated", "best"):
                values = {
                    name: event.values[name]
                    for name in ("loss", "grad_norm", "validation_loss")
                    if name in event.values
                }
                log.write(json.dumps([event.name, event.step, values]) + "\n")
                log.flush()

        return lambda: open_trainer("hf").fit(
            job, examples, examples[:3], on_event=on_event, should_stop=threading.Event()
        )

    started = time.monotonic()
    assert child(fit("whole")) == 0
    whole_seconds = time.monotonic() - started
    roll = random.Random(seed)
    num_kills, differences = 0, []
    for number in range(3 * num_rounds):
        if number >= num_rounds and num_kills >= num_rounds:  # some runs are over before they are killed
            break
        name = f"killed-{number}"
        for attempt in range(12):
            patience = 0.0 if attempt == 11 else roll.uniform(0.05, 0.9) * whole_seconds
            code = child(fit(name, kill_after_seconds=patience))
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            num_kills += 1
        differences += [f"{name}: {text}" for text in differing(folder / "whole", folder / name)]
        shutil.rmtree(folder / name)
    return {"num_kills": num_kills, "differences": differences}


def differing(whole: Path, resumed: Path) -> list[str]:
    """What differs between two finished runs: adapter, last checkpoint, losses."""
    found = []
    for path in ["adapter/adapter_model.safetensors", *(f"checkpoints/step-00000010/{name}" for name in PARTS)]:
        if (whole / path).read_bytes() != (resumed / path).read_bytes():
            found.append(path)
    expected = {tuple(line[:2]): line[2] for line in lines(whole)}
    for name, step, values in lines(resumed):  # steps done twice are here twice, and both are compared
        if expected[name, step] != values:
            found.append(f"{name} {step}: {values} instead of {expected[name, step]}")
    if {tuple(line[:2]) for line in lines(resumed)} != set(expected):
        found.append("the steps")
    progress = [json.loads((run / "checkpoints/step-00000010/manifest.json").read_text()) for run in (whole, resumed)]
    if progress[0] != progress[1]:
        found.append("manifest.json")
    return found


PARTS = ("adapter.safetensors", "optimizer.safetensors", "random.safetensors", "best.safetensors")


def lines(run: Path) -> list[list]:
    """The event log, a line cut short by the kill left out."""
    found = []
    for line in (run / "losses.txt").read_text().splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def killed_saves(folder: Path) -> dict[str, object]:
    """A save killed at its k-th file operation, for every k until it goes through."""
    job = {"seed": "1"}

    def made(step: int) -> Checkpoint:
        tensors = {"x": torch.full((2000,), float(step))}
        return Checkpoint(step, job, tensors, tensors, tensors, best=tensors, progress={"step": step})

    found = []
    for k in range(1, 200):
        place = folder / f"saves-{k}"
        for step in (1, 2):
            save_checkpoint(made(step), place, keep=2)

        def save(k: int = k, place: Path = place) -> None:
            die_at_file_operation(k)
            save_checkpoint(made(3), place, keep=2)

        code = child(save)
        skipped: list[str] = []
        newest = load_newest(place, job=job, on_skip=skipped.append)
        assert newest is not None, f"nothing is left after a kill at operation {k}"
        whole = float(newest.adapter["x"][0]) == newest.step == newest.progress["step"]
        found.append([k, newest.step, whole, skipped, sorted(path.name for path in place.iterdir())])
        save_checkpoint(made(4), place, keep=2)
        assert load_newest(place, job=job, on_skip=skipped.append).step == 4
        if code == 0:
            break
        assert code == -signal.SIGKILL
    return {"saves": found}


def die_at_file_operation(k: int) -> None:
    """Kill this process at its k-th file operation from now: what Python does, flushes, and a file half written."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1
        if count >= k:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda name, _arguments: counted() if name in FILE_EVENTS else None)
    real_fsync, real_save = os.fsync, checkpoint.save_file

    def fsync(handle: int) -> None:
        counted()
        real_fsync(handle)
        counted()

    def save_file(tensors: dict, path: Path) -> None:
        counted()
        real_save(tensors, path)
        if count == k - 1:  # the library's own writes: a file that ends in the middle
            os.truncate(path, path.stat().st_size // 2)
        counted()

    os.fsync, checkpoint.save_file = fsync, save_file


def short_of_memory(folder: Path, model: str) -> dict[str, object]:
    """A run under a limit on the address space that its first micro-batch does not fit, beside one without."""
    examples = some_examples(16, shortest=180)

    def fit(name: str, room_bytes: int = 0) -> Callable[[], object]:
        job = a_job(BaseModel(model), folder / name, max_steps=2, micro_batch_size=16, gradient_accumulation_steps=1)
        events = []

        def on_event(event):
            events.append(event)
            if event.name == "disk" and room_bytes:
                limit = address_space_bytes() + room_bytes
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        def work() -> None:
            result = open_trainer("hf").fit(job, examples, (), on_event=on_event, should_stop=threading.Event())
            document = {
                "changes": result.changes,
                "losses": [event.values["loss"] for event in events if event.name == "step"],
                "warnings": [event.values["text"] for event in events if event.name == "warning"],
            }
            (folder / f"{name}.json").write_text(json.dumps(document))

        return work

    codes = [child(fit("plenty")), child(fit("limited", room_bytes=ROOM_BYTES))]
    if any(codes):
        return {"codes": codes}
    return {
        "codes": codes,
        **{name: json.loads((folder / f"{name}.json").read_text()) for name in ("plenty", "limited")},
    }


def address_space_bytes() -> int:
    """What this process has mapped (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmSize:")[1].split()[0]) * 1024


def broader(folder: Path, model: str) -> str:
    """A model whose activations are large beside its weights, with the tokenizer of another."""
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=1024,
        max_position_embeddings=512,
    )
    with quiet():
        LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer(BaseModel(model)).save(folder)
    return str(folder)


def main() -> None:
    folder, model, wanted = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    torch.set_num_threads(1)  # no pool of threads that a fork would not have; and tiny layers gain nothing from two
    with_adapter(load_model(BaseModel(model)), a_job(BaseModel(model), folder))  # imports what the first load imports
    load_tokenizer(BaseModel(model))
    document = {}
    if "runs" in wanted:
        document |= killed_runs(folder, model, num_rounds=2, seed=11)
    if "many-runs" in wanted:
        document |= killed_runs(folder, model, num_rounds=30, seed=int(time.time()))
    if "saves" in wanted:
        document |= killed_saves(folder)
    if "memory" in wanted:
        document |= short_of_memory(folder, broader(folder / "broader", model))
    print(json.dumps(document))


if __name__ == "__main__":
    main()
