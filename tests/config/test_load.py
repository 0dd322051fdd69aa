"""Files, overrides and recipes to a checked config."""

import json
from pathlib import Path

import pytest

from duologue.config import RECIPES, Config, load_config, load_recipe, make_config, recipe_text, write_config
from duologue.errors import ConfigError

SMALLEST = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["a.json"]}}


def write(folder: Path, text: str) -> Path:
    path = folder / "duologue.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(tree: dict[str, object], *, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        make_config(tree, overrides=overrides, where="duologue.toml")
    return caught.value.sentence()


def test_the_two_required_keys_are_enough(tmp_path):
    config = load_config(write(tmp_path, '[model]\nbase = "bundled:smollm2-135m"\n[data]\ntrain = ["data/*.json"]\n'))

    assert config.model.base == "bundled:smollm2-135m"
    assert config.data.train == ("data/*.json",)
    assert config.training.max_steps == "auto"
    assert config.guard.rating == "general"
    assert config.server.host == "127.0.0.1"


def test_an_empty_file_names_both_required_keys(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, ""))

    assert "2 faults" in caught.value.found
    assert "model: missing" in caught.value.found
    assert "data: missing" in caught.value.found
    assert caught.value.exit_code == 2


def test_all_faults_are_reported_at_once_each_with_its_key_and_what_was_found():
    said = faults_of(
        {
            "model": {"base": "x", "quantisation": "nf4"},
            "data": {"train": ["a.json"], "validation_fraction": 1.5},
            "training": {"learning_rate": "fast", "max_steps": 0},
            "traning": {},
        }
    )

    assert "5 faults" in said
    assert "model.quantisation: unknown key; did you mean 'model.quantization'?" in said
    assert "data.validation_fraction: found 1.5; input should be less than 1" in said
    assert 'training.learning_rate: found "fast"' in said
    assert "training.max_steps: found 0; input should be 'auto' or input should be greater than 0" in said
    assert "traning: unknown key; did you mean 'training'?" in said
    assert "docs/reference/config.md" in said


def test_an_unknown_key_that_resembles_nothing_gets_no_guess():
    said = faults_of({**SMALLEST, "run": {"zzzzzz": 1}})

    assert "run.zzzzzz: unknown key" in said
    assert "did you mean" not in said


def test_a_long_wrong_value_is_shown_shortened():
    said = faults_of({**SMALLEST, "run": {"seed": "7" * 500}})

    assert "..." in said
    assert len(said) < 400


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    text = f'[model]\nbase = "x"\n[data]\ntrain = ["a"]\n[training]\nlearning_rate = {value}\n'

    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        load_config(write(tmp_path, text))


def test_broken_toml_is_named_with_its_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, '[model]\nbase = "never closed\n'))

    assert "not TOML" in caught.value.found
    assert "line 2" in caught.value.found
    assert caught.value.where.endswith("duologue.toml")


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "duologue.toml")

    assert "No such file" in caught.value.found
    assert "duologue new" in caught.value.action


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "duologue.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    ("line", "section", "key", "value"),
    [
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("training.max_steps = 12", "training", "max_steps", 12),
        ("model.base=bundled:smollm2-135m", "model", "base", "bundled:smollm2-135m"),
        ('data.train=["a.json", "b.json"]', "data", "train", ("a.json", "b.json")),
        ("memory.enabled=false", "memory", "enabled", False),
        ("budget.max_minutes=unlimited", "budget", "max_minutes", "unlimited"),
        ("character.user_name=Ada = Lovelace", "character", "user_name", "Ada = Lovelace"),
    ],
)
def test_set_overrides_one_value(line, section, key, value):
    config = make_config({**SMALLEST, "budget": {"max_minutes": 5}}, overrides=[line], where="test")

    assert getattr(getattr(config, section), key) == value


def test_the_last_override_of_a_key_wins():
    config = make_config(SMALLEST, overrides=["run.seed=1", "run.seed=2"], where="test")

    assert config.run.seed == 2


def test_faults_of_overrides_are_listed_beside_those_of_the_file():
    said = faults_of(
        {**SMALLEST, "run": {"seed": -1}, "lora": "wide"},
        overrides=("training", "learning_rate=1", "lora.rank=8", "training.learnin_rate=1"),
    )

    assert "--set training: expected section.key=value" in said
    assert "--set learning_rate=1: expected section.key=value" in said
    assert "--set lora.rank=8: 'lora' is not a section" in said
    assert "did you mean 'training.learning_rate'?" in said
    assert "run.seed: found -1" in said


def test_overrides_leave_the_tree_they_were_given_alone():
    tree = {"model": {"base": "x"}, "data": {"train": ["a"]}}

    make_config(tree, overrides=["model.base=y"], where="test")

    assert tree["model"]["base"] == "x"


def test_a_written_config_spells_every_value_out_and_reads_back_as_the_same(tmp_path):
    config = load_recipe("original")
    path = tmp_path / "resolved.json"

    write_config(config, path)

    tree = json.loads(path.read_text(encoding="utf-8"))
    assert make_config(tree, where="test") == config
    assert set(tree) == set(Config.model_fields)
    assert [p.name for p in tmp_path.iterdir()] == ["resolved.json"]


def test_a_config_cannot_be_changed():
    config = make_config(SMALLEST, where="test")

    with pytest.raises(ValueError, match="frozen"):
        config.run.seed = 3


# ------------------------------------------------------------------------------------------------------------- recipes


def test_the_original_recipe_holds_exactly_the_values_of_the_design():
    config = load_recipe("original")

    assert config.model.base == "chargoddard/Yi-34B-200K-Llama"
    assert config.model.quantization == "nf4"
    assert config.model.use_double_quantization is True
    assert config.model.compute_dtype == "bfloat16"
    assert (config.lora.rank, config.lora.alpha) == (64, 16)
    assert config.training.num_epochs == 3
    assert (config.training.micro_batch_size, config.training.gradient_accumulation_steps) == (1, 8)
    assert config.data.max_length_tokens == 1024
    assert config.training.eval_every_steps == 50
    assert config.training.learning_rate == 2e-4
    assert config.generation.max_new_tokens == 256


def test_the_optimized_recipe_holds_exactly_the_values_of_the_design():
    config = load_recipe("optimized")

    assert config.model.base == "meta-llama/Llama-2-13b-chat-hf"
    assert config.model.quantization == "int8"
    assert (config.lora.rank, config.lora.alpha) == (32, 16)
    assert config.training.num_epochs == 1
    assert (config.training.micro_batch_size, config.training.gradient_accumulation_steps) == (2, 4)
    assert config.data.max_length_tokens == 512
    assert config.training.eval_every_steps == 100
    assert config.training.learning_rate == 5e-4
    assert config.generation.max_new_tokens == 128


def test_the_quickstart_recipe_runs_the_bundled_model():
    config = load_recipe("quickstart")

    assert config.model.base == "bundled:smollm2-135m"
    assert config.model.quantization == "none"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_says_in_its_first_line_what_it_is(name):
    load_recipe(name)

    assert recipe_text(name).startswith(f"# {name}: ")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_takes_overrides(name):
    assert load_recipe(name, overrides=["run.seed=5"]).run.seed == 5


def test_every_shipped_recipe_file_is_offered(repository):
    shipped = {path.stem for path in (repository / "src/duologue/config/recipes").glob("*.toml")}

    assert shipped == set(RECIPES)


def test_an_unknown_recipe_names_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError) as caught:
        load_recipe("optimised")

    assert caught.value.action == "Did you mean 'optimized'?"
    assert "quickstart" in caught.value.needed
