"""Spill: the Windows driver moves a full GPU's memory into system RAM, and the run crawls where it would have failed.

Users see a run that "hangs" (unslothai/unsloth#163, microsoft/WSL#10452). The driver tells nobody; what shows it is the
time of a token against this run's own usual time, together with a GPU that has nothing left.
"""

import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_TIMES_SLOWER = 3.0
_STEPS_IN_A_ROW = 2  # one slow step is somebody else's
_FEWEST_STEPS = 5
_FULL = 0.97  # of the dedicated memory


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Bytes on one GPU; 0 where it is not known.

    Attributes:
        reserved_bytes: What this process asked the driver for.
        used_bytes: What the driver says is in use, by every process.
        dedicated_bytes: What the card has.
    """

    reserved_bytes: int
    used_bytes: int
    dedicated_bytes: int

    @property
    def is_beyond(self) -> bool:
        """Whether this process alone holds more than the card has."""
        return 0 < self.dedicated_bytes < self.reserved_bytes

    @property
    def is_full(self) -> bool:
        """Whether nothing is left on the card."""
        return self.is_beyond or 0 < _FULL * self.dedicated_bytes <= self.used_bytes


def spill_warning(seconds_per_token: Sequence[float], memory: GpuMemory) -> str:
    """Return what to tell the person, or nothing.

    Args:
        seconds_per_token: Of the run's steps, oldest first.
        memory: Of the GPU after the last step.
    """
    times = _times_slower(seconds_per_token)
    if memory.is_beyond:
        over = (memory.reserved_bytes - memory.dedicated_bytes) / 2**30
        found = f"the run holds {over:.1f} GiB more than the GPU has, so the driver keeps part of it in system RAM"
    elif times >= _TIMES_SLOWER and memory.is_full:
        found = f"tokens take {times:.0f} times as long as before and the GPU is full: it spills into system RAM"
    elif times >= _TIMES_SLOWER and not memory.dedicated_bytes:
        found = f"tokens take {times:.0f} times as long as before, perhaps because GPU memory spills into system RAM"
    else:
        return ""
    return (
        f"{found}. Stop with Ctrl-C (everything is kept), close other programs that use the GPU, set 'CUDA - Sysmem "
        "Fallback Policy' to 'Prefer No Sysmem Fallback' in the NVIDIA Control Panel, and go on with: duologue train "
        "FOLDER --resume. The run then makes its micro-batch smaller by itself"
    )


def can_spill() -> bool:
    """Return whether this system's driver moves GPU memory into system RAM: Windows, and Linux inside it."""
    return sys.platform == "win32" or "microsoft" in platform.uname().release.lower()


def _times_slower(seconds_per_token: Sequence[float]) -> float:
    """How much slower the last steps were, the fastest of them, than the median of those before."""
    earlier, last = seconds_per_token[:-_STEPS_IN_A_ROW], seconds_per_token[-_STEPS_IN_A_ROW:]
    if len(earlier) < _FEWEST_STEPS:
        return 1.0
    return min(last) / statistics.median(earlier)
