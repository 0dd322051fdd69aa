"""A trained adapter to something that can leave the workshop."""

from duologue.export.artifact import Artifact
from duologue.export.merged import run_merged

__all__ = ["Artifact", "run_merged"]
