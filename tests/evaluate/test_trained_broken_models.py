"""Models that were really trained to be broken: each is caught by the measure made for it, the healthy one by none."""

import json
import subprocess
import sys

import pytest

MODELS = ("loop", "other character", "memorised", "wrong template")


@pytest.fixture(scope="module")
def models(request, tmp_path_factory):
    work = tmp_path_factory.mktemp("broken")
    script = request.config.rootpath / "benchmarks" / "broken_models.py"
    command = [sys.executable, script, "--tiny", "--work", work / "work", "--out", work / "out.json"]
    done = subprocess.run([*command, "--models", *MODELS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads((work / "out.json").read_text(encoding="utf-8"))
    assert document["is_tiny"]
    return {model["name"]: model for model in document["models"]}


@pytest.mark.load  # five trainings and evaluations: a quarter of an hour on a quiet machine
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_trained_to_be_broken_is_caught_by_its_measure(models, name):
    assert models[name]["caught_by"], models[name]["worse_than_base"]


@pytest.mark.load  # five trainings and evaluations: a quarter of an hour on a quiet machine
@pytest.mark.timeout(3600)
def test_a_healthy_model_is_caught_by_none_of_these_measures(models):
    assert models["healthy"]["caught_by"] == []
    better = {measure["name"] for measure in models["healthy"]["measures"] if measure["verdict"] == "better"}
    assert "language.bits_per_byte" in better
