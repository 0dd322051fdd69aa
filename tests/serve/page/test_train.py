"""Training from the page: planned, started, followed, stopped, found again, and what it leaves."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from duologue.errors import GuardError
from duologue.serve import training
from duologue.serve.page.train import refuse_while_training
from tests.serve.page.homes import ServedHome, make_character, served

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="training from the page needs locks to hand on")
ADA = "characters/ada-bell"


@pytest.fixture(scope="module", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the processes remember of this machine stays out of the person's home."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    os.environ.pop("XDG_STATE_HOME")
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    """A home with a character that was planned and trained over HTTP."""
    root = tmp_path_factory.mktemp("home")
    make_character(root)
    with served(root) as home:
        plan = home.post(f"{ADA}/plan", {})
        assert plan.status_code == 200, plan.text
        assert plan.json()["verdict"] == "fits"
        started = home.post(f"{ADA}/training", {})
        assert started.status_code == 202, started.text
        wait_for(home, lambda now: now["phase"] == "idle")
        yield home


def wait_for(home: ServedHome, is_there: Callable[[dict], bool]) -> dict:
    """Return the state of the training once it is as wanted."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        now = home.get(f"{ADA}/training").json()
        if is_there(now):
            return now
        time.sleep(0.02)
    raise AssertionError(f"the training never came so far: {now}")


def process_of(folder: Path) -> int:
    return json.loads((folder / "runs" / ".training" / "started.json").read_text())["pid"]


def test_a_training_that_ends_leaves_a_finished_run_with_its_curve_and_plan_against_measured(trained):
    now = trained.get(f"{ADA}/training").json()
    assert (now["phase"], now["how"]) == ("idle", "finished")
    [line] = now["runs"]
    assert line["state"] == "finished" and line["num_steps"] == 6
    run = trained.get(f"{ADA}/runs/{line['name']}").json()
    assert [step for step, _ in run["curve"]] == [1, 2, 3, 4, 5, 6]
    assert run["curve"][0][1] > run["curve"][-1][1], "the loss fell"
    assert run["validation"], "held-out conversations were measured"
    assert run["plan"]["verdict"] == "fits"
    assert set(run["plan_versus_actual"]) == {"tokens_per_second", "train_minutes", "memory_gib"}


def test_the_character_is_talked_to_with_what_it_learned_without_a_restart(trained):
    [character] = trained.get("state").json()["characters"]
    assert character["is_trained"]
    assert trained.library.bot("ada-bell").name == "Ada Bell"


def test_what_the_process_said_can_be_read(trained):
    log = trained.get(f"{ADA}/training/log")
    assert "step 6/6" in log.text


def test_a_run_that_is_not_there_is_not_found_however_it_is_named(trained):
    for name in ("2020-01-01-1", "..", "%2e%2e", "..%2F..", "x" * 300):
        answer = trained.get(f"{ADA}/runs/{name}")
        assert answer.status_code == 404, (name, answer.text)


def test_a_report_is_shown_with_a_policy_that_lets_it_do_nothing(trained):
    [run] = (trained.root / "ada" / "runs").glob("20*")
    assert trained.get(f"{ADA}/runs/{run.name}/report").status_code == 404
    (run / "report.html").write_text("<!doctype html><script>parent.alert(1)</script><p>fine</p>")
    answer = trained.get(f"{ADA}/runs/{run.name}/report")
    assert answer.status_code == 200 and "fine" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_run_that_does_not_fit_is_planned_with_what_would_help_and_not_started(trained):
    before = (trained.root / "ada" / "duologue.toml").read_text()
    knobs = {"recipe": "original"}
    plan = trained.post(f"{ADA}/plan", knobs).json()
    assert plan["verdict"] == "no" and plan["memory"]["components"]
    refused = trained.post(f"{ADA}/training", {"knobs": knobs})
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "does_not_fit"
    assert "GiB" in refused.json()["error"]["message"]
    assert (trained.root / "ada" / "duologue.toml").read_text() == before


