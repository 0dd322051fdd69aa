"""`evaluate_run`: a run of a prepared folder measured, its evaluation.json and its report.html written."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from duologue.cli.judging import opened_judge
from duologue.cli.output import Output
from duologue.cli.progress import show_progress
from duologue.cli.workflow import Prepared
from duologue.data import RenderSettings, load_splits
from duologue.engine import Adapter, BaseModel, EngineName, Example, TextTokenizer, open_generator
from duologue.errors import ConfigError
from duologue.messages import Conversation
from duologue.plan import Plan
from duologue.train import Run, list_runs, read_history, read_lineage, user_header

if TYPE_CHECKING:
    from duologue.evaluate import Evaluation, Subject

_TRAINED_WITH = ("model", "data", "lora", "training", "budget")  # sections of the configuration


def evaluate_run(
    prepared: Prepared,
    into: Run,
    plan: Plan,
    out: Output,
    *,
    suite: str = "quick",
    against: Run | None = None,
    engine: EngineName = "hf",
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
        engine: What the tuned model is opened with; `gguf` opens the folder's export.
        is_fresh: See everything again, whatever was kept.
        overrides: Lines of `--set`, which are told in how to repeat it.
    """
    from duologue import evaluate  # brings matplotlib, which no other command needs

    chosen = evaluate.load_suite(suite)
    base = _subject(prepared, against, "hf") if against else _base_subject(prepared, into)
    tuned = _subject(prepared, into, engine)
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
    with show_progress(out) as on_event, opened_judge(prepared.config.evaluation.judge) as judge:
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


def _base_subject(prepared: Prepared, into: Run) -> "Subject":
    from duologue.evaluate import Subject

    base = replace(into.adapter().base, trusted_code=prepared.config.model.trusted_code)
    return Subject("base", _model_document(base, None, "hf"), lambda: open_generator("hf", base))


def _subject(prepared: Prepared, run: Run, engine: EngineName) -> "Subject":
    """Return a run as what is measured.

    Raises:
        ConfigError: The engine cannot open it here.
    """
    from duologue.evaluate import Subject

    adapter: Adapter | None = run.adapter()
    assert adapter is not None
    base = replace(adapter.base, trusted_code=prepared.config.model.trusted_code)
    if engine == "gguf":
        from duologue.export import find_gguf

        found = find_gguf(run.folder.resolve().parent.parent, adapter)
        if found is None or found.fault:
            raise ConfigError(
                found.fault if found else "there is no GGUF export of this run",
                where=str(run.folder),
                action=f"Run: duologue export gguf {prepared.folder}",
            )
        base, adapter = found.model()
    elif engine != "hf":
        raise ConfigError(f"engine '{engine}' cannot score replies", where="--engine", needed="'hf' or 'gguf'")
    document = _model_document(base, run.read("manifest.json")["adapter_sha256"], engine)
    return Subject(run.name, document, lambda: open_generator(engine, base, adapter=adapter))


def _model_document(base: BaseModel, adapter_sha256: dict[str, str] | None, engine: EngineName) -> dict[str, Any]:
    model = {name: value for name, value in asdict(base).items() if name != "trusted_code"}
    return {**model, "adapter_sha256": adapter_sha256, "engine": engine}
