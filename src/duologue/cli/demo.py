"""`duologue demo`: the main job end to end on the shipped character; run again, it goes on where it ended."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.characters import LILA_FOLDER, lila_data_files
from duologue.cli.measure_run import evaluate_run
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.serve import serve_folder
from duologue.cli.show import show_evaluation
from duologue.cli.workflow import Prepared, open_folder, prepare, train_run
from duologue.config import make_folder
from duologue.errors import InterruptedRun
from duologue.plan import plan_from_json
from duologue.train import Run, list_runs, newest_unfinished


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the character is made.")] = Path("lila"),
    serves: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the page and the API at the end.")] = True,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Make Lila, train her, measure her and serve her: the main job, without network, account or GPU."""
    out = Output(is_json=is_json)
    try:
        document = _make_and_measure(folder, overrides, out, serves=serves)
    except (KeyboardInterrupt, InterruptedRun) as error:
        kept = str(error) if isinstance(error, InterruptedRun) else "stopped between two steps."
        raise InterruptedRun(
            kept.split(" Go on")[0].rstrip("."),
            where=str(folder),
            action=f"What is finished is in {folder}. Go on with: duologue demo {folder}",
        ) from error
    if serves:
        serve_folder(folder, overrides, out, engine="hf", host=None, port=None, document=document)
    else:
        out.result(document)


def _make_and_measure(folder: Path, overrides: list[str] | None, out: Output, *, serves: bool) -> dict[str, Any]:
    started = time.monotonic()
    minutes: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal started
        minutes[name] = round((time.monotonic() - started) / 60, 3)
        started = time.monotonic()

    out.say(f"duologue demo: a character of your own in {folder}", style="bold")
    if not folder.exists():
        make_folder(folder, recipe="quickstart", data=lila_data_files(), card=LILA_FOLDER / "character.png")
    if serves:
        from duologue.serve import check_address

        server = open_folder(folder, overrides).server
        check_address(host=server.host, port=server.port)  # better now than after minutes of training
    prepared = prepare(folder, overrides)
    lap("prepare")
    finished = [run for run in list_runs(folder) if run.is_finished]
    unfinished = newest_unfinished(folder)
    if finished and unfinished is None:
        into = finished[-1]
        out.say(f"already trained in run {into.name}; duologue train {folder} trains anew")
    else:
        _, result = train_run(prepared, out, is_resumed=unfinished is not None)
        into = result.run
    lap("train")
    evaluation = _evaluation(prepared, into, out)
    lap("evaluate")
    out.say(f"report: {into.folder / 'report.html'}")
    return {
        "folder": str(folder),
        "data": {**prepared.account.as_json(), "stats": asdict(prepared.stats) | {"lengths": None}},
        "plan": into.read("plan.json"),
        "training": {"run": str(into.folder), **into.read("manifest.json")},
        "evaluation": evaluation,
        "report": str(into.folder / "report.html"),
        "minutes": minutes,
    }


def _evaluation(prepared: Prepared, into: Run, out: Output) -> dict[str, Any]:
    out.title("Before and after")
    if (into.folder / "report.html").is_file():
        evaluation = into.read("evaluation.json")
    else:
        evaluation = evaluate_run(prepared, into, plan_from_json(into.read("plan.json")), out)
    show_evaluation(out, evaluation)
    return evaluation
