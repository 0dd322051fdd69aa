"""`evaluate_run`: a run of a prepared folder measured, its evaluation.json and its report.html written."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from duologue.cli.engines import MeasuringEngine
from duologue.cli.judging import opened_judge
from duologue.cli.output import Output
from duologue.cli.progress import show_progress
from duologue.cli.workflow import Prepared
from duologue.data import RenderSettings, load_splits
from duologue.engine import BaseModel, Example, TextTokenizer
from duologue.messages import Conversation
from duologue.plan import Plan
from duologue.train import Run, list_runs, read_history, read_lineage, user_header

if TYPE_CHECKING:
    from duologue.evaluate import Evaluation

_TRAINED_WITH = ("model", "data", "lora", "training", "budget")  # sections of the configuration


def evaluate_run(
    prepared: Prepared,
    into: Run,
    plan: Plan,
    out: Output,
    *,
    suite: str = "quick",
    against: Run | None = None,
    engine: MeasuringEngine = "auto",
    is_fresh: bool = False,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure a run, write evaluation.json and report.html into its folder; return the evaluation as JSON.

    Args:
        prepared: The character's folder.
        into: The run.
        plan: The run's.
        out: Where progress goes.
        suite: What is looked at: a name or a file.
        against: A run that takes the base model's place; the files are named after it.
        engine: What the models are opened with, as `measured_on.find_subjects` chooses it.
        is_fresh: See everything again, whatever was kept.
        overrides: Lines of `--set`, which are told in how to repeat it.
    """
    from duologue import evaluate  # brings matplotlib, which no other command needs
    from duologue.cli.measured_on import find_subjects

    chosen = evaluate.load_suite(suite)
    splits = load_splits(prepared.config, prepared.folder) if chosen.has_dialogues else None
    train, held_out = (tuple(splits.train), tuple(splits.validation)) if splits else ((), ())
    secrets, canaries = _canaries(prepared, train) if chosen.has_dialogues else ({}, ())
    work = evaluate.make_work(
        chosen,
        prepared.config,
        prepared.character,
        train=prepared.examples.train,
        validation=prepared.examples.validation,
        conversations=(train, held_out),
        canaries=canaries,
    )
    known = evaluate.Known(
        prepared.config,
        prepared.character,
        train,
        held_out,
        canaries=secrets,
        seed=prepared.config.run.seed,
        more={"user_header": user_header(_tokenizer(prepared))},
    )
    others = tuple(run.folder for run in list_runs(prepared.folder))
    with ExitStack() as stack:
        made = Path(stack.enter_context(TemporaryDirectory()))
        one = engine if engine != "auto" or chosen.has_dialogues else "hf"  # few replies are not worth another load
        base, tuned, talks = find_subjects(prepared, into, against, engine=one, work=made)
        if talks:
            out.say(talks)
        on_event = stack.enter_context(show_progress(out))
        judge = stack.enter_context(opened_judge(prepared.config.evaluation.judge))
        if judge is not None:
            chosen = replace(
                chosen, evaluators={"judge": evaluate.load_evaluator("judge").version, **chosen.evaluators}
            )
            known = replace(known, more={**known.more, "judge": judge})
        evaluation = evaluate.run(
            chosen,
            work,
            known,
            base=base,
            tuned=tuned,
            stats=prepared.stats,
            on_event=on_event,
            kept=evaluate.Kept(into.folder, others, is_fresh),
        )
    evaluation = replace(evaluation, facts={**evaluation.facts, "settings": _settings(into), "set": [*overrides]})
    document = evaluation.as_json()
    ending = f"-against-{against.name}" if against else ""
    into.write(f"evaluation{ending}.json", document)
    _write_report(prepared, into, plan, evaluation, name=f"report{ending}.html")
    return document


def _settings(run: Run) -> dict[str, Any]:
    """Return what a run was trained with, for the table of what differs between runs; empty where it was not kept."""
    if not (run.folder / "resolved.json").is_file():
        return {}
    resolved = run.read("resolved.json")
    return {name: resolved[name] for name in _TRAINED_WITH if name in resolved}


def _canaries(prepared: Prepared, train: Sequence[Conversation]) -> tuple[dict[str, bool], tuple[Example, ...]]:
    """Return the made-up secrets of `evaluation.canaries` and what is scored of them; nothing where there are none."""
    config = prepared.config
    if not config.evaluation.canaries:
        return {}, ()
    from duologue.evaluate import canary_examples, known_canaries, load_canaries

    found = load_canaries(prepared.folder / config.evaluation.canaries)
    settings = RenderSettings(
        user_name=config.character.user_name,
        max_length_tokens=config.data.max_length_tokens,
        long_conversations=config.data.long_conversations,
        train_on_greeting=config.data.train_on_greeting,
    )
    examples = canary_examples(
        found, _tokenizer(prepared), character=prepared.character, settings=settings, seed=config.run.seed
    )
    return known_canaries(found, train), examples


def _tokenizer(prepared: Prepared) -> TextTokenizer:
    model = prepared.config.model
    return prepared.trainer.tokenizer(BaseModel(model.base, trusted_code=model.trusted_code))


def _write_report(prepared: Prepared, into: Run, plan: Plan, evaluation: "Evaluation", *, name: str) -> None:
    from duologue import evaluate

    history, manifest = read_history(into), into.read("manifest.json")
    picture = prepared.folder / prepared.config.character.card
    evaluate.write_report(
        into.folder / name,
        title=f"{prepared.character.name}, run {into.name}",
        character=prepared.character,
        evaluation=evaluation,
        history=history.steps,
        validation_points=history.validation,
        sampled=history.replies,
        kept_step=history.kept_step,
        lineage=read_lineage(into),
        plan=plan,
        plan_versus_actual=manifest["plan_versus_actual"],
        learned=manifest.get("learned", ""),
        account=prepared.account,
        stats=prepared.stats,
        picture=picture if picture.suffix.lower() == ".png" and picture.is_file() else None,
    )
