"""`duologue eval`: a run measured against its base or another run, one run or several side by side, with a gate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.cli.engines import MeasuringEngine
from duologue.cli.measure_run import evaluate_run
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_evaluation, show_gate
from duologue.cli.workflow import Prepared, open_folder, prepare
from duologue.errors import ConfigError
from duologue.plan import plan_from_json
from duologue.train import Run, held_out_before, list_runs

_ENGINE = (
    "What the models are opened with: hf as they were trained, gguf the export; auto is hf, with replies by llama.cpp "
    "where that is quicker."
)
_BASE = "base"
_MODEL, _FRACTION = "model.base", "data.validation_fraction"


def evaluate(
    folder: Annotated[Path, typer.Argument(help="A character's folder, or the folder of one of its runs.")],
    *,
    run: Annotated[str, typer.Option(help="Name of a run; the newest finished one by default.")] = "",
    against: Annotated[str, typer.Option(help="What it is compared with: base, or a run (name or folder).")] = _BASE,
    has_gate: Annotated[
        bool, typer.Option("--gate", help="End with code 8 when a limit of [evaluation] is broken.")
    ] = False,
    compare: Annotated[
        list[str] | None, typer.Option(help="A further run (name or folder) to put beside it; may be repeated.")
    ] = None,
    suite: Annotated[str, typer.Option(help="What is looked at: quick, standard, thorough or a file.")] = "",
    engine: Annotated[MeasuringEngine, typer.Option(help=_ENGINE)] = "auto",
    is_fresh: Annotated[bool, typer.Option("--fresh", help="Ask the models again, whatever was kept.")] = False,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Measure a trained run against its base model and write report.html."""
    from duologue.evaluate import EXIT_CODE, load_suite, write_comparison

    out = Output(is_json=is_json)
    if not run and (folder / "adapter").is_dir() and (folder / "plan.json").is_file():
        folder, run = folder.resolve().parent.parent, folder.resolve().name
    first = _find_run(folder, run)
    others = [_find_run(folder, name) for name in compare or ()]
    rival = None if against == _BASE else _find_run(folder, against)
    wanted = suite or open_folder(folder, overrides).evaluation.suite
    load_suite(wanted)  # its faults are told before a model is loaded
    lines = [_as_trained(one, rival, overrides or [], out) for one in (first, *others)]
    documents: list[tuple[str, dict[str, Any]]] = []
    for one, own in zip((first, *others), lines, strict=True):
        document = _measured(
            prepare(_home(one), own),
            one,
            out,
            suite=wanted,
            against=rival,
            engine=engine,
            is_fresh=is_fresh,
            overrides=overrides or (),
        )
        is_here = _home(one) == folder.resolve()
        documents.append((one.name if is_here else f"{_home(one).name}/{one.name}", document))
    result = {"run": str(first.folder), **documents[0][1]}
    if others:
        page = first.folder / "compare.html"
        write_comparison(page, documents)
        out.say(f"side by side: {page}")
        result["compared"] = [{"name": name, "evaluation": document} for name, document in documents]
        result["comparison"] = str(page)
    if has_gate:
        show_gate(out, documents)
    out.result(result)
    if has_gate and not all(document["gate"]["is_open"] for _, document in documents):
        raise typer.Exit(EXIT_CODE)


def _measured(
    prepared: Prepared,
    run: Run,
    out: Output,
    *,
    suite: str,
    against: Run | None,
    engine: MeasuringEngine,
    is_fresh: bool,
    overrides: Sequence[str],
) -> dict[str, Any]:
    out.title(f"{prepared.character.name}, run {run.name}")
    plan = plan_from_json(run.read("plan.json"))
    rival = None if against is None or against.folder == run.folder else against
    document = evaluate_run(
        prepared,
        run,
        plan,
        out,
        suite=suite,
        against=rival,
        engine=engine,
        is_fresh=is_fresh,
        overrides=overrides,
    )
    show_evaluation(out, document)
    out.say(f"report: {run.folder / (f'report-against-{rival.name}.html' if rival else 'report.html')}")
    return document


def _as_trained(run: Run, rival: Run | None, overrides: list[str], out: Output) -> list[str]:
    """Return the lines of `--set` under which no held-out conversation is one that a run was trained on.

    A run is measured on its own base, in whose tokens the conversations are cut, and on what it held out.

    Raises:
        ConfigError: The run and its rival have different bases, or held out different conversations.
    """
    home = _home(run)
    changed = _differing(run, home, overrides)
    lines = [*overrides, *_set_lines(changed)]
    if rival is not None:
        theirs = _differing(rival, home, lines)
        if theirs.keys() - {_FRACTION}:
            raise ConfigError(
                f"run {rival.name} had {_listed(theirs)}, unlike run {run.name}: what one of them held out, the other "
                "may have been trained on, or reads in other tokens",
                where="--against",
                needed="a run on the same base that held out the same conversations",
                action=f"Put them side by side with: duologue eval {home} --run {run.name} --compare {rival.name}",
            )
        changed |= theirs
    if changed:
        out.say(f"run {run.name} is measured as it was trained: {_listed(changed)}", style="yellow")
    return [*overrides, *_set_lines(changed)]


def _differing(run: Run, home: Path, lines: list[str]) -> dict[str, Any]:
    """Return the settings of a run that must be those it was trained with and are not, by key with its values."""
    config = open_folder(home, lines)
    base = run.read("manifest.json")["base"]["name"]
    return ({_MODEL: base} if base != config.model.base else {}) | held_out_before(run, config)


def _set_lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _find_run(folder: Path, name: str) -> Run:
    """Return a finished run by its name in the character's folder or by its own folder; the newest without a name.

    Raises:
        ConfigError: There is none.
    """
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), action="Make one with: duologue new NAME")
    finished = [item for item in list_runs(folder) if item.is_finished]
    found = [item for item in finished if name in ("", item.name)]
    if found:
        return found[-1]
    if name and (there := Run(Path(name).resolve())).is_finished:
        return there
    raise ConfigError(
        f"there is no finished run{f' named {name!r}' if name else ''}",
        where=str(folder),
        needed=" or ".join(item.name for item in finished),
        action="" if finished else f"Run: duologue train {folder}",
    )


def _home(run: Run) -> Path:
    return run.folder.resolve().parent.parent
