"""`duologue tune`: a real search, killed and continued; wrong input; what is written and what is not."""

import json
import re
import signal
import time
from dataclasses import replace

import pytest

from duologue.cli.tune import parse_budget
from duologue.engine import detect_hardware
from duologue.errors import ConfigError
from tests.flows.command_line import start


@pytest.fixture
def small(folder):
    """The tiny character with a rate that is much too low, so that a search has something to find."""
    toml = folder / "duologue.toml"
    text = toml.read_text().replace("max_steps = 6", "max_steps = 12 # a dozen\nlearning_rate = 1e-3")
    toml.write_text(text.replace("validation_fraction = 0.2", "validation_fraction = 0.4"))
    return folder


@pytest.mark.parametrize("text", ["0", "0m", "abc", "30", "-5m", "1h x", "5 parsecs"])
def test_what_is_no_time_is_refused_before_anything_is_loaded(duologue, folder, text):
    ended = duologue("tune", folder, f"--budget={text}")
    assert ended.exit_code == 2 and "--budget" in ended.err and "30m" in ended.err
    assert not (folder / "tune").exists()


def test_times_are_read_as_people_write_them():
    assert parse_budget("30m") == parse_budget("30 min") == parse_budget("0.5h") == 1800
    assert parse_budget("1h30m") == 5400 and parse_budget("90s") == 90
    with pytest.raises(ConfigError):
        parse_budget("m30")


def test_a_search_needs_a_budget_and_resume_needs_a_search(duologue, folder):
    assert "needs a budget" in duologue("tune", folder).err
    ended = duologue("tune", folder, "--resume")
    assert ended.exit_code == 2 and "no search to go on with" in ended.err


def test_a_budget_below_one_trial_says_how_much_one_takes(duologue, small):
    ended = duologue("tune", small, "--budget", "1s")
    assert ended.exit_code == 2 and "no room for a trial" in ended.err and "for two trials" in ended.err
    assert not (small / "tune" / "search.json").exists(), "a refused search is in nobody's way"


def test_what_does_not_fit_even_at_its_smallest_ends_with_4(duologue, small, monkeypatch):
    tiny = replace(
        detect_hardware(small, measure_cpu=False), gpus=(), ram_bytes=2**28, ram_free_bytes=2**26, cpu_gflops=100.0
    )
    monkeypatch.setattr("duologue.cli.workflow.detect_hardware", lambda *_, **__: tiny)
    ended = duologue("tune", small, "--budget", "30m")
    assert ended.exit_code == 4 and re.search(r"not even rank \d+ fits", ended.err)
    assert not (small / "tune" / "search.json").exists()


def test_too_few_held_out_conversations_are_refused(duologue, folder):
    ended = duologue("tune", folder, "--budget", "5m", "--set", "data.validation_fraction=0.05")
    assert ended.exit_code == 3 and "held out" in ended.err


@pytest.mark.slow
def test_a_killed_search_goes_on_and_writes_what_is_better_between_the_comments(duologue, small, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = start("tune", small, "--budget", "8m", "--trials", "4", cwd=small)
    deadline = time.monotonic() + 120
    while not (small / "tune" / "trials" / "0001.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = duologue("tune", small, "--budget", "8m")
    assert again.exit_code == 2 and "--resume" in again.err
    changed = duologue("tune", small, "--resume", "--set", "lora.dropout=0.1")
    assert changed.exit_code == 2 and "lora.dropout" in changed.err

    before = (small / "duologue.toml").read_text()
    document = duologue("tune", small, "--resume", "--trials", "4", "--write", "--json").json
    numbers = [trial["number"] for trial in document["trials"]]
    assert numbers == sorted(set(numbers)) and document["trials"][0]["state"] == "finished"
    assert sum(trial["state"] != "interrupted" for trial in document["trials"]) == 4
    assert document["used_seconds"] < document["budget_seconds"] == 480
    assert document["best"]["loss"] == min(trial["loss"] for trial in document["trials"] if trial["loss"])
    comparison = document["comparison"]
    assert comparison is None or comparison["num_conversations"] == 2  # half of the four that are held out
    after = (small / "duologue.toml").read_text()
    if comparison and comparison["verdict"] == "better":
        assert document["written"] and after != before and "# a dozen" in after
        for line in document["written"]:
            assert line.rpartition(".")[2] in after
    else:
        assert document["written"] == [] and after == before
    svg = (small / "tune" / "search.svg").read_text()
    assert svg.count("held-out loss") == 1 and "learning rate" in svg
    kept = {path.name for path in (small / "tune" / "trials").iterdir() if path.is_dir()}
    assert kept == {f"{number:04}" for number in {1, document["best"]["number"]}}


@pytest.mark.slow
def test_a_search_killed_in_its_first_trial_still_compares_the_winner_with_the_settings_as_they_are(
    duologue, small, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = start("tune", small, "--budget", "8m", "--trials", "3", cwd=small)
    deadline = time.monotonic() + 120
    while not (small / "tune" / "trials" / "0001").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()

    ended = duologue("tune", small, "--resume", "--trials", "3", "--json")
    assert ended.exit_code == 0, ended.err
    first, again, *_ = ended.json["trials"]
    assert (first["state"], again["state"]) == ("interrupted", "finished")
    assert again["settings"] == first["settings"]
    best = ended.json["best"]
    assert best["number"] > 2 and best["loss"] < again["loss"], "a rate that is much too low is not the best"
    assert ended.json["comparison"]["num_conversations"] == 2
    kept = {path.name for path in (small / "tune" / "trials").iterdir() if path.is_dir()}
    assert kept == {"0002", f"{best['number']:04}"}


@pytest.mark.slow
def test_the_bundled_model_is_searched_on_a_few_conversations(duologue, small):
    text = (small / "duologue.toml").read_text().splitlines()
    base = next(line for line in text if line.startswith("base"))
    changed = (
        "\n".join(text).replace(base, 'base = "bundled:smollm2-135m"').replace("rank = 4", "rank = 4\nnum_layers = 2")
    )
    (small / "duologue.toml").write_text(changed.replace("learning_rate = 1e-3", "learning_rate = 1e-5"))
    document = duologue("tune", small, "--budget", "10m", "--trials", "2", "--json").json
    first, second = document["trials"]
    assert first["settings"]["training.learning_rate"] == 1e-5
    assert second["settings"] != first["settings"]
    assert first["state"] == "finished" and 0 < first["loss"] < 8
    assert json.loads((small / "tune" / "result.json").read_text())["best"]["number"] in (1, 2)
