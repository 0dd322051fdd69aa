"""`duologue train`: data check, plan, training, measurement."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from duologue.cli.measure_run import evaluate_run
from duologue.cli.output import JsonFlag, Output, SetOption
from duologue.cli.show import show_evaluation
from duologue.cli.workflow import prepare, train_run
from duologue.engine import EngineName, Place, join_training
from duologue.errors import ConfigError
from duologue.train import Sharing, TrainingResult, is_from_feedback, newest_unfinished, read_history


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
    learns_from_feedback: Annotated[
        bool, typer.Option("--from-feedback", help="Go on from a trained adapter with what people liked and corrected.")
    ] = False,
    start: Annotated[
        str, typer.Option(metavar="RUN", help="With --from-feedback: the run to go on from, else the newest one.")
    ] = "",
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
    if is_resumed and not learns_from_feedback:
        learns_from_feedback = is_from_feedback(newest_unfinished(folder))
    if learns_from_feedback:
        _require_plain(sharing, engine=engine, start=start, is_resumed=is_resumed)
    elif start:
        raise ConfigError("a plain run starts from the base model", where="--start", needed="--from-feedback")
    prepared = prepare(folder, overrides, engine=engine, place=place)
    document: dict[str, Any] = {}
    if learns_from_feedback:
        from duologue.cli.train_feedback import as_json, train_feedback  # brings the chats, which no other run needs

        feedback, result = train_feedback(prepared, out, start=start, is_resumed=is_resumed)
        plan, document["feedback"] = feedback.plan, as_json(feedback, result)
    else:
        plan, result = train_run(prepared, out, is_resumed=is_resumed, sharing=sharing)
    document |= {"plan": plan.as_json(), "training": result.as_json()}
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


def _require_plain(sharing: Sharing, *, engine: EngineName, start: str, is_resumed: bool) -> None:
    """Refuse what learning from feedback cannot do.

    Raises:
        ConfigError: Another engine, several processes, or a start for a run that has one.
    """
    if engine != "hf":
        raise ConfigError(f"engine '{engine}' cannot learn from feedback", where="--engine", needed="hf")
    if sharing.num_processes > 1:
        raise ConfigError(
            "feedback is learned in one process",
            where="--num-processes",
            needed="1",
            action="Leave --num-processes out; there is rarely enough feedback to keep two devices busy.",
        )
    if start and is_resumed:
        raise ConfigError("an interrupted run knows where it started", where="--start", needed="no --start")


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
