"""`duologue eval`: base and tuned model measured on the held-out conversations."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_evaluation
from duologue.cli.workflow import evaluate_run, prepare
from duologue.errors import ConfigError
from duologue.plan import plan_from_json
from duologue.train import list_runs


def evaluate(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    run: Annotated[str, typer.Option(help="Name of a run; the newest finished one by default.")] = "",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Measure a trained run against its base model and write report.html."""
    out = Output(is_json=is_json)
    prepared = prepare(folder, overrides)
    finished = [item for item in list_runs(folder) if item.is_finished and run in ("", item.name)]
    if not finished:
        name = f"finished run named '{run}'" if run else "finished run"
        raise ConfigError(f"there is no {name}", where=str(folder), action=f"Run: duologue train {folder}")
    into = finished[-1]
    evaluation = evaluate_run(prepared, into, plan_from_json(into.read("plan.json")), out)
    show_evaluation(out, evaluation)
    out.say(f"report: {into.folder / 'report.html'}")
    out.result({"run": str(into.folder), **evaluation})
