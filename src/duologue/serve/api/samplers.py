"""The samplers of a request, under every name that clients send, and what of them this server does not have.

Names: the OpenAI API reference; SillyTavern's text completion backends; tabbyAPI's and llama.cpp's aliases.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from duologue.engine import Sampling, Tokenizer

T = TypeVar("T")
MAX_STOPS = 64  # SillyTavern sends one for every member of a group, beside those of its template
MAX_TOKENS = 2**20
_MAX_BREAKERS = 64
_MAX_BIASES = 1024
_MAX_ID_DIGITS = 10  # of a token, or of what might be one
_LEAST_MASS = 1e-6  # a cut at 0 leaves the one best token; engines want more than 0
_OFF = (0, 0.0, None, "", False)

# What would change the reply but is not there: field, and the values with which it does nothing.
_MISSING: Mapping[str, tuple[object, ...]] = {
    "top_n_sigma": (0, -1, None),
    "nsigma": (0, -1, None),
    "dynamic_temperature": _OFF,
    "dynatemp_range": _OFF,
    "tfs": (1, None),
    "tfs_z": (1, None),
    "top_a": _OFF,
    "smoothing_factor": _OFF,
    "epsilon_cutoff": _OFF,
    "eta_cutoff": _OFF,
    "penalty_alpha": _OFF,
    "no_repeat_ngram_size": _OFF,
    "encoder_repetition_penalty": (1, 0, None),
    "guidance_scale": (1, None),
    "cfg_scale": (1, None),
    "negative_prompt": _OFF,
    "min_tokens": _OFF,
    "min_length": _OFF,
    "length_penalty": (1, 0, None),
    "num_beams": (1, 0, None),
    "ignore_eos": _OFF,
    "ban_eos_token": _OFF,
    "skew": _OFF,
    "adaptive_target": (0, -1, None),
    "custom_token_bans": _OFF,
    "banned_strings": (None, "", []),
    "bad_words": (None, "", []),
    "logprobs": _OFF,
    "top_logprobs": _OFF,
    "n_probs": _OFF,
}


def _aliases(*names: str) -> Any:  # noqa: ANN401  (pydantic's own type)
    return AliasChoices(*names)


def _as_list(value: object) -> object:
    """Return sequence breakers as a list: SillyTavern sends the text of a JSON list, or of one without brackets."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return json.loads(text if text.startswith("[") else f"[{text}]")
    except ValueError as error:
        raise ValueError('not a list of texts, such as ["\\n", ":"]') from error


def _no_limit(value: object) -> object:
    """Return nothing for the -1 with which clients of llama.cpp ask for no limit of their own."""
    return None if value == -1 and type(value) is int else value


def _as_biases(value: object) -> object:
    """Return biases as a mapping: llama.cpp takes pairs of a token id or text and a number, or false to forbid it."""
    if isinstance(value, list | dict) and len(value) > _MAX_BIASES:  # before any of them is looked at
        raise ValueError(f"{len(value)} biases; at most {_MAX_BIASES}")
    if isinstance(value, list):
        value = _of_pairs(value)
    if isinstance(value, dict) and any(_is_id(text) and len(text) > _MAX_ID_DIGITS for text in value):
        raise ValueError(f"a token id has more than {_MAX_ID_DIGITS} digits")
    return value


def _of_pairs(pairs: list[object]) -> dict[str, object]:
    biases: dict[str, object] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], bool):
            raise ValueError("not a list of pairs of a token id or a text and a number")
        if not isinstance(pair[0], int | str):
            raise ValueError("a pair does not begin with a token id or a text")
        if isinstance(pair[0], int) and pair[0] < 0:
            raise ValueError("a token id is below 0")
        biases[str(pair[0])] = -100.0 if pair[1] is False else pair[1]
    return biases


Stops = Annotated[list[str], Field(max_length=MAX_STOPS)] | str
Breakers = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(max_length=_MAX_BREAKERS),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}, "maxItems": 64}, {"type": "string"}]}),
]
Biases = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]],
    BeforeValidator(_as_biases),
    Field(max_length=_MAX_BIASES),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
                    "maxProperties": _MAX_BIASES,
                },
                {"type": "array"},
            ]
        }
    ),
]
NumTokens = Annotated[
    Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None,
    BeforeValidator(_no_limit),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_TOKENS}, {"const": -1}, {"type": "null"}]}
    ),
]


