"""How replies are drawn: every setting reaches the engine, and what an engine cannot do is said."""

import pytest

from duologue.chat.drawing import make_sampling
from duologue.engine import Sampling
from duologue.engine.fake import FakeGenerator, FakeTokenizer
from duologue.errors import ConfigError, DataError
from tests.chat.conftest import MakeBot
from tests.chat.made import a_config

EVERYTHING = {
    "max_new_tokens": 7,
    "temperature": 0.5,
    "top_p": 0.6,
    "top_k": 8,
    "min_p": 0.2,
    "repetition_penalty": 1.3,
    "typical_p": 0.7,
    "presence_penalty": 0.4,
    "frequency_penalty": -0.4,
    "dry_multiplier": 0.8,
    "dry_base": 1.5,
    "dry_allowed_length_tokens": 3,
    "dry_window_tokens": 64,
    "dry_sequence_breakers": ["\n"],
    "xtc_probability": 0.3,
    "xtc_threshold": 0.15,
    "mirostat": 2,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.2,
    "stop": ["END"],
    "seed": 11,
}


def test_every_setting_of_the_configuration_reaches_the_engine() -> None:
    sampling = make_sampling(a_config(generation=EVERYTHING), FakeTokenizer())
    for name, value in EVERYTHING.items():
        assert getattr(sampling, name) == (tuple(value) if isinstance(value, list) else value), name
    of_one_request = {"grammar", "json_schema"}  # a constraint belongs to a question, not to a character
    fields = set(Sampling.__dataclass_fields__) - {"logit_bias"} - of_one_request
    assert fields == set(EVERYTHING)  # a new setting of the engines must come here too


def test_a_bias_is_given_by_text_or_by_token() -> None:
    tokenizer = FakeTokenizer()
    config = a_config(generation={"logit_bias": {"lantern": -100, "17": 3.5}})
    wanted = [(token_id, -100.0) for token_id in tokenizer.encode("lantern")] + [(17, 3.5)]
    assert list(make_sampling(config, tokenizer).logit_bias) == wanted


def test_a_bias_on_a_text_is_refused_where_tokens_are_not_known() -> None:
    class Distant(FakeTokenizer):
        def encode(self, text: str) -> list[int]:
            raise DataError("the vocabulary is on another server")

    config = a_config(generation={"logit_bias": {"lantern": -100}})
    with pytest.raises(ConfigError, match="Write the number of the token"):
        make_sampling(config, Distant())


def test_what_the_engine_cannot_honour_is_named_when_it_is_set(make_bot: MakeBot) -> None:
    class Plain(FakeGenerator):
        def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
            return ("mirostat",) if sampling.mirostat else ()

    bot = make_bot(Plain())
    assert bot.unsupported() == ()
    assert bot.draw(mirostat="2") == ("mirostat",)
    assert bot.draw(preset="deterministic", max_new_tokens="9") == ()
    assert (bot.sampling().temperature, bot.sampling().max_new_tokens) == (0, 9)
