"""Where a machine keeps what was measured on it, so that the next plan starts from it: two small JSON files.

They lie in `$XDG_STATE_HOME/duologue`, usually ~/.local/state/duologue. calibration.json holds names of machine, model
and weight format with ratios of measured to planned; cpu.json the speed of the processor. Neither holds anything of the
data, and deleting them forgets.
"""

import contextlib
import json
import os
import platform
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from duologue.engine import Hardware, Probe, detect_hardware
from duologue.files import write_whole
from duologue.plan import CalibrationTarget, Measured, load_calibration

_KEPT_DAYS = 30  # then the processor is measured again: a fan may have died, a container may have moved


def state_folder() -> Path:
    """Return where this person's measurements are kept."""
    state = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(state) if state else Path.home() / ".local" / "state") / "duologue"


def calibration_file() -> Path:
    """Return the path of this person's calibration file."""
    return state_folder() / "calibration.json"


def with_cpu_speed(hardware: Hardware, folder: Path) -> Hardware:
    """Return the hardware with the speed of its CPU, as it was measured in the last 30 days, else measured now."""
    path = state_folder() / "cpu.json"
    known = _known_gflops(path, hardware)
    if known:
        return replace(hardware, cpu_gflops=known)
    gflops = detect_hardware(folder, measure_cpu=True).cpu_gflops
    entry = {**_host(hardware), "date": date.today().isoformat(), "gflops": gflops}
    with contextlib.suppress(OSError):  # a home folder that cannot be written costs the next plan a tenth of a second
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(entry) + "\n")
    return replace(hardware, cpu_gflops=gflops)


def measured_here(probe: Probe | None = None) -> Measured:
    """Return what earlier runs on this machine measured, and a probe."""
    return Measured(host=platform.node(), calibration=load_calibration(calibration_file()), probe=probe)


def calibration_target() -> CalibrationTarget:
    """Return where a run that ends today is kept."""
    return CalibrationTarget(calibration_file(), host=platform.node(), date=date.today().isoformat())


def _known_gflops(path: Path, hardware: Hardware) -> float:
    """The speed that the file holds for this very machine; 0 when it holds none, or an old one."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        is_same = {key: entry[key] for key in _host(hardware)} == _host(hardware)
        is_new = timedelta(0) <= date.today() - date.fromisoformat(entry["date"]) <= timedelta(days=_KEPT_DAYS)
        gflops = float(entry["gflops"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return gflops if is_same and is_new and 0 < gflops < 1e6 else 0.0


def _host(hardware: Hardware) -> dict[str, object]:
    return {"host": platform.node(), "num_cores": hardware.num_cores}
