"""A merged model, or an adapter, as a GGUF file for llama.cpp."""

from pathlib import Path
from typing import Literal, get_args

from duologue.engine.job import Adapter, BaseModel, OnEvent

GgufForm = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]
GGUF_FORMS: tuple[GgufForm, ...] = get_args(GgufForm)  # from the largest to the smallest


def write_gguf(folder: Path, file: Path, *, form: GgufForm, on_event: OnEvent) -> None:
    """Write a model in Hugging Face form as one GGUF file, tensor by tensor.

    Args:
        folder: Holds `config.json`, safetensors and the tokenizer, as `duologue export merged` writes them.
        file: Where to; it appears under this name once it is whole.
        form: How the weights are held.
        on_event: Receives `preparing` events with `done` and `total` bytes of the file, and a `warning` for whatever
            llama.cpp does otherwise than the model's own settings say.

    Raises:
        EngineError: llama.cpp does not know the architecture or its tokenizer, the folder is damaged, or the disk is
            full.
    """
    from duologue.engine.hf.gguf_out.model import write_model

    write_model(folder, file, form=form, on_event=on_event)


def write_lora_gguf(adapter: Adapter, file: Path, *, on_event: OnEvent) -> None:
    """Write a LoRA as a GGUF file that llama.cpp puts on the GGUF file of the base.

    Args:
        adapter: A LoRA in PEFT form.
        file: Where to; it appears under this name once it is whole.
        on_event: Receives `preparing` events with `done` and `total` bytes of the file.

    Raises:
        EngineError: The adapter does not belong to its base, or holds what llama.cpp cannot apply: DoRA, weights saved
            whole, trained embeddings, other kinds of layers.
    """
    from duologue.engine.hf.gguf_out.lora import write_lora

    write_lora(adapter, file, on_event=on_event)


def check_gguf_base(base: BaseModel) -> None:
    """Refuse a base whose merged model `write_gguf` would refuse for its architecture; merging takes long.

    Raises:
        EngineError: The base is not there, llama.cpp does not know its architecture, or computes it otherwise.
    """
    from duologue.engine.hf.gguf_out.model import check_base

    check_base(base)


def gguf_size_bytes(folder: Path, form: GgufForm) -> int:
    """Return the size in bytes of the file that `write_gguf` makes of this folder.

    Raises:
        EngineError: As `write_gguf`.
    """
    from duologue.engine.hf.gguf_out.model import size_bytes

    return size_bytes(folder, form)
