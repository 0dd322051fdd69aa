"""Fitting a LoRA adapter: `HfTrainer.fit` sets up, `Fit.run` loops over steps, `Fit.step` is one optimizer step."""

import contextlib
import hashlib
import math
import resource
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from duologue.engine.base import (
    Adapter,
    BaseModel,
    Event,
    Example,
    FitResult,
    ModelFacts,
    OnEvent,
    TrainingJob,
)
from duologue.engine.hf.batches import BatchOrder, collate, micro_batches
from duologue.engine.hf.checkpoint import Checkpoint, load_newest, save_checkpoint
from duologue.engine.hf.load import DTYPES, HfModel, device, load_model, load_tokenizer, quiet, read_facts
from duologue.engine.hf.loss import packing_gap, summed_loss
from duologue.engine.hf.merge import merge_adapter
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.errors import EngineError, InterruptedRun

_GAP_TOKENS = 32  # of an example, to see whether packed examples stay apart
_LARGEST_GAP = 0.1  # of a running text's influence; exact attention leaves rounding: 1e-6 in float32, 1e-2 in 16 bit
_LINEAR_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class HfTrainer:
    """Trains on transformers, PEFT and bitsandbytes."""

    def facts(self, base: BaseModel) -> ModelFacts:
        """Return the shape of a base model without loading its weights."""
        return read_facts(base)

    def tokenizer(self, base: BaseModel) -> HfTokenizer:
        """Return the tokenizer of a base model without loading its weights."""
        return load_tokenizer(base)

    def merge(self, adapter: Adapter, folder: Path) -> float:
        """Write base and adapter as one model to `folder`; return the largest absolute logit difference."""
        return merge_adapter(adapter, folder)

    def fit(
        self,
        job: TrainingJob,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Train an adapter, continuing from the newest complete checkpoint in the run folder when there is one.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: The model cannot be loaded, memory ran out, the disk is full, or the loss is not a number.
        """
        torch.manual_seed(job.seed)
        on_event(Event("loading", values={"base": job.base.name}))
        started = time.perf_counter()
        model = with_adapter(load_model(job.base), job)
        pad = load_tokenizer(job.base).pad_token_id
        on_event(Event("loaded", values={"seconds": time.perf_counter() - started}))
        fit = Fit(model, job, train=train, validation=validation, pad_token_id=pad, on_event=on_event)
        try:
            fit.resume()
            fit.run(should_stop)
            return fit.finish()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise EngineError(
                f"memory ran out in step {fit.step_number + 1}",
                action="Run duologue plan for settings that fit, for example --set training.micro_batch_size=1.",
            ) from error


def with_adapter(model: HfModel, job: TrainingJob) -> PeftModel:
    """Return the frozen model with a fresh adapter on it, ready to train.

    Raises:
        EngineError: `lora.target_modules` names no linear layer of the model.
    """
    lora = job.lora
    num_layers = model.config.num_hidden_layers
    adapted = list(range(num_layers - lora.num_layers, num_layers)) if 0 < lora.num_layers < num_layers else None
    names = list(lora.target_modules) if isinstance(lora.target_modules, tuple) else "all-linear"
    if names == "all-linear" and adapted is not None:
        present = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        names = [name for name in _LINEAR_NAMES if name in present]  # PEFT filters layers only for named modules
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names,
        layers_to_transform=adapted,
        task_type="CAUSAL_LM",
    )
    try:
        with quiet():
            peft_model = get_peft_model(model, config)
    except ValueError as error:
        raise EngineError(
            f"the adapter cannot be put on '{job.base.name}' ({error})",
            where="lora.target_modules",
            action='Use "all-linear" or the names of linear layers of this model.',
        ) from error
    if job.use_gradient_checkpointing:
        with quiet():
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return peft_model.train()


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
    ) -> None:
        """Take a model with an adapter on it and the tokenized splits."""
        self.model = model
        self.job = job
        self.train = train
        self.validation = validation
        self.pad_token_id = pad_token_id
        self.on_event = on_event
        self.device = device()
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=job.learning_rate, weight_decay=job.weight_decay)
        self.step_number = 0
        self.losses: list[float] = []
        self.num_tokens = self.num_trained_tokens = 0
        self.seconds = 0.0
        self.fingerprint, lengths = _fingerprint(job, train)
        self.order = BatchOrder(lengths, batch_size=job.examples_per_step, seed=job.seed)
        validation_lengths = [example.num_tokens for example in validation]
        self.validation_order = sorted(range(len(validation)), key=validation_lengths.__getitem__)
        if job.pack_length_tokens:
            self._require_separate_examples()

    def resume(self) -> None:
        """Continue from the newest complete checkpoint, when there is one."""

        def skipped(sentence: str) -> None:
            self.on_event(Event("warning", values={"text": sentence}))

        found = load_newest(self.job.run_folder / "checkpoints", job=self.fingerprint, on_skip=skipped)
        if found is None:
            return
        set_peft_model_state_dict(self.model, found.adapter)
        state = self.optimizer.state_dict()
        state["state"] = {
            index: {name: found.optimizer[f"{index}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
            for index in range(len(self.parameters))
        }
        self.optimizer.load_state_dict(state)
        torch.set_rng_state(found.random["cpu"])
        if "cuda" in found.random and torch.cuda.is_available():
            torch.cuda.set_rng_state(found.random["cuda"])
        self.step_number = found.step
        self.on_event(Event("resumed", found.step, {"max_steps": self.job.max_steps}))

    def run(self, should_stop: threading.Event) -> None:
        """Do the remaining steps."""
        job = self.job
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        while self.step_number < job.max_steps:
            if should_stop.is_set():
                self._stop()
            self.step()
            is_last = self.step_number == job.max_steps
            if job.eval_every_steps and self.validation and (self.step_number % job.eval_every_steps == 0 or is_last):
                self._evaluate()
            if self.step_number % job.save_every_steps == 0 or is_last:
                self._save()

    def step(self) -> None:
        """Do one optimizer step: loss summed over the trained tokens of the whole global batch, over their number."""
        job = self.job
        started = time.perf_counter()
        examples = [self.train[place] for place in self.order.batch(self.step_number)]
        num_trained = sum(example.num_trained_tokens for example in examples)
        loss = 0.0
        for batch in self._micro_batches(examples):
            with self._autocast():
                summed = summed_loss(self.model.get_base_model(), batch)
            (summed / num_trained).backward()
            loss += float(summed.detach()) / num_trained
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, job.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise EngineError(
                f"step {self.step_number + 1} has loss {loss} and gradient norm {grad_norm}; nothing was updated",
                where=", ".join(dict.fromkeys(example.source for example in examples)),
                action="Look at these rows, or lower training.learning_rate, then start a new run.",
            )
        rate = _learning_rate(job, self.step_number)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        seconds = time.perf_counter() - started
        self._report(loss, rate=rate, grad_norm=grad_norm, examples=examples, num_trained=num_trained, seconds=seconds)

    def finish(self) -> FitResult:
        """Save the adapter, reload it, compare its logits and return what the run measured."""
        folder = self.job.run_folder / "adapter"
        probe = self.validation[0] if self.validation else self.train[0]
        before = self._logits(probe)
        self.model.save_pretrained(str(folder), safe_serialization=True)
        self._scramble()
        set_peft_model_state_dict(self.model, load_file(folder / "adapter_model.safetensors"))
        difference = float((self._logits(probe) - before).abs().max())
        if difference > 1e-3:
            raise EngineError(
                f"the saved adapter gives other logits than the trained one (difference {difference:.3g})",
                where=str(folder),
            )
        self.on_event(Event("saved", self.step_number, {"folder": str(folder), "reload_max_difference": difference}))
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return FitResult(
            adapter=Adapter(folder, self.job.base),
            num_steps=self.step_number,
            final_loss=sum(tail) / len(tail) if tail else math.nan,
            num_trained_tokens=self.num_trained_tokens,
            num_tokens=self.num_tokens,
            seconds=self.seconds,
            peak_memory_bytes=_peak_memory_bytes(),
            reload_max_difference=difference,
        )

    def _micro_batches(self, examples: Sequence[Example]) -> Iterator[dict[str, torch.Tensor]]:
        return micro_batches(
            examples,
            micro_batch_size=self.job.micro_batch_size,
            pack_length_tokens=self.job.pack_length_tokens,
            pad_token_id=self.pad_token_id,
            device=self.device,
        )

    def _require_separate_examples(self) -> None:
        """Refuse to pack for a model that would mix the examples of a row."""
        ids = self.train[0].input_ids[:_GAP_TOKENS]
        self.model.eval()
        with self._autocast():
            gap = packing_gap(self.model.get_base_model(), ids, ids)
        self.model.train()
        if gap > _LARGEST_GAP:
            raise EngineError(
                f"the attention of '{self.job.base.name}' does not keep packed examples apart (gap {gap:.2g} of 1)",
                needed=f"a gap below {_LARGEST_GAP}",
                action="Turn packing off.",
            )

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = DTYPES[self.job.base.compute_dtype]
        if dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype)

    def _report(
        self, loss: float, *, rate: float, grad_norm: float, examples: list[Example], num_trained: int, seconds: float
    ) -> None:
        num_tokens = sum(example.num_tokens for example in examples)
        self.losses.append(loss)
        self.num_tokens += num_tokens
        self.num_trained_tokens += num_trained
        self.seconds += seconds
        values: dict[str, float | int | str] = {
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": grad_norm,
            "seconds": seconds,
            "num_tokens": num_tokens,
            "num_trained_tokens": num_trained,
            "tokens_per_second": num_tokens / seconds,
            "epoch": self.step_number * self.job.examples_per_step / len(self.train),
            "memory_gib": _peak_memory_bytes() / 2**30,
            "max_steps": self.job.max_steps,
        }
        self.on_event(Event("step", self.step_number, values))

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.model.eval()
        total, count = 0.0, 0
        size = self.job.examples_per_step
        for at in range(0, len(self.validation_order), size):
            examples = [self.validation[place] for place in self.validation_order[at : at + size]]
            for batch in self._micro_batches(examples):
                with self._autocast():
                    total += float(summed_loss(self.model.get_base_model(), batch).detach())
            count += sum(example.num_trained_tokens for example in examples)
        self.model.train()
        self.on_event(Event("evaluated", self.step_number, {"validation_loss": total / max(1, count)}))

    @torch.no_grad()
    def _logits(self, example: Example) -> torch.Tensor:
        self.model.eval()
        batch = collate([example], pad_token_id=self.pad_token_id, device=self.device)
        with self._autocast():
            logits_BTV = self.model(input_ids=batch["input_ids"][:, :64], use_cache=False).logits
        self.model.train()
        return logits_BTV.float()

    @torch.no_grad()
    def _scramble(self) -> None:
        for parameter in self.parameters:
            parameter.fill_(0.5)  # so that a file whose keys do not match cannot pass unnoticed

    def _save(self) -> None:
        path = save_checkpoint(
            Checkpoint(
                step=self.step_number,
                job=self.fingerprint,
                adapter=get_peft_model_state_dict(self.model),
                optimizer={
                    f"{index}.{name}": value
                    for index, state in self.optimizer.state_dict()["state"].items()
                    for name, value in state.items()
                },
                random={"cpu": torch.get_rng_state()}
                | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}),
            ),
            self.job.run_folder / "checkpoints",
            keep=self.job.num_checkpoints,
        )
        self.on_event(Event("checkpoint", self.step_number, {"folder": str(path)}))

    def _stop(self) -> None:
        if self.step_number:
            self._save()
        raise InterruptedRun(
            f"training was stopped after step {self.step_number} of {self.job.max_steps}; everything up to it is saved",
            where=str(self.job.run_folder),
            action="Go on with: duologue train FOLDER --resume",
        )


def _learning_rate(job: TrainingJob, step: int) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then the schedule down to a tenth (constant: none)."""
    if step < job.warmup_steps:
        return job.learning_rate * (step + 1) / job.warmup_steps
    if job.lr_schedule == "constant":
        return job.learning_rate
    progress = (step - job.warmup_steps) / max(1, job.max_steps - job.warmup_steps)
    shape = 0.5 * (1 + math.cos(math.pi * progress)) if job.lr_schedule == "cosine" else 1 - progress
    return job.learning_rate * (0.1 + 0.9 * shape)


def _fingerprint(job: TrainingJob, train: Sequence[Example]) -> tuple[str, Sequence[int]]:
    """Return a digest of everything that decides the weights, and the lengths of the examples, in one pass.

    That is the job without its folder, and the examples, which may lie on disk.
    """
    settings = asdict(replace(job, run_folder=Path()))
    for free in ("save_every_steps", "eval_every_steps", "num_checkpoints", "run_folder"):
        settings.pop(free)
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    lengths = array("Q")
    for example in train:
        digest.update(array("q", example.input_ids).tobytes() + array("q", example.labels).tobytes())
        lengths.append(example.num_tokens)
    return digest.hexdigest(), lengths


def _peak_memory_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
