"""How much memory is in use, on the GPU and in the system."""

import sys

import psutil
import pynvml
import torch


def peak_memory_bytes() -> int:
    """Return the peak of allocated GPU memory, or the peak of resident memory on a CPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the peak of this process's resident memory."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def used_on_gpu_bytes() -> int:
    """Return the memory in use on the first GPU, by every process; 0 without one or where the driver does not say."""
    return _nvml("used")


def dedicated_gpu_bytes() -> int:
    """Return the memory that the first GPU has of its own; 0 without one or where the driver does not say."""
    return _nvml("total")


def _nvml(what: str) -> int:
    if not torch.cuda.is_available():
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(getattr(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)), what))
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()
