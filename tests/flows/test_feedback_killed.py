"""Learning from feedback in a real process: killed at any moment and gone on with, it ends as if nothing had been."""

import contextlib
import json
import shutil
import signal
import time

import pytest

from duologue.chat import Sessions, load_folder_character, slug
from duologue.config import load_config
from duologue.messages import Message
from duologue.train import list_runs
from tests.flows.command_line import start

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process")
LEARN = ("train", "--from-feedback", "--no-eval", "--set", "feedback.num_pairs_needed=1")
NUM_CORRECTED = NUM_PAIRS = 6
SFT_STEPS = 12 * NUM_CORRECTED // 2  # of 12 passes, two examples a step
NUM_STEPS = SFT_STEPS + 12 * NUM_PAIRS // 2


@pytest.fixture
def trained(duologue, folder, monkeypatch):
    """A folder with a finished run, and a chat whose replies were rewritten and whose use is agreed to."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for the children too: the same sums in the same order
    toml = folder / "duologue.toml"
    toml.write_text(toml.read_text() + "[feedback]\nnum_epochs = 12\n")
    speak(folder)
    assert duologue("train", folder, "--no-eval", "--json").exit_code == 0
    return folder


def speak(folder):
    """Let somebody rewrite replies and agree that they are learned."""
    name = slug(load_folder_character(folder, load_config(folder / "duologue.toml")).name)
    with contextlib.closing(Sessions.open(folder / "chats.sqlite")) as sessions:
        session = sessions.create(character=name)
        for number in range(NUM_CORRECTED):
            sessions.append(session, Message("user", f"What is the answer to question {number}, please?"))
            said = Message("assistant", f"I would rather not say anything about {number}.")
            reply = sessions.append(session, said, finish_reason="stop", is_generated=True)
            sessions.edit(reply, f"It is answer number {number}, passenger.")
        sessions.marks.set_consent(session, "given")


def events(folder):
    """Return what the run on feedback wrote so far, nothing while there is none."""
    log = list_runs(folder)[-1].folder / "events.jsonl"
    if len(list_runs(folder)) < 2 or not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def wait_for(folder, process, name, step=0):
    """Wait until the run on feedback tells of something."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if any(event["name"] == name and event.get("step", 0) >= step for event in events(folder)):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"no {name} {step}")


def learn(folder, *more):
    """Begin to learn in a process of its own."""
    return start(*LEARN, *more, folder, cwd=folder)


def ended(process):
    """Return what a run that went to its end said."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    return out


def killed(folder, name, step, *more):
    """Learn until something is told, and kill the process then; return after which step."""
    process = learn(folder, *more)
    wait_for(folder, process, name, step)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return max((event["step"] for event in events(folder) if event["name"] == "step"), default=0)


def weights(folder):
    """Return the bytes of the run on feedback's adapter."""
    run = list_runs(folder)[-1]
    assert run.read("manifest.json")["num_steps"] == NUM_STEPS
    return {path.name: path.read_bytes() for path in run.adapter().folder.iterdir()}


@pytest.mark.slow
def test_a_run_on_feedback_killed_in_each_of_its_parts_ends_bit_for_bit_like_one_that_never_was(trained, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(trained, whole)
    ended(learn(whole))
    # While the start is read, on corrected replies, at the border, and among the pairs.
    killed_after = [killed(trained, "preparing", 0)]
    for step in (5, SFT_STEPS, SFT_STEPS + 10):
        killed_after.append(killed(trained, "step", step, "--resume"))
    ended(learn(trained, "--resume"))

    assert killed_after == sorted(set(killed_after)) and killed_after[-1] < NUM_STEPS, "each got further"
    assert weights(trained) == weights(whole)
    steps = [event["step"] for event in events(trained) if event["name"] == "step"]
    assert set(steps) == set(range(1, NUM_STEPS + 1))


@pytest.mark.slow
def test_ctrl_c_while_learning_from_feedback_saves_everything_and_ends_with_7(trained):
    process = learn(trained)
    wait_for(trained, process, "step", 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 7, (out, err)
    assert "training was stopped after step" in err and "--resume" in err and "Traceback" not in err
    ended(learn(trained, "--resume"))
    steps = [event["step"] for event in events(trained) if event["name"] == "step"]
    assert steps == list(range(1, NUM_STEPS + 1)), "none lost and none done twice"
