"""`fit_preferences`: from a trained adapter to one that people like better."""

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from duologue.engine.hf import fast_path
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.identity import digest_of_weights
from duologue.engine.hf.load import device, load_model, load_tokenizer
from duologue.engine.hf.preferences.keeping import keep_within
from duologue.engine.hf.preferences.objective import Preferring
from duologue.engine.hf.preferences.order import PhasedOrder
from duologue.engine.hf.preferences.reference import read_reference
from duologue.engine.hf.preferences.start import ADAPTER_FILE, put_start
from duologue.engine.hf.randomness import seed_all
from duologue.engine.job import Adapter, Event, Example, FitResult, OnEvent
from duologue.engine.preference_job import FeedbackExample, PreferenceJob

_DIGEST_CHARS = 16


def fit_preferences(
    job: PreferenceJob,
    examples: Sequence[FeedbackExample],
    validation: Sequence[Example],
    *,
    replayed: Sequence[Example] = (),
    on_event: OnEvent,
    should_stop: threading.Event,
) -> FitResult:
    """Go on from an adapter; see `PreferenceTrainer.fit_preferences`.

    The weights of the start are read from its file, and everything that is compared with it once before the first
    step, so nothing of it stays in memory.
    """
    _require_exact(job)
    replayed = replayed if job.num_replayed_per_step else ()
    fit, objective = _open(job, examples, validation, replayed=replayed, on_event=on_event)
    fit.describe()
    read_reference(fit.passes, objective, examples, identity=fit.identity, on_event=on_event, should_stop=should_stop)
    fit.resume()
    is_limited = bool(validation) and job.max_loss_rise > 0
    if not fit.step_number and (job.training.eval_every_steps or is_limited):
        fit.evaluations.run(0, must_stop=should_stop.is_set)  # what the start is worth on held-out conversations
    fit.prepare()
    fit.run(should_stop)
    is_measured = not is_limited or fit.evaluations.done_at == fit.step_number
    if not is_measured and not fit.evaluations.run(fit.step_number, must_stop=should_stop.is_set):
        fit.stop()
    kept_share = keep_within(fit, job.start, max_rise=job.max_loss_rise, must_stop=should_stop.is_set)
    return replace(fit.finish(), kept_share=kept_share)


def _open(
    job: PreferenceJob,
    examples: Sequence[FeedbackExample],
    validation: Sequence[Example],
    *,
    replayed: Sequence[Example],
    on_event: OnEvent,
) -> tuple[Fit, Preferring]:
    training = job.training
    fast_path.prepare(training)
    seed_all(training.seed)
    on_event(Event("loading", values={"base": training.base.name}))
    started = time.perf_counter()
    base = load_model(training.base)
    base_weights = digest_of_weights(base)
    model = with_adapter(base, training)
    put_start(model, job.start)
    tokenizer = load_tokenizer(training.base)
    objective = Preferring(job, examples, pad_token_id=tokenizer.pad_token_id, device=device())
    on_event(Event("loaded", values={"seconds": time.perf_counter() - started}))

    def with_rewards(event: Event) -> None:
        if event.name == "step":
            event = replace(event, values={**event.values, **objective.rewards.values()})
        on_event(event)

    num_corrected = sum(isinstance(example, Example) for example in examples)
    order = PhasedOrder(
        [example.num_tokens for example in (*examples, *replayed)],
        num_corrected=num_corrected,
        num_replayed=len(replayed),
        num_sft_steps=job.num_sft_steps,
        batch_size=training.examples_per_step,
        replay_size=job.num_replayed_per_step,
        seed=training.seed,
    )
    fit = Fit(
        model,
        training,
        train=cast("Sequence[Example]", (*examples, *replayed)),  # `Fit` asks them for what all three kinds have
        validation=validation,
        pad_token_id=tokenizer.pad_token_id,
        on_event=with_rewards,
        decoder=tokenizer,
        base_weights=base_weights,
        objective=objective,
        order=order,
        decided_by={
            "start": _digest(job.start),
            "method": job.method,
            "beta": repr(job.beta),
            "sft_weight": repr(job.sft_weight),
            "num_sft_steps": str(job.num_sft_steps),
            "replay": f"{job.num_replayed_per_step} of {len(replayed)} a step, weight {job.replay_weight!r}",
        },
    )
    return fit, objective


def _digest(start: Adapter) -> str:
    with (start.folder / ADAPTER_FILE).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGEST_CHARS]


def _require_exact(job: PreferenceJob) -> None:
    """What would make policy and reference differ before anything is learned must be off, as TRL turns it off."""
    training = job.training
    assert not training.pack_length_tokens, "pairs are not packed"
    assert not training.lora.dropout and not training.neftune_alpha, "dropout and noise blur the reference"
    assert training.lora.init_weights == "default", "the start is loaded, not made"
    assert training.num_processes == 1, "feedback is learned in one process"
