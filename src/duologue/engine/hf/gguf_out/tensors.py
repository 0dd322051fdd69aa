"""The tensors of a model in Hugging Face form: which belong to its architecture, and their parts as llama.cpp has them.

Legend of shapes: R rows (outputs), C columns (inputs).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from duologue.engine.gguf.quantize import quantized_rows
from duologue.engine.hf.fold import weight_files
from duologue.engine.hf.gguf_out.file import Piece
from duologue.engine.hf.gguf_out.kinds import PLAIN, Kind
from duologue.errors import EngineError

_BLOCK_NUMBERS = 2**23  # numbers of a tensor in work at once, 32 MiB as float32
_TYPES = ("F32", "F16", "BF16")
_BUFFERS = (".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached", ".masked_bias")
# Models that also see keep their language model one level deeper, in one of two orders.
_DEEPER = re.compile(r"^(model\.language_model\.|language_model\.model\.)")
_SEEING = re.compile(r"^(model\.)?(vision_tower|multi_modal_projector)\.")
# numpy has no bfloat16, so its bits travel as 16-bit whole numbers


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tensor that the architecture has.

    Attributes:
        name: Its name in a GGUF file.
        shape: Its lengths, the outermost first.
        num_heads: Where the file holds each head's two rotary halves interleaved, the heads it has; else 0.
        offset: What is added to its numbers (Gemma's norms count from one).
    """

    name: str
    shape: tuple[int, ...]
    num_heads: int = 0
    offset: float = 0.0

    def rearranged(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows in llama.cpp's order (convert_hf_to_gguf.py, `permute`)."""
        if not self.num_heads:
            return rows
        half = rows.shape[0] // self.num_heads // 2
        return rows.reshape(self.num_heads, 2, half, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor of the folder lies.

    Attributes:
        file: The safetensors file.
        key: Its name there.
        shape: Its lengths.
        type: Its type as safetensors names it.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    type: str


def find_sources(folder: Path) -> tuple[dict[str, Source], int]:
    """Return the folder's tensors by their names in the language model, and how many of other parts are left out.

    Raises:
        EngineError: There are no safetensors, or they cannot be read.
    """
    sources: dict[str, Source] = {}
    num_left_out = 0
    file = folder
    try:
        for name in weight_files(folder):
            file = folder / name
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118
                    if _SEEING.match(key):
                        num_left_out += 1
                    elif not key.endswith(_BUFFERS):
                        part = opened.get_slice(key)
                        known = _DEEPER.sub("model.", key).replace("language_model.lm_head.", "lm_head.")
                        sources[known] = Source(file, key, tuple(part.get_shape()), part.get_dtype())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise EngineError(
            f"the model's weights cannot be read ({error})",
            where=str(file),
            needed="whole safetensors files",
            action="Export the merged model again.",
        ) from error
    if not sources:
        raise EngineError(
            "the folder holds no weights",
            where=str(folder),
            needed="safetensors files",
            action="Make it with duologue export merged.",
        )
    return sources, num_left_out


def check_sources(sources: Mapping[str, Source], wanted: Mapping[str, Wanted], *, folder: Path) -> None:
    """Hold the folder's tensors against those of the architecture.

    Raises:
        EngineError: One is missing, has another shape or type, or is no part of the architecture.
    """
    missing, extra = sorted(set(wanted) - set(sources)), sorted(set(sources) - set(wanted))
    if missing:
        raise EngineError(
            f"{len(missing)} of the model's {len(wanted)} tensors are missing ({_some(missing)})",
            where=str(folder),
            action="Export the merged model again.",
        )
    if extra:
        raise EngineError(
            f"{len(extra)} tensors are no part of the architecture as llama.cpp knows it ({_some(extra)})",
            where=str(folder),
            needed="a plain causal language model",
        )
    for name, want in wanted.items():
        source = sources[name]
        if source.shape != want.shape or source.type not in _TYPES:
            raise EngineError(
                f"'{name}' is {source.type} of shape {list(source.shape)}",
                where=str(source.file),
                needed=f"one of {', '.join(_TYPES)} of shape {list(want.shape)}, as config.json says",
                action="Export the merged model again; quantised weights cannot be turned into GGUF.",
            )


def pieces(source: Source, want: Wanted, kind: Kind) -> Iterator[Piece]:
    """Yield the bytes of a tensor in a form, part by part.

    Raises:
        EngineError: It cannot be read, or a number is not finite in this form.
    """
    try:
        with safe_open(source.file, framework="pt") as opened:  # for it alone, so that no other pages stay in memory
            tensor: torch.Tensor = opened.get_tensor(source.key)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"'{source.key}' cannot be read ({error})", where=str(source.file)) from error
    tensor = want.rearranged(tensor)
    if tensor.ndim < 2:
        yield _checked(tensor.float() + want.offset, source, kind).numpy()
        return
    num_rows = max(1, _BLOCK_NUMBERS // tensor.shape[1])
    for at in range(0, len(tensor), num_rows):
        rows_RC = _checked(tensor[at : at + num_rows].float() + want.offset, source, kind)
        yield _converted(rows_RC, kind)


def _converted(rows_RC: torch.Tensor, kind: Kind) -> Piece:
    if kind == Kind.F32:
        return rows_RC.numpy()
    if kind in PLAIN:
        short = rows_RC.to(torch.float16 if kind == Kind.F16 else torch.bfloat16)
        converted: Piece = short.contiguous().view(torch.uint8).numpy()
        return converted
    return quantized_rows(rows_RC.numpy().astype(np.float32, copy=False), kind.value)


def _checked(numbers: torch.Tensor, source: Source, kind: Kind) -> torch.Tensor:
    """Refuse numbers that would make the model answer with nonsense."""
    largest = float(numbers.abs().amax()) if numbers.numel() else 0.0  # is NaN if one is
    limit = torch.finfo(torch.float16).max if kind == Kind.F16 else torch.finfo(torch.float32).max
    if not largest <= limit:
        found = "a number that is not finite" if not largest < float("inf") else f"{largest:.3g}, which overflows f16"
        raise EngineError(
            f"'{source.key}' holds {found}",
            where=str(source.file),
            action="Train and merge again." if "finite" in found else "Choose bf16 or a quantised form.",
        )
    return numbers


def _some(names: list[str]) -> str:
    return f"'{names[0]}'" + (" and others" if len(names) > 1 else "")
