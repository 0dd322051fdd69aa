"""Fitting a LoRA adapter: `Fit.run` loops over steps, `Fit.step` is one optimizer step.

The run is a pure function of job, examples and base: whatever interrupts it, the steps that follow are the steps that
would have followed. What a step needs besides is in a checkpoint (`checkpoint`), and what can go wrong in it has a file
of its own: memory in `passes` and `recover`, numbers in `Fit._refuse`, the disk in `checkpoint`.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict

from duologue.engine.hf import fast_path
from duologue.engine.hf.attention import takes_documents
from duologue.engine.hf.batches import BatchOrder, Order
from duologue.engine.hf.checkpoint import Checkpoint, load_newest, require_disk, save_checkpoint
from duologue.engine.hf.evaluation import Evaluations
from duologue.engine.hf.identity import identify
from duologue.engine.hf.largest import largest_micro_batch
from duologue.engine.hf.load import HfModel
from duologue.engine.hf.loss import packing_gap
from duologue.engine.hf.memory_use import peak_memory_bytes
from duologue.engine.hf.objective import Objective
from duologue.engine.hf.optimizer import learning_rate, make_optimizer
from duologue.engine.hf.optimizer_state import fill_optimizer, read_optimizer, state_bytes
from duologue.engine.hf.passes import Passes
from duologue.engine.hf.processes import Alone, Processes
from duologue.engine.hf.randomness import random_state, restore_random
from duologue.engine.hf.reload import save_and_compare
from duologue.engine.hf.sampled import Decoder
from duologue.engine.hf.tally import Tally
from duologue.engine.job import Event, Example, FitResult, OnEvent, TrainingJob
from duologue.errors import EngineError, InterruptedRun

_GAP_TOKENS = 32  # of an example, to see whether packed examples stay apart
_LARGEST_GAP = 0.1  # of a running text's influence; exact attention leaves rounding: 1e-6 in float32, 1e-2 in 16 bit
_CHANGEABLE = (
    "micro_batch_size",
    "gradient_accumulation_steps",
    "pack_length_tokens",
    "use_gradient_checkpointing",
    "use_activation_offload",
)


class Fit:
    """One run: model, optimizer and the number of steps done."""

    def __init__(
        self,
        model: HfModel,
        job: TrainingJob,
        *,
        train: Sequence[Example],
        validation: Sequence[Example],
        pad_token_id: int,
        on_event: OnEvent,
        decoder: Decoder | None = None,
        base_weights: str = "",
        recovers: bool = True,
        processes: Processes | None = None,
        objective: Objective | None = None,
        order: Order | None = None,
        decided_by: Mapping[str, str] | None = None,
    ) -> None:
        """Take a model with an adapter on it and the tokenized splits.

        Args:
            model: The model.
            job: The job.
            train: Examples to learn from.
            validation: Held-out examples.
            pad_token_id: Fills short rows.
            on_event: Told what happens.
            decoder: Turns sampled ids into replies; None draws none.
            base_weights: Digest of the base's weights, for resuming.
            recovers: Whether settings change when memory runs out.
            processes: Who else trains; None trains alone.
            objective: What a step minimises; None takes the cross entropy of the trained tokens.
            order: Which examples make up each step; None shuffles all of them every epoch.
            decided_by: What decides the weights besides job, examples and base, by name.
        """
        processes = processes or Alone()
        self.model = model
        self.job = job
        self.train = train
        self.on_event = on_event
        self.processes = processes
        self.optimizer = make_optimizer(model, job)
        self.step_number = 0
        self.fast_path: tuple[str, ...] = ()
        self.identity, self.lengths = identify(
            job, train, base_weights=base_weights, num_processes=processes.num_processes
        )
        self.identity.update(decided_by or {})
        batch_size = job.examples_per_step * processes.num_processes
        self.order = order or BatchOrder(self.lengths, batch_size=batch_size, seed=job.seed)
        self.passes = Passes(
            model,
            job,
            pad_token_id=pad_token_id,
            longest_tokens=max(self.lengths),
            processes=processes,
            on_event=on_event,
            recovers=recovers,
            objective=objective,
        )
        self.evaluations = Evaluations(self.passes, validation, decoder=decoder, on_event=on_event)
        num_validation_tokens = sum(example.num_tokens for example in validation)
        self.tally = Tally(job, num_examples=len(train), num_validation_tokens=num_validation_tokens)
        self.probe_example = max([*validation] or [train[0]], key=lambda example: example.num_tokens)
        if job.pack_length_tokens:
            self._require_separate_examples()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return self.passes.parameters

    def describe(self) -> None:
        """Say what makes the run fast and what does not."""
        self.fast_path = fast_path.describe(self.model, self.job)
        for line in self.fast_path:
            self.on_event(Event("fast_path", values={"text": line}))

    def resume(self) -> None:
        """Continue from the newest complete checkpoint, when there is one."""

        def skipped(sentence: str) -> None:
            self.on_event(Event("warning", values={"text": sentence}))

        found = load_newest(self.job.run_folder / "checkpoints", job=self.identity, on_skip=skipped)
        if found is None:
            return
        progress = found.progress
        set_peft_model_state_dict(self.model, found.adapter)
        fill_optimizer(self.optimizer, found.optimizer, progress["optimizer"])
        self.step_number = found.step
        self.tally.losses.extend(progress["losses"])
        self.evaluations.go_on(progress["evaluations"], found.best)
        self.passes.take_over(replace(self.job, **progress["settings"]), progress["changes"])
        restore_random(self.processes.own_random(found.random))
        self.on_event(Event("resumed", found.step, {"max_steps": self.job.max_steps}))
        for change in self.passes.changes:
            self.on_event(Event("warning", found.step, {"text": f"as before the interruption, {change}"}))

    def prepare(self) -> None:
        """Find out before hours are spent what would end them: too little disk, too little memory.

        The largest micro-batch of the steps to come is tried, beside all that a step holds; its gradients are thrown
        away and the random generators are set back, so that the run is the same with and without.

        Raises:
            EngineError: The checkpoints do not fit the disk, or the largest micro-batch does not fit the memory.
        """
        if self.step_number >= self.job.max_steps or self.evaluations.stopping.is_over:
            return
        if self.processes.is_main:
            self._require_disk()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        has_state = bool(self.optimizer.state)
        held = 0 if has_state else state_bytes(self.optimizer)
        largest: list[Example] = []

        def attempt() -> None:
            places = largest_micro_batch(
                self.order,
                self.passes.job,
                self.lengths,
                first_step=self.step_number,
                processes=self.processes,
                is_padded=not takes_documents(self.model.get_base_model()),
            )
            largest[:] = [self.train[place] for place in places]
            self.passes.trial(largest, state_bytes=held)

        self.passes.with_room(attempt, step=self.step_number + 1)
        values: dict[str, float | int | str] = {
            "num_examples": len(largest),
            "longest_tokens": max(example.num_tokens for example in largest),
            "num_tokens": sum(example.num_tokens for example in largest),
            "seconds": time.perf_counter() - started,
            "memory_gib": peak_memory_bytes() / 2**30,
        }
        self.on_event(Event("tried", self.step_number, values))

    def run(self, should_stop: threading.Event) -> None:
        """Do the remaining steps, each evaluation before the checkpoint that remembers it.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: Memory ran out, the disk is full, or a loss is not a number.
        """
        while True:
            if self._is_due(self.job.eval_every_steps) and self.evaluations.done_at < self.step_number:
                self._evaluate(should_stop)
            is_last = self.step_number >= self.job.max_steps or self.evaluations.stopping.is_over
            if is_last or self._is_due(self.job.save_every_steps):
                self._save()
            if is_last:
                return
            if self._must_stop(should_stop):
                self.stop()
            self.step()

    def step(self) -> None:
        """Do one optimizer step: loss summed over the trained tokens of the whole global batch, over their number.

        Raises:
            EngineError: Loss or gradients are not numbers, and nothing was updated; or memory ran out.
        """
        started = time.perf_counter()
        examples = [self.train[place] for place in self.order.batch(self.step_number)]
        begin = random_state()
        loss = self.passes.gradients(examples, step=self.step_number + 1)
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.job.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            self._refuse(examples, begin, loss=loss, grad_norm=grad_norm)
        rate = learning_rate(self.job, self.step_number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self.optimizer.step()
        self.passes.clear()
        self.step_number += 1
        event = self.tally.add_step(
            self.step_number,
            examples,
            loss=loss,
            rate=rate,
            grad_norm=grad_norm,
            seconds=time.perf_counter() - started,
        )
        self.on_event(event)
        if text := self.tally.warning():
            self.on_event(Event("warning", self.step_number, {"text": text}))

    def finish(self) -> FitResult:
        """Save the adapter (the best one, when evaluations may end the run), read it back, compare its logits.

        Raises:
            EngineError: The adapter on disk is not the one that was trained, or the disk is full.
        """
        if best := self.evaluations.take_best(self.step_number):
            set_peft_model_state_dict(self.model, best)
        peak = peak_memory_bytes()
        del self.model, self.optimizer  # reading the adapter back may need their memory
        adapter, difference = save_and_compare(self.passes, self.probe_example)
        saved: dict[str, float | int | str] = {"folder": str(adapter.folder), "reload_max_difference": difference}
        self.on_event(Event("saved", self.step_number, saved))
        return FitResult(
            adapter=adapter,
            num_steps=self.step_number,
            final_loss=self.tally.final_loss(self.step_number),
            num_trained_tokens=self.tally.num_trained_tokens,
            num_tokens=self.tally.num_tokens,
            seconds=self.tally.seconds,
            peak_memory_bytes=peak,
            reload_max_difference=difference,
            changes=tuple(self.passes.changes),
            fast_path=self.fast_path,
            was_stopped_early=self.evaluations.stopping.is_over and self.step_number < self.job.max_steps,
        )

    def _is_due(self, every: int) -> bool:
        """Whether something is done after this step that is done at every n-th and the last; never for n = 0."""
        step = self.step_number
        return bool(every) and step > 0 and (step % every == 0 or step == self.job.max_steps)

    def _must_stop(self, should_stop: threading.Event) -> bool:
        return self.processes.any(should_stop.is_set())

    def _evaluate(self, should_stop: threading.Event) -> None:
        seconds = self.evaluations.run(self.step_number, must_stop=lambda: self._must_stop(should_stop))
        if not seconds:
            self.stop()
        self.tally.time_to_go.add_evaluation(seconds)

    def _refuse(
        self, examples: Sequence[Example], begin: dict[str, torch.Tensor], *, loss: float, grad_norm: float
    ) -> None:
        """Stop before the update: weights, optimizer and random generators are as after the step before."""
        self.passes.clear()
        restore_random(begin)
        culprits = self.passes.culprits(examples)
        restore_random(begin)
        if self.step_number:
            self._save()
        kept = f"the checkpoint of step {self.step_number} is on disk" if self.step_number else "no step was done yet"
        alone = len(culprits) < len(examples)
        if culprits and alone:
            named, action = culprits, "Look at these rows and repair or remove them, then start a new run."
        else:
            named = list(examples)
            action = "All examples of the step do it: lower training.learning_rate, then start a new run."
            if not culprits:
                action = "None of these rows does it alone: lower training.learning_rate, then start a new run."
        raise EngineError(
            f"step {self.step_number + 1} has loss {loss} and gradient norm {grad_norm}; nothing was updated, {kept}",
            where=", ".join(dict.fromkeys(example.source for example in named)),
            action=action,
        )

    def _checkpoint(self) -> Checkpoint:
        tensors, numbers = read_optimizer(self.optimizer)
        progress: dict[str, Any] = {
            "optimizer": numbers,
            "losses": list(self.tally.losses),
            "evaluations": self.evaluations.as_json(),
            "settings": {name: getattr(self.passes.job, name) for name in _CHANGEABLE},
            "changes": self.passes.changes,
        }
        return Checkpoint(
            step=self.step_number,
            job=self.identity,
            adapter=get_peft_model_state_dict(self.model),
            optimizer=tensors,
            random=self.processes.all_random(random_state()),
            best=self.evaluations.best,
            progress=progress,
        )

    def _save(self) -> None:
        started = time.perf_counter()
        checkpoint = self._checkpoint()  # every process has a part in it
        if self.processes.is_main:
            folder = self.job.run_folder / "checkpoints"
            path = save_checkpoint(checkpoint, folder, keep=self.job.num_checkpoints)
            seconds = time.perf_counter() - started
            self.tally.time_to_go.add_save(seconds)
            self.on_event(Event("checkpoint", self.step_number, {"folder": str(path), "seconds": seconds}))
        self.processes.barrier()

    def stop(self) -> NoReturn:
        """Save what was done and end the run.

        Raises:
            InterruptedRun: Always.
        """
        if self.step_number:
            self._save()
        done = f"after step {self.step_number} of {self.job.max_steps}" if self.step_number else "before its first step"
        raise InterruptedRun(
            f"training was stopped {done}; everything up to it is saved",
            where=str(self.job.run_folder),
            action="Go on with: duologue train FOLDER --resume",
        )

    def _require_disk(self) -> None:
        adapter = get_peft_model_state_dict(self.model)
        adapter_bytes = sum(tensor.numel() * tensor.element_size() for tensor in adapter.values())
        num_adapters = 2 if self.job.early_stopping_patience else 1
        needed, free = require_disk(
            self.job.run_folder / "checkpoints",
            checkpoint_bytes=num_adapters * adapter_bytes + state_bytes(self.optimizer) + 2**20,
            adapter_bytes=adapter_bytes,
            keep=self.job.num_checkpoints,
        )
        values: dict[str, float | int | str] = {"needed_gib": needed / 2**30, "free_gib": free / 2**30}
        self.on_event(Event("disk", self.step_number, values))
        if free < needed:
            text = (
                f"the run's checkpoints need {needed / 2**30:.2f} GiB more and {free / 2**30:.2f} GiB are free on its "
                "disk; fewer are kept when it is full"
            )
            self.on_event(Event("warning", self.step_number, {"text": text}))

    def _require_separate_examples(self) -> None:
        """Refuse to pack for a model that would mix the examples of a row."""
        ids = self.train[0].input_ids[:_GAP_TOKENS]
        self.model.eval()
        with self.passes.autocast():
            gap = packing_gap(self.model.get_base_model(), ids, ids)
        self.model.train()
        if gap > _LARGEST_GAP:
            raise EngineError(
                f"the attention of '{self.job.base.name}' does not keep packed examples apart (gap {gap:.2g} of 1)",
                needed=f"a gap below {_LARGEST_GAP}",
                action="Turn packing off.",
            )
