"""A trained adapter to something that can leave the workshop."""

from typing import TYPE_CHECKING

from duologue.export.artifact import Artifact
from duologue.export.exported import GGUF_FOLDER, MERGED_FOLDER, ExportedGguf, find_gguf
from duologue.later import offered_later

if TYPE_CHECKING:
    from duologue.export.adapter_export import run_adapter
    from duologue.export.bundle import write_bundle
    from duologue.export.docker import run_docker
    from duologue.export.gguf import run_gguf
    from duologue.export.merged import HeldOut, run_merged
    from duologue.export.parity import BARS, check_parity
    from duologue.export.space import ZERO_GPU, SpaceModel, run_space
    from duologue.export.unbundle import holds_bundle, unpack_bundle

# Imported when they are first asked for: a chat looks for an export and makes none.
_LATER = {
    "adapter_export": ("run_adapter",),
    "bundle": ("write_bundle",),
    "docker": ("run_docker",),
    "gguf": ("run_gguf",),
    "merged": ("HeldOut", "run_merged"),
    "parity": ("BARS", "check_parity"),
    "space": ("ZERO_GPU", "SpaceModel", "run_space"),
    "unbundle": ("holds_bundle", "unpack_bundle"),
}

__all__ = [
    "BARS",
    "GGUF_FOLDER",
    "MERGED_FOLDER",
    "ZERO_GPU",
    "Artifact",
    "ExportedGguf",
    "HeldOut",
    "SpaceModel",
    "check_parity",
    "find_gguf",
    "holds_bundle",
    "run_adapter",
    "run_docker",
    "run_gguf",
    "run_merged",
    "run_space",
    "unpack_bundle",
    "write_bundle",
]

__getattr__ = offered_later(__name__, _LATER)
