"""`duologue train`: data check, plan, training, measurement."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_evaluation
from duologue.cli.workflow import evaluate_run, prepare, train_run
from duologue.engine import EngineName, Place, join_training
from duologue.errors import ConfigError
from duologue.train import Sharing, TrainingResult, read_history


def train(
    folder: Annotated[Path, typer.Argument(help="A character's folder.")],
    *,
    is_resumed: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run.")] = False,
    evaluates: Annotated[
        bool, typer.Option("--eval/--no-eval", help="Measure base and tuned model afterwards.")
    ] = True,
    engine: Annotated[EngineName, typer.Option(help="Engine that trains.")] = "hf",
    num_processes: Annotated[
        int, typer.Option(min=1, help="Processes that share each step, one device each (as does accelerate launch).")
    ] = 1,
    is_sharded: Annotated[
        bool, typer.Option("--shard", help="Each process holds only a part of the base (NF4 or 16 bit).")
    ] = False,
    overrides: SetOption = None,
    is_json: JsonFlag = False,
) -> None:
    """Fine-tune the character. Ctrl-C saves; --resume goes on."""
    place = _launched_place(os.environ)
    if place is not None and place.rank:
        join_training(place)
        return
    out = Output(is_json=is_json)
    sharing = _sharing(place.num_processes if place else num_processes, is_sharded=is_sharded, engine=engine)
    prepared = prepare(folder, overrides, engine=engine, place=place)
    plan, result = train_run(prepared, out, is_resumed=is_resumed, sharing=sharing)
    document = {"plan": plan.as_json(), "training": result.as_json()}
    for name, pair in result.plan_versus_actual.items():
        out.say(f"  {name}: planned {pair['plan']:.2f}, measured {pair['actual']:.2f}")
    for line in [*result.fit.changes, *_ends(result)]:
        out.say(f"  {line}")
    if result.learned:
        out.say(f"  {result.learned}")
    if evaluates and engine == "hf":
        out.title("Before and after")
        document["evaluation"] = evaluate_run(prepared, result.run, plan, out)
        show_evaluation(out, document["evaluation"])
        out.say(f"report: {result.run.folder / 'report.html'}")
    out.say(f"next: duologue chat {folder}, or duologue serve {folder}")
    out.result(document)


def _sharing(num_processes: int, *, is_sharded: bool, engine: EngineName) -> Sharing:
    """Return how the run is spread.

    Raises:
        ConfigError: The options contradict each other.
    """
    if num_processes > 1 and engine != "hf":
        raise ConfigError(f"engine '{engine}' trains in one process", where="--num-processes", needed="--engine hf")
    if is_sharded and num_processes == 1:
        raise ConfigError("one process has nobody to share the base with", where="--shard", needed="--num-processes 2")
    return Sharing(num_processes, is_sharded)


def _launched_place(environment: Mapping[str, str]) -> Place | None:
    """Return where a launcher (accelerate launch, torchrun) put this process; None without one."""
    if int(environment.get("WORLD_SIZE", "1")) < 2 or "RANK" not in environment:
        return None
    rank = int(environment["RANK"])
    local_rank = int(environment.get("LOCAL_RANK", environment["RANK"]))
    return Place(rank, int(environment["WORLD_SIZE"]), "env://", local_rank)


def _ends(result: TrainingResult) -> list[str]:
    """How the run ended, where it did not go to its last step with the last weights."""
    kept = read_history(result.run).kept_step
    lines = [f"ended early, after step {result.fit.num_steps}"] if result.fit.was_stopped_early else []
    return [*lines, f"the adapter is that of step {kept}, which was best"] if kept else lines
