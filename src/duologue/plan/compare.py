"""Recipes side by side on one machine and the same data: each cell computed, none copied."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from duologue.engine import Hardware
from duologue.plan.plan import Plan, make_plan
from duologue.plan.resolve import lora_settings
from duologue.plan.shapes import num_adapter_params, num_params
from duologue.plan.table import Candidate


@dataclass(frozen=True, slots=True)
class Cell:
    """One value.

    Attributes:
        value: The number, or a word.
        text: As shown to people, with its unit.
    """

    value: float | str | None
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One property of all recipes.

    Attributes:
        name: Of the property.
        cells: One per recipe.
        change: From the first to each recipe, as a fraction; None where that says nothing.
    """

    name: str
    cells: tuple[Cell, ...]
    change: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Recipes side by side.

    Attributes:
        machine: What they are planned for.
        names: Of the recipes.
        lines: The table.
        plans: What it was made from.
    """

    machine: str
    names: tuple[str, ...]
    lines: tuple[Line, ...]
    plans: tuple[Plan, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON."""
        return {
            "machine": self.machine,
            "recipes": list(self.names),
            "lines": [asdict(line) for line in self.lines],
            "plans": {name: plan.as_json() for name, plan in zip(self.names, self.plans, strict=True)},
        }


def compare_recipes(candidates: Sequence[Candidate], hardware: Hardware) -> Comparison:
    """Return the before/after table of some recipes; changes are counted from the first.

    Raises:
        PlanError: A model or an adapter cannot exist.
        DataError: There is nothing to train on.
    """
    plans = tuple(make_plan(one.config, one.stats, one.facts, hardware) for one in candidates)
    rows = [_cells(candidate, plan) for candidate, plan in zip(candidates, plans, strict=True)]
    lines = tuple(_line(name, [row[name] for row in rows]) for name in rows[0])
    return Comparison(plans[0].machine, tuple(one.name for one in candidates), lines, plans)


def _line(name: str, cells: list[Cell]) -> Line:
    first = cells[0].value
    change: list[float | None] = []
    for cell in cells:
        is_number = isinstance(first, int | float) and isinstance(cell.value, int | float) and first
        change.append(cell.value / first - 1 if is_number else None)  # type: ignore[operator]
    return Line(name, tuple(cells), tuple(change))


def _cells(candidate: Candidate, plan: Plan) -> dict[str, Cell]:
    return {
        **_model_cells(candidate, plan),
        **_training_cells(candidate, plan),
        **_money_cells(plan),
        **_chat_cells(plan),
        **_machine_cells(plan),
    }


def _model_cells(candidate: Candidate, plan: Plan) -> dict[str, Cell]:
    facts, lora = candidate.facts, candidate.config.lora
    params, adapter = num_params(facts), num_adapter_params(facts, lora_settings(candidate.config))
    where = "all linear" if lora.target_modules == "all-linear" else ", ".join(lora.target_modules)
    settings = plan.settings
    form = settings.quantization
    if form == "nf4" and candidate.config.model.use_double_quantization:
        form_text = "nf4, double"
    else:
        form_text = f"{settings.compute_dtype}" if form == "none" else form
    return {
        "base model": Cell(facts.name, facts.name.rpartition("/")[2]),
        "model size": Cell(params, f"{params / 1e9:.2f}B parameters"),
        "weights": Cell(form, form_text),
        "LoRA": Cell(lora.rank, f"rank {lora.rank}, {where}"),
        "trained parameters": Cell(adapter, f"{adapter / 1e6:.1f}M"),
        "longest example": Cell(
            candidate.config.data.max_length_tokens, f"{candidate.config.data.max_length_tokens:,} tokens"
        ),
        "batch": Cell(
            settings.micro_batch_size * settings.gradient_accumulation_steps,
            f"{settings.micro_batch_size} x {settings.gradient_accumulation_steps}",
        ),
    }


def _training_cells(candidate: Candidate, plan: Plan) -> dict[str, Cell]:
    memory, time = plan.memory, plan.time
    hours, epoch = time.total_minutes / 60, plan.minutes_per_epoch / 60
    interval = f"{memory.low_gib:.1f} to {memory.high_gib:.1f}"
    return {
        "GPU memory": Cell(memory.device_gib, f"{memory.device_gib:.1f} GiB ({interval})"),
        f"on {plan.machine}": Cell(
            plan.verdict, {"fits": "fits", "tight": "tight", "no": "does not fit"}[plan.verdict]
        ),
        "time per epoch": Cell(epoch, _hours(epoch)),
        "epochs": Cell(candidate.config.training.num_epochs, f"{candidate.config.training.num_epochs:g}"),
        "training time": Cell(hours, f"{_hours(hours)} ({_span(time.low_minutes / 60, time.high_minutes / 60)})"),
        "speed": Cell(time.tokens_per_second, f"{time.tokens_per_second:,.0f} tokens/s"),
    }


def _money_cells(plan: Plan) -> dict[str, Cell]:
    cost = plan.cost
    rent = "no price known" if cost.rent_usd is None else f"${cost.rent_usd:,.2f}"
    return {
        "electricity per training": Cell(cost.electricity_usd, f"${cost.electricity_usd:,.2f}"),
        "rent per training": Cell(cost.rent_usd, rent),
    }


def _chat_cells(plan: Plan) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for chat in plan.chat:
        name = "as trained" if chat.engine == "hf" else f"GGUF {chat.format}"
        does_fit = "" if chat.fits else ", does not fit"
        speed = f"{chat.tokens_per_second:.0f} tokens/s ({chat.low_tokens_per_second:.0f} to "
        cells[f"chat speed, {name}"] = Cell(
            chat.tokens_per_second, f"{speed}{chat.high_tokens_per_second:.0f}){does_fit}"
        )
        cells[f"chat memory, {name}"] = Cell(
            chat.total_gib, f"{chat.total_gib:.1f} GiB at {chat.context_tokens:,} tokens"
        )
    return cells


def _machine_cells(plan: Plan) -> dict[str, Cell]:
    needs = plan.requirements
    export = {need.stage: need.gib for need in needs.disk}
    return {
        "storage for the run": Cell(needs.disk_gib, f"{needs.disk_gib:.1f} GiB"),
        "storage, merged and GGUF": Cell(export["gguf"], f"{export['gguf']:.1f} GiB"),
        "RAM for the run": Cell(needs.ram_gib, f"{needs.ram_gib:.1f} GiB"),
        "RAM to merge": Cell(_merge(plan), f"{_merge(plan):.1f} GiB"),
    }


def _merge(plan: Plan) -> float:
    return next(need.gib for need in plan.requirements.ram if need.stage == "merge")


def _span(low: float, high: float) -> str:
    return f"{low:.1f} to {high:.1f} h" if low >= 1.5 else f"{low * 60:.0f} to {high * 60:.0f} min"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1.5 else f"{hours * 60:.0f} min"
