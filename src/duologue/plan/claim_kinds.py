"""The kinds of checks a claim can ask for. Each is a table of a few keys; most are one formula written for people."""

from collections.abc import Callable, Mapping

from duologue.errors import DuologueError
from duologue.plan.claims import Calculation, Check, FitsCheck, Looked, LossCheck, NoCheck, NumberCheck, Span, Stated
from duologue.plan.formula import names_in
from duologue.plan.quantities import GPU_FACTS, MODEL_FACTS, SETTING_FACTS, Setting, gpu_facts, model_facts
from duologue.plan.reading import Table

GB_PER_GIB = 2**30 / 1e9
_PARTS = ("device", "reserved", "allocated", "weights", "linear_weights")
_RELATIONS = ("is", "at-most", "at-least")
Settings = Mapping[str, Setting]


def read_check(table: Table, settings: Settings) -> Check | None:
    """Return one check; None when its kind is unknown, which is noted as a fault."""
    kind = table.choice("kind", tuple(KINDS))
    if kind not in KINDS:
        return None
    check = KINDS[kind](table, settings)
    table.end()
    return check


def read_calculation(table: Table, settings: Settings) -> Calculation:
    """Return a calculation of `numbers` and `formula`."""
    numbers: dict[str, Stated | Looked] = {}
    given = table.table("numbers")
    for name in given.values if given else ():
        assert given is not None
        if not name.isidentifier():
            given.fault(f"'{name}' cannot be a name in a formula")
        numbers[name] = _source(given, name, settings)
    formula = table.text("formula")
    try:
        unknown = [name for name in names_in(formula) if name not in numbers] if formula else []
    except ValueError as error:
        table.fault(f"'formula' cannot be read: {error}")
    else:
        if unknown:
            table.fault(f"'formula' uses {', '.join(unknown)}, which 'numbers' does not have")
    return Calculation(table.text("asks", default="the value"), formula, numbers, table.text("unit", default=""))


def read_setting(value: object, *, table: Table, settings: Settings) -> Setting:
    """Return a setting by its name, or from a table of its own that may start from a named one (`like`)."""
    if isinstance(value, str):
        if value not in settings:
            known = ", ".join(settings) or "none is given"
            table.fault(f"there is no [setting.{value}]; known: {known}")
        return settings.get(value, Setting())
    if not isinstance(value, dict):
        table.fault(f"a setting is {value!r:.60}; expected a name or a table")
        return Setting()
    own = Table(value, f"{table.where}, setting", table.faults)
    like = own.text("like", default="")
    start = read_setting(like, table=own, settings=settings) if like else Setting()
    setting = Setting(
        recipe=own.text("recipe", default=start.recipe),
        model=own.text("model", default=start.model),
        overrides=(*start.overrides, *own.texts("set")),
        gpu=own.text("gpu", default=start.gpu),
        num_samples=own.count("num_samples") or start.num_samples,
        length_tokens=own.count("length_tokens") or start.length_tokens,
    )
    own.end()
    if not setting.recipe and not setting.model:
        own.fault("neither 'recipe' nor 'model' is given")
    return setting


def _setting(table: Table, key: str, settings: Settings) -> Setting:
    value = table.raw(key)
    return Setting() if value is None else read_setting(value, table=table, settings=settings)


def _source(table: Table, name: str, settings: Settings) -> Stated | Looked:
    """A number of a formula: plain, with unit and source, or a fact of a setting, a model or a card."""
    value = table.values[name]
    if not isinstance(value, dict):
        return Stated(table.number(name), "", "stated")
    own = Table(value, f"{table.where}, {name}", table.faults)
    found: Stated | Looked
    if own.has("setting"):
        found = Looked("setting", "", _setting(own, "setting", settings), own.choice("fact", tuple(SETTING_FACTS)))
    elif own.has("model"):
        found = Looked("model", _known(own, "model", model_facts), None, own.choice("fact", tuple(MODEL_FACTS)))
    elif own.has("gpu"):
        found = Looked("gpu", _known(own, "gpu", gpu_facts), None, own.choice("fact", tuple(GPU_FACTS)))
    else:
        found = Stated(own.number("value"), own.text("unit", default=""), own.text("source", default="stated"))
    own.end()
    return found


