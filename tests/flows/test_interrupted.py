"""Training in a real process: stopped by a signal, refused a second time, resumed to its end."""

import json
import signal
import time

import pytest

from tests.flows.command_line import start

NUM_STEPS = 30
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops and continues a process")


@pytest.fixture
def long(folder, monkeypatch):
    """The character's folder with a run of some steps more than it can do before it is told to stop."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for the child: small layers wait for each other on a busy machine
    toml = folder / "duologue.toml"
    text = toml.read_text().replace("max_steps = 6", f"max_steps = {NUM_STEPS}")
    toml.write_text(text.replace("save_every_steps = 2", "save_every_steps = 50"))
    return folder


def events(folder):
    """What the newest run wrote so far."""
    lines = [line for log in (folder / "runs").glob("20*/events.jsonl") for line in log.read_text().splitlines()]
    return [json.loads(line) for line in lines if line.endswith("}")]


def wait_for_step(folder, process, step):
    """Wait until a step was done."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(event["name"] == "step" and event["step"] >= step for event in events(folder)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no step was done")


def stopped(folder, process, number):
    """Send the signal, check how the process ends, and return the step it stopped after."""
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 7, (out, err)
    assert "training was stopped after step" in err and "--resume" in err
    [checkpoint] = (folder / "runs").glob("20*/checkpoints/step-*")
    assert (checkpoint / "manifest.json").is_file()
    return int(checkpoint.name.removeprefix("step-"))


@pytest.mark.slow
def test_sigterm_saves_everything_exits_with_7_and_the_run_goes_on_to_its_end(duologue, long):
    process = start("train", long, "--no-eval", cwd=long)
    wait_for_step(long, process, 2)
    process.send_signal(signal.SIGSTOP)  # so that it is not over before the second one is refused
    try:
        second = duologue("train", long, "--resume", "--no-eval")
        assert second.exit_code == 2 and f"process {process.pid} is training this character" in second.err
    finally:
        process.send_signal(signal.SIGCONT)
    stopped_at = stopped(long, process, signal.SIGTERM)
    ended = duologue("train", long, "--resume", "--no-eval", "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["training"]["num_steps"] == NUM_STEPS
    steps = [event["step"] for event in events(long) if event["name"] == "step"]
    assert steps == list(range(1, NUM_STEPS + 1)), "no step was lost and none done twice"
    assert [event["step"] for event in events(long) if event["name"] == "resumed"] == [stopped_at]


def test_ctrl_c_saves_everything_and_exits_with_7(long):
    process = start("train", long, "--no-eval", cwd=long)
    wait_for_step(long, process, 2)
    assert stopped(long, process, signal.SIGINT) >= 2