class Wire(BaseModel):
    """A body: types as they are, numbers finite, unknown fields ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class Samplers(Wire):
    """How to draw. What a request leaves out is as the character's own settings have it."""

    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, validation_alias=_aliases("typical_p", "typical", "typ_p")
    )
    repetition_penalty: Annotated[float, Field(gt=0, le=3)] | None = Field(
        None, validation_alias=_aliases("repetition_penalty", "rep_pen", "repeat_penalty")
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, validation_alias=_aliases("presence_penalty", "presence_pen")
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, validation_alias=_aliases("frequency_penalty", "freq_pen")
    )
    dry_multiplier: Annotated[float, Field(ge=0, le=100)] | None = None
    dry_base: Annotated[float, Field(ge=1, le=100)] | None = None
    dry_allowed_length: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    dry_penalty_last_n: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = Field(
        None, validation_alias=_aliases("dry_penalty_last_n", "dry_range")
    )
    dry_sequence_breakers: Breakers | None = None
    xtc_probability: Annotated[float, Field(ge=0, le=1)] | None = None
    xtc_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    mirostat_mode: Literal[0, 1, 2] | None = Field(None, validation_alias=_aliases("mirostat_mode", "mirostat"))
    mirostat_tau: Annotated[float, Field(ge=0, le=100)] | None = None
    mirostat_eta: Annotated[float, Field(ge=0, le=1)] | None = None
    logit_bias: Biases | None = None
    seed: Annotated[int, Field(ge=-1, lt=2**63)] | None = Field(None, validation_alias=_aliases("seed", "sampler_seed"))
    stop: Stops | None = Field(None, validation_alias=_aliases("stop", "stopping_strings", "stop_sequence"))
    max_tokens: NumTokens = Field(
        None, validation_alias=_aliases("max_tokens", "max_new_tokens", "max_length", "num_predict")
    )
    max_completion_tokens: NumTokens = None
    n_predict: Annotated[int, Field(ge=-2, le=MAX_TOKENS)] | None = None

    def sampling(self, default: Sampling, tokenizer: Callable[[], Tokenizer]) -> Sampling:
        """Return how to draw: what the request says, else `default`.

        Args:
            default: The character's own settings.
            tokenizer: Asked for only when a text has a bias.

        Raises:
            DataError: The tokens of a biased text are not known here.
        """
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        breakers = tuple(text for text in self.dry_sequence_breakers or () if text)
        return replace(
            default,
            max_new_tokens=self._num_tokens(default.max_new_tokens),
            temperature=_given(self.temperature, default.temperature),
            top_p=max(_LEAST_MASS, _given(self.top_p, default.top_p)),
            top_k=max(0, _given(self.top_k, default.top_k)),  # some clients say -1 for all
            min_p=_given(self.min_p, default.min_p),
            typical_p=max(_LEAST_MASS, _given(self.typical_p, default.typical_p)),
            repetition_penalty=_given(self.repetition_penalty, default.repetition_penalty),
            presence_penalty=_given(self.presence_penalty, default.presence_penalty),
            frequency_penalty=_given(self.frequency_penalty, default.frequency_penalty),
            dry_multiplier=_given(self.dry_multiplier, default.dry_multiplier),
            dry_base=_given(self.dry_base, default.dry_base),
            dry_allowed_length_tokens=max(1, _given(self.dry_allowed_length, default.dry_allowed_length_tokens)),
            # SillyTavern's neutral 0 would turn DRY off in llama.cpp and is everything in tabbyAPI; its switch is the
            # multiplier, so 0 is everything here.
            dry_window_tokens=_given(self.dry_penalty_last_n, default.dry_window_tokens) or -1,
            dry_sequence_breakers=breakers or default.dry_sequence_breakers,
            xtc_probability=_given(self.xtc_probability, default.xtc_probability),
            xtc_threshold=_given(self.xtc_threshold, default.xtc_threshold),
            mirostat=_given(self.mirostat_mode, default.mirostat),
            mirostat_tau=self.mirostat_tau or default.mirostat_tau,
            mirostat_eta=self.mirostat_eta or default.mirostat_eta,
            logit_bias=self._biases(tokenizer) if self.logit_bias is not None else default.logit_bias,
            stop=tuple(text for text in stop if text) or default.stop,
            seed=_given(self.seed, default.seed),
        )

    def _num_tokens(self, default: int) -> int:
        wanted = _given(self.max_completion_tokens, self.max_tokens)
        if wanted is None and self.n_predict is not None:
            wanted = self.n_predict if self.n_predict > 0 else MAX_TOKENS  # llama.cpp: below 0 is as many as fit
        return _given(wanted, default)

    def _biases(self, tokenizer: Callable[[], Tokenizer]) -> tuple[tuple[int, float], ...]:
        biases: dict[int, float] = {}
        for text, value in (self.logit_bias or {}).items():
            for token_id in (int(text),) if _is_id(text) else tokenizer().encode(text):
                biases[token_id] = value
        return tuple(biases.items())


def missing_settings(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of fields in a request that would change the reply, but that this server does not have."""
    return tuple(name for name, neutral in _MISSING.items() if name in document and document[name] not in neutral)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
