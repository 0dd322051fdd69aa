"""A merged model as one GGUF file."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoConfig

from duologue.engine.gguf_writing import GgufForm
from duologue.engine.hf.gguf_out.families import (
    Config,
    Family,
    find_family,
    has_tied_embeddings,
    known_family,
    wanted_tensors,
)
from duologue.engine.hf.gguf_out.file import Field, Piece, Tensor, header, write_file
from duologue.engine.hf.gguf_out.kinds import FILE_TYPES, PLAIN, Kind, Mix
from duologue.engine.hf.gguf_out.settings import Settings, read_settings
from duologue.engine.hf.gguf_out.tensors import Source, Wanted, check_sources, find_sources, pieces
from duologue.engine.hf.gguf_out.vocabulary import Vocabulary, read_vocabulary
from duologue.engine.hf.load import quiet, read_config
from duologue.engine.hf.trust import require_plain_model
from duologue.engine.job import BaseModel, Event, OnEvent
from duologue.errors import EngineError

_QUANTISATION_VERSION = 2  # of ggml's block formats
_SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True, slots=True)
class _Plan:
    """A file that can be written.

    Attributes:
        head: Its header.
        tensors: What follows it.
        sources: Where each tensor comes from, and what becomes of it, by its name in the file.
        factors: The tensors that come out of the settings.
        warnings: What llama.cpp does otherwise.
    """

    head: bytes
    tensors: tuple[Tensor, ...]
    sources: dict[str, tuple[Source, Wanted]]
    factors: dict[str, NDArray[np.float32]]
    warnings: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the whole file."""
        return len(self.head) + sum(tensor.num_bytes for tensor in self.tensors)


def write_model(folder: Path, file: Path, *, form: GgufForm, on_event: OnEvent) -> None:
    """See `duologue.engine.write_gguf`."""
    plan = _plan(folder, form)
    for text in plan.warnings:
        on_event(Event("warning", values={"text": text}))

    def parts(tensor: Tensor) -> Iterator[Piece]:
        if tensor.name in plan.factors:
            yield plan.factors[tensor.name]
        else:
            source, want = plan.sources[tensor.name]
            yield from pieces(source, want, tensor.kind)

    write_file(file, plan.head, plan.tensors, parts, report=reporter(plan.num_bytes, on_event))


def check_base(base: BaseModel) -> None:
    """See `duologue.engine.check_gguf_base`."""
    known_family(read_config(base), where=base.name)


def size_bytes(folder: Path, form: GgufForm) -> int:
    """See `duologue.engine.gguf_size_bytes`."""
    return _plan(folder, form).num_bytes


def reporter(total: int, on_event: OnEvent) -> Callable[[int], None]:
    """Return what tells of the bytes that are written, now and then and at the end."""
    started = told = time.monotonic()

    def report(done: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done in (0, total) or now - told >= _SECONDS_BETWEEN_REPORTS:
            told = now
            values: dict[str, float | int | str] = {
                "what": "writing GGUF",
                "done": done,
                "total": total,
                "seconds": now - started,
            }
            on_event(Event("preparing", values=values))

    return report


def _plan(folder: Path, form: GgufForm) -> _Plan:
    config = _read_config(folder)
    family = find_family(config, where=str(folder / "config.json"))
    settings = read_settings(config, family, where=str(folder / "config.json"))
    sources, num_left_out = find_sources(folder)
    wanted = wanted_tensors(config, family)
    if has_tied_embeddings(config):
        sources.pop("lm_head.weight", None)  # transformers ignores it, too
    check_sources(sources, wanted, folder=folder)
    num_layers = int(config.get_text_config().num_hidden_layers)
    vocabulary = read_vocabulary(folder, num_rows=int(config.get_text_config().vocab_size))
    mix = Mix(form, num_layers, has_tied_embeddings(config), _is_70b(config, family))
    factors = [Tensor(name, numbers.shape, Kind.F32) for name, numbers in settings.factors.items()]
    weights = [Tensor(want.name, want.shape, mix.kind(want.name, want.shape)) for want in wanted.values()]
    tensors = (*factors, *weights)
    warnings = [*settings.warnings, *vocabulary.warnings]
    if num_left_out:
        warnings.append(f"{num_left_out} tensors of what the model sees with are left out; the file holds its language")
    return _Plan(
        head=header(_fields(family, settings, vocabulary, form=form, name=folder.resolve().name), tensors),
        tensors=tensors,
        sources={want.name: (sources[name], want) for name, want in wanted.items()},
        factors=settings.factors,
        warnings=tuple(warnings),
    )


def _read_config(folder: Path) -> Config:
    require_plain_model(BaseModel(str(folder)))
    try:
        with quiet():
            return AutoConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise EngineError(
            f"the model's settings cannot be read ({first_line})",
            where=str(folder / "config.json"),
            needed="a folder as duologue export merged makes it",
        ) from error


def _fields(
    family: Family, settings: Settings, vocabulary: Vocabulary, *, form: GgufForm, name: str
) -> dict[str, Field]:
    fields: dict[str, Field] = {
        "general.architecture": family.name,
        "general.type": "model",
        "general.name": _name(name, vocabulary),
        "general.file_type": int(FILE_TYPES[form]),
    }
    if Mix(form, 1, False, False).kind("blk.0.attn_q.weight", (256, 256)) not in PLAIN:
        fields["general.quantization_version"] = _QUANTISATION_VERSION
    return fields | {f"{family.name}.{key}": value for key, value in settings.fields.items()} | vocabulary.fields


def _name(name: str, vocabulary: Vocabulary) -> str:
    """Return a name by which llama.cpp treats the space behind control tokens as the tokenizer does."""
    for mark in ("phi-3", "phi3"):
        while mark in name.lower():
            at = name.lower().index(mark)
            name = f"{name[:at]}phi 3{name[at + len(mark) :]}"
    return f"Phi-3 {name}" if vocabulary.takes_following_space else name


def _is_70b(config: Config, family: Family) -> bool:
    """Tell whether llama.cpp takes a model for one of 70B (`load_arch_hparams`)."""
    text = config.get_text_config()
    if text.num_hidden_layers != 80:
        return False
    return family.name == "qwen2" or (family.name == "llama" and text.num_key_value_heads != text.num_attention_heads)
