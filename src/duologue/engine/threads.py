"""How idle threads wait, which must be settled before a model library is loaded. Nothing here imports one."""

import os


def wait_without_spinning() -> None:
    """Let threads that wait for each other sleep; what the person has set stays.

    OpenMP reads this once, when torch is loaded. Its default is to wait in a loop. Alone on the machine that makes no
    difference here; beside other busy processes it costs several times the speed, because the thread that is waited for
    does not get its core.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def waits_asleep() -> bool:
    """Return whether threads that wait for each other sleep, as they were told before a model library was loaded."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
