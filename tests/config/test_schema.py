"""The rules of single keys, and the habits all of them keep."""

import re

import pytest

from duologue.config import Config, make_config
from duologue.errors import ConfigError

UNITS = (
    "_tokens",
    "_steps",
    "_fraction",
    "_minutes",
    "_chars",
    "_usd_per_kwh",
    "_usd",
    "_per_minute",
    "_per_day",
    "_days",
    "_seconds",
)
COUNTS = ("_messages", "_turns")


def config_with(section: str, **values: object) -> Config:
    tree: dict[str, dict[str, object]] = {"model": {"base": "x"}, "data": {"train": ["a.json"]}}
    tree.setdefault(section, {}).update(values)
    return make_config(tree, where="test")


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("data", {"train": []}),
        ("data", {"max_length_tokens": 15}),
        ("data", {"validation_fraction": 1.0}),
        ("model", {"base": ""}),
        ("model", {"quantization": "int4"}),
        ("lora", {"rank": 0}),
        ("lora", {"dropout": 1.0}),
        ("training", {"learning_rate": 0}),
        ("training", {"max_steps": "all"}),
        ("training", {"eval_every_steps": -1}),
        ("generation", {"temperature": -0.1}),
        ("generation", {"top_p": 0}),
        ("guard", {"rating": "everything"}),
        ("memory", {"num_recalled": 21}),
        ("server", {"port": 65536}),
        ("run", {"seed": 2**32}),
        ("character", {"user_name": ""}),
        ("evaluation", {"prompts": []}),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key(section, values):
    with pytest.raises(ConfigError, match=rf"{section}\.{next(iter(values))}"):
        config_with(section, **values)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("training", {"eval_every_steps": 0}),
        ("training", {"max_steps": 1}),
        ("lora", {"num_layers": 4}),
        ("lora", {"target_modules": ["q_proj", "v_proj"]}),
        ("generation", {"temperature": 0}),
        ("server", {"port": 0}),
        ("budget", {"max_minutes": 0.5}),
        ("memory", {"num_recalled": 0}),
    ],
)
def test_a_value_at_the_edge_of_its_range_is_taken(section, values):
    config_with(section, **values)


def test_only_the_base_model_and_the_data_are_required():
    required = [
        f"{name}.{key}"
        for name, field in Config.model_fields.items()
        for key, inner in field.annotation.model_fields.items()
        if inner.is_required()
    ]

    assert required == ["model.base", "data.train"]


def test_auto_is_written_out_and_no_default_is_none():
    for name, field in Config.model_fields.items():
        for key, inner in field.annotation.model_fields.items():
            assert inner.default is not None, f"{name}.{key}"


def test_a_default_never_fails_its_own_rule():
    config = config_with("run")

    assert make_config(config.model_dump(), where="test") == config


def test_a_number_carries_its_unit_in_its_name():
    unitless = re.compile(
        r"^(num_\w+|seed|rank|alpha|dropout|learning_rate|weight_decay|max_grad_norm|temperature|top_[pk]|min_p|"
        r"typical_p|(repetition|presence|frequency)_penalty|dry_(multiplier|base)|xtc_(probability|threshold)|"
        r"mirostat(_tau|_eta)?|int8_threshold|micro_batch_size|lr_ratio|neftune_alpha|early_stopping_patience|"
        r"author_note_depth|beta|sft_weight|replay_weight|burst|port|max_waiting|max_models)$"
    )
    config = config_with("run")
    for name in Config.model_fields:
        for key, value in getattr(config, name).model_dump().items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert key.endswith((*UNITS, *COUNTS)) or unitless.match(key), f"{name}.{key}"
