"""A trained adapter to something that can leave the workshop."""

from duologue.export.artifact import Artifact
from duologue.export.merged import HeldOut, run_merged
from duologue.export.parity import BARS, check_parity

__all__ = ["BARS", "Artifact", "HeldOut", "check_parity", "run_merged"]
