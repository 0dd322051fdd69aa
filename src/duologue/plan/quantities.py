"""Facts that a claim can be held against: of a run on a card, of a model, of a card. Each says how it came about."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from duologue.config import Config, load_recipe, make_config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.errors import PlanError
from duologue.plan.example_data import example_stats
from duologue.plan.flops import training_flops
from duologue.plan.forecast import Forecast, forecast
from duologue.plan.gpus import GpuFacts, hardware_for
from duologue.plan.machine import Machine, machine_of
from duologue.plan.memory import weight_bytes
from duologue.plan.models import known_facts
from duologue.plan.shapes import num_adapter_params, num_params
from duologue.plan.workload import Workload

GB = 1e9
_GIB_IN_GB = 2**30 / GB
_TRAINED_FRACTION = 0.5
# The same everywhere, so that an audit does not depend on the machine it runs on.
_HOST = Hardware((), num_cores=16, ram_bytes=2**37, ram_free_bytes=2**37, disk_free_bytes=2**40)


@dataclass(frozen=True, slots=True)
class Setting:
    """A run that a claim speaks about.

    Attributes:
        recipe: A shipped recipe; empty when `model` is given alone.
        model: Base model; empty for the recipe's own.
        overrides: Lines as after `--set`.
        gpu: A card of the table.
        num_samples: Training examples; 0 takes the planner's assumed data.
        length_tokens: Their length; 0 takes `data.max_length_tokens`.
    """

    recipe: str = ""
    model: str = ""
    overrides: tuple[str, ...] = ()
    gpu: str = ""
    num_samples: int = 0
    length_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit and how it came about.

    Attributes:
        value: In `unit`.
        unit: Such as `GB`; empty for a ratio.
        how: Where it comes from, in words and numbers.
    """

    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Computed:
    """A setting with everything the planner says about it."""

    config: Config
    facts: ModelFacts
    machine: Machine
    forecast: Forecast

    @property
    def workload(self) -> Workload:
        """The work in numbers."""
        return self.forecast.workload


@lru_cache(maxsize=256)  # the claims of one file speak about the same few settings
def compute(setting: Setting) -> Computed:
    """Return what the planner says about a setting.

    Raises:
        ConfigError: Recipe or overrides have faults.
        PlanError: Model or card are unknown, or the run cannot exist.
    """
    config = config_of(setting)
    facts = model_facts(config.model.base)
    stats = _stats(setting, config)
    machine = machine_of(hardware_for(setting.gpu, base=_HOST))
    return Computed(config, facts, machine, forecast(config, stats, facts, machine=machine))


def config_of(setting: Setting) -> Config:
    """Return the config of a setting.

    Raises:
        ConfigError: Recipe or overrides have faults.
    """
    overrides = list(setting.overrides)
    if not setting.recipe:
        tree = {"model": {"base": setting.model}, "data": {"train": ["data/*.json"]}}
        return make_config(tree, overrides=overrides, where="setting")
    if setting.model:
        overrides.append(f"model.base={setting.model}")
    return load_recipe(setting.recipe, overrides=overrides)


def model_facts(name: str) -> ModelFacts:
    """Return the shape of a model of the table.

    Raises:
        PlanError: It is not there.
    """
    facts = known_facts(name)
    if facts is None:
        raise PlanError(f"the shape of '{name}' is not known here", needed="a model of the planner's table")
    return facts


def gpu_facts(name: str) -> GpuFacts:
    """Return the row of a card.

    Raises:
        PlanError: None or several have this name.
    """
    row = machine_of(hardware_for(name, base=_HOST)).gpu_facts
    assert row is not None, "hardware_for returns cards of the table only"
    return row


def setting_quantity(found: Computed, fact: str) -> Quantity:
    """Return one fact of a setting."""
    value, unit, how = SETTING_FACTS[fact](found)
    return Quantity(value, unit, how)


def model_quantity(name: str, fact: str) -> Quantity:
    """Return one fact of a model."""
    value, unit, words = MODEL_FACTS[fact](model_facts(name))
    return Quantity(value, unit, f"{words} of {name}")


def gpu_quantity(name: str, fact: str) -> Quantity | None:
    """Return one fact of a card, or None where the table has no value."""
    row = gpu_facts(name)
    value, unit, words = GPU_FACTS[fact](row)
    return None if value is None else Quantity(value, unit, f"{words} of {row.name}")


def setting_words(found: Computed) -> str:
    """Return a setting in words: model, weight format, adapter, batch, card."""
    settings, lora = found.forecast.settings, found.config.lora
    targets = lora.target_modules if isinstance(lora.target_modules, str) else ",".join(lora.target_modules)
    kept = "on" if settings.use_gradient_checkpointing else "off"
    return (
        f"{found.facts.name} in {settings.quantization}, LoRA r{lora.rank} on {targets}, "
        f"{settings.micro_batch_size} x {found.workload.stats.max_tokens} tokens, checkpointing {kept}, "
        f"on {found.machine.name}"
    )


