"""A PEFT LoRA as the GGUF file that llama.cpp adds to a base while it runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from duologue.engine.hf.fold import Update, read_updates
from duologue.engine.hf.gguf_out.families import find_family, wanted_tensors
from duologue.engine.hf.gguf_out.file import Field, Piece, Tensor, header, write_file
from duologue.engine.hf.gguf_out.kinds import Kind
from duologue.engine.hf.gguf_out.model import reporter
from duologue.engine.hf.gguf_out.tensors import Wanted
from duologue.engine.hf.load import read_config
from duologue.engine.hf.trust import require_plain_adapter
from duologue.engine.job import Adapter, OnEvent
from duologue.errors import EngineError

_MERGE = "Export the merged model instead: duologue export gguf without a LoRA of its own."


def write_lora(adapter: Adapter, file: Path, *, on_event: OnEvent) -> None:
    """See `duologue.engine.write_lora_gguf`."""
    require_plain_adapter(adapter)
    updates = _updates(adapter)
    config = read_config(adapter.base)
    family = find_family(config, where=adapter.base.name)
    wanted = wanted_tensors(config, family)
    del wanted["model.embed_tokens.weight"]
    _check(adapter, updates, wanted)
    # llama.cpp multiplies by alpha / rank with one alpha for all layers; what differs from it goes into B.
    alpha = max(update.scale * len(update.a) for update in updates.values())
    pairs: dict[str, torch.Tensor] = {}
    for name, update in updates.items():
        want = wanted[name]
        strength = update.scale * len(update.a) / alpha if alpha else 0.0
        pairs[f"{want.name}.lora_a"] = update.a
        pairs[f"{want.name}.lora_b"] = want.rearranged(update.b) * strength
    tensors = [Tensor(name, tuple(matrix.shape), Kind.F32) for name, matrix in pairs.items()]
    fields: dict[str, Field] = {
        "general.architecture": family.name,
        "general.type": "adapter",
        "general.name": file.stem,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(alpha),
    }
    head = header(fields, tensors)

    def parts(tensor: Tensor) -> Iterator[Piece]:
        yield pairs[tensor.name].contiguous().numpy()

    total = len(head) + sum(tensor.num_bytes for tensor in tensors)
    write_file(file, head, tensors, parts, report=reporter(total, on_event))


def _updates(adapter: Adapter) -> dict[str, Update]:
    """Return what the adapter does to each weight.

    Raises:
        EngineError: It holds more than a LoRA of linear layers, or nothing.
    """
    where = str(adapter.folder)
    updates, whole = read_updates(adapter)
    if whole:
        raise EngineError(
            f"the adapter brings {len(whole)} weights whole ('{sorted(whole)[0]}'), which a LoRA in GGUF form cannot",
            where=where,
            needed="a LoRA without modules_to_save and without trained embeddings",
            action=_MERGE,
        )
    with_length = sorted(name for name, update in updates.items() if update.magnitude is not None)
    if with_length:
        raise EngineError(
            f"the adapter is a DoRA ({len(with_length)} layers, such as '{with_length[0]}')",
            where=where,
            needed="a LoRA; llama.cpp cannot apply a DoRA",
            action=_MERGE,
        )
    if not updates:
        raise EngineError("the adapter changes no weight", where=where)
    return updates


def _check(adapter: Adapter, updates: Mapping[str, Update], wanted: Mapping[str, Wanted]) -> None:
    """Hold the adapter against its base.

    Raises:
        EngineError: A layer is not there, or has another shape.
    """
    where = str(adapter.folder)
    unknown = sorted(set(updates) - set(wanted))
    if unknown:
        raise EngineError(
            f"{len(unknown)} of the adapter's {len(updates)} layers are none that llama.cpp can change in "
            f"'{adapter.base.name}' ('{unknown[0]}')",
            where=where,
            needed="a LoRA of attention and MLP layers, on the base model it was trained on",
            action=_MERGE,
        )
    for name, update in updates.items():
        found = (len(update.b), update.a.shape[1])
        if found != wanted[name].shape or update.b.shape[1] != len(update.a):
            raise EngineError(
                f"'{name}' is changed as a weight of shape {list(found)}",
                where=where,
                needed=f"{list(wanted[name].shape)}, as '{adapter.base.name}' has it",
                action="Use the base model the adapter was trained on.",
            )
        if not bool(torch.isfinite(update.a).all() and torch.isfinite(update.b).all()):
            raise EngineError(f"'{name}' holds a number that is not finite", where=where, action="Train again.")
