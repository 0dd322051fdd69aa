"""What a model or an adapter may bring: safetensors and settings, never code, unless a person has named its repository.

A pickle (`.bin`, `.pt`) runs code when it is opened, `auto_map` has transformers import the repository's Python, and a
few keys of an adapter's settings make PEFT import a module, compile a pattern or allocate by a number that it was
handed. All of that is refused before a library sees it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from safetensors import SafetensorError, safe_open
from transformers import __version__ as transformers_version
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from duologue.engine.job import Adapter, BaseModel
from duologue.errors import EngineError

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_MAX_SETTINGS_BYTES = 4 * 2**20
_MAX_INDEX_BYTES = 32 * 2**20
_MAX_VOCABULARY_BYTES = 128 * 2**20  # Gemma's 262,144 tokens take 33 MB
_VOCABULARIES = re.compile(r"(tokenizer|vocab|merges|added_tokens|special_tokens|chat_template|spiece)[^/]*")
_SETTINGS = ("config.json", "tokenizer_config.json", "processor_config.json", "generation_config.json")
_CODE_KEYS = ("auto_map", "custom_generate", "custom_pipelines")
_MAX_RANK = 4_096
# What PEFT reads from an adapter's settings to import modules or to multiply layers.
_ADAPTER_CODE_KEYS = ("auto_map", "megatron_config", "layer_replication", "arrow_config")
_PATTERN_KEYS = ("rank_pattern", "alpha_pattern")
_MAX_PATTERN_CHARS = 400
_REPEATED_GROUP = re.compile(r"\)\s*[*+{]")  # what makes a pattern take exponential time


def trusts_code(base: BaseModel) -> bool:
    """Return whether a person has named this very model as one whose code may run."""
    return base.trusted_code == base.name


def require_plain_model(base: BaseModel) -> None:
    """Refuse a model that brings pickles or code, or that transformers does not know.

    A folder is looked at as it lies there; of a repository of the hub, the settings are fetched first.

    Raises:
        EngineError: It brings something else than weights, settings and a vocabulary.
    """
    if trusts_code(base):
        return
    folder = Path(base.name)
    if folder.is_dir():
        _require_plain_files(folder)
        _require_own_shards(folder)
    for name in _SETTINGS:
        path = folder / name if folder.is_dir() else _fetched(base.name, name)
        if path is not None and path.is_file():
            _require_plain_settings(_read_settings(path), path, base)


def require_plain_adapter(adapter: Adapter) -> None:
    """Refuse an adapter that brings more than the matrices of a LoRA.

    Raises:
        EngineError: It brings pickles or code, is no LoRA, or its settings do not fit its weights.
    """
    folder = adapter.folder
    _require_plain_files(folder)
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise EngineError("the adapter has no adapter_config.json", where=str(folder))
    settings = _read_settings(path)
    if settings.get("peft_type", "LORA") != "LORA":
        raise _refused(f"the adapter is of the kind {str(settings['peft_type'])[:40]!r}", path, needed="LORA")
    for key in _ADAPTER_CODE_KEYS:
        if settings.get(key):
            raise _refused(f"the adapter sets '{key}', which LoRA does not need", path)
    library = (settings.get("auto_mapping") or {}).get("parent_library") or "transformers"
    if not str(library).startswith("transformers"):
        raise _refused(f"the adapter would import '{str(library)[:80]}'", path)
    _require_short_patterns(settings, path)
    _require_rank(settings, path)


def base_of_adapter(folder: Path) -> str:
    """Return the name of the base that an adapter says it was trained on; empty when it does not say."""
    path = folder / "adapter_config.json"
    try:
        return str(_read_settings(path).get("base_model_name_or_path") or "")
    except EngineError:
        return ""


def _require_plain_files(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _PICKLES:
            raise EngineError(
                f"the folder holds {path.name}, which can run code when it is opened",
                where=str(path),
                needed="weights as .safetensors",
                action="Delete it where .safetensors lie beside it, else convert it: see the model's page.",
            )
        size = path.stat().st_size if path.is_file() else 0
        if _VOCABULARIES.fullmatch(path.name) and size > _MAX_VOCABULARY_BYTES:
            raise _refused(f"{path.name} has {size} bytes", path, needed=f"at most {_MAX_VOCABULARY_BYTES}")


def _require_own_shards(folder: Path) -> None:
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        return
    shards = _read_settings(path, limit=_MAX_INDEX_BYTES).get("weight_map")
    names = set(shards.values()) if isinstance(shards, dict) else {""}
    for name in sorted(map(str, names)):
        if not name.endswith(".safetensors") or name != Path(name).name or "\\" in name:
            raise _refused(f"the list of weights names the file {name[:80]!r}", path, needed=".safetensors beside it")


def _require_plain_settings(settings: Mapping[str, Any], path: Path, base: BaseModel) -> None:
    for key in _CODE_KEYS:
        if settings.get(key):
            raise EngineError(
                f"the model brings its own code ('{key}' in {path.name})",
                where=base.name,
                needed="a model that transformers knows by itself",
                action="Take another one. Only if you have read that code and trust whoever can change it, "
                f'set model.trusted_code = "{base.name}".',
            )
    kind = settings.get("model_type")
    if path.name == "config.json" and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise EngineError(
            f"the model is of the type {str(kind)[:40]!r}, which transformers {transformers_version} cannot chat with",
            where=base.name,
            needed="a causal language model that transformers knows",
            action="Choose another base model.",
        )


def _require_short_patterns(settings: Mapping[str, Any], path: Path) -> None:
    patterns = [key for name in _PATTERN_KEYS for key in settings.get(name) or {}]
    patterns += [
        settings[key]
        for key in ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "target_parameters")
        if isinstance(settings.get(key), str)
    ]
    for pattern in map(str, patterns):
        if len(pattern) > _MAX_PATTERN_CHARS or _REPEATED_GROUP.search(pattern):
            raise _refused(f"the pattern {pattern[:60]!r} could take very long", path, needed="names of layers")


def _require_rank(settings: Mapping[str, Any], path: Path) -> None:
    ranks = [settings.get("r"), *(settings.get("rank_pattern") or {}).values()]
    for rank in ranks:
        if not isinstance(rank, int) or not 0 < rank <= _MAX_RANK:
            raise _refused(f"the adapter has the rank {str(rank)[:40]}", path, needed=f"1 to {_MAX_RANK}")
    weights = path.parent / "adapter_model.safetensors"
    try:
        with safe_open(weights, framework="pt") as file:
            found = {file.get_slice(key).get_shape()[0] for key in file.keys() if ".lora_A." in key}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _refused(f"the adapter's weights cannot be read ({error})", weights) from error
    if found - set(ranks):
        raise _refused(f"the adapter says rank {ranks[0]}, its weights have {sorted(found)}", path)


def _read_settings(path: Path, *, limit: int = _MAX_SETTINGS_BYTES) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > limit:
            raise _refused(f"{path.name} has {size} bytes", path, needed=f"at most {limit}")
        settings = json.loads(path.read_bytes())
    except OSError as error:
        raise _refused(f"{path.name} cannot be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:
        raise _refused(f"{path.name} is not JSON ({error})", path) from error
    if not isinstance(settings, dict):
        raise _refused(f"{path.name} holds no table", path)
    return settings


def _fetched(name: str, file: str) -> Path | None:
    """Return a settings file of the hub, from the cache where it is there; None where there is none."""
    try:
        return Path(huggingface_hub.hf_hub_download(name, file))
    except (OSError, ValueError):  # no such file, no such name or no network: loading says so in its own words
        return None


def _refused(found: str, path: Path, *, needed: str = "") -> EngineError:
    return EngineError(found, where=str(path), needed=needed, action="Take the model from its publisher again.")
