"""`duologue plan` through the command line: every mode, and what is said to wrong input."""

import json
import subprocess
import sys

import pytest

from duologue.cli.calibration import with_cpu_speed
from duologue.engine import detect_hardware

HEAVY = "torch transformers peft bitsandbytes accelerate xllamacpp gradio fastapi matplotlib pyarrow throttled"


def test_a_recipe_on_a_card_prints_the_promised_json(duologue):
    ended = duologue("plan", "--recipe", "original", "--gpu", "rtx4090 24gb", "--json")
    assert ended.exit_code == 0, "that it does not fit is an answer"
    plan = ended.json
    assert plan["machine"] == "RTX 4090 24GB"
    assert plan["verdict"] in ("tight", "no")
    assert plan["advice"][0]["verdict"] == "fits"
    assert {"ram_gib", "disk_gib", "profile", "knobs", "chat"} <= set(plan)


def test_what_the_plan_advises_makes_it_fit_when_it_is_pasted(duologue):
    first = duologue("plan", "--recipe", "original", "--gpu", "4090", "--json").json["advice"][0]
    pasted = first["set"].replace("'", "").split(" --set ")
    options = [part.removeprefix("--set ") for part in pasted]
    arguments = [word for option in options for word in ("--set", option)]
    assert duologue("plan", "--recipe", "original", "--gpu", "4090", *arguments, "--json").json["verdict"] == "fits"


def test_people_see_verdict_bar_time_money_and_knobs(duologue):
    said = duologue("plan", "--recipe", "original", "--gpu", "RTX 4090").out
    for words in ("does not fit", "GiB", "█", "allocated", "reserved", "time:", "per hour", "disk:", "chat as trained"):
        assert words in said, words
    assert "What each setting buys" in said
    assert "The smallest change that makes it fit" in said
    first = duologue("plan", "--recipe", "original", "--gpu", "RTX 4090", "--json").json["advice"][0]
    assert first["set"] in said, "on one line, to be pasted"


def test_a_folder_is_planned_with_its_own_data_on_this_cpu(duologue, folder):
    plan = duologue("plan", folder, "--json").json
    assert plan["machine"].startswith("CPU") or plan["settings"]["micro_batch_size"] == 2
    assert plan["settings"]["max_steps"] == 6
    assert "estimated" in plan["notes"][0]
    again = duologue("plan", folder, "--json").json
    assert again["time"]["tokens_per_second"] == plan["time"]["tokens_per_second"], "the CPU's speed is remembered"


def test_recipes_are_compared_and_the_ways_out_are_priced(duologue):
    found = duologue("plan", "--compare", "original", "optimized", "best-24gb", "--gpu", "RTX 4090", "--json").json
    assert found["recipes"] == ["original", "optimized", "best-24gb"]
    assert set(found["plans"]) == set(found["recipes"])
    assert found["ways_out"]["runs_to_beat_keeping"] > 0
    said = duologue("plan", "--compare", "original", "optimized", "--gpu", "RTX 4090").out
    assert "model size" in said
    assert "The ways out" in said


def test_a_folder_brings_its_data_into_a_comparison(duologue, folder):
    found = duologue("plan", "--compare", folder, "quickstart", "--gpu", "RTX 4090", "--json").json
    tokens = [plan["time"]["num_tokens"] / plan["time"]["num_steps"] for plan in found["plans"].values()]
    assert all(number < 2000 for number in tokens), "twenty short conversations, not the assumed thousand"


def test_every_card_is_listed(duologue, monkeypatch):
    cards = duologue("plan", "--recipe", "optimized", "--gpu", "all", "--json").json["cards"]
    verdicts = {row["gpu"]: row["verdict"] for row in cards}
    assert len(verdicts) >= 39
    assert {"fits", "no"} <= set(verdicts.values())
    assert "H100" in duologue("plan", "--recipe", "optimized", "--gpu", "all").out
    every = duologue("plan", "--gpu", "all", "--json").json["cards"]
    assert {"original", "best-24gb", "quickstart"} <= {row["name"] for row in every}
    monkeypatch.setenv("COLUMNS", "140")
    assert "best-24gb" in duologue("plan", "--gpu", "all").out