def _known(table: Table, key: str, look_up: Callable[[str], object]) -> str:
    """Return a name of a table of the planner; an unknown one is a fault with the nearest names."""
    name = table.text(key)
    if name:
        try:
            look_up(name)
        except DuologueError as error:
            table.fault(error.sentence())
    return name


def _number_check(
    table: Table,
    calculation: Calculation,
    *,
    claimed: Span,
    tolerance: float,
    also: tuple[Span, ...] | None = None,
) -> NumberCheck:
    relation = table.choice("relation", _RELATIONS, default="is")
    return NumberCheck(
        kind=table.text("kind"),
        calculation=calculation,
        claimed=claimed,
        also_claimed=table.spans("also_claimed") if also is None else also,
        relation="at-most" if relation == "at-most" else "at-least" if relation == "at-least" else "is",
        tolerance_percent=table.number("tolerance_percent", default=tolerance),
        note=table.text("note", default=""),
    )


def _gb_check(table: Table, calculation: Calculation, *, tolerance: float) -> NumberCheck:
    """The claim is in GB or in GiB; the calculation in GB."""
    key = "claimed_gib" if table.has("claimed_gib") else "claimed_gb"
    scale = GB_PER_GIB if key == "claimed_gib" else 1.0
    low, high = table.span(key)
    also = tuple((scale * first, scale * last) for first, last in table.spans("also_claimed"))
    return _number_check(table, calculation, claimed=(scale * low, scale * high), tolerance=tolerance, also=also)


def _memory(table: Table, settings: Settings) -> Check:
    part = table.choice("part", _PARTS, default="device")
    needed = Looked("setting", "", _setting(table, "setting", settings), f"{part}_gb")
    calculation = Calculation(f"{part.replace('_', ' ')} memory", "needed", {"needed": needed}, "GB")
    return _gb_check(table, calculation, tolerance=8)


def _memory_difference(table: Table, settings: Settings) -> Check:
    part = table.choice("part", _PARTS, default="device")
    numbers: dict[str, Stated | Looked] = {
        name: Looked("setting", "", _setting(table, name, settings), f"{part}_gb") for name in ("first", "second")
    }
    if table.has("claimed_percent"):
        words = f"{part.replace('_', ' ')} memory saved by the second"
        calculation = Calculation(words, "(1 - second / first) * 100", numbers, "%")
        return _number_check(table, calculation, claimed=table.span("claimed_percent"), tolerance=15)
    words = f"{part.replace('_', ' ')} memory, first minus second"
    return _gb_check(table, Calculation(words, "first - second", numbers, "GB"), tolerance=15)


def _fits(table: Table, settings: Settings) -> Check:
    value = table.raw("setting")
    given = {**value, "gpu": "RTX 4090"} if isinstance(value, dict) else value  # any card: `claimed` names them
    setting = Setting() if value is None else read_setting(given, table=table, settings=settings)
    claimed: dict[str, bool] = {}
    cards = table.table("claimed")
    for name, fits in cards.values.items() if cards else ():
        assert cards is not None
        if isinstance(fits, bool):
            claimed[name] = fits
        else:
            cards.fault(f"'{name}' is {fits!r:.60}; expected true or false")
        try:
            gpu_facts(name)
        except DuologueError as error:
            cards.fault(error.sentence())
    if cards and not cards.values:
        cards.fault("names no card")
    return FitsCheck(setting, claimed, table.text("note", default=""))


def _hours(table: Table, settings: Settings) -> Check:
    part = table.choice("part", ("train", "total"), default="train")
    hours = Looked("setting", "", _setting(table, "setting", settings), f"{part}_hours")
    calculation = Calculation("duration", "hours", {"hours": hours}, "h")
    # The plan's own interval begins 30 % below its prediction.
    return _number_check(table, calculation, claimed=table.span("claimed_hours"), tolerance=30)


