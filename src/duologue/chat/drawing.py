"""How replies are drawn: the settings of duologue.toml as the engines take them."""

from collections.abc import Mapping
from dataclasses import replace

from duologue.chat.buffer import Room
from duologue.chat.cast import Cast
from duologue.config import PRESET_KEYS, Config, make_config
from duologue.engine import Generator, Sampling, Tokenizer
from duologue.errors import ConfigError, DataError

_SAME_NAMES = (
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "stop",
    "seed",
    "typical_p",
    "presence_penalty",
    "frequency_penalty",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length_tokens",
    "dry_window_tokens",
    "dry_sequence_breakers",
    "xtc_probability",
    "xtc_threshold",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
MAX_CONTEXT_TOKENS = 4096  # what `generation.context_tokens = "auto"` takes at most
_OF_PRESETS = frozenset(PRESET_KEYS) - {"max_new_tokens", "stop", "logit_bias", "seed"}


class Drawing:
    """How replies are drawn, and what of that can be changed while talking.

    Attributes:
        config: The configuration, with what was changed since it was opened.
        sampling: The settings as engines take them.

    Args:
        config: The configuration as it was opened.
        generator: The engine.
        cast: In a chat of several, the name of whoever speaks next ends a reply.
    """

    def __init__(self, config: Config, generator: Generator, *, cast: Cast | None = None) -> None:
        """Take the settings of the configuration.

        Raises:
            ConfigError: A text of `generation.logit_bias` cannot be told in tokens.
        """
        self.config = config
        self._generator = generator
        self._cast = cast
        self._stop = _names_that_end(cast, config) if cast is not None and cast.is_group else ()
        self.sampling = make_sampling(config, generator.tokenizer)

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        wanted = self.config.generation.context_tokens
        return min(self._generator.context_tokens, MAX_CONTEXT_TOKENS if wanted == "auto" else wanted)

    @property
    def room(self) -> Room:
        """How long the prompt of a reply may be."""
        return Room(self.context_tokens, self.bounded(self.sampling).max_new_tokens)

    @property
    def for_reply(self) -> Sampling:
        """How a stored reply is drawn: nobody speaks for the others."""
        return self.bounded(replace(self.sampling, stop=(*self.sampling.stop, *self._stop)))

    def bounded(self, sampling: Sampling) -> Sampling:
        """Leave at least half of the context to the prompt."""
        return replace(sampling, max_new_tokens=max(1, min(sampling.max_new_tokens, self.context_tokens // 2)))

    def for_config(self, config: Config) -> "Drawing":
        """Return the same with another configuration."""
        return Drawing(config, self._generator, cast=self._cast)

    def change(self, values: Mapping[str, str], *, preset: str = "") -> None:
        """Take a preset, or other values.

        Raises:
            ConfigError: There is no such preset or key, or a value is wrong; nothing is changed.
        """
        config = config_with_preset(self.config, preset) if preset else self.config
        config = changed_config(config, values)
        self.sampling = make_sampling(config, self._generator.tokenizer)
        self.config = config

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the model."""
        return self._generator.tokenizer

    def unsupported(self, sampling: Sampling | None = None) -> tuple[str, ...]:
        """Return the names of settings that would do something but that the engine cannot honour.

        Args:
            sampling: The settings; None for those in use.
        """
        return self._generator.unsupported(self.sampling if sampling is None else sampling)


def _names_that_end(cast: Cast, config: Config) -> tuple[str, ...]:
    names = (config.character.user_name, *(member.name for member in cast.members))
    return tuple(f"\n{name}:" for name in names)


def make_sampling(config: Config, tokenizer: Tokenizer) -> Sampling:
    """Return how replies are drawn, as `[generation]` says.

    Args:
        config: The configuration; a preset is part of it already.
        tokenizer: Finds the tokens of the texts in `generation.logit_bias`.

    Raises:
        ConfigError: A text of `generation.logit_bias` cannot be told in tokens.
    """
    settings = config.generation
    bias: dict[int, float] = {}
    for text, value in settings.logit_bias.items():
        for token_id in _token_ids(text, tokenizer):
            bias[token_id] = value
    values = {name: getattr(settings, name) for name in _SAME_NAMES}
    return Sampling(**values, logit_bias=tuple(bias.items()))


def changed_config(config: Config, values: Mapping[str, str]) -> Config:
    """Return a configuration with other values in `[generation]`, as they would be written after `--set`.

    Raises:
        ConfigError: A key or a value is wrong.
    """
    tree = config.model_dump(exclude_unset=True)
    tree.get("generation", {}).pop("preset", None)  # its keys are in there already
    lines = [f"generation.{key}={value}" for key, value in values.items()]
    return make_config(tree, overrides=lines, where="settings")


def config_with_preset(config: Config, name: str) -> Config:
    """Return a configuration whose sampler settings are those of a preset, and the defaults where it says nothing.

    Raises:
        ConfigError: There is no such preset.
    """
    tree = config.model_dump(exclude_unset=True)
    generation = {key: value for key, value in tree.get("generation", {}).items() if key not in _OF_PRESETS}
    return make_config({**tree, "generation": {**generation, "preset": name}}, where="settings")


def _token_ids(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    if text.isdecimal():
        return (int(text),)
    try:
        return tuple(tokenizer.encode(text))
    except DataError as error:
        raise ConfigError(
            f"the tokens of '{text}' are not known: {error.found}",
            where="generation.logit_bias",
            action="Write the number of the token instead of its text.",
        ) from error
