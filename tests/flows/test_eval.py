"""`duologue eval` through the command line: suites, another run in the base's place, runs side by side, the gate."""

import json
import shutil
from pathlib import Path

import pytest

from duologue.engine import write_gguf

SUITE = """
name = "small"
version = 3
answers_prompts = true
seeds = [0]
num_held_out_cases = 2
num_turns = 1
max_new_tokens = 4
num_train_samples = 2
[evaluators]
language = 1
loops = 1
user_speech = 7
"""


@pytest.fixture
def trained(duologue, folder):
    """A folder with one finished run, and a small suite beside it."""
    ended = duologue("train", folder, "--no-eval", "--set", "training.max_steps=2")
    assert ended.exit_code == 0, ended.err
    (folder / "small.toml").write_text(SUITE)
    return folder


@pytest.fixture
def much_held_out(duologue, folder):
    """The same with four of twenty conversations held out."""
    toml = folder / "duologue.toml"
    toml.write_text(toml.read_text().replace("validation_fraction = 0.2", "validation_fraction = 0.4"))
    assert duologue("train", folder, "--no-eval", "--set", "training.max_steps=2").exit_code == 0
    (folder / "small.toml").write_text(SUITE)
    return folder


def test_a_run_is_measured_kept_compared_and_held_against_its_limits(duologue, trained):
    suite = ("--suite", trained / "small.toml")
    first = duologue("eval", trained, *suite, "--json")
    assert first.exit_code == 0, first.err
    names = {measure["name"]: measure for measure in first.json["measures"]}
    assert {"language.perplexity", "character.loops", "character.speaks_for_user"} <= names.keys()
    assert names["language.perplexity"]["base"] == pytest.approx(first.json["base_perplexity"])
    assert first.json["suite"]["name"] == "small" and first.json["suite"]["version"] == 3
    assert {len(row["turns"]) for row in first.json["dialogues"]} == {1}
    assert all(turn["reference"] for row in first.json["dialogues"] for turn in row["turns"])
    assert any("user_speech has version" in fault for fault in first.json["faults"])
    [run] = (trained / "runs").glob("20*")
    kept = {path: path.stat().st_mtime_ns for path in (run / "observed").glob("*.json")}
    assert len(kept) == 2, "base and tuned"

    # The same again asks no model; with --fresh both are asked.
    again = duologue("eval", run, *suite, "--json")
    assert again.json["dialogues"] == first.json["dialogues"] and again.json["measures"] == first.json["measures"]
    assert kept == {path: path.stat().st_mtime_ns for path in (run / "observed").glob("*.json")}
    duologue("eval", trained, *suite, "--fresh")
    assert all(path.stat().st_mtime_ns > before for path, before in kept.items())

    # A copy of the run in the base's place: nothing differs, and the run's own evaluation stays.
    twin = run.with_name(f"{run.name[:-1]}9")
    shutil.copytree(run, twin)
    own = (run / "evaluation.json").read_bytes()
    equal = duologue("eval", trained, "--run", run.name, "--against", twin.name, *suite, "--json")
    assert equal.exit_code == 0, equal.err
    assert equal.json["compared_with"] == twin.name
    assert equal.json["base_perplexity"] == equal.json["tuned_perplexity"]
    assert (run / "evaluation.json").read_bytes() == own
    assert (run / f"evaluation-against-{twin.name}.json").is_file()

    # What was set for it alone is told with it.
    warm = ("--set", "generation.temperature=0.4")
    told = duologue("eval", trained, "--run", run.name, *suite, *warm, "--json")
    assert told.json["set"] == ["generation.temperature=0.4"] and told.json["generation"]["temperature"] == 0.4
    assert "--set generation.temperature=0.4 --fresh" in (run / "report.html").read_text()

    beside = duologue("eval", trained, "--run", run.name, "--compare", twin, *suite, "--json")
    assert [item["name"] for item in beside.json["compared"]] == [run.name, twin.name]

    closed = duologue("eval", trained, *suite, "--gate", "--set", "evaluation.max_loop_fraction=0", "--json")
    gate = closed.json["gate"]
    assert closed.exit_code == (0 if gate["is_open"] else 8)
    equal_gate = duologue("eval", trained, *suite, "--gate", "--set", "evaluation.max_perplexity_rise_fraction=10")
    assert "gate, " in equal_gate.err + equal_gate.out


def test_faults_are_told_before_a_model_is_asked(duologue, trained):
    (trained / "bad.toml").write_text("name = 4\nsed = []\n[evaluators]\ncharm = 1\n")
    ended = duologue("eval", trained, "--suite", trained / "bad.toml", "--json")
    assert ended.exit_code == 2
    message = ended.json["error"]["message"]
    assert all(
        part in message
        for part in ("bad.toml", "name: found 4", "sed: there is no such", "evaluators.charm", "version: is missing")
    )
    missing = duologue("eval", trained, "--run", "2020-01-01-1", "--json")
    assert missing.exit_code == 2 and "2020-01-01-1" in json.dumps(missing.json)
    engine = duologue("eval", trained, "--engine", "gguf", "--json")
    assert engine.exit_code == 2 and "export gguf" in engine.json["error"]["message"]


