"""LoRAs in GGUF form: where they lie, and whether they belong to a model.

llama.cpp says only that it cannot load one, not why.
"""

from pathlib import Path

from duologue.engine.gguf.header import Header, not_whole, read_header
from duologue.errors import EngineError

_DOWN, _UP = ".lora_a", ".lora_b"


def lora_file(folder: Path) -> Path:
    """Return the one LoRA of an adapter's folder.

    Raises:
        EngineError: There is none, or more than one.
    """
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    raise EngineError(
        f"the adapter's folder holds {len(files)} .gguf files",
        where=str(folder),
        needed="one LoRA in GGUF form",
        action="llama.cpp cannot read a PEFT adapter: export it first, or chat with --engine hf.",
    )


def check_lora(file: Path, base: Header, *, model: Path) -> None:
    """Refuse a LoRA that would change nothing, or that was made for another model.

    Raises:
        EngineError: Such a LoRA, or a file that is none.
    """
    lora = read_header(file)
    try:
        kind, made_for = lora.of("adapter.type", str, ""), lora.architecture
    except ValueError as error:
        raise not_whole(file, error) from error
    if kind != "lora":
        raise EngineError("this GGUF file holds no LoRA", where=str(file), action="Export the adapter again.")
    targets = sorted(name.removesuffix(_DOWN) for name in lora.tensors if name.endswith(_DOWN))
    if not targets:
        raise EngineError("this LoRA is empty: it would change nothing", where=str(file))
    fault = "" if made_for == base.architecture else f"it is made for '{made_for}', the model is '{base.architecture}'"
    fault = fault or next(filter(None, (_misfit(target, lora, base) for target in targets)), "")
    if fault:
        raise EngineError(
            f"this LoRA does not belong to the model: {fault}",
            where=f"{file} on {model}",
            action="Open it with the base model that it was trained on.",
        )


def _misfit(target: str, lora: Header, base: Header) -> str:
    """Return why one pair of matrices does not fit; empty where it does."""
    up, down = lora.tensors.get(target + _UP), lora.tensors[target + _DOWN]
    weight = base.tensors.get(target)
    if up is None:
        return f"{target} has a {_DOWN[1:]} without a {_UP[1:]}"
    if weight is None:
        return "" if base.is_split else f"the model has no {target}"
    if target.startswith("token_embd"):
        return ""  # a table is looked up by rows; its two parts lie the other way round
    if (down.shape[0], up.shape[1]) != (weight.shape[0], weight.shape[1]):
        return f"{target} is {weight.shape[0]} x {weight.shape[1]} there and {down.shape[0]} x {up.shape[1]} here"
    return ""