def _speed_ratio(table: Table, settings: Settings) -> Check:
    per = table.choice("per", ("token", "example", "run"), default="token")
    first, second = (_setting(table, key, settings) for key in ("first", "second"))
    numbers: dict[str, Stated | Looked]
    if per == "run":
        numbers = {
            "first_hours": Looked("setting", "", first, "train_hours"),
            "second_hours": Looked("setting", "", second, "train_hours"),
        }
        formula = "second_hours / first_hours"
    else:
        numbers = {
            "first_speed": Looked("setting", "", first, "tokens_per_second"),
            "second_speed": Looked("setting", "", second, "tokens_per_second"),
        }
        formula = "first_speed / second_speed"
        if per == "example":
            numbers["first_length"] = Looked("setting", "", first, "length_tokens")
            numbers["second_length"] = Looked("setting", "", second, "length_tokens")
            formula = "(first_speed / first_length) / (second_speed / second_length)"
    if table.has("claimed_percent"):
        words, unit, claimed = f"percent faster per {per}", "%", table.span("claimed_percent")
        formula = f"({formula} - 1) * 100"
    else:
        words, unit, claimed = f"times as fast per {per}", "times", table.span("claimed_ratio")
    return _number_check(table, Calculation(words, formula, numbers, unit), claimed=claimed, tolerance=15)


def _size_ratio(table: Table, settings: Settings) -> Check:  # noqa: ARG001 (every kind has the same signature)
    numbers: dict[str, Stated | Looked] = {
        key: Looked("model", _known(table, key, model_facts), None, "billion_parameters") for key in ("first", "second")
    }
    calculation = Calculation("the second model is smaller by", "(1 - second / first) * 100", numbers, "%")
    return _number_check(table, calculation, claimed=table.span("claimed_percent"), tolerance=2)


def _of_table(of: str, facts: tuple[str, ...], look_up: Callable[[str], object]) -> Callable[[Table, Settings], Check]:
    def read(table: Table, settings: Settings) -> Check:  # noqa: ARG001
        name, fact = _known(table, of, look_up), table.choice("fact", facts)
        looked = Looked("gpu" if of == "gpu" else "model", name, None, fact)
        calculation = Calculation(f"{fact.replace('_', ' ')} of {name}", "value", {"value": looked}, "")
        return _number_check(table, calculation, claimed=table.span("claimed"), tolerance=5)

    return read


def _break_even(table: Table, settings: Settings) -> Check:
    keys = ("buy_usd", "resale_usd", "rent_usd_per_run", "own_usd_per_run")
    numbers: dict[str, Stated | Looked] = {}
    for key in keys:
        if table.has(key) or key in ("buy_usd", "rent_usd_per_run"):
            table.raw(key)
            numbers[key] = _source(table, key, settings) if table.has(key) else Stated(0, "USD", "")
        else:
            numbers[key] = Stated(0, "USD", "not stated")
    formula = "(buy_usd - resale_usd) / (rent_usd_per_run - own_usd_per_run)"
    calculation = Calculation("runs until buying has cost less than renting", formula, numbers, "runs")
    return _number_check(table, calculation, claimed=table.span("claimed_runs"), tolerance=15)


def _arithmetic(table: Table, settings: Settings) -> Check:
    calculation = read_calculation(table, settings)
    return _number_check(table, calculation, claimed=table.span("claimed"), tolerance=2)


def _perplexity(table: Table, settings: Settings) -> Check:  # noqa: ARG001
    claimed = table.spans("claimed_perplexity")
    if not claimed or any(low < 1 for low, _ in claimed):
        table.fault("'claimed_perplexity' needs a list of numbers from 1")
    models = table.texts("models")
    for name in models:
        try:
            model_facts(name)
        except DuologueError as error:
            table.fault(error.sentence())
    return LossCheck(claimed, table.span("usual_nats"), table.text("source"), models, table.text("note", default=""))


def _unsupported(table: Table, settings: Settings) -> Check:  # noqa: ARG001
    return NoCheck(table.text("reason"), table.text("needed"))


KINDS: dict[str, Callable[[Table, Settings], Check]] = {
    "memory": _memory,
    "memory-difference": _memory_difference,
    "fits": _fits,
    "hours": _hours,
    "speed-ratio": _speed_ratio,
    "size-ratio": _size_ratio,
    "gpu": _of_table("gpu", tuple(GPU_FACTS), gpu_facts),
    "model": _of_table("model", tuple(MODEL_FACTS), model_facts),
    "break-even": _break_even,
    "arithmetic": _arithmetic,
    "perplexity": _perplexity,
    "unsupported": _unsupported,
}