def test_the_search_keeps_its_limits_and_speaks_of_13b_and_34b(duologue):
    ended = duologue(
        *(
            "plan",
            "--best",
            "--gpu",
            "RTX 4090",
            "--deadline",
            "10h",
            "--max-usd",
            "20",
            "--min-context",
            "2048",
            "--json",
        )
    )
    found = ended.json
    assert found["best"] == found["pareto"][0]
    assert all(choice["hours"] <= 10 and choice["max_length_tokens"] >= 2048 for choice in found["pareto"])
    assert {row["size"] for row in found["reach"]} == {"13B", "34B"}
    thirteen = next(row for row in found["reach"] if row["size"] == "13B")
    assert thirteen["longest_tokens"] > 1000
    said = duologue("plan", "--best", "--gpu", "RTX 4090").out
    assert "kept for a display" in said
    assert "34B" in said
    assert "--set model.base=" in said


def test_the_search_in_a_folder_uses_its_data(duologue, folder):
    found = duologue("plan", folder, "--best", "--gpu", "RTX 4090", "--json").json
    assert max(choice["max_length_tokens"] for choice in found["pareto"]) < 128


def test_a_table_of_runs_is_predicted_row_by_row(duologue, tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("model,gpu\nno-such-model,A100 80GB\n,\n")
    rows = duologue("plan", "--points", table, "--json").json
    assert [row["row"] for row in rows] == [0, 1]
    assert all(row["verdict"] is None and row["why"] for row in rows)


def test_claims_are_audited(duologue, repository):
    claims = repository / "src" / "duologue" / "plan" / "claims.toml"
    found = duologue("plan", "--audit", claims, "--json").json
    assert sum(found["counts"].values()) == len(found["claims"]) > 20
    said = duologue("plan", "--audit", claims).out
    assert f"{len(found['claims'])} claims" in said


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["plan"], 2, "a folder or --recipe"),
        (["plan", "--recipe", "orignal"], 2, "Did you mean 'original'?"),
        (["plan", "nowhere"], 2, "no such folder"),
        (["plan", "original"], 2, "plan --recipe original"),
        (["plan", "a", "b"], 2, "one folder"),
        (["plan", "--recipe", "original", "--gpu", "RTX 4091"], 4, "RTX 4090 24GB"),
        (["plan", "--recipe", "original", "--gpu", "A100"], 4, "Add the memory size"),
        (["plan", "--recipe", "original", "--best", "--probe"], 2, "do not go together"),
        (["plan", "--recipe", "original", "--deadline", "10h"], 2, "--best"),
        (["plan", "--best", "--gpu", "all"], 2, "one card"),
        (["plan", "--best", "--deadline", "soon"], 2, "10h"),
        (["plan", "--best", "--deadline", "0h"], 2, "above zero"),
        (["plan", "--best", "--max-usd", "-1", "--min-context", "-5"], 2, "--min-context -5"),
        (["plan", "--best", "--max-usd", "nan"], 2, "--max-usd"),
        (["plan", "--compare", "original"], 2, "two recipes"),
        (["plan", "--compare", "original", "optimised"], 2, "Did you mean 'optimized'?"),
        (["plan", "--recipe", "quickstart", "--probe"], 2, "no data to probe"),
        (["plan", "--recipe", "quickstart", "--probe", "--gpu", "RTX 4090"], 2, "hardware at hand"),
        (["plan", "--points", "missing.csv"], 3, "No such file"),
        (["plan", "--points", "missing.csv", "--recipe", "original"], 2, "from its file"),
        (["plan", "--recipe", "quickstart", "--set", "budget.card_usd=-3"], 2, "budget.card_usd"),
        (["plan", "--recipe", "quickstart", "--set", "model.base=nobody/no-model-7b"], 4, "not known here"),
        (["plan", "--recipe", "quickstart", "--set", "model.base=Qwen/Qwen3-8"], 4, "Qwen/Qwen3-8B"),
        (["plan", "--recipe", "quickstart", "--set", "lora.num_layers=31"], 4, "31"),
    ],
)
def test_wrong_input_is_said_clearly(duologue, tmp_path, monkeypatch, arguments, exit_code, words):
    monkeypatch.chdir(tmp_path)
    ended = duologue(*arguments)
    assert (ended.exit_code, ended.out) == (exit_code, "")
    assert words in ended.err
    as_json = duologue(*arguments, "--json")
    assert as_json.exit_code == exit_code
    assert as_json.json["error"]["exit_code"] == exit_code


SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 8, "num_attention_heads": 1, "vocab_size": 9}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{}", "no whole number"),
        ("nonsense", "not readable JSON"),
        ("[]", "no JSON object"),
        (json.dumps({**SIZES, "hidden_size": -5}), "-5"),
        (json.dumps({**SIZES, "hidden_size": 0}), "0"),
        (json.dumps({**SIZES, "hidden_size": 1e99}), "hidden_size"),
        (json.dumps({**SIZES, "vocab_size": "many"}), "vocab_size"),
    ],
)
def test_an_absurd_model_folder_is_refused(duologue, tmp_path, config, words):
    (tmp_path / "config.json").write_text(config)
    ended = duologue("plan", "--recipe", "quickstart", "--gpu", "RTX 4090", "--set", f"model.base={tmp_path}")
    assert ended.exit_code == 4
    assert words in ended.err
    assert "bug" not in ended.err


def test_a_probe_measures_this_machine_and_moves_the_plan(duologue, folder):
    ended = duologue("plan", folder, "--probe", "--json")
    assert ended.exit_code == 0, ended.err
    plan = ended.json
    assert plan["learned"]["is_probed"] is True
    assert plan["before_probe"]["learned"]["is_probed"] is False
    assert plan["time"]["tokens_per_second"] != plan["before_probe"]["time"]["tokens_per_second"]
    assert any("probe of this job" in line for line in plan["assumptions"])


def test_an_empty_table_and_data_without_tokens_are_refused(duologue, tmp_path, folder):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert duologue("plan", "--points", empty).exit_code == 3
    (folder / "data" / "a.json").write_text("[]")
    ended = duologue("plan", folder)
    assert ended.exit_code == 3
    assert "no rows" in ended.err


@pytest.mark.parametrize(
    "arguments", [["--recipe", "quickstart"], ["--best", "--gpu", "RTX 4090"], ["--recipe", "original", "--gpu", "all"]]
)
def test_planning_loads_no_heavy_library(arguments):
    code = (
        f"import sys\nsys.argv = ['duologue', 'plan', *{arguments!r}, '--json']\nfrom duologue.cli import main\n"
        f"try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"heavy = set({HEAVY!r}.split()) & set(sys.modules)\nassert not heavy, heavy\n"
        "assert 'numpy' not in sys.modules or 'quickstart' in sys.argv, 'only a measurement of the CPU needs it'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.parametrize(
    "kept",
    ["not JSON", "{}", "[]", '{"host": "another", "num_cores": 1, "date": "2026-01-01", "gflops": 5}', None],
    ids=["damaged", "empty", "a list", "another machine's", "an old one"],
)
def test_a_speed_of_the_cpu_that_is_not_this_machine_s_is_measured_again(tmp_path, monkeypatch, kept):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    hardware = detect_hardware(tmp_path, measure_cpu=False)
    path = tmp_path / "duologue" / "cpu.json"
    measured = with_cpu_speed(hardware, tmp_path).cpu_gflops
    assert measured > 1
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "gflops": 4321.0}))
    assert with_cpu_speed(hardware, tmp_path).cpu_gflops == 4321.0
    path.write_text(json.dumps({**entry, "date": "2020-01-01", "gflops": 4321.0}) if kept is None else kept)
    assert with_cpu_speed(hardware, tmp_path).cpu_gflops != 4321.0
    assert json.loads(path.read_text())["gflops"] > 1


def test_a_folder_and_a_recipe_are_planned_beside_each_other_and_not_at_once(duologue, folder):
    both = duologue("plan", folder, "--recipe", "original")
    neither = duologue("plan")

    assert (both.exit_code, neither.exit_code) == (2, 2)
    assert f"duologue plan --compare {folder} original" in both.err
    assert "nothing to plan" in neither.err
