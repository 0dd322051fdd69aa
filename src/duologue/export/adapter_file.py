"""`check_adapter`: whether two files are the matrices of a LoRA and nothing else, before any library opens them.

The layout of safetensors is eight bytes with the length of a JSON header, the header, then the numbers. It is read
here in pieces, so that a file of any size takes little memory, and so that a hostile one reaches no other reader.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.engine import ModelFacts
from duologue.errors import EngineError

WEIGHTS_NAME, CONFIG_NAME = "adapter_model.safetensors", "adapter_config.json"
MAX_CONFIG_BYTES = 2**20
_MAX_HEADER_BYTES = 16 * 2**20
_MAX_RANK = 4_096
_PIECE_BYTES = 2**20
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_KEY = re.compile(
    r"base_model\.model\.(?:[a-z_]+\.)*?(?:layers\.(?P<layer>\d{1,4})\.)?(?:[a-z_]+\.)*(?P<module>[a-z0-9_]+)"
    r"\.lora_(?P<part>A\.weight|B\.weight|magnitude_vector(?:\.weight)?)"
)
_NAME = re.compile(r"[A-Za-z0-9_.]{1,80}")
# What PEFT writes for a LoRA of ours, and what each key may hold; every other key must be empty.
_NUMBERS = ("r", "lora_alpha", "lora_dropout", "qalora_group_size")
_FLAGS = ("inference_mode", "use_dora", "use_rslora", "fan_in_fan_out", "ensure_weight_tying")
_TEXTS = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM",),
    "bias": ("none",),
    "megatron_core": ("megatron.core",),  # PEFT's default; without megatron_config nothing is imported by it
}
_FREE = ("peft_version", "target_modules", "layers_to_transform", "init_lora_weights", "base_model_name_or_path")


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an adapter says of itself, checked.

    Attributes:
        rank: Inner width.
        num_tensors: Matrices in its file.
        num_parameters: Numbers in them.
        is_shape_checked: Whether the shapes were compared with those of the base.
    """

    rank: int
    num_tensors: int
    num_parameters: int
    is_shape_checked: bool


def check_adapter(folder: Path, facts: ModelFacts | None, *, base: str) -> AdapterFacts:
    """Return what an adapter is.

    Args:
        folder: Holds its two files.
        facts: The shape of the base, where it is known without a network; None leaves the shapes unchecked.
        base: What the base is called, for messages.

    Raises:
        EngineError: It is no safetensors file, holds a number that is none, is no plain LoRA, or fits another base.
    """
    config = _read_config(folder / CONFIG_NAME)
    path = folder / WEIGHTS_NAME
    tensors = _read_header(path)
    _check_tensors(tensors, config, facts, where=str(path), base=base)
    _check_numbers(path, tensors)
    num_parameters = sum(math.prod(tensor.shape) for tensor in tensors.values())
    return AdapterFacts(config["r"], len(tensors), num_parameters, facts is not None)


@dataclass(frozen=True, slots=True)
class _Tensor:
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


def _read_config(path: Path) -> dict[str, Any]:
    where = str(path)
    try:
        size = path.stat().st_size
        if size > MAX_CONFIG_BYTES:
            raise _refused(f"the adapter's settings have {size:,} bytes", where, f"at most {MAX_CONFIG_BYTES:,}")
        config = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise _refused(f"the adapter's settings cannot be read ({error.strerror})", where) from error
    except (ValueError, RecursionError) as error:
        raise _refused(f"the adapter's settings are not JSON ({error})", where) from error
    if not isinstance(config, dict):
        raise _refused("the adapter's settings are no JSON object", where)
    for key, value in config.items():
        if not _is_allowed(key, value):
            shown = json.dumps(value)[:60]
            raise _refused(f"the adapter sets {key[:60]!r} to {shown}, which a plain LoRA does not need", where)
    rank = config.get("r")
    if type(rank) is not int or not 0 < rank <= _MAX_RANK:
        raise _refused(f"the adapter has the rank {str(rank)[:40]!r}", where, f"1 to {_MAX_RANK:,}")
    if config.get("peft_type") != "LORA":
        raise _refused("the adapter does not say that it is a LoRA", where, "'peft_type': 'LORA'")
    return config


def _is_allowed(key: str, value: object) -> bool:
    if key in _NUMBERS:
        return type(value) in (int, float) and math.isfinite(float(str(value)))
    if key in _FLAGS:
        return isinstance(value, bool)
    if key in _TEXTS:
        return value in _TEXTS[key]
    if key == "target_modules":
        names = [value] if isinstance(value, str) else value
        return isinstance(names, list) and all(isinstance(name, str) and _is_name(name) for name in names)
    if key == "layers_to_transform":
        layers = value if isinstance(value, list) else [value]
        return value is None or all(type(layer) is int and 0 <= layer < 10_000 for layer in layers)
    if key == "init_lora_weights":
        return isinstance(value, bool)
    if key in _FREE:
        return value is None or (isinstance(value, str) and len(value) <= 400 and value.isprintable())
    return value in (None, False, {}, [], "")


def _is_name(name: str) -> bool:
    return name == "all-linear" or _NAME.fullmatch(name) is not None


