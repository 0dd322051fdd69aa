"""An adapter folded into its base on disk, tensor by tensor, so that a 34B model is merged in the memory of one tensor.

The base's files are kept as they are cut: each of them becomes one file. A file is written under its own name only when
it is whole, and what is whole is not written again when an interrupted merge is taken up.
"""

import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bitsandbytes.functional as bits
import huggingface_hub
import torch
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from duologue.engine.hf.load import DTYPES, HfModel, quiet
from duologue.engine.hf.shard import ShardWriter, Slot
from duologue.engine.job import Adapter, BaseModel, Event, OnEvent, Precision
from duologue.engine.merging import Onto
from duologue.errors import EngineError
from duologue.files import write_whole

INDEX = "model.safetensors.index.json"
_DONE = ".done.json"  # which files of an unfinished merge are whole
_PREFIX = "base_model.model."
_PART_NUMBERS = 2**22  # numbers of a tensor in work at once, 16 MiB as float32
_OTHER_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*", "USE_POLICY*")
FETCHED = ("*.safetensors", *_OTHER_FILES)
# The same weights in the publisher's own form, adapters, and what lies in folders of its own: transformers reads none.
NOT_FETCHED = ("consolidated*", "adapter_*", "*/*")
_WHOLE = "model.safetensors"
# O outputs, I inputs, R some rows of the outputs


@dataclass(frozen=True, slots=True)
class Update:
    """What an adapter does to one weight.

    Attributes:
        a: First matrix, rank x inputs.
        b: Second matrix, outputs x rank.
        scale: What their product is multiplied with.
        magnitude: Length of each row after the update (DoRA), outputs; None without.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    def apply(self, part_RI: torch.Tensor, at: int) -> None:
        """Change the rows of a weight from the one numbered `at` on, in float32 in place.

        W + s B A (Hu 2021); with DoRA each row is then scaled to its own length (Liu 2024).
        """
        rows = slice(at, at + len(part_RI))
        part_RI.addmm_(self.b[rows], self.a, alpha=self.scale)
        if self.magnitude is not None:
            part_RI.mul_((self.magnitude[rows] / part_RI.norm(dim=1))[:, None])


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on disk.

    Attributes:
        folder: Where its files are.
        slots: The tensors of each safetensors file, in the file's order.
    """

    folder: Path
    slots: Mapping[str, tuple[Slot, ...]]

    @property
    def largest_bytes(self) -> int:
        """Size of the largest file."""
        return max((self.folder / name).stat().st_size for name in self.slots)

    def tensor(self, file: str, name: str) -> torch.Tensor:
        """Return one tensor; the file is opened for it alone, so that no other of its pages stays in memory."""
        with safe_open(self.folder / file, framework="pt") as opened:
            read: torch.Tensor = opened.get_tensor(name)
            return read


def find_files(base: BaseModel) -> BaseFiles | None:
    """Return a base's safetensors files, fetched when it is a hub's; None for one that has none, such as a `.gguf`.

    Raises:
        EngineError: They cannot be read or fetched.
    """
    if base.name.startswith("bundled:") or base.name.endswith(".gguf"):
        return None
    try:
        folder = Path(base.name)
        if not folder.is_dir():
            fetched = huggingface_hub.snapshot_download(
                base.name, allow_patterns=[*FETCHED], ignore_patterns=[*NOT_FETCHED]
            )
            folder = Path(fetched)
        files = weight_files(folder)
        return BaseFiles(folder, {file: _slots(folder / file) for file in files}) if files else None
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EngineError(
            f"the base model's files cannot be read ({error})",
            where=base.name,
            action="Check the folder or the network; the base must be the one the adapter was trained on.",
        ) from error


def weight_files(folder: Path) -> list[str]:
    """Return the names of a model's safetensors files: those that transformers reads, whatever else lies beside them.

    Raises:
        ValueError: The list of files names one outside the folder.
        KeyError: The list of files is none.
        OSError: It cannot be read.
    """
    if (folder / _WHOLE).is_file():
        return [_WHOLE]
    if not (folder / INDEX).is_file():
        return []
    names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    if any(Path(name).name != name for name in names):
        raise ValueError(f"{INDEX} names a file outside the folder")
    return names


