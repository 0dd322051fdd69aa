"""Base and adapter as one model on disk, and the adapter on its base in memory."""

import json
import shutil
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from torch import nn

from duologue.engine.hf.fold import as_trained, find_files, fold
from duologue.engine.hf.load import HfModel, load_model, load_tokenizer, quiet
from duologue.engine.hf.trust import base_of_adapter, require_plain_adapter, require_plain_model
from duologue.engine.job import Adapter, OnEvent, Precision
from duologue.engine.merging import Onto
from duologue.errors import EngineError
from duologue.files import write_whole


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
        tokenizer = load_tokenizer(adapter.base)
        tokenizer.save(folder)
        _write_ends(folder, tokenizer.stop_token_ids)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineError(f"the merged model could not be written ({reason})", where=str(folder)) from error


def _write_ends(folder: Path, stop_token_ids: Collection[int]) -> None:
    """Name every token that ends a reply where other programs look for them.

    A base that was not made for chat names its end of text only, though its template ends turns with another token.
    transformers and vLLM would write on behind the reply.
    """
    path = folder / "generation_config.json"
    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {key: model[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if model.get(key) is not None}
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else kept
    found = settings.get("eos_token_id")
    ends = [found] if isinstance(found, int) else list(found or ())
    missing = sorted(set(stop_token_ids) - set(ends))
    if missing:
        settings.pop("_from_model_config", None)  # its ends are no longer those of config.json
        write_whole(path, json.dumps({**settings, "eos_token_id": [*ends, *missing]}, indent=2) + "\n")


def _merge_whole(adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted merge in another type has left
    model = load_model(replace(adapter.base, quantization="none", compute_dtype=dtype))
    if onto == "trained":
        head = model.get_output_embeddings()
        for layer in model.modules():
            if type(layer) is nn.Linear and layer is not head:
                layer.weight.data = as_trained(layer.weight.data, adapter.base).to(layer.weight.dtype)
    merged = attach(model, adapter).merge_and_unload()
    with quiet():
        merged.save_pretrained(str(folder), safe_serialization=True)


def attach(model: HfModel, adapter: Adapter, *, name: str = "default", onto: PeftModel | None = None) -> PeftModel:
    """Return the model with a saved adapter on it.

    Args:
        model: The base.
        adapter: What is put on it.
        name: What it is called among the adapters of the model.
        onto: What an earlier call has returned for this model; None for its first adapter.

    Raises:
        EngineError: The folder holds no adapter, more than that, or its tensors do not fit the model.
    """
    require_plain_adapter(adapter)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*missing adapter keys.*")  # an error below
            warnings.filterwarnings("ignore", message=".*multiple adapters.*")
            if onto is None:
                onto = PeftModel.from_pretrained(model, str(adapter.folder), adapter_name=name)
            else:
                onto.load_adapter(str(adapter.folder), adapter_name=name)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise _does_not_fit(adapter, first_line) from error
    require_all_keys(onto, adapter, name=name)
    return onto.eval()


def require_all_keys(model: PeftModel, adapter: Adapter, *, name: str = "default") -> None:
    """Refuse an adapter some of whose matrices have no place, or some of whose places have no matrix.

    PEFT only warns of the one and says nothing of the other, and the adapter does less than it was trained to, or
    nothing.
    """
    with safe_open(adapter.folder / "adapter_model.safetensors", framework="pt") as file:
        found = {key for key in file.keys() if "lora_" in key}  # noqa: SIM118
    with quiet():
        state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    placed = {key for key in state if "lora_" in key}
    for keys, told in ((found - placed, "the model has no place for"), (placed - found, "the file has nothing for")):
        if keys:
            raise _does_not_fit(adapter, f"{told} {len(keys)} of its matrices, such as {min(keys)}")
    if not found:
        raise _does_not_fit(adapter, "it holds no matrices")


def _does_not_fit(adapter: Adapter, reason: str) -> EngineError:
    own_base = base_of_adapter(adapter.folder) or "which it does not name"
    return EngineError(
        f"the adapter cannot be put on '{adapter.base.name}' ({reason})",
        where=str(adapter.folder),
        action=f"Use the base model the adapter was trained on ({own_base}).",
    )
