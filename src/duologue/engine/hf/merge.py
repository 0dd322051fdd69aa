"""Base and adapter as one model on disk, and the adapter on its base in memory."""

from dataclasses import replace
from pathlib import Path

from peft import PeftModel
from torch import nn

from duologue.engine.hf.fold import as_trained, find_files, fold
from duologue.engine.hf.load import HfModel, load_model, load_tokenizer, quiet
from duologue.engine.hf.trust import base_of_adapter, require_plain_adapter, require_plain_model
from duologue.engine.job import Adapter, OnEvent, Precision
from duologue.engine.merging import Onto
from duologue.errors import EngineError


def merge_adapter(adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto, on_event: OnEvent) -> None:
    """Write base and adapter as one unquantised model with its tokenizer.

    A base of safetensors files is folded file by file; a `.gguf` is small enough to be held whole.

    Args:
        adapter: What is folded in.
        folder: Where to; what an interrupted call has left there is gone on with.
        dtype: Type of the written weights.
        onto: The base's own weights, or those its quantised form multiplied with in training.
        on_event: Receives `preparing` events with `done` and `total` bytes.

    Raises:
        EngineError: The adapter does not belong to the base, or the disk is full.
    """
    require_plain_model(adapter.base)
    require_plain_adapter(adapter)
    try:
        files = find_files(adapter.base)
        if files is not None:
            fold(adapter, files, folder, dtype=dtype, onto=onto, on_event=on_event)
        else:
            _merge_whole(adapter, folder, dtype=dtype, onto=onto)
        load_tokenizer(adapter.base).save(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(f"the merged model could not be written ({reason})", where=str(folder)) from error


def _merge_whole(adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto) -> None:
    model = load_model(replace(adapter.base, quantization="none", compute_dtype=dtype))
    if onto == "trained":
        head = model.get_output_embeddings()
        for layer in model.modules():
            if type(layer) is nn.Linear and layer is not head:
                layer.weight.data = as_trained(layer.weight.data, adapter.base).to(layer.weight.dtype)
    merged = attach(model, adapter).merge_and_unload()
    with quiet():
        merged.save_pretrained(str(folder), safe_serialization=True)


def attach(model: HfModel, adapter: Adapter) -> PeftModel:
    """Return the model with a saved adapter on it.

    Raises:
        EngineError: The folder holds no adapter, more than that, or its tensors do not fit the model.
    """
    require_plain_adapter(adapter)
    try:
        with quiet():
            return PeftModel.from_pretrained(model, str(adapter.folder)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        own_base = base_of_adapter(adapter.folder) or "which it does not name"
        raise EngineError(
            f"the adapter cannot be put on '{adapter.base.name}' ({first_line})",
            where=str(adapter.folder),
            action=f"Use the base model the adapter was trained on ({own_base}).",
        ) from error
