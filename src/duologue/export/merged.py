"""`run_merged`: base and adapter as one model folder that transformers and vLLM load, with a model card."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from duologue.characters import Character
from duologue.engine import Adapter, ModelFacts, Precision, Trainer
from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import CARD, Artifact, foreign_files, write_label
from duologue.export.model_card import model_card

_BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_HEADROOM = 1.1  # tokenizer, config and card


def run_merged(adapter: Adapter, folder: Path, *, trainer: Trainer, dtype: Precision, character: Character) -> Artifact:
    """Write base and adapter as one model to `folder`.

    The folder appears whole or not at all; an earlier export stays until its successor is complete.

    Args:
        adapter: What was trained; its run folder supplies the numbers of the model card.
        folder: Target; missing, empty, or an earlier export.
        trainer: The engine that merges.
        dtype: Type of the written weights.
        character: Whom the model card describes.

    Raises:
        ConfigError: The folder holds files that are not an earlier export of ours.
        EngineError: The disk is too full, the run's ledger is damaged, or merging or writing failed.
    """
    target = folder.resolve()
    staging = target.with_name(f".{target.name}.export")
    try:
        _check_target(target)
        card = model_card(adapter, character=character, folder_name=target.name, dtype=dtype)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)  # of an export that was interrupted
        _check_disk(target.parent, trainer.facts(adapter.base), dtype=dtype)
        # The engine computes and writes in the type its base is loaded as.
        difference = trainer.merge(replace(adapter, base=replace(adapter.base, compute_dtype=dtype)), staging)
        (staging / CARD).write_text(card, encoding="utf-8", errors="replace")
        digests = write_label(staging, max_logit_difference=difference)
        _check_target(target)  # merging takes minutes
        _swap_in(staging, target)
    except OSError as error:
        raise EngineError(
            f"the merged model cannot be written ({error.strerror})",
            where=str(folder),
            action="Free some disk space or choose another folder.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Artifact(folder, digests, difference)


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


def _check_disk(parent: Path, facts: ModelFacts, *, dtype: Precision) -> None:
    needed = _HEADROOM * _num_params(facts) * _BYTES[dtype]
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise EngineError(
            f"the disk has {free / 2**30:.2f} GiB free",
            where=str(parent),
            needed=f"{needed / 2**30:.2f} GiB for the merged weights in {dtype}",
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
