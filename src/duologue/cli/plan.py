"""`duologue plan`: fit, time and money before anything is spent. Imports no model library."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.calibration import measured_here
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.plan_subject import Subject, hardware_of, load_subject, subject_of
from duologue.cli.show_plan import show_notes, show_plan
from duologue.config import RECIPES
from duologue.errors import ConfigError
from duologue.plan import find_knobs, make_plan

ALL_GPUS = "all"


def plan(  # noqa: PLR0917 (typer reads the options of the command line off the parameters)
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[FOLDER]", help="A character's folder; with --compare, recipes.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Plan a recipe instead of a folder.")] = "",
    gpu: Annotated[
        str, typer.Option(help='Plan for this card, such as "RTX 4090", not the one at hand; "all": every card.')
    ] = "",
    is_comparing: Annotated[
        bool, typer.Option("--compare", help="Compare the named recipes, the first as it was.")
    ] = False,
    is_best: Annotated[bool, typer.Option("--best", help="Search the best recipe for the card.")] = False,
    deadline: Annotated[str, typer.Option(metavar="TIME", help="With --best: longest run, such as 10h or 90min.")] = "",
    max_usd: Annotated[float | None, typer.Option(help="With --best: dearest run.")] = None,
    min_context: Annotated[
        int | None, typer.Option(help="With --best: shortest acceptable example, in tokens.")
    ] = None,
    is_probing: Annotated[bool, typer.Option("--probe", help="Run a few real steps here and plan from them.")] = False,
    points: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Predict each row of a table of runs.")
    ] = None,
    audit: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Recompute a file of claims.")] = None,
    cloud: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Write a SkyPilot task that rents --gpu and trains there.")
    ] = None,
    bucket: Annotated[str, typer.Option(help="With --cloud: where the run is kept; made when missing.")] = "",
    num_gpus: Annotated[int, typer.Option(min=1, max=16, help="With --cloud: cards of the machine.")] = 1,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Say whether a run fits, how long it takes and what it costs. That it does not fit is an answer, not an error."""
    out = Output(is_json=is_json)
    modes = {
        "--compare": is_comparing,
        "--best": is_best,
        "--probe": is_probing,
        "--points": points is not None,
        "--audit": audit is not None,
        "--cloud": cloud is not None,
    }
    chosen = [name for name, is_chosen in modes.items() if is_chosen]
    best_only = {
        "--deadline": bool(deadline),
        "--max-usd": max_usd is not None,
        "--min-context": min_context is not None,
    }
    cloud_only = {"--bucket": bool(bucket), "--num-gpus": num_gpus != 1}
    _check_options(
        chosen,
        [name for name, is_given in best_only.items() if is_given],
        [name for name, is_given in cloud_only.items() if is_given],
        gpu=gpu,
    )
    if not chosen and not _is_all(gpu):
        _plan_one(out, subject_of(targets, recipe, overrides), gpu=gpu)
        return
    from duologue.cli import plan_modes  # what the plain plan would only wait for

    if points is not None or audit is not None:
        if targets or recipe or gpu or overrides:
            raise ConfigError(f"{chosen[0]} reads everything from its file", needed="no folder, recipe, --gpu or --set")
        if points is not None:
            plan_modes.predict_table(out, points)
        elif audit is not None:
            plan_modes.audit_claims(out, audit)
    elif is_comparing:
        names = [*(targets or ()), *([recipe] if recipe else ())]
        plan_modes.compare_named(out, names, gpu=gpu, overrides=overrides)
    elif is_best:
        subject = subject_of(targets, recipe, overrides) if targets or recipe else None
        limits = plan_modes.limits_of(deadline, max_usd, min_context)
        plan_modes.find_best(out, subject, gpu=gpu, limits=limits, overrides=overrides)
    elif is_probing:
        plan_modes.probe_here(out, subject_of(targets, recipe, overrides), overrides)
    elif cloud is not None:
        from duologue.cli.plan_cloud import write_cloud_task

        subject = subject_of(targets, recipe, overrides)
        write_cloud_task(out, subject, cloud, gpu=gpu, bucket=bucket, num_gpus=num_gpus, overrides=overrides)
    else:
        plan_modes.show_every_card(out, _subjects(targets, recipe, overrides))


def _subjects(targets: list[str] | None, recipe: str, overrides: list[str] | None) -> list[Subject]:
    """What is planned for every card: what is named, or every recipe."""
    if targets or recipe:
        return [subject_of(targets, recipe, overrides)]
    return [load_subject(name, overrides, is_recipe=True) for name in RECIPES]


def _plan_one(out: Output, subject: Subject, *, gpu: str) -> None:
    """Print one plan with what each setting buys.

    Raises:
        PlanError: The model, the adapter or the card cannot be planned.
    """
    facts, hardware = subject.facts(), hardware_of(gpu, subject.folder)
    measured = None if gpu else measured_here()
    made = make_plan(subject.config, subject.stats, facts, hardware, measured=measured)
    knobs = find_knobs(subject.config, subject.stats, facts, hardware, measured=measured)
    show_plan(out, made, knobs)
    show_notes(out, subject.notes)
    document = {"knobs": [knob.as_json() for knob in knobs], "notes": list(subject.notes)}
    out.result({**made.as_json(), **document})


def _is_all(gpu: str) -> bool:
    return gpu.strip().lower() == ALL_GPUS


def _check_options(chosen: list[str], best_only: list[str], cloud_only: list[str], *, gpu: str) -> None:
    """Refuse options that contradict each other.

    Raises:
        ConfigError: With both of them.
    """
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} do not go together", needed="one of them")
    if best_only and chosen != ["--best"]:
        raise ConfigError(f"{', '.join(best_only)} only limits a search", needed="--best")
    if cloud_only and chosen != ["--cloud"]:
        raise ConfigError(f"{', '.join(cloud_only)} is about a rented machine", needed="--cloud")
    if _is_all(gpu) and chosen:
        raise ConfigError(f"--gpu all does not go with {chosen[0]}", needed="one card")
    if gpu and chosen == ["--probe"]:
        raise ConfigError("--probe measures the hardware at hand", needed="no --gpu")
