"""Evaluations while a run goes: the loss on held-out examples, replies with their checks, and the best so far."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import get_peft_model_state_dict

from duologue.engine.hf.passes import Passes
from duologue.engine.hf.randomness import random_state, restore_random
from duologue.engine.hf.sampled import Decoder, SampledReply, draw_replies
from duologue.engine.hf.stopping import Stopping
from duologue.engine.job import Event, Example, OnEvent

Values = dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Measured:
    """What an evaluation found.

    Attributes:
        values: `validation_loss` in nats per trained token and `replies_passed` as a share, where they were measured.
        replies: The replies that were drawn.
    """

    values: dict[str, float]
    replies: tuple[SampledReply, ...]


class Evaluations:
    """The evaluations of a run, and the adapter that was best.

    Attributes:
        stopping: What they say about going on.
        best: Adapter tensors of the best; empty while evaluations may not end the run.
        done_at: Step of the last one.
        losses: Loss on held-out examples by step, in nats per trained token.
    """

    def __init__(
        self, passes: Passes, validation: Sequence[Example], *, decoder: Decoder | None, on_event: OnEvent
    ) -> None:
        """Take what is evaluated.

        Args:
            passes: Model and settings.
            validation: Held-out examples.
            decoder: Turns sampled ids into replies; None draws none.
            on_event: Told what was found.
        """
        job = passes.job
        self.stopping = Stopping(job.early_stopping_patience, job.early_stopping_on)
        self.best: dict[str, torch.Tensor] = {}
        self.done_at = 0
        self.losses: dict[int, float] = {}
        self._passes = passes
        self._validation = sorted(validation, key=lambda example: example.num_tokens)
        self._decoder = decoder
        self._on_event = on_event

    def run(self, step: int, *, must_stop: Callable[[], bool], draws_replies: bool = True) -> float:
        """Evaluate the model after a step and say what was found; the random generators are left as they were.

        Args:
            step: The step.
            must_stop: Asked now and then.
            draws_replies: Whether replies are drawn, where the job wants any.

        Returns:
            The seconds it took; 0 when the run had to stop before it was through, and nothing is remembered.
        """
        started = time.perf_counter()
        begin = random_state()
        self._passes.model.eval()
        try:
            found = self._measure(step, must_stop, draws_replies=draws_replies)
        finally:
            self._passes.model.train()
            restore_random(begin)
        if found is None:
            return 0.0
        self.done_at = step
        seconds = time.perf_counter() - started
        for reply in found.replies:
            self._on_event(Event("reply", step, _reply_values(reply)))
        if found.values:
            if "validation_loss" in found.values:
                self.losses[step] = found.values["validation_loss"]
            self._on_event(Event("evaluated", step, {**found.values, "seconds": seconds}))
            self._judge(step, found.values)
        return seconds

    def take_best(self, step: int) -> dict[str, torch.Tensor]:
        """Return the adapter tensors of the best evaluation and say so; nothing when none are kept."""
        if self.best:
            values: Values = {"kept_step": self.stopping.best_step}
            if self.stopping.judged_by == "replies":
                values["replies_passed"] = self.stopping.best_share
            if math.isfinite(self.stopping.best_loss):
                values["validation_loss"] = self.stopping.best_loss
            self._on_event(Event("best", step, values))
        return self.best

    def as_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside the best adapter."""
        return {"done_at": self.done_at, "losses": list(self.losses.items()), **self.stopping.as_json()}

    def go_on(self, progress: dict[str, Any], best: dict[str, torch.Tensor]) -> None:
        """Take over what a checkpoint kept."""
        self.done_at = progress.pop("done_at")
        self.losses = dict(progress.pop("losses"))
        self.stopping = replace(self.stopping, **progress)
        self.best = best

    def _judge(self, step: int, values: dict[str, float]) -> None:
        if not self.stopping.patience:
            return
        loss, share = values.get("validation_loss", math.inf), values.get("replies_passed", 0.0)
        self.stopping = self.stopping.after(step, loss=loss, share=share)
        if self.stopping.best_step == step:
            adapter = get_peft_model_state_dict(self._passes.model)
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in adapter.items()}
        if self.stopping.is_over:
            text = f"{self.stopping.patience} evaluations without a better one than at step {self.stopping.best_step}"
            self._on_event(Event("stopped_early", step, {"text": text}))

    def _measure(self, step: int, must_stop: Callable[[], bool], *, draws_replies: bool) -> Measured | None:
        passes, values = self._passes, dict[str, float]()
        job, validation = passes.job, self._validation
        if validation:
            total, size = 0.0, job.examples_per_step
            for at in range(0, len(validation), size):
                if must_stop():
                    return None
                total += passes.summed_loss(validation[at : at + size], step=step)
            values["validation_loss"] = total / max(1, sum(example.num_trained_tokens for example in validation))
        replies: tuple[SampledReply, ...] = ()
        if draws_replies and self._decoder is not None and job.samples.prompts:
            if must_stop():
                return None
            with passes.autocast():
                replies = draw_replies(passes.model.get_base_model(), self._decoder, job.samples, seed=job.seed)
            values["replies_passed"] = sum(reply.passes for reply in replies) / len(replies)
        return Measured(values, replies)


def _reply_values(reply: SampledReply) -> Values:
    return {
        "prompt": reply.prompt,
        "text": reply.text,
        "num_tokens": reply.num_tokens,
        "has_ended": reply.has_ended,
        "is_looping": reply.is_looping,
        "distinct_share": reply.distinct_share,
        "speaks_for_user": reply.speaks_for_user,
        "passes": reply.passes,
        "faults": reply.faults,
    }