def _read_header(path: Path) -> dict[str, _Tensor]:
    """Return the tensors of a safetensors file, whose bytes must follow one another without gap or overlap."""
    where = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
                raise _refused(f"the adapter is no safetensors file (its header would have {length:,} bytes)", where)
            text = file.read(length)
    except OSError as error:
        raise _refused(f"the adapter cannot be read ({error.strerror})", where) from error
    try:
        if not text.startswith(b"{"):
            raise ValueError("the header is no JSON object")
        header: dict[str, Any] = json.loads(text, object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise _refused(f"the adapter is no safetensors file ({str(error)[:200]})", where) from error
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        if tensor.start != at or tensor.end > size - 8 - length:
            raise _refused(f"{name[:120]!r} of the adapter lies outside of its place in the file", where)
        at = tensor.end
    if at != size - 8 - length or not tensors:
        raise _refused(f"the adapter holds {at:,} bytes of weights, its file {size - 8 - length:,}", where)
    return tensors


def _tensor(name: str, entry: Mapping[str, Any]) -> _Tensor:
    kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, end]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers) or len(shape) > 2:
        raise ValueError(f"{name[:120]!r} has a shape or a place that cannot be")
    if kind not in _ITEM_BYTES:
        raise ValueError(f"{name[:120]!r} is of the type {str(kind)[:20]!r}; expected {', '.join(_ITEM_BYTES)}")
    if math.prod(shape) * _ITEM_BYTES[kind] != end - start:
        raise ValueError(f"{name[:120]!r} has {end - start:,} bytes, which its shape {shape} does not fill")
    return _Tensor(kind, tuple(shape), start, end)


def _check_tensors(
    tensors: Mapping[str, _Tensor], config: Mapping[str, Any], facts: ModelFacts | None, *, where: str, base: str
) -> None:
    sizes = _module_sizes(facts) if facts else {}
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise _refused(f"the adapter holds {name[:120]!r}", where, "the matrices of a LoRA only")
        prefix = name[: name.index(".lora_")]
        found.setdefault(prefix, {})[match["part"][0]] = tensor.shape
        if facts and match["layer"] and int(match["layer"]) >= facts.num_layers:
            found_layers = f"the adapter is for layer {match['layer']}, and {base!r} has {facts.num_layers}"
            raise _refused(found_layers, where, "an adapter of this base", action="Name its own base.")
    for prefix, shapes in found.items():
        a, b = shapes.get("A", ()), shapes.get("B", ())
        if len(a) != 2 or len(b) != 2 or a[0] != config["r"] or b[1] != config["r"]:
            shown = f"A {list(a)}, B {list(b)}, and the adapter says rank {config['r']}"
            raise _refused(f"the matrices of {prefix[:120]!r} do not belong together: {shown}", where)
        wanted = sizes.get(prefix.rsplit(".", 1)[-1])
        if wanted and (a[1], b[0]) != wanted:
            raise _refused(
                f"the adapter is for another base: {prefix[:120]!r} goes from {a[1]:,} to {b[0]:,} wide",
                where,
                f"from {wanted[0]:,} to {wanted[1]:,}, as in {base!r}",
                action="Name its own base.",
            )


def _module_sizes(facts: ModelFacts) -> dict[str, tuple[int, int]]:
    """Return how wide the linear layers of a Llama-shaped block are, in and out."""
    hidden, inner = facts.hidden_size, facts.intermediate_size
    queries, keys = facts.num_heads * facts.head_dim, facts.num_kv_heads * facts.head_dim
    return {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
        "lm_head": (hidden, facts.vocab_size),
    }


def _check_numbers(path: Path, tensors: Mapping[str, _Tensor]) -> None:
    """Refuse NaN and infinity.

    Their exponent is all ones: in the upper two bytes of float32 and bfloat16 that is `?1111111 1???????`, in the
    upper byte of float16 `?11111??`.
    """
    suspects = {
        "F32": bytes(byte & 0x7F == 0x7F for byte in range(256)),
        "BF16": bytes(byte & 0x7F == 0x7F for byte in range(256)),
        "F16": bytes(byte & 0x7C == 0x7C for byte in range(256)),
    }
    with path.open("rb") as file:
        offset = 8 + struct.unpack("<Q", file.read(8))[0]
        for name, tensor in tensors.items():
            file.seek(offset + tensor.start)
            left, width = tensor.end - tensor.start, _ITEM_BYTES[tensor.kind]
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise _refused(f"the adapter ends within {name[:120]!r}", str(path))
                left -= len(piece)
                top = piece[width - 1 :: width].translate(suspects[tensor.kind])
                if 1 in top and (
                    tensor.kind == "F16"
                    or any(
                        is_suspect and below & 0x80
                        for is_suspect, below in zip(top, piece[width - 2 :: width], strict=True)
                    )
                ):
                    found = f"{name[:120]!r} of the adapter holds a number that is none (NaN or infinite)"
                    raise _refused(found, str(path), "finite weights")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refused(found: str, where: str, needed: str = "", *, action: str = "") -> EngineError:
    return EngineError(found, where=where, needed=needed, action=action or "Get the file from its maker again.")