def test_bodies_that_are_no_knobs_are_refused_by_field(trained):
    for body, field in [
        ({"rank": 0}, "rank"),
        ({"recipe": "/etc/passwd"}, "recipe"),
        ({"base": "x"}, "base"),
        ({"num_epochs": "many"}, "num_epochs"),
        ({"advice": "--set server.host=0.0.0.0"}, "advice"),
        ({"advice": "--set 'lora.rank"}, "advice"),
    ]:
        answer = trained.post(f"{ADA}/plan", body)
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["error"]["param"] == field


def test_only_one_of_two_pages_starts_a_training_and_a_killed_one_is_told_and_goes_on(tmp_path):
    """Two tabs at once; the process is held still, killed, gone on with, and stopped with everything saved."""
    folder = make_character(tmp_path, steps=5000)
    with served(tmp_path) as home:
        answers: list[int] = []
        tabs = [
            threading.Thread(target=lambda: answers.append(home.post(f"{ADA}/training", {}).status_code))
            for _ in range(2)
        ]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join(120)
        assert sorted(answers) == [202, 409], "the second is told that one is running"

        wait_for(home, lambda now: now["phase"] == "training")
        os.kill(process_of(folder), signal.SIGKILL)
        killed = wait_for(home, lambda now: now["phase"] == "idle")
        assert killed["how"] == "killed" and killed["can_resume"]
        assert killed["runs"][0]["state"] == "interrupted"

        resumed = home.post(f"{ADA}/training", {"resumes": True})
        assert resumed.status_code == 202, resumed.text
    # The server has ended; the training goes on, and the next server finds it.
    with served(tmp_path) as home:
        wait_for(home, lambda now: now["phase"] == "training")
        os.kill(process_of(folder), signal.SIGSTOP)
        try:
            assert home.post(f"{ADA}/training", {}).status_code == 409
            stopping = home.post(f"{ADA}/training/stop").json()
            assert stopping["is_stopping"]
            assert home.post(f"{ADA}/training/stop").status_code == 200, "a second click does not end it at once"
        finally:
            os.kill(process_of(folder), signal.SIGCONT)
        stopped = wait_for(home, lambda now: now["phase"] == "idle")
        assert (stopped["how"], stopped["can_resume"]) == ("stopped", True), stopped["message"]
        [run] = stopped["runs"]
        assert run["state"] == "interrupted"
        assert home.post(f"{ADA}/training/stop").status_code == 404


def test_while_the_memory_is_needed_whole_no_model_is_loaded_and_a_sentence_says_why(tmp_path):
    folder = make_character(tmp_path, steps=300)
    with served(tmp_path) as home, training.claimed(folder) as lock:
        now = training.start(folder, ["train", str(folder), "--engine", "fake"], lock=lock, leaves_room=False)
        os.kill(process_of(folder), signal.SIGSTOP)
        try:
            assert now.phase == "preparing"
            with pytest.raises(GuardError, match="Ada Bell is being trained"):
                refuse_while_training(home.library)
            body = {"model": "ada-bell", "messages": [{"role": "user", "content": "Hello"}]}
            refused = home.client.post("/v1/chat/completions", json=body)
            assert refused.status_code == 503 and "being trained" in refused.text
        finally:
            os.killpg(process_of(folder), signal.SIGKILL)
    wait_until_idle(folder)
    refuse_while_training(home.library)


def wait_until_idle(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while training.state(folder).phase != "idle":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_cannot_do_its_work_says_why_and_nothing_is_left_running(tmp_path):
    folder = make_character(tmp_path, rows=[])
    with training.claimed(folder) as lock:
        training.start(folder, ["train", str(folder), "--engine", "fake", "--json"], lock=lock)
    wait_until_idle(folder)
    ended = training.state(folder)
    assert ended.how == "failed" and ended.message
    assert not ended.can_resume
