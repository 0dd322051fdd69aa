"""`run_merged`: base and adapter as one model folder that transformers and vLLM load, with a model card."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from duologue.characters import Character
from duologue.engine import Adapter, Example, ModelFacts, OnEvent, Onto, Precision, Trainer
from duologue.errors import DuologueError
from duologue.export.artifact import CARD, Artifact, write_label
from duologue.export.exported import is_merged_of, origin
from duologue.export.licences import write_notice
from duologue.export.model_card import base_and_licence, model_card
from duologue.export.parity import check_parity
from duologue.export.staging import check_disk, check_target, not_written, swap_in
from duologue.guard import Rating
from duologue.messages import Message
from duologue.plan import num_params

BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_HEADROOM = 1.1  # tokenizer, config and card


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What an export is compared on.

    Attributes:
        examples: Conversations, best those that were never trained on.
        prompts: Messages whose rendered ids must be equal.
    """

    examples: Sequence[Example]
    prompts: Sequence[Sequence[Message]]


def run_merged(
    adapter: Adapter,
    folder: Path,
    *,
    trainer: Trainer,
    dtype: Precision,
    character: Character,
    held_out: HeldOut,
    onto: Onto | Literal["closer"] = "closer",
    rating: Rating = "general",
    on_event: OnEvent = lambda _: None,
) -> Artifact:
    """Write base and adapter as one model to `folder`.

    The folder appears whole and compared, or not at all; an earlier export stays until its successor is complete. What
    an interrupted export has written is gone on with.

    Args:
        adapter: What was trained; its run folder supplies the numbers of the model card.
        folder: Target; missing, empty, or an earlier export.
        trainer: The engine that merges and compares.
        dtype: Type of the written weights.
        character: Whom the model card describes.
        held_out: What the result is compared on.
        onto: The base's own weights, those its quantised form multiplied with in training, or whichever of the two is
            measured closer to what was trained; a base that was not quantised has only its own.
        rating: The operator's content rating, for the card.
        on_event: Receives `preparing` events with `done` and `total` bytes.

    Raises:
        ConfigError: The folder holds files that are not an earlier export of ours.
        EngineError: The disk is too full, the run's ledger is damaged, merging or writing failed, or the result is not
            what was trained.
    """
    target = folder.resolve()
    choices = _choices(adapter, onto)
    stagings = {choice: target.with_name(f".{target.name}.{choice}.export") for choice in choices}
    try:
        check_target(target)
        card = model_card(adapter, character=character, folder_name=target.name, dtype=dtype, rating=rating)
        target.parent.mkdir(parents=True, exist_ok=True)
        needed = _needed_bytes(trainer.facts(adapter.base), dtype=dtype, stagings=tuple(stagings.values()))
        twice = " written twice, to keep the closer one (--onto trained or original writes one)"
        what = f"the merged weights in {dtype}{twice if len(stagings) > 1 else ''}"
        check_disk(target.parent, needed, what=what)
        about = {"kind": "merged", "dtype": dtype, **origin(adapter)}
        written = {}
        for choice, staging in stagings.items():
            if not is_merged_of(staging, adapter, dtype=dtype, onto=choice):
                trainer.merge(adapter, staging, dtype=dtype, onto=choice, on_event=on_event)
            (staging / CARD).unlink(missing_ok=True)
            written[choice] = write_label(staging, onto=choice, more=about)  # whole: need not be merged again
        figures = trainer.compare(adapter, tuple(stagings.values()), held_out.examples, held_out.prompts)
        chosen, parity = min(zip(choices, figures, strict=True), key=lambda each: each[1].mean_kl_nats)
        check_parity(parity, form=dtype, where=str(folder))
        staging = stagings[chosen]
        (staging / CARD).write_text(card, encoding="utf-8", errors="replace")
        write_notice(staging, base_and_licence(adapter.base.name)[1])
        digests = write_label(staging, parity=parity, onto=chosen, more=about, known=written[chosen])
        check_target(target)  # merging takes minutes
        swap_in(staging, target)
    except OSError as error:
        raise not_written(folder, error) from error
    except DuologueError:
        _clear(stagings.values())
        raise
    _clear(stagings.values())
    return Artifact(folder, digests, parity, chosen)


def _choices(adapter: Adapter, onto: Onto | Literal["closer"]) -> tuple[Onto, ...]:
    if adapter.base.quantization == "none":
        return ("original",)
    return ("trained", "original") if onto == "closer" else (onto,)


def _clear(stagings: Iterable[Path]) -> None:
    for staging in stagings:
        shutil.rmtree(staging, ignore_errors=True)


def _needed_bytes(facts: ModelFacts, *, dtype: Precision, stagings: Sequence[Path]) -> float:
    """Return what is still to be written."""
    there = sum(path.stat().st_size for staging in stagings for path in staging.rglob("*") if path.is_file())
    return len(stagings) * _HEADROOM * num_params(facts) * BYTES[dtype] - there
