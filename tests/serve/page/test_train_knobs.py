"""Knobs in plain words become keys of duologue.toml, which keeps every other line; and the words of these panels."""

import contextlib
import re
import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.config import CONFIG_NAME, RECIPES, load_config, make_config, recipe_text
from duologue.serve.page.knobs import Knobs, as_options, changes_of, settings_json, write_changes
from duologue.serve.page.words import words
from duologue.serve.refusal import ApiError

MINE = """# mine, written by hand
[model]
base = "bundled:smollm2-135m"   # small

[data]
train = ["data/*.json"]
near_duplicates = "drop"

[lora]
rank = 4
num_layers = 2   # only the last ones

[training]
max_steps = 6

[character]
card = "ada.json"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / CONFIG_NAME).write_text(MINE)
    return tmp_path


def test_a_knob_changes_its_keys_and_nothing_else(folder):
    write_changes(folder, changes_of(Knobs(num_epochs=2, rank=32, max_minutes=0), folder))
    config = load_config(folder / CONFIG_NAME)
    assert (config.training.num_epochs, config.training.max_steps) == (2.0, "auto")
    assert (config.lora.rank, config.lora.alpha, config.lora.num_layers) == (32, 64, 2)
    assert config.budget.max_minutes == "unlimited"
    text = (folder / CONFIG_NAME).read_text()
    assert text.startswith("# mine, written by hand") and "# only the last ones" in text
    assert config.character.card == "ada.json"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_takes_the_place_of_model_and_training_and_leaves_data_and_card(folder, recipe):
    write_changes(folder, changes_of(Knobs(recipe=recipe), folder))
    config = load_config(folder / CONFIG_NAME)
    wanted = make_config(tomllib.loads(recipe_text(recipe)), where=recipe)
    assert config.model == wanted.model and config.lora == wanted.lora
    assert config.training == wanted.training and config.budget == wanted.budget
    assert config.data.train == ("data/*.json",) and config.data.near_duplicates == "drop"
    assert config.character.card == "ada.json"
    current = [each["name"] for each in settings_json(config)["recipes"] if each["is_current"]]
    assert current == [recipe]


def test_what_is_planned_is_what_is_written(folder):
    knobs = Knobs(recipe="best-12gb", max_length_tokens=512, saves_memory=True, quantization="int8")
    changes = changes_of(knobs, folder)
    lines = [option for option in as_options(changes) if option != "--set"]
    planned = load_config(folder / CONFIG_NAME, overrides=lines)
    write_changes(folder, changes)
    assert load_config(folder / CONFIG_NAME) == planned


def test_what_a_plan_advises_can_be_taken_and_nothing_else(folder):
    advice = """--set lora.target_modules='["q_proj", "v_proj"]' --set training.micro_batch_size=1"""
    changes = changes_of(Knobs(advice=advice), folder)
    assert changes == {"lora.target_modules": ("q_proj", "v_proj"), "training.micro_batch_size": 1}
    for bad in ("--set model.base=x", "--gpu x", "--set", "lora.rank=4", "--set data.train=[]"):
        with pytest.raises(ApiError) as refused:
            changes_of(Knobs(advice=bad), folder)
        assert refused.value.status == 400


@given(st.text(max_size=80))
def test_no_advice_breaks_the_server(tmp_path_factory, text):
    with contextlib.suppress(ApiError):  # a 400; anything else would be a 500
        changes = changes_of(Knobs(advice=text), tmp_path_factory.getbasetemp())
        assert not changes or text.lstrip().startswith("--set")


@pytest.mark.parametrize("part", ["train", "duel", "welcome"])
def test_every_word_the_elements_name_is_in_the_table_and_both_languages_fill_in_the_same(part):
    static = resources.files("duologue.serve.page").joinpath("static")
    files = [file for file in static.iterdir() if file.name.startswith(("train", "duel", "welcome", "chart"))]
    code = "\n".join(file.read_text() for file in files if file.name.endswith(".js"))
    english, german = words("en"), words("de")
    named = set(re.findall(rf"[\"'`]({part}\.\w+[a-z0-9])[\"'`]", code))
    assert named and named <= set(english)
    stems = tuple(re.findall(rf"`({part}\.\w+)\$", code)) or ("\0",)
    for key in [key for key in english if key.startswith(f"{part}.")]:
        pieces = key.partition(".")[2].split("_")  # `train.${name}_${value}` is made of quoted pieces
        is_made = any(f'"{"_".join(pieces[:end])}"' in code for end in range(1, len(pieces) + 1))
        assert key in named or key.startswith(stems) or is_made, f"{key} is unused"
        assert set(re.findall(r"\{\w+\}", english[key])) == set(re.findall(r"\{\w+\}", german[key])), key
