"""A command line and a small character's folder."""

import json

import pytest

from tests.flows.command_line import CommandLine


@pytest.fixture
def duologue(monkeypatch, capfd) -> CommandLine:
    """`duologue`, run in this process."""
    return CommandLine(monkeypatch, capfd)


@pytest.fixture
def folder(tmp_path, tiny_model):
    """A character on the tiny model, with a card and twenty conversations, trained in a few seconds."""
    made = tmp_path / "ada"
    (made / "data").mkdir(parents=True)
    rows = [{"instruction": f"Question {n}?", "output": f"Answer number {n}, passenger."} for n in range(20)]
    (made / "data" / "a.json").write_text(json.dumps(rows))
    (made / "character.json").write_text(json.dumps({"name": "Ada Bell", "first_mes": "Good evening, {{user}}."}))
    (made / "duologue.toml").write_text(
        f'[model]\nbase = "{tiny_model}"\nquantization = "none"\n'
        '[data]\ntrain = ["data/*.json"]\nvalidation_fraction = 0.2\nmax_length_tokens = 128\n'
        "[lora]\nrank = 4\nalpha = 8\n"
        "[training]\nmax_steps = 6\nmicro_batch_size = 2\ngradient_accumulation_steps = 1\nsave_every_steps = 2\n"
        '[character]\ncard = "character.json"\n'
        "[generation]\nmax_new_tokens = 8\n"
        '[evaluation]\nprompts = ["Hello."]\nmax_new_tokens = 4\n'
    )
    return made
