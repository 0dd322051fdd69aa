"""What else `duologue plan` can be asked: every card, a comparison, a search, a table of runs, claims, a probe."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from duologue.cli.output import Output
from duologue.cli.plan_subject import Subject, facts_of_base, hardware_of, load_subject
from duologue.cli.show_plan import show_notes, show_plan
from duologue.cli.show_search import show_audit, show_best, show_cards, show_comparison, show_points
from duologue.config import RECIPES, make_config
from duologue.data import DataStats
from duologue.errors import ConfigError, DataError
from duologue.plan import (
    LENGTHS_TOKENS,
    Candidate,
    Limits,
    card_table,
    compare_recipes,
    cut_stats,
    even_stats,
    find_recipes,
    hardware_for,
    least_gib,
    longest_example,
    machine_of,
    ways_out,
    without_display,
)

_ASSUMED_TOKENS = 614_400  # the text of 1,000 conversations of up to 1,024 tokens
_ON_DEMAND_GPU = "RTX 4090 24GB"  # a comparison on a machine without a GPU needs some card to be about
_NAMED_SIZES = {"13B": "meta-llama/Llama-2-13b-chat-hf", "34B": "chargoddard/Yi-34B-200K-Llama"}
_ATTENTION_ONLY = ("q_proj", "k_proj", "v_proj", "o_proj")
_SHORT_TOKENS = 512
_UNITS_IN_HOURS = {"min": 1 / 60, "m": 1 / 60, "h": 1.0, "": 1.0, "d": 24.0}


def show_every_card(out: Output, subjects: Sequence[Subject]) -> None:
    """Print every card of the table with one config, or with several side by side.

    Raises:
        PlanError: The model is not known.
    """
    candidates = [Candidate(one.name, one.config, one.facts(), one.stats) for one in subjects]
    rows = card_table(candidates, base=hardware_of(_ON_DEMAND_GPU, subjects[0].folder))
    show_cards(out, rows)
    notes = subjects[0].notes
    show_notes(out, notes)
    out.result({"cards": [row.as_json() for row in rows], "notes": list(notes)})


def compare_named(out: Output, names: Sequence[str], *, gpu: str, overrides: list[str] | None) -> None:
    """Print recipes side by side on the same data, and the ways out when the first needs a big card.

    Raises:
        ConfigError: There are fewer than two recipes, or one of them does not exist.
    """
    if len(names) < 2:
        known = ", ".join(RECIPES)
        raise ConfigError("a comparison needs two recipes or more", where="--compare", needed=f"names of {known}")
    subjects = [load_subject(name, overrides, is_recipe=name in RECIPES or not Path(name).is_dir()) for name in names]
    own = next((one for one in subjects if one.folder is not None), subjects[0])  # a folder brings its data for all
    candidates = [
        Candidate(one.name, one.config, one.facts(), _cut(own.stats, one.config.data.max_length_tokens))
        for one in subjects
    ]
    notes = list(own.notes)
    hardware = hardware_of(gpu, own.folder)
    if not hardware.gpus:
        hardware = hardware_for(_ON_DEMAND_GPU, base=hardware)
        notes.append(f"there is no GPU here, so this is about an {_ON_DEMAND_GPU}: --gpu names another")
    comparison = compare_recipes(candidates, hardware)
    ways = ways_out(candidates[0], candidates[-1], base=hardware, owned=machine_of(hardware))
    show_comparison(out, comparison, ways)
    show_notes(out, notes)
    out.result({**comparison.as_json(), "ways_out": ways.as_json(), "notes": notes})


def find_best(out: Output, subject: Subject | None, *, gpu: str, limits: Limits, overrides: list[str] | None) -> None:
    """Print the best recipes for a card, and how far 13B and 34B models go on it.

    Raises:
        ConfigError: The card or an override does not exist.
        PlanError: Nothing fits.
    """
    if subject is None:
        tree = {"model": {"base": "searched"}, "data": {"train": ["data/*.json"]}}
        config = make_config(tree, overrides=overrides or (), where="the defaults")
        notes = ["no data is given: 614,400 tokens are assumed, spread evenly over examples up to each length"]
    else:
        config, notes = subject.config, list(subject.notes)
    hardware = hardware_of(gpu, subject.folder if subject else None)
    machine = without_display(machine_of(hardware))
    stats_for, lengths = _data_for(subject, config.data.validation_fraction)
    found = find_recipes(config, stats_for, machine=machine, limits=limits, lengths=lengths)
    reach = []
    for size, base in _NAMED_SIZES.items():
        facts = facts_of_base(base)
        reach.append(
            {
                "size": size,
                "base": base,
                "longest_tokens": longest_example(config, facts, machine=machine),
                "longest_tokens_attention_only": longest_example(
                    config, facts, machine=machine, target_modules=_ATTENTION_ONLY
                ),
                "high_gib_at_512": least_gib(config, facts, machine=machine, num_tokens=_SHORT_TOKENS),
                "rank": config.lora.rank,
            }
        )
    show_best(out, found, reach, machine=machine, limits=limits, free_bytes=machine_of(hardware).available_bytes)
    show_notes(out, notes)
    document: dict[str, Any] = {
        "machine": machine.name,
        "available_gib": machine.available_bytes / 2**30,
        "best": found.choices[0].as_json() if found.choices else None,
        "pareto": [choice.as_json() for choice in found.choices],
        "num_planned": found.num_planned,
        "num_too_large": found.num_too_large,
        "num_over_deadline": found.num_over_deadline,
        "num_over_price": found.num_over_price,
        "reach": reach,
        "notes": notes,
    }
    out.result(document)


def predict_table(out: Output, path: Path) -> None:
    """Print a prediction for every row of a table of runs.

    Raises:
        DataError: The file cannot be read or has no rows.
    """
    from duologue.plan import predict_points

    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"the table cannot be read ({reason})", where=str(path), needed="a CSV file") from error
    if not rows:
        raise DataError("the table has no rows", where=str(path), needed="a header and a row for each run")
    predictions = [point.as_json() for point in predict_points(rows)]
    show_points(out, predictions)
    out.result(predictions)


def audit_claims(out: Output, path: Path) -> None:
    """Print each claim of a file with its verdict and arithmetic.

    Raises:
        ConfigError: The file cannot be read or has faults.
    """
    from duologue.plan import audit_file

    audit = audit_file(path).as_json()
    show_audit(out, audit)
    out.result(audit)


def probe_here(out: Output, subject: Subject, overrides: list[str] | None) -> None:
    """Run a few real steps of a folder's job on this machine and print the plan that follows from them.

    Raises:
        ConfigError: It is a recipe, which has no data to run on.
        EngineError: The model cannot be loaded or memory ran out.
    """
    if subject.folder is None:
        raise ConfigError("a recipe has no data to probe with", where="--probe", needed="a character's folder")
    from duologue.cli.workflow import plan_of, prepare
    from duologue.engine import probe_training
    from duologue.train import make_job

    prepared = prepare(subject.folder, overrides)
    before = plan_of(prepared)
    out.say("probing: a few steps at the longest and at the typical length", style="dim")
    job = make_job(prepared.config, before, subject.folder)
    made = plan_of(prepared, probe=probe_training(job, prepared.examples.train))
    show_plan(out, made)
    change = made.time.tokens_per_second / before.time.tokens_per_second
    out.say(
        f"  before the probe: {before.time.tokens_per_second:,.0f} tokens/s, {before.memory.device_gib:.1f} GiB; "
        f"the probe makes it {change:.2f} times as fast",
        style="dim",
    )
    out.result({**made.as_json(), "before_probe": before.as_json(), "notes": []})


def limits_of(deadline: str, max_usd: float | None, min_context: int | None) -> Limits:
    """Return the limits of a search as they were typed.

    Raises:
        ConfigError: One of them is no time, no price or no length; all are named at once.
    """
    faults = []
    hours = _hours(deadline) if deadline else None
    if deadline and not hours:
        faults.append(f"--deadline {deadline}: expected a time above zero such as 10h, 90min or 2d")
    if max_usd is not None and not max_usd > 0:
        faults.append(f"--max-usd {max_usd:g}: expected a price above zero")
    if min_context is not None and not 16 <= min_context <= 10_000_000:
        faults.append(f"--min-context {min_context}: expected a number of tokens, at least 16")
    if faults:
        raise ConfigError("; ".join(faults))
    return Limits(hours, max_usd, Limits().min_context_tokens if min_context is None else min_context)


def _hours(text: str) -> float | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|m|h|d|)", text.strip().lower())
    return float(found[1]) * _UNITS_IN_HOURS[found[2]] if found else None


def _data_for(subject: Subject | None, validation_fraction: float) -> tuple[Callable[[int], DataStats], list[int]]:
    """The data at a length limit, and the limits that make a difference to it."""
    if subject is None or subject.folder is None:
        made: dict[int, DataStats] = {}

        def assumed(length: int) -> DataStats:
            if length not in made:
                made[length] = even_stats(length, num_tokens=_ASSUMED_TOKENS, validation_fraction=validation_fraction)
            return made[length]

        return assumed, list(LENGTHS_TOKENS)
    stats = subject.stats
    shorter = [length for length in LENGTHS_TOKENS if length < stats.max_tokens]
    return lambda length: _cut(stats, length), [max(16, stats.max_tokens), *shorter]


def _cut(stats: DataStats, length: int) -> DataStats:
    return stats if length >= stats.max_tokens else cut_stats(stats, max_length_tokens=length)