Fact = tuple[float, str, str]


def _memory(part: str) -> Callable[[Computed], Fact]:
    def read(found: Computed) -> Fact:
        memory = found.forecast.memory
        gib: float = getattr(memory, f"{part}_gib")
        listed = " + ".join(f"{item.gib * _GIB_IN_GB:.2f} ({item.name})" for item in memory.components)
        how = f"{part} memory" if part != "device" else f"{listed} GB"
        return gib * _GIB_IN_GB, "GB", how

    return read


def _weights(found: Computed) -> Fact:
    packed, other = weight_bytes(found.workload)
    parts = f"{packed / GB:.2f} (linear layers) + {other / GB:.2f} (the rest) GB"
    return (packed + other) / GB, "GB", parts


def _linear_weights(found: Computed) -> Fact:
    return weight_bytes(found.workload)[0] / GB, "GB", "linear weights"


def _hours(part: str) -> Callable[[Computed], Fact]:
    def read(found: Computed) -> Fact:
        time = found.forecast.time
        minutes = time.train_minutes if part == "train" else time.total_minutes
        how = f"{time.num_tokens:,} tokens at {time.tokens_per_second:,.0f} tokens/s"
        return minutes / 60, "h", how if part == "train" else f"all minutes ({how})"

    return read


def _speed(found: Computed) -> Fact:
    return found.forecast.time.tokens_per_second, "tokens/s", "training speed"


def _adapter(found: Computed) -> Fact:
    count = num_adapter_params(found.facts, found.workload.lora)
    return count / 1e6, "million", "adapter parameters"


def _flops(found: Computed) -> Fact:
    return training_flops(found.workload).total / 1e9, "GFLOP", "arithmetic per token"


def _rent(found: Computed) -> Fact:
    rent = found.forecast.cost.rent_usd
    if rent is None:
        raise PlanError(f"no rent is known for {found.machine.name}", where="rent_usd", needed="another card")
    return rent, "USD", "rent"


def _batch(found: Computed) -> Fact:
    settings = found.forecast.settings
    return settings.micro_batch_size * settings.gradient_accumulation_steps, "examples", "global batch"


SETTING_FACTS: dict[str, Callable[[Computed], Fact]] = {
    "device_gb": _memory("device"),
    "reserved_gb": _memory("reserved"),
    "allocated_gb": _memory("allocated"),
    "weights_gb": _weights,
    "linear_weights_gb": _linear_weights,
    "adapter_millions": _adapter,
    "gflops_per_token": _flops,
    "tokens_per_second": _speed,
    "train_hours": _hours("train"),
    "total_hours": _hours("total"),
    "electricity_kwh": lambda found: (found.forecast.cost.electricity_kwh, "kWh", "energy"),
    "electricity_usd": lambda found: (found.forecast.cost.electricity_usd, "USD", "electricity"),
    "rent_usd": _rent,
    "examples_per_step": _batch,
    "length_tokens": lambda found: (found.workload.mean_tokens, "tokens", "mean length"),
}
MODEL_FACTS: dict[str, Callable[[ModelFacts], Fact]] = {
    "billion_parameters": lambda facts: (num_params(facts) / 1e9, "billion", "parameters"),
    "weights_16bit_gb": lambda facts: (2 * num_params(facts) / GB, "GB", "weights in 16 bit"),
    "context_tokens": lambda facts: (facts.context_tokens, "tokens", "context"),
    "vocab_size": lambda facts: (facts.vocab_size, "tokens", "vocabulary"),
}
GPU_FACTS: dict[str, Callable[[GpuFacts], tuple[float | None, str, str]]] = {
    "memory_gib": lambda row: (row.memory_bytes / 2**30, "GiB", "memory"),
    "rent_usd_per_hour": lambda row: (row.rent_usd_per_hour, "USD/h", f"rent on {row.prices_date}"),
    "launch_usd": lambda row: (row.launch_usd, "USD", "price at launch"),
    "watts": lambda row: (row.watts, "W", "board power"),
    "tflops": lambda row: (row.tensor_flops / 1e12, "TFLOP/s", "dense 16-bit rate"),
    "bandwidth_gb_per_second": lambda row: (row.bandwidth_bytes_per_second / GB, "GB/s", "memory bandwidth"),
}


def _stats(setting: Setting, config: Config) -> DataStats:
    if not setting.num_samples and not setting.length_tokens:
        return example_stats(config)
    length = setting.length_tokens or config.data.max_length_tokens
    count = setting.num_samples or 1000
    return DataStats(
        num_train_examples=count,
        num_validation_examples=0,
        num_tokens=count * length,
        num_trained_tokens=round(count * length * _TRAINED_FRACTION),
        num_validation_tokens=0,
        max_tokens=length,
        lengths=(length,) * count,
    )
