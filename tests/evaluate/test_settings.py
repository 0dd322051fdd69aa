"""Which settings differ between runs."""

from duologue.evaluate.settings import ABSENT, differing_settings, flattened


def test_only_what_differs_is_told_with_every_runs_value():
    original = {"settings": {"lora": {"rank": 64}, "training": {"learning_rate": 2e-4, "num_epochs": 3}}, "seed": 0}
    optimized = {"settings": {"lora": {"rank": 32}, "training": {"learning_rate": 5e-4, "num_epochs": 3}}, "seed": 0}
    assert differing_settings([original, optimized]) == (
        ("lora.rank", ("64", "32")),
        ("training.learning_rate", ("0.0002", "0.0005")),
    )


def test_what_one_run_does_not_tell_is_not_recorded():
    assert differing_settings([{"settings": {"lora": {"rank": 8}}}, {}]) == (("lora.rank", ("8", ABSENT)),)
    assert differing_settings([{}, {}]) == ()


def test_how_it_was_measured_counts_too_and_digests_do_not():
    def measured(suite, digest):
        model = {"name": "bundled", "quantization": "none", "adapter_sha256": {"a": digest}}
        return {"suite": {"name": suite}, "models": {"tuned": model}, "generation": {"temperature": 0.8}}

    rows = differing_settings([measured("quick", "1"), measured("standard", "2")])
    assert rows == (("evaluation.suite.name", ("quick", "standard")),)


def test_lists_and_nothing_are_texts():
    assert flattened({"data": {"train": ["a.json", "b.json"]}, "x": None, "y": True, "z": {}, "w": []}) == {
        "data.train": "a.json, b.json",
        "x": "none",
        "y": "true",
        "z": "none",
        "w": "none",
    }