def read_updates(adapter: Adapter) -> tuple[dict[str, Update], dict[str, torch.Tensor]]:
    """Return what an adapter does to each weight, and the weights it brings whole (`modules_to_save`).

    Raises:
        EngineError: The adapter cannot be read, or holds a tensor that is no part of a LoRA.
    """
    try:
        config = LoraConfig.from_pretrained(str(adapter.folder))
        tensors = load_file(adapter.folder / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise EngineError(f"the adapter cannot be read ({error})", where=str(adapter.folder)) from error
    updates: dict[str, Update] = {}
    whole: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        module, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
        if not module:
            whole[key.removeprefix(_PREFIX)] = tensor
        elif part == "A.weight":
            b = tensors.get(f"{_PREFIX}{module}.lora_B.weight")
            magnitude = tensors.get(f"{_PREFIX}{module}.lora_magnitude_vector")
            if b is None or config.fan_in_fan_out:
                raise _not_a_lora(adapter, key)
            updates[f"{module}.weight"] = Update(
                tensor.float(), b.float(), _scale(config, module), None if magnitude is None else magnitude.float()
            )
        elif part not in ("B.weight", "magnitude_vector"):
            raise _not_a_lora(adapter, key)
    return updates, whole


def fold(
    adapter: Adapter, files: BaseFiles, folder: Path, *, dtype: Precision, onto: Onto, on_event: OnEvent
) -> dict[str, str]:
    """Write base and adapter as one model's safetensors files and `config.json`.

    Args:
        adapter: What is folded in.
        files: Its base.
        folder: Where to; what an interrupted call has left there is gone on with.
        dtype: Type of the written weights.
        onto: The base's own weights, or those the quantised base multiplied with while the adapter was trained.
        on_event: Receives `preparing` events with the bytes that are done.

    Returns:
        SHA-256 of each file of weights.

    Raises:
        EngineError: The base's weights are quantised, the adapter does not belong to this base, or a file cannot be
            read or written.
    """
    _check_base(adapter, files)
    updates, whole = read_updates(adapter)
    _check_names(adapter, files, [*updates, *whole])
    _check_shapes(adapter, files, updates, whole)
    quantise = _quantiser(adapter.base, files) if onto == "trained" else _leave
    key = _identity(adapter, files, dtype=dtype, onto=onto)
    folder.mkdir(parents=True, exist_ok=True)
    done = _taken_up(folder, key)
    total = sum(slot.num_bytes(DTYPES[dtype]) for slots in files.slots.values() for slot in slots)
    num_bytes, started = 0, time.monotonic()

    def report(num_done: int) -> None:
        values: dict[str, float | int | str] = {
            "what": "merging",
            "done": num_done,
            "total": total,
            "seconds": time.monotonic() - started,
        }
        on_event(Event("preparing", values=values))

    room = torch.empty(max([_PART_NUMBERS, *(update.a.shape[1] for update in updates.values())]))
    for file, slots in files.slots.items():
        if file not in done:
            writer = ShardWriter(folder / f"{file}.partial", slots, dtype=DTYPES[dtype])
            try:
                with _threads_left_to(writer):
                    for slot in slots:
                        tensor = whole.get(slot.name)
                        if tensor is None:
                            tensor = quantise(slot.name, files.tensor(file, slot.name))
                        writer.write(slot.name, _updated(tensor, updates.get(slot.name), DTYPES[dtype], room))
                        report(num_bytes)
                        num_bytes += slot.num_bytes(DTYPES[dtype])
                    done[file] = writer.close()
            finally:
                writer.abandon()
            os.replace(folder / f"{file}.partial", folder / file)
            _note(folder, key, done)
        else:
            num_bytes += sum(slot.num_bytes(DTYPES[dtype]) for slot in slots)
    _write_settings(files, folder, dtype=dtype, total=total)
    (folder / _DONE).unlink()
    report(total)
    return done


def _slots(file: Path) -> tuple[Slot, ...]:
    with safe_open(file, framework="pt") as opened:
        return tuple(Slot(name, tuple(opened.get_slice(name).get_shape())) for name in opened.keys())  # noqa: SIM118


def _scale(config: LoraConfig, module: str) -> float:
    rank = _by_pattern(config.rank_pattern, module, config.r)
    alpha = _by_pattern(config.alpha_pattern, module, config.lora_alpha)
    return float(alpha / (math.sqrt(rank) if config.use_rslora else rank))


def _by_pattern(patterns: Mapping[str, int] | None, module: str, otherwise: int) -> int:
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return otherwise


def _check_names(adapter: Adapter, files: BaseFiles, names: Sequence[str]) -> None:
    known = {slot.name for slots in files.slots.values() for slot in slots}
    unknown = sorted(set(names) - known)
    if unknown:
        raise EngineError(
            f"{len(unknown)} of the adapter's {len(names)} weights are not in '{adapter.base.name}' ({unknown[0]} ...)",
            where=str(adapter.folder),
            needed="the base model the adapter was trained on",
        )
    if not names:
        raise EngineError("the adapter changes no weight", where=str(adapter.folder))


def _check_shapes(
    adapter: Adapter, files: BaseFiles, updates: Mapping[str, Update], whole: Mapping[str, torch.Tensor]
) -> None:
    shapes = {slot.name: slot.shape for slots in files.slots.values() for slot in slots}
    found: dict[str, tuple[int, ...]] = {name: (len(update.b), update.a.shape[1]) for name, update in updates.items()}
    found |= {name: tuple(tensor.shape) for name, tensor in whole.items()}
    for name, shape in found.items():
        if shape != shapes[name]:
            raise EngineError(
                f"the adapter changes '{name}' as a weight of shape {list(shape)}",
                where=str(adapter.folder),
                needed=f"{list(shapes[name])}, as '{adapter.base.name}' has it",
                action="Use the base model the adapter was trained on.",
            )


def _check_base(adapter: Adapter, files: BaseFiles) -> None:
    """Refuse a base that was published in a quantised form: its files hold codes, to which nothing can be added."""
    config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise EngineError(
            f"the weights of '{adapter.base.name}' are quantised as published ({str(method)[:40]})",
            where=str(files.folder / "config.json"),
            needed="a base with weights of 16 or 32 bits, which duologue quantises itself (model.quantization)",
            action="Chat with the adapter as it is; to fold it in, train on the model that this base was made of.",
        )


def _updated(
    weight: torch.Tensor, update: Update | None, dtype: torch.dtype, room: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield the new weight part by part, computed in a room that is used again."""
    if update is None:
        yield from (part.to(dtype) for part in weight.reshape(-1).split(_PART_NUMBERS))
        return
    num_rows = max(1, len(room) // weight.shape[1])
    for at in range(0, len(weight), num_rows):
        part_RI = weight[at : at + num_rows]
        exact_RI = room[: part_RI.numel()].view_as(part_RI).copy_(part_RI)
        update.apply(exact_RI, at)
        yield exact_RI.to(dtype, copy=True)


@contextmanager
def _threads_left_to(writer: ShardWriter) -> Iterator[None]:
    """Leave cores to a writer's threads: where all of them compute, each waits at the end of every product."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before - writer.num_busy))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _leave(name: str, weight: torch.Tensor) -> torch.Tensor:
    del name
    return weight


def _quantiser(base: BaseModel, files: BaseFiles) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """Return what makes of a weight the numbers that the quantised base multiplies with."""
    with quiet(), torch.device("meta"):
        model: HfModel = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(str(files.folder)))
    head = model.get_output_embeddings()
    layers = [(name, layer) for name, layer in model.named_modules() if type(layer) is nn.Linear and layer is not head]
    names = {f"{name}.weight" for name, _ in layers}

    def quantised(name: str, weight_OI: torch.Tensor) -> torch.Tensor:
        return as_trained(weight_OI, base) if name in names else weight_OI

    return quantised


def as_trained(weight_OI: torch.Tensor, base: BaseModel) -> torch.Tensor:
    """Return the numbers that a quantised layer multiplies with."""
    if base.quantization == "nf4":
        packed, state = bits.quantize_4bit(
            weight_OI.to(DTYPES[base.compute_dtype]),
            compress_statistics=base.use_double_quantization,
            quant_type="nf4",
        )
        numbers: torch.Tensor = bits.dequantize_4bit(packed, state)
        return numbers
    if base.quantization == "int8":
        whole, scales_O, _ = bits.int8_vectorwise_quant(weight_OI.to(torch.float16))
        return whole.float() * (scales_O.float() / 127)[:, None]
    return weight_OI


def _identity(adapter: Adapter, files: BaseFiles, *, dtype: Precision, onto: Onto) -> str:
    """Return what must be equal for an interrupted merge to be taken up."""
    digest = hashlib.sha256()
    for path in sorted(adapter.folder.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    for file in files.slots:
        status = (files.folder / file).stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}".encode())
    digest.update(f"{adapter.base} {dtype} {onto}".encode())
    return digest.hexdigest()


def _taken_up(folder: Path, key: str) -> dict[str, str]:
    """Return the whole files of an interrupted merge of the same parts; anything else there goes."""
    try:
        document = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        if document["key"] == key and all((folder / name).is_file() for name in document["files"]):
            return dict(document["files"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(folder)
    folder.mkdir()
    _note(folder, key, {})
    return {}


def _note(folder: Path, key: str, done: Mapping[str, str]) -> None:
    write_whole(folder / _DONE, json.dumps({"key": key, "files": dict(done)}))


def _write_settings(files: BaseFiles, folder: Path, *, dtype: Precision, total: int) -> None:
    """Write what stands beside the weights: the settings in the new type, the index, and the licence's files."""
    for pattern in ("generation_config.json", "LICENSE*", "NOTICE*", "USE_POLICY*"):
        for path in files.folder.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    for key in ("torch_dtype", "_name_or_path"):  # an older word for dtype, and a place on somebody's disk
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps({**config, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")
    if (files.folder / INDEX).is_file() or len(files.slots) > 1:
        places = {slot.name: file for file, slots in files.slots.items() for slot in slots}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _not_a_lora(adapter: Adapter, key: str) -> EngineError:
    return EngineError(
        f"the adapter holds '{key}', which cannot be folded into a weight",
        where=str(adapter.folder),
        needed="lora_A, lora_B and lora_magnitude_vector of linear layers, or whole weights",
    )
