"""What a search varies: learning rate, rank and epochs around a config, and a config with other values of them."""

from collections.abc import Callable
from dataclasses import dataclass

from duologue.config import Config

Settings = dict[str, float | int]  # by key of duologue.toml

LEARNING_RATE, RANK, ALPHA, EPOCHS = "training.learning_rate", "lora.rank", "lora.alpha", "training.num_epochs"
_RATE_FACTOR = 10.0  # either way: published best rates for LoRA lie within 1e-5 and 1e-2 (docs/explanation/learning.md)
_HIGHEST_RATE = 0.05
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_EPOCH_FACTORS = (1 / 3, 2 / 3, 1.0, 4 / 3)  # of the default's three: one, two, three, four


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting that is varied: a range on a logarithmic scale, or a few values.

    Attributes:
        key: In duologue.toml.
        low: Lower end of the range; 0 with `values`.
        high: Its upper end.
        values: What it can be, the cheapest first; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[float | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Space:
    """All that is varied.

    Attributes:
        axes: In the order in which they are drawn.
        start: The settings as they are, which are tried first.
    """

    axes: tuple[Axis, ...]
    start: Settings

    @property
    def cheapest(self) -> Settings:
        """The settings with the lowest value of each axis."""
        return {axis.key: axis.values[0] if axis.values else axis.low for axis in self.axes}


def make_space(config: Config, *, fits: Callable[[Settings], bool]) -> Space:
    """Return what is varied around a config.

    Alpha is not an axis: with Adam it does much the same as the learning rate. It follows the rank (`with_settings`).
    Epochs are not one where `training.max_steps` fixes the steps.

    Args:
        config: The settings as they are.
        fits: Whether a run with a rank fits the machine; ranks that do not are left out, the one as it is stays.
    """
    rate, rank, epochs = config.training.learning_rate, config.lora.rank, config.training.num_epochs
    ranks = tuple(sorted({max(1, round(rank * factor)) for factor in _FACTORS}))
    ranks = tuple(value for value in ranks if value == rank or fits({RANK: value}))
    axes = [
        Axis(LEARNING_RATE, rate / _RATE_FACTOR, max(rate, min(_HIGHEST_RATE, rate * _RATE_FACTOR))),
        Axis(RANK, values=ranks),
    ]
    start: Settings = {LEARNING_RATE: rate, RANK: rank}
    if config.training.max_steps == "auto":
        values = tuple(sorted({epochs, *(_rounded(epochs * factor) for factor in _EPOCH_FACTORS)}))
        axes.append(Axis(EPOCHS, values=values))
        start[EPOCHS] = epochs
    return Space(tuple(axes), start)


def with_settings(config: Config, settings: Settings) -> Config:
    """Return a config with other settings. Alpha keeps its ratio to the rank; with rsLoRA it stays as it is."""
    training, lora = config.training, config.lora
    if LEARNING_RATE in settings:
        training = training.model_copy(update={"learning_rate": settings[LEARNING_RATE]})
    if EPOCHS in settings:
        training = training.model_copy(update={"num_epochs": float(settings[EPOCHS])})
    if RANK in settings:
        rank = int(settings[RANK])
        alpha = lora.alpha if lora.use_rslora else max(1, round(lora.alpha * rank / lora.rank))
        lora = lora.model_copy(update={"rank": rank, "alpha": alpha})
    return config.model_copy(update={"training": training, "lora": lora})


def changed_keys(before: Config, after: Config) -> Settings:
    """Return the searched keys whose values differ, with their new values."""
    values: dict[str, tuple[float | int, float | int]] = {
        LEARNING_RATE: (before.training.learning_rate, after.training.learning_rate),
        RANK: (before.lora.rank, after.lora.rank),
        ALPHA: (before.lora.alpha, after.lora.alpha),
        EPOCHS: (before.training.num_epochs, after.training.num_epochs),
    }
    return {key: new for key, (old, new) in values.items() if old != new}


def set_lines(before: Config, after: Config) -> tuple[str, ...]:
    """Return the `section.key=value` lines that make the second config of the first."""
    return tuple(f"{key}={value:g}" for key, value in changed_keys(before, after).items())


def _rounded(epochs: float) -> float:
    return float(f"{epochs:.3g}")
