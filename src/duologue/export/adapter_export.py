"""`run_adapter`: the trained adapter as a folder that PEFT loads anywhere, with its model card."""

import json
import shutil
from pathlib import Path

from duologue.characters import Character
from duologue.engine import Adapter
from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import CARD, Artifact, write_label
from duologue.export.licences import write_notice
from duologue.export.model_card import base_and_licence, model_card
from duologue.export.staging import staged
from duologue.guard import Rating

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def run_adapter(adapter: Adapter, folder: Path, *, character: Character, rating: Rating) -> Artifact:
    """Write the adapter to `folder`; it appears whole or not at all.

    Args:
        adapter: What was trained.
        folder: Target; missing, empty or an earlier export.
        character: Whom the model card describes.
        rating: The operator's content rating.

    Raises:
        ConfigError: The base has no name outside this machine.
        EngineError: A file of the adapter is missing, or the disk is full.
    """
    base, licence = base_and_licence(adapter.base.name)
    if "/" not in base or (base != adapter.base.name and Path(adapter.base.name).exists()):
        raise ConfigError(
            f"the adapter's base '{adapter.base.name}' is a file or folder of this machine",
            where=str(adapter.folder),
            needed="a base that others can load too",
            action="Push the merged model instead: duologue export merged, then --what merged.",
        )
    with staged(folder) as staging:
        write_adapter_files(adapter.folder, staging, base=base)
        card = model_card(
            adapter, character=character, folder_name=folder.resolve().name, form="adapter", rating=rating
        )
        (staging / CARD).write_text(card, encoding="utf-8", errors="replace")
        write_notice(staging, licence)
        digests = write_label(staging, more={"kind": "adapter"})
    return Artifact(folder, digests, more={"kind": "adapter"})


def write_adapter_files(source: Path, target: Path, *, base: str) -> None:
    """Copy weights and settings; the settings name the base as others know it, not as a path of this machine.

    Raises:
        EngineError: One of them is missing.
    """
    for name in ADAPTER_FILES:
        if not (source / name).is_file():
            raise EngineError(f"the adapter has no {name}", where=str(source))
    settings = json.loads((source / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base
    (target / ADAPTER_FILES[0]).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(source / ADAPTER_FILES[1], target / ADAPTER_FILES[1])
