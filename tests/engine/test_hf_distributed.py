"""Two processes over gloo: the steps of one, a lost process, a sharded base."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from duologue.engine import BaseModel, Event, LoraSettings, TrainingJob
from duologue.engine.hf import HfTrainer
from duologue.errors import EngineError, InterruptedRun
from tests.engine.made import a_job, some_examples

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
EXAMPLES = some_examples(20)


def trained(job: TrainingJob, *, stop_at: int = 0, lose_at: int = 0):
    """Train; ask for a stop after a step, or kill a worker after a step."""
    events: list[Event] = []
    should_stop = threading.Event()

    def note(event: Event) -> None:
        events.append(event)
        if event.name == "step" and event.step == stop_at:
            should_stop.set()
        if event.name == "step" and event.step == lose_at:
            for child in psutil.Process().children():
                child.send_signal(signal.SIGKILL)

    result = HfTrainer().fit(job, EXAMPLES, EXAMPLES[:3], on_event=note, should_stop=should_stop)
    return result, [float(event.values["loss"]) for event in events if event.name == "step"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def shared(job: TrainingJob, folder: Path, **changes) -> TrainingJob:
    """The same global batch for two processes."""
    half = job.gradient_accumulation_steps // 2
    return replace(job, run_folder=folder, gradient_accumulation_steps=half, num_processes=2, **changes)


@pytest.fixture(scope="module")
def alone(tiny_model, tmp_path_factory):
    """A run of one process, with dropout off, and its losses."""
    folder = tmp_path_factory.mktemp("alone")
    job = a_job(BaseModel(tiny_model), folder, max_steps=6, eval_every_steps=3)
    return job, *trained(job)


def test_two_processes_have_the_loss_curve_and_the_weights_of_one(alone, tmp_path):
    job, result, losses = alone
    together, both = trained(shared(job, tmp_path))
    assert both == pytest.approx(losses, rel=1e-5)
    assert together.num_steps == result.num_steps
    own, other = weights(job.run_folder), weights(tmp_path)
    for name, tensor in own.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_base_sharded_over_two_processes_trains_like_a_whole_one(tiny_model, tmp_path, quantization):
    job = a_job(BaseModel(tiny_model, quantization=quantization), tmp_path / "whole", max_steps=6)
    _, losses = trained(job)
    _, sharded = trained(shared(job, tmp_path / "parts", is_sharded=True))
    assert sharded == pytest.approx(losses, rel=1e-4)


@pytest.mark.slow
def test_an_int8_base_is_not_sharded(tiny_model, tmp_path):
    job = a_job(BaseModel(tiny_model, quantization="int8"), tmp_path)
    with pytest.raises(EngineError, match="int8"):
        trained(shared(job, tmp_path, is_sharded=True))


@pytest.mark.slow
def test_a_stopped_run_of_two_resumed_equals_one_that_never_stopped_bit_for_bit(tiny_model, tmp_path):
    lora = LoraSettings(rank=4, alpha=8, dropout=0.2)  # the two draw different masks, which both must go on with
    whole = shared(a_job(BaseModel(tiny_model), tmp_path, lora=lora, max_steps=6), tmp_path / "whole")
    _, losses = trained(whole)
    halves = replace(whole, run_folder=tmp_path / "halves")
    with pytest.raises(InterruptedRun, match="after step 3"):
        trained(halves, stop_at=3)
    _, rest = trained(halves)
    assert rest == losses[3:]
    own, other = weights(whole.run_folder), weights(halves.run_folder)
    assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_in_words_and_the_run_goes_on_from_its_checkpoint(alone, tmp_path):
    job, _, losses = alone
    together = shared(job, tmp_path)
    started = time.monotonic()
    with pytest.raises(InterruptedRun, match="another process of this run is gone") as caught:
        trained(together, lose_at=3)
    assert time.monotonic() - started < 60
    assert "--resume" in caught.value.action
    assert not psutil.Process().children(), "nobody is left behind"
    _, rest = trained(together)
    assert rest == pytest.approx(losses[2:], rel=1e-5), "the checkpoint of step 2 is the last one"


@pytest.mark.slow
def test_accelerate_launch_starts_the_same_run(tiny_model, tmp_path):
    lila = tmp_path / "lila"
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "duologue"]
    data = Path(__file__).parents[2] / "src/duologue/characters/lila/data/alpaca.json"
    made = [*command, "new", str(lila), "--data", str(data)]
    subprocess.run(made, check=True, env=environment, capture_output=True)
    settings = [
        "--set",
        f"model.base={tiny_model}",
        "--set",
        "training.max_steps=3",
        "--set",
        "lora.num_layers=all",
        "--no-eval",
        "--json",
    ]
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "duologue", "train", str(lila), *settings]
    done = subprocess.run(launch, check=False, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    [run] = (lila / "runs").glob("20*")
    assert '"num_processes": 2' in (run / "sharing.json").read_text()
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
