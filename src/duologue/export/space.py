"""`run_space`: a character as the folder of a Hugging Face Space, with this very version of duologue in it.

Nothing private goes along: no chats, no memories, no training data, no keys, nothing of who the user is.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from duologue.characters import Character
from duologue.config import CONFIG_NAME, Config, make_config
from duologue.engine import BUNDLED_MODELS, BUNDLED_PREFIX, Adapter, bundled_file
from duologue.errors import ConfigError, EngineError
from duologue.export.adapter_export import ADAPTER_FILES, write_adapter_files
from duologue.export.artifact import Artifact, read_label, sha256_of, write_label
from duologue.export.hosted import (
    changed,
    check_judge,
    copy_issuers,
    embedder_files,
    file_within,
    is_of_this_machine,
    toml_lines,
)
from duologue.export.licences import write_notice
from duologue.export.model_card import base_and_licence
from duologue.export.space_texts import APP, readme
from duologue.export.staging import check_disk, staged
from duologue.export.wheel import write_wheel
from duologue.guard import check_character

ZERO_GPU = "zero-a10g"  # the Hub's name for ZeroGPU, whatever card is behind it
# As the Hub names them (huggingface_hub.SpaceHardware), those that one chat model is served on.
HARDWARE = (
    ZERO_GPU, "cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "a10g-small", "a10g-large", "l40sx1",
    "a100-large",
)  # fmt: skip
ZERO_GPU_TORCH = "2.11.0"  # the newest that ZeroGPU offers (2026-08)
SETTINGS = "space.json"
_NOT_FOR_GGUF = frozenset({"accelerate", "bitsandbytes", "gguf", "peft", "torch", "transformers", "trl"})
_SECTIONS = ("character", "generation", "memory", "guard", "age")
_MODEL_KEYS = ("quantization", "use_double_quantization", "int8_threshold", "compute_dtype")


@dataclass(frozen=True, slots=True)
class SpaceModel:
    """What replies in the Space.

    Attributes:
        base: Name of the base model; it stays out of the Space unless it is a bundled one.
        adapter: What was trained; None talks to the base.
        run: Name of the adapter's run.
        gguf: An exported file that replies in place of both.
        tokens_per_second: Speed of a reply on the Space's hardware, for the time that ZeroGPU is asked for.
    """

    base: str
    adapter: Adapter | None = None
    run: str = ""
    gguf: Path | None = None
    tokens_per_second: float = 10.0


def run_space(
    folder: Path,
    target: Path,
    *,
    config: Config,
    character: Character,
    model: SpaceModel,
    hardware: str = ZERO_GPU,
) -> Artifact:
    """Write the folder of a Space to `target`; it appears whole or not at all.

    Args:
        folder: The character's folder.
        target: Where to; missing, empty or an earlier export.
        config: The folder's configuration.
        character: Who talks.
        model: What replies.
        hardware: One of `HARDWARE`.

    Raises:
        ConfigError: The hardware is unknown, a file is missing or outside the folder, or something only this machine
            has is needed.
        EngineError: The disk is full, or the model's file was changed since its export.
        GuardError: The card may not be shown to anybody.
    """
    _check(config, model, hardware=hardware)
    check_character(character, rating=config.guard.rating, where=config.character.card or str(folder))
    name = folder.resolve().name
    target.resolve().parent.mkdir(parents=True, exist_ok=True)
    embedder = dict(embedder_files(config))
    num_bytes = _num_bytes(model) + sum(file.stat().st_size for file in embedder.values())
    check_disk(target.resolve().parent, num_bytes, what="the Space with its model")
    with staged(target) as staging:
        home = staging / name
        home.mkdir()
        kept = _copy_files(folder, config, home)
        _copy_model(model, home, staging)
        for where, file in embedder.items():
            (staging / where).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, staging / where)
        text = _config_text(config, kept, model, home_name=name)
        make_config(_parsed(text), where=CONFIG_NAME, folder=home)  # what leaves must be readable where it arrives
        (home / CONFIG_NAME).write_text(text, encoding="utf-8")
        needed = _requirements(write_wheel(staging), model, hardware=hardware)
        (staging / "requirements.txt").write_text("".join(f"{line}\n" for line in needed), encoding="utf-8")
        (staging / "app.py").write_text(APP, encoding="utf-8")
        settings = {
            "folder": name,
            "engine": "gguf" if model.gguf else "hf",
            "model_file": f"{name}/{_gguf_name(model.gguf)}" if model.gguf else "",
            "tokens_per_second": round(model.tokens_per_second, 2),
            "zero_gpu": hardware == ZERO_GPU,
        }
        (staging / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        gradio = next(line.partition("==")[2] for line in needed if line.startswith("gradio=="))
        about = readme(character, config, base=model.base, hardware=hardware, gradio=gradio, is_zero=_is_zero(hardware))
        (staging / "README.md").write_text(about, encoding="utf-8")
        write_notice(staging, base_and_licence(model.base)[1])
        more = {"kind": "space", "hardware": hardware, "rating": config.guard.rating}
        digests = write_label(staging, more=more)
    return Artifact(target, digests, more=more)


def _is_zero(hardware: str) -> bool:
    return hardware == ZERO_GPU


def _check(config: Config, model: SpaceModel, *, hardware: str) -> None:
    if hardware not in HARDWARE:
        raise ConfigError(f"there is no hardware '{hardware}'", where="--hardware", needed=", ".join(HARDWARE))
    if model.gguf and _is_zero(hardware):
        raise ConfigError(
            "llama.cpp cannot reply on ZeroGPU, which lends its GPU to PyTorch only",
            where=str(model.gguf),
            action="Use --hardware cpu-basic (or another), or leave the GGUF file out.",
        )
    if not model.gguf and not model.base.startswith(BUNDLED_PREFIX) and is_of_this_machine(model.base):
        raise ConfigError(
            f"the base '{model.base}' is a file or folder of this machine",
            where="model.base",
            needed="a base that a Space can load: one on the Hub, a bundled one, or a GGUF export on CPU hardware",
            action="Name the same model on the Hub with --base OWNER/NAME.",
        )
    check_judge(config.guard.judge, needed="a model on the Hub")


def _num_bytes(model: SpaceModel) -> int:
    files = [model.gguf] if model.gguf else []
    if model.adapter is not None and not model.gguf:
        files += [model.adapter.folder / name for name in ADAPTER_FILES]
    if model.base in BUNDLED_MODELS and not model.gguf:
        files.append(bundled_file(model.base))
    return sum(file.stat().st_size for file in files if file.is_file()) + 50 * 2**20  # the wheel and the small files


def _copy_files(folder: Path, config: Config, home: Path) -> dict[str, Any]:
    """Copy the files the settings name; return those settings as they are in the Space."""
    card = config.character.card
    kept: dict[str, Any] = {
        "card": _copy(folder, card, home) if card else "",
        "companions": [_copy(folder, path, home) for path in config.character.companions],
        "lorebooks": [_copy(folder, path, home) for path in config.character.lorebooks],
        # relative to where the server is started: here, the Space
        "trusted_issuers": copy_issuers(config.age.trusted_issuers, home, seen_at=home.name),
    }
    return kept


def _copy(folder: Path, path: str, home: Path) -> str:
    source = file_within(folder, path)
    name = source.relative_to(folder.resolve()).as_posix()
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, home / name)
    return name


def _copy_model(model: SpaceModel, home: Path, staging: Path) -> None:
    if model.gguf:
        label = read_label(model.gguf.parent)
        known = label["sha256"].get(model.gguf.name) if label else None
        shutil.copyfile(model.gguf, home / _gguf_name(model.gguf))
        if known is not None and sha256_of(home / _gguf_name(model.gguf)) != known:
            raise EngineError("the file was changed since its export", where=str(model.gguf), action="Export it again.")
        return
    if model.adapter is not None:
        _copy_adapter(model, model.adapter, home / "runs" / model.run)
    if model.base in BUNDLED_MODELS:
        file = bundled_file(model.base)
        place = staging / BUNDLED_MODELS[model.base].module  # found there as if its package were installed
        place.mkdir()
        shutil.copyfile(file, place / file.name)


def _copy_adapter(model: SpaceModel, adapter: Adapter, run: Path) -> None:
    """Copy the weights; of the run's ledger only what says which files and which base they are."""
    (run / "adapter").mkdir(parents=True)
    write_adapter_files(adapter.folder, run / "adapter", base=model.base)
    base = {key: getattr(adapter.base, key) for key in _MODEL_KEYS}
    manifest = {
        "base": {"name": model.base, **base},
        "adapter_sha256": {name: sha256_of(run / "adapter" / name) for name in ADAPTER_FILES},
    }
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _gguf_name(file: Path) -> str:
    return file.name if file.suffix == ".gguf" else f"{file.name}.gguf"


