"""The data benchmark: its conversations vary real ones, and it says what it could not compare with."""

import importlib.util
import json
import subprocess
import sys
from itertools import islice

import pytest


@pytest.fixture(scope="module")
def benchmark(request):
    path = request.config.rootpath / "benchmarks" / "data.py"
    spec = importlib.util.spec_from_file_location("data_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_varied_conversations_are_repeatable_well_formed_and_never_equal(benchmark, shared_data):
    made = list(benchmark.varied(300, seed=1))
    assert made == list(benchmark.varied(300, seed=1)) != list(benchmark.varied(300, seed=2))
    assert len({json.dumps(messages) for messages in made}) == 300
    assert all(benchmark.alternates(messages) for messages in made)


def test_a_file_of_any_size_is_made_of_conversations_that_are_not_equal(benchmark, shared_data):
    few = list(benchmark.varied(20, seed=0))
    many = list(benchmark.repeated(iter(few), 300_000))
    assert len({json.dumps(messages) for messages in many}) == len(many) > 60
    assert 300_000 <= sum(len(json.dumps({"messages": m}, ensure_ascii=False).encode()) + 1 for m in many) < 330_000


@pytest.mark.slow
def test_it_runs_without_the_peer_and_says_so(repository, shared_data, tmp_path):
    command = [sys.executable, repository / "benchmarks" / "data.py", "--num-conversations", "40", "--json"]
    done = subprocess.run([*command, "--folder", tmp_path], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["duologue"]["num_tokens"] == result["cached"]["num_tokens"] > 0
    assert result["cached"]["seconds_by_step"].keys() == {"prepare", "pack"}, "nothing was read again"
    if result["trl"] is None:
        assert "only duologue is measured" in done.stderr
    assert list(islice(tmp_path.iterdir(), 1)) == []
