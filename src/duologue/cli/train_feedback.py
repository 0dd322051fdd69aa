"""`duologue train --from-feedback`: what people said of replies, shown, planned and learned."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from duologue.cli.calibration import measured_here
from duologue.cli.output import Output
from duologue.cli.places import database_url
from duologue.cli.progress import show_progress
from duologue.cli.show_plan import show_plan
from duologue.cli.workflow import Prepared, stop_on_signals
from duologue.config import Config
from duologue.data import render_feedback
from duologue.engine import BaseModel, open_preference_trainer
from duologue.plan import known_facts, plan_feedback
from duologue.train import (
    Chosen,
    FeedbackRun,
    Pieces,
    Run,
    TrainingResult,
    choose,
    feedback_config,
    find_start,
    held_out_change,
    load_resumable_feedback,
    new_run,
    run_feedback,
    training_lock,
)

_LARGEST_RISE = 0.02  # of the held-out loss, that goes without a word of warning


def train_feedback(
    prepared: Prepared, out: Output, *, start: str, is_resumed: bool
) -> tuple[FeedbackRun, TrainingResult]:
    """Show what feedback there is, plan and learn; or continue the interrupted run.

    Args:
        prepared: The character's folder.
        out: Where it is said.
        start: Name of the run to go on from; empty for the newest finished one.
        is_resumed: Whether to go on with the interrupted run, with the feedback it was started with.

    Raises:
        DataError: There is no feedback to learn from.
        InterruptedRun: Ctrl-C or SIGTERM; everything up to the last step is saved.
    """
    from duologue.chat import collect_feedback

    folder, config = prepared.folder, prepared.config
    with training_lock(folder / "runs"):
        found = collect_feedback(folder, config, database_url=database_url())
        pieces = Pieces(tuple(found.preferences), tuple(found.opinions), tuple(found.corrections))
        if is_resumed:
            into, plan, before = load_resumable_feedback(folder, config, prepared.account, prepared.character)
            pieces = pieces.only(before["pieces"])
            feedback = make_feedback_run(prepared, pieces, before["started_from"])
            feedback = replace(feedback, plan=plan, num_sft_steps=before["num_sft_steps"])
        else:
            feedback = make_feedback_run(prepared, pieces, start)
            into = None
        feedback = replace(feedback, collected=found.account.as_json())
        out.title("The feedback")
        _show_chosen(out, feedback)
        out.title("The plan")
        show_plan(out, feedback.plan)
        into = into or new_run(folder, today=date.today())
        out.title(f"Learning from feedback, run {into.name}")
        out.say(f"live curves: tensorboard --logdir {into.folder / 'tensorboard'}")
        with stop_on_signals() as should_stop, show_progress(out) as on_event:
            result = run_feedback(
                into,
                feedback,
                config=config,
                config_text=prepared.config_text,
                examples=prepared.examples,
                stats=prepared.stats,
                account=prepared.account,
                trainer=open_preference_trainer(),
                on_event=on_event,
                should_stop=should_stop,
                character=prepared.character,
            )
    show_held_out(out, result.run)
    return feedback, result


def as_json(feedback: FeedbackRun, result: TrainingResult) -> dict[str, Any]:
    """Return what was learned of, from where on, and what became of the held-out loss."""
    change = held_out_change(result.run)
    account = {name: value for name, value in feedback.account().items() if name != "pieces"}
    before, after = change or (None, None)
    return {**account, "held_out_loss_before": before, "held_out_loss_after": after}


def show_held_out(out: Output, run: Run) -> None:
    """Say what learning from feedback cost on held-out conversations."""
    change = held_out_change(run)
    if change is None:
        return
    before, after = change
    rise = after / before - 1 if before else 0.0
    is_much = rise > _LARGEST_RISE
    out.say(
        f"loss on held-out conversations: {before:.3f} before, {after:.3f} after ({rise:+.1%})"
        + ("; raise feedback.beta or lower feedback.learning_rate to forget less" if is_much else ""),
        style="yellow" if is_much else "",
    )


def make_feedback_run(prepared: Prepared, pieces: Pieces, start: str = "") -> FeedbackRun:
    """Return the run that a folder's feedback makes.

    Args:
        prepared: The character's folder.
        pieces: The feedback.
        start: Name of the run to go on from; empty for the newest finished one.

    Raises:
        ConfigError: There is no such run, or it has another base model.
        DataError: There is nothing to learn.
        PlanError: It does not fit.
    """
    config = prepared.config
    run, adapter = find_start(prepared.folder, start)
    own: Config = feedback_config(config, run)
    base = BaseModel(config.model.base, trusted_code=config.model.trusted_code)
    rendered = render_feedback(
        preferences=pieces.preferences,
        opinions=pieces.opinions,
        corrections=pieces.corrections,
        tokenizer=prepared.trainer.tokenizer(base),
        character=prepared.character,
        config=config,
    )
    chosen: Chosen = choose(rendered, config, train=prepared.examples.train)
    facts = known_facts(base.name) or prepared.trainer.facts(base)
    work = chosen.work(prepared.examples.validation, replay_fraction=config.feedback.replay_fraction)
    plan, num_sft_steps = plan_feedback(own, work, facts, prepared.hardware, measured=measured_here(None))
    return FeedbackRun(run, adapter, pieces, chosen, own, plan, num_sft_steps)


def _show_chosen(out: Output, feedback: FeedbackRun) -> None:
    """Say by kind what will be learned and what will not; `duologue feedback list` shows each."""
    numbers: Mapping[str, Any] = feedback.chosen.as_json()
    out.say(f"going on from run {feedback.start.name}")
    for name, text in (
        ("num_corrected_replies", "corrected replies"),
        ("num_pairs", "pairs of a better and a worse reply"),
        ("num_liked", "replies that were liked"),
        ("num_disliked", "replies that were not liked"),
        ("num_replayed", "examples of the character's own data again"),
    ):
        if numbers[name]:
            out.say(f"  {numbers[name]:,} {text}")
    if numbers["num_contradictions"]:
        out.say(f"  {numbers['num_contradictions']:,} of the pairs contradict each other", style="yellow")
    for line in numbers["unused"]:
        out.say(f"  not learned: {line}", style="yellow")
    counts: dict[tuple[str, str], int] = {}
    for note in feedback.chosen.rendered.notes:
        counts[note.reason, note.action] = counts.get((note.reason, note.action), 0) + 1
    for (reason, action), count in counts.items():
        out.say(f"  {count:,} {action}: {reason}")
    out.say("  each of them: duologue feedback list FOLDER", style="dim")