def _config_text(config: Config, kept: dict[str, Any], model: SpaceModel, *, home_name: str) -> str:
    """Return duologue.toml of the Space: what chat needs, without who the user is and without names of data files."""
    document = config.model_dump(mode="json", exclude_unset=False)
    defaults = type(config).model_validate({"model": {"base": "x"}, "data": {"train": ["x"]}}).model_dump(mode="json")
    sections = {name: changed(document[name], defaults[name]) for name in _SECTIONS}
    sections["generation"].pop("preset", None)  # its values are in the others already
    for private in ("persona", "user_name"):
        sections["character"].pop(private, None)
    for key in ("card", "companions", "lorebooks"):
        sections["character"].pop(key, None)
        if kept[key]:
            sections["character"][key] = kept[key]
    if sections["age"].pop("trusted_issuers", None):
        sections["age"]["trusted_issuers"] = kept["trusted_issuers"]
    base = _gguf_name(model.gguf) if model.gguf else model.base
    about = {"base": base}
    if not model.gguf:
        about |= {k: document["model"][k] for k in _MODEL_KEYS if document["model"][k] != defaults["model"][k]}
        if config.model.trusted_code:
            about["trusted_code"] = model.base
    lines = [f"# {home_name} as it is hosted: what chat needs. The data it learned from is not here.", "[model]"]
    lines += toml_lines(about)
    lines += ["", "[data]", 'train = ["data/*.json"]']
    for name, values in sections.items():
        if values:
            lines += ["", f"[{name}]", *toml_lines(values)]
    return "\n".join(lines) + "\n"


def _parsed(text: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(text)


def _requirements(wheel: Path, model: SpaceModel, *, hardware: str) -> list[str]:
    """Return what duologue needs, each at its version; duologue itself comes from the wheel beside app.py.

    A Space installs its requirements before its files are there, so the wheel cannot be named among them; and torch is
    the one that ZeroGPU offers, which the wheel's own metadata would not allow.
    """
    with ZipFile(wheel) as archive:
        about = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(about).decode("utf-8").splitlines()
    needed = []
    for line in lines:
        if not line.startswith("Requires-Dist: "):
            continue
        requirement = line.removeprefix("Requires-Dist: ").partition(";")[0].strip()
        name = requirement.partition("==")[0]
        if model.gguf and name in _NOT_FOR_GGUF:
            continue
        needed.append(f"torch=={ZERO_GPU_TORCH}" if name == "torch" and _is_zero(hardware) else requirement)
    return needed
