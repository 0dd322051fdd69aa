"""`duologue train`: data check, plan, training, measurement."""

from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_evaluation
from duologue.cli.workflow import evaluate_run, prepare, train_run
from duologue.engine import EngineName


def train(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run.")] = False,
    evaluates: Annotated[
        bool, typer.Option("--eval/--no-eval", help="Measure base and tuned model afterwards.")
    ] = True,
    engine: Annotated[EngineName, typer.Option(help="Engine that trains.")] = "hf",
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Fine-tune the character. Ctrl-C saves; --resume goes on."""
    out = Output(is_json=is_json)
    prepared = prepare(folder, overrides, engine=engine)
    plan, result = train_run(prepared, out, is_resumed=is_resumed)
    document = {"plan": plan.as_json(), "training": result.as_json()}
    for name, pair in result.plan_versus_actual.items():
        out.say(f"  {name}: planned {pair['plan']:.2f}, measured {pair['actual']:.2f}")
    if result.learned:
        out.say(f"  {result.learned}")
    if evaluates and engine == "hf":
        out.title("Before and after")
        document["evaluation"] = evaluate_run(prepared, result.run, plan, out)
        show_evaluation(out, document["evaluation"])
        out.say(f"report: {result.run.folder / 'report.html'}")
    out.say(f"next: duologue chat {folder}, or duologue serve {folder}")
    out.result(document)
