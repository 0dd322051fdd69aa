"""Presets: shipped ones are sound, and they stand below whatever a person sets."""

import pytest

from duologue.config import load_config, make_config, preset_about, preset_names
from duologue.config.preset import PRESET_KEYS, read_preset
from duologue.config.schema import GenerationSection
from duologue.errors import ConfigError

SMALLEST = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["a.json"]}}


def generation(overrides=(), **keys):
    return make_config({**SMALLEST, "generation": keys}, overrides=overrides, where="test").generation


def faults_of(**keys):
    with pytest.raises(ConfigError) as caught:
        generation(**keys)
    return caught.value.sentence()


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_loads_changes_only_samplers_and_says_what_it_is_for(name, tmp_path):
    keys, found, faults = read_preset(name, folder=tmp_path)
    made = generation(preset=name)
    assert (found, faults) == (name, [])
    assert keys and set(keys) <= set(PRESET_KEYS)
    for key in GenerationSection.model_fields:
        expected = name if key == "preset" else keys.get(key, GenerationSection.model_fields[key].default)
        assert getattr(made, key) == expected, key
    assert 10 < len(preset_about(name)) < 110


def test_the_preset_named_balanced_is_what_one_gets_without_any():
    assert generation(preset="balanced") == GenerationSection(preset="balanced")


def test_presets_differ():
    made = [generation(preset=name).model_dump(exclude={"preset"}) for name in preset_names()]
    assert len(made) >= 5
    assert all(one not in made[:place] for place, one in enumerate(made))


def test_keys_in_the_file_and_on_the_command_line_win_over_a_preset():
    plain = generation(preset="creative")
    made = generation(preset="creative", temperature=0.2, overrides=["generation.min_p=0.3"])
    assert (made.temperature, made.min_p) == (0.2, 0.3)
    assert made.xtc_probability == plain.xtc_probability > 0


def test_a_preset_can_be_chosen_on_the_command_line():
    assert generation(overrides=["generation.preset=deterministic"]).temperature == 0


def test_a_preset_file_is_found_beside_duologue_toml_and_by_a_made_config_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text('temperature = 1.3\nstop = ["\\n\\n"]\nlogit_bias = { "7" = -100 }\n')
    text = '[model]\nbase = "x"\n[data]\ntrain = ["a.json"]\n[generation]\npreset = "mine.toml"\n'
    (tmp_path / "duologue.toml").write_text(text)
    config = load_config(tmp_path / "duologue.toml")
    assert (config.generation.temperature, config.generation.stop) == (1.3, ("\n\n",))
    assert config.generation.logit_bias == {"7": -100}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert make_config(config.model_dump(mode="json"), where="again") == config


def test_an_unknown_preset_names_the_nearest_and_all():
    said = faults_of(preset="creativ")
    assert "there is no preset 'creativ'; did you mean 'creative'?" in said
    assert all(name in said for name in preset_names())


def test_faults_of_a_preset_file_are_told_with_those_of_duologue_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("temprature = 1.0\ntop_p = 7\ncontext_tokens = 512\n")
    said = faults_of(preset=str(path), top_k=-1)
    assert "4 faults" in said
    assert f"{path}: unknown key 'temprature'; did you mean 'temperature'?" in said
    assert f"generation.top_p: found 7; input should be less than or equal to 1 (from the preset {path})" in said
    assert "'context_tokens' belongs into duologue.toml, not into a preset" in said
    assert "generation.top_k: found -1; input should be greater than or equal to 0\n" in said


@pytest.mark.parametrize(
    ("text", "found"), [("temperature = ", "is not TOML"), ("[generation]\ntop_k = 1\n", "a preset holds bare keys")]
)
def test_a_file_that_is_no_preset_is_refused(tmp_path, text, found):
    (tmp_path / "mine.toml").write_text(text)
    assert found in faults_of(preset=str(tmp_path / "mine.toml"))


def test_a_preset_file_that_is_not_there_is_a_fault(tmp_path):
    assert "cannot be read (No such file or directory)" in faults_of(preset=str(tmp_path / "none.toml"))


def test_a_preset_of_another_type_is_an_ordinary_fault():
    assert "generation.preset: found 3" in faults_of(preset=3)
