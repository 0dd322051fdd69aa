"""`HfTrainer`: base model and adapter loaded, then fitted, whatever interrupts it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from duologue.engine.facts import ModelFacts
from duologue.engine.hf import fast_path
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.distributed import Together, group
from duologue.engine.hf.fit import Fit
from duologue.engine.hf.identity import digest_of_weights
from duologue.engine.hf.load import load_model, load_tokenizer, read_facts
from duologue.engine.hf.merge import merge_adapter
from duologue.engine.hf.parity import compare
from duologue.engine.hf.processes import Alone, Processes
from duologue.engine.hf.randomness import seed_all
from duologue.engine.hf.recover import is_out_of_memory
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.hf.worker import launched
from duologue.engine.job import Adapter, BaseModel, Event, Example, FitResult, OnEvent, Place, Precision, TrainingJob
from duologue.engine.merging import Onto, Parity
from duologue.engine.preference_job import FeedbackExample, PreferenceJob
from duologue.errors import EngineError
from duologue.messages import Message


class HfTrainer:
    """Trains on transformers, PEFT and bitsandbytes.

    Args:
        place: Where this process stands among those that a launcher started; None starts what a job asks for.
    """

    def __init__(self, place: Place | None = None) -> None:
        """Keep the place."""
        self._place = place

    def facts(self, base: BaseModel) -> ModelFacts:
        """Return the shape of a base model without loading its weights."""
        return read_facts(base)

    def tokenizer(self, base: BaseModel) -> HfTokenizer:
        """Return the tokenizer of a base model without loading its weights."""
        return load_tokenizer(base)

    def merge(self, adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto, on_event: OnEvent) -> None:
        """Write base and adapter as one model to `folder`."""
        merge_adapter(adapter, folder, dtype=dtype, onto=onto, on_event=on_event)

    def compare(
        self,
        adapter: Adapter,
        folders: Sequence[Path],
        examples: Sequence[Example],
        prompts: Sequence[Sequence[Message]],
    ) -> tuple[Parity, ...]:
        """Return how near each merged folder is to the adapter on the base it was trained on."""
        return compare(adapter, folders, examples, prompts)

    @contextmanager
    def _processes(self, job: TrainingJob) -> Iterator[Processes]:
        if job.num_processes == 1:
            yield Alone()
        elif self._place is None:
            with launched(job) as processes:
                yield processes
        else:
            with group(self._place, is_sharded=job.is_sharded) as processes:
                yield processes

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
        try:
            with self._processes(job) as processes:
                if isinstance(processes, Together):
                    processes.share((job, list(train), list(validation)))
                fit = open_fit(job, train, validation, on_event=on_event, processes=processes)
                fit.describe()
                fit.resume()
                fit.prepare()
                fit.run(should_stop)
                return fit.finish()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _no_room() from error

    def fit_preferences(
        self,
        job: PreferenceJob,
        examples: Sequence[FeedbackExample],
        validation: Sequence[Example],
        *,
        replayed: Sequence[Example] = (),
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Go on from an adapter; see `PreferenceTrainer.fit_preferences`.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: As `fit` raises it; or the start adapter does not fit the base.
        """
        from duologue.engine.hf.preferences import fit_preferences  # TRL takes a second to import

        try:
            return fit_preferences(
                job, examples, validation, replayed=replayed, on_event=on_event, should_stop=should_stop
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _no_room() from error


def _no_room() -> EngineError:
    return EngineError(
        "memory ran out where a smaller micro-batch does not help",
        action="Close other programs, or run duologue plan for settings that fit.",
    )


def open_fit(
    job: TrainingJob,
    train: Sequence[Example],
    validation: Sequence[Example],
    *,
    on_event: OnEvent,
    processes: Processes,
) -> Fit:
    """Load the base and put a fresh adapter on it."""
    fast_path.prepare(job)
    seed_all(job.seed)
    on_event(Event("loading", values={"base": job.base.name}))
    started = time.perf_counter()
    base = load_model(job.base)
    base_weights = digest_of_weights(base)
    model = processes.spread(with_adapter(base, job))
    tokenizer = load_tokenizer(job.base)
    on_event(Event("loaded", values={"seconds": time.perf_counter() - started}))
    return Fit(
        model,
        job,
        train=train,
        validation=validation,
        pad_token_id=tokenizer.pad_token_id,
        on_event=on_event,
        decoder=tokenizer,
        base_weights=base_weights,
        recovers=not processes.is_sharded,  # a block that one process cannot hold, no other can gather
        processes=processes,
    )
