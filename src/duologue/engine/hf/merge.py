"""Base and adapter folded into one model on disk, with its logits compared before the name becomes final."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer, quiet
from duologue.engine.job import Adapter
from duologue.errors import EngineError

_PROBE = tuple(range(5, 69))


def merge_adapter(adapter: Adapter, folder: Path) -> float:
    """Write base and adapter as one unquantised model to `folder`.

    The adapter is folded onto the unquantised base; the model is read back and compared before it gets its name.

    Returns:
        Largest absolute logit difference between adapter-on-base and the folder as read back.

    Raises:
        EngineError: The adapter does not belong to the base, or the disk is full.
    """
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    model = attach(load_model(replace(adapter.base, quantization="none")), adapter)
    expected = _logits(model)
    merged = model.merge_and_unload()
    try:
        with quiet():
            merged.save_pretrained(str(partial), safe_serialization=True)
        load_tokenizer(adapter.base).save(partial)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EngineError(f"the merged model could not be written ({error})", where=str(folder)) from error
    read_back: HfModel = AutoModelForCausalLM.from_pretrained(str(partial), dtype=merged.dtype)
    read_back = read_back.to(device())
    difference = float((_logits(read_back) - expected).abs().max())
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return difference


def attach(model: HfModel, adapter: Adapter) -> PeftModel:
    """Return the model with a saved adapter on it.

    Raises:
        EngineError: The folder holds no adapter, or its tensors do not fit the model.
    """
    try:
        with quiet():
            return PeftModel.from_pretrained(model, str(adapter.folder)).eval()
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise EngineError(
            f"the adapter cannot be put on '{adapter.base.name}' ({first_line})",
            where=str(adapter.folder),
            action="Use the base model the adapter was trained on.",
        ) from error


@torch.no_grad()
def _logits(model: torch.nn.Module) -> torch.Tensor:
    ids_BT = torch.tensor([_PROBE], device=device())
    return model(input_ids=ids_BT, use_cache=False).logits.float()
