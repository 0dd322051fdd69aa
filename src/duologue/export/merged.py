"""`run_merged`: base and adapter as one model folder that transformers and vLLM load, with a model card."""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from duologue.characters import Character
from duologue.engine import Adapter, Example, ModelFacts, OnEvent, Onto, Precision, Trainer
from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.export.artifact import CARD, Artifact, foreign_files, write_label
from duologue.export.model_card import model_card
from duologue.export.parity import check_parity
from duologue.messages import Message

_BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
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
        _check_target(target)
        card = model_card(adapter, character=character, folder_name=target.name, dtype=dtype)
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_disk(target.parent, trainer.facts(adapter.base), dtype=dtype, stagings=tuple(stagings.values()))
        for choice, staging in stagings.items():
            trainer.merge(adapter, staging, dtype=dtype, onto=choice, on_event=on_event)
        figures = trainer.compare(adapter, tuple(stagings.values()), held_out.examples, held_out.prompts)
        chosen, parity = min(zip(choices, figures, strict=True), key=lambda each: each[1].mean_kl_nats)
        check_parity(parity, form=dtype, where=str(folder))
        staging = stagings[chosen]
        (staging / CARD).write_text(card, encoding="utf-8", errors="replace")
        digests = write_label(staging, parity=parity, onto=chosen)
        _check_target(target)  # merging takes minutes
        _swap_in(staging, target)
    except OSError as error:
        raise EngineError(
            f"the merged model cannot be written ({error.strerror})",
            where=str(folder),
            action="Free some disk space or choose another folder.",
        ) from error
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


def _check_target(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError("there is a file of this name", where=str(folder), needed="a folder, new or empty")
    foreign = foreign_files(folder)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ConfigError(
            f"the folder holds files that would be lost: {', '.join(foreign[:3])}{more}",
            where=str(folder),
            needed="a new folder, an empty one, or an unchanged earlier export",
            action="Choose another folder, or move these files away.",
        )


def _check_disk(parent: Path, facts: ModelFacts, *, dtype: Precision, stagings: Sequence[Path]) -> None:
    there = sum(path.stat().st_size for staging in stagings for path in staging.rglob("*") if path.is_file())
    needed = len(stagings) * _HEADROOM * _num_params(facts) * _BYTES[dtype] - there
    free = shutil.disk_usage(parent).free
    if free < needed:
        twice = " written twice, to keep the closer one (--onto trained or original writes one)"
        raise EngineError(
            f"the disk has {free / 2**30:.2f} GiB free",
            where=str(parent),
            needed=f"{needed / 2**30:.2f} GiB for the merged weights in {dtype}{twice if len(stagings) > 1 else ''}",
            action="Free some disk space or choose a folder on another disk.",
        )


def _num_params(facts: ModelFacts) -> int:
    """All weights of a Llama-shaped model: attention, feed-forward, norms, embedding and output projection."""
    attention = 2 * facts.hidden_size * facts.head_dim * (facts.num_heads + facts.num_kv_heads)
    feed_forward = 3 * facts.hidden_size * facts.intermediate_size
    tables = (1 if facts.has_tied_embeddings else 2) * facts.vocab_size * facts.hidden_size
    norms = (2 * facts.num_layers + 1) * facts.hidden_size
    return facts.num_layers * (attention + feed_forward) + tables + norms


def _swap_in(staging: Path, folder: Path) -> None:
    """Give the finished folder its name; what had the name before goes away afterwards."""
    replaced = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        os.replace(folder, replaced)
    try:
        os.replace(staging, folder)
    except OSError:
        if replaced.exists():
            os.replace(replaced, folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