def test_a_run_is_measured_on_its_own_base_and_on_what_it_held_out_whatever_was_changed_since(duologue, much_held_out):
    trained = much_held_out
    suite = ("--suite", trained / "small.toml")
    first = duologue("eval", trained, *suite, "--json")
    assert first.exit_code == 0, first.err
    toml = trained / "duologue.toml"
    before = toml.read_text()
    toml.write_text(before.replace("validation_fraction = 0.4", "validation_fraction = 0.6") + "[run]\nseed = 5\n")
    changed = ("--set", "model.base=bundled:smollm2-135m")

    again = duologue("eval", trained, *suite, *changed, "--json")
    assert again.exit_code == 0, again.err
    assert again.json["measures"] == first.json["measures"]
    said = " ".join(again.err.split())
    assert "measured as it was trained" in said
    for words in ("model.base = ", "data.validation_fraction = 0.4", "run.seed = 0"):
        assert words in said

    # Less is held out than the run held out: none of it was trained on, so the wish stands.
    toml.write_text(before.replace("validation_fraction = 0.4", "validation_fraction = 0.1"))
    fewer = duologue("eval", trained, *suite, "--json")
    assert "measured as it was trained" not in fewer.err
    assert fewer.json["num_scored_tokens"] < first.json["num_scored_tokens"]


def test_a_rival_that_was_trained_on_what_is_held_out_is_refused_or_taken_at_what_both_held_out(
    duologue, much_held_out
):
    trained = much_held_out
    suite = ("--suite", trained / "small.toml")
    [run] = (trained / "runs").glob("20*")
    twin = run.with_name(f"{run.name[:-1]}9")
    shutil.copytree(run, twin)
    ledger = twin / "resolved.json"
    resolved = json.loads(ledger.read_text())

    ledger.write_text(json.dumps(resolved | {"run": {"seed": 5}}))
    refused = duologue("eval", trained, "--run", run.name, "--against", twin.name, *suite, "--json")
    assert refused.exit_code == 2
    assert "run.seed = 5" in refused.json["error"]["message"] and "--compare" in refused.json["error"]["message"]

    ledger.write_text(json.dumps(resolved | {"data": resolved["data"] | {"validation_fraction": 0.1}}))
    both = duologue("eval", trained, "--run", run.name, "--against", twin.name, *suite, "--json")
    assert both.exit_code == 0, both.err
    assert "data.validation_fraction = 0.1" in " ".join(both.err.split())
    alone = duologue("eval", trained, "--run", run.name, *suite, "--json")
    assert both.json["num_scored_tokens"] < alone.json["num_scored_tokens"]


def test_llama_cpp_talks_where_the_base_is_a_gguf_file_and_transformers_scores(duologue, folder, tiny_model, tmp_path):
    write_gguf(Path(tiny_model), tmp_path / "tiny.gguf", form="f32", on_event=lambda _event: None)
    toml = folder / "duologue.toml"
    toml.write_text(toml.read_text().replace(f'base = "{tiny_model}"', f'base = "{tmp_path / "tiny.gguf"}"'))
    (folder / "small.toml").write_text("speed_lengths = [16]\n" + SUITE + "speed = 1\n")
    suite = ("--suite", folder / "small.toml", "--json")
    ended = duologue("train", folder, "--no-eval", "--set", "training.max_steps=2")
    assert ended.exit_code == 0, ended.err

    quick = duologue("eval", folder, *suite)
    assert quick.exit_code == 0, quick.err
    assert "llama.cpp draws the replies" in quick.err
    assert {model["talks_with"] for model in quick.json["models"].values()} == {"gguf"}
    for side in ("base", "tuned"):
        timed = {row["engine"].removesuffix(" (warm)") for row in quick.json["speeds"][side]}
        assert timed == {"hf", "gguf"}
    assert all(turn["base"] is not None for row in quick.json["dialogues"] for turn in row["turns"])

    slow = duologue("eval", folder, *suite, "--engine", "hf")
    assert slow.exit_code == 0, slow.err
    assert not any("talks_with" in model for model in slow.json["models"].values())
    assert {row["engine"].removesuffix(" (warm)") for row in slow.json["speeds"]["tuned"]} == {"hf"}
    assert slow.json["tuned_perplexity"] == pytest.approx(quick.json["tuned_perplexity"])


def test_an_adapter_that_llama_cpp_cannot_apply_is_talked_to_through_transformers(
    duologue, folder, tiny_model, tmp_path
):
    write_gguf(Path(tiny_model), tmp_path / "tiny.gguf", form="f32", on_event=lambda _event: None)
    toml = folder / "duologue.toml"
    toml.write_text(toml.read_text().replace(f'base = "{tiny_model}"', f'base = "{tmp_path / "tiny.gguf"}"'))
    (folder / "small.toml").write_text(SUITE)
    dora = ("--set", "lora.use_dora=true", "--set", "training.max_steps=2")
    ended = duologue("train", folder, "--no-eval", *dora)
    assert ended.exit_code == 0, ended.err

    found = duologue("eval", folder, "--suite", folder / "small.toml", "--json")
    assert found.exit_code == 0, found.err
    assert "transformers draws the replies" in found.err and "DoRA" in found.err
    assert not any("talks_with" in model for model in found.json["models"].values())
