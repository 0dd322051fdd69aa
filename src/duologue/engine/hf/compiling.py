"""torch.compile for the transformer blocks, where a run is long enough to wait for it."""

import importlib.util
import os
import shutil

import torch

from duologue.engine.hf.load import HfModel

COST = "the first step waits for it, one to fifteen minutes, which runs of hours get back"


def compile_blocks(model: HfModel) -> None:
    """Let torch compile each transformer block when it is first called, once for all lengths.

    The compiler fuses what `fused` fuses, and wants batches of one kind: a model that is compiled keeps PEFT's layers
    and transformers' attention with a mask.
    """
    for module in model.modules():
        if type(module).__name__.endswith(("DecoderLayer", "Block")):
            module.compile(dynamic=True)


def compile_fault() -> str:
    """Return why models cannot be compiled here; empty when they can."""
    if torch.cuda.is_available():
        return "" if importlib.util.find_spec("triton") else "the package triton is not installed"
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"there is no C++ compiler ({compiler})"
