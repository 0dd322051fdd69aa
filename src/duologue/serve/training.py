"""The training of one character: a process of its own, which goes on when the page is closed or the server restarts.

What the page must find again lies in the character's `runs/.training/`: how the process was started, what it says, and
a lock that it holds for as long as it lives. The lock is taken here and handed to the process, so two pages that start
one at the same moment cannot both succeed, and a process that was killed has let go of it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from duologue.errors import ConfigError, GuardError
from duologue.serve.commands import command_line, document_of
from duologue.train import Run, list_runs, newest_unfinished

if sys.platform != "win32":
    import fcntl

Phase = Literal["idle", "preparing", "loading", "training", "measuring"]
How = Literal["", "finished", "stopped", "failed", "killed"]
_INTERRUPTED = 7
_LOG_BYTES = 60_000
_FIRST_EVENTS_BYTES = 60_000  # the first step stands among them
_LOCK_TRIES = 5
_children: dict[int, "subprocess.Popen[bytes]"] = {}  # of this server: whoever starts a process must take its end
_children_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Started:
    """How a process was started.

    Attributes:
        pid: Of the process, which leads its own group.
        at: Unix time.
        run: The run it goes on with or measures; empty when it makes a new one.
        runs_before: The runs there were.
        leaves_room: Whether the plan says that the character can be talked to meanwhile.
    """

    pid: int
    at: float
    run: str
    runs_before: tuple[str, ...]
    leaves_room: bool


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where the training of a character stands.

    Attributes:
        phase: What is being done now; `idle` when nothing is.
        run: The run it is about; empty while there is none.
        is_elsewhere: Started in a terminal, not from the page.
        is_stopping: Somebody asked for its end.
        started_at: Unix time; 0 when not known.
        how: How the last one ended; empty when none was started here, or it still goes on.
        message: What it had to say about that.
        can_resume: Whether an interrupted run can go on.
        leaves_room: Whether the character can be talked to meanwhile.
    """

    phase: Phase
    run: str = ""
    is_elsewhere: bool = False
    is_stopping: bool = False
    started_at: float = 0.0
    how: How = ""
    message: str = ""
    can_resume: bool = False
    leaves_room: bool = True


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Yield the lock of a character's training, to be handed to the process that is started in the block.

    Raises:
        GuardError: With reason `training_running`: one is going on.
        ConfigError: This system has no locks that can be handed on.
    """
    if sys.platform == "win32":
        raise ConfigError(
            "training from the page needs Linux or macOS",
            action=f"On Windows, train in a terminal: duologue train {folder}",
        )
    place = _place(folder)
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _take(handle):
            raise _running(folder)
        if _is_locked(folder / "runs" / ".lock"):
            raise _running(folder)
        yield handle
    finally:
        os.close(handle)  # the process has its own; the lock goes when the last one is closed


def start(
    folder: Path, arguments: Sequence[str], *, lock: int, run: str = "", leaves_room: bool = True
) -> TrainingState:
    """Start `duologue train` or `duologue eval` for a character.

    Args:
        folder: The character's folder.
        arguments: The command, such as `["train", "/home/me/lila", "--json"]`.
        lock: From `claimed`.
        run: The run it goes on with or measures.
        leaves_room: Whether there is memory enough to talk meanwhile.

    Raises:
        OSError: The process cannot be started, or the disk is full.
    """
    place = _place(folder)
    for name in ("output.json", "log.txt", "stopping"):
        (place / name).unlink(missing_ok=True)
    runs = tuple(each.name for each in list_runs(folder))
    with (place / "output.json").open("wb") as output, (place / "log.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  (this interpreter, and arguments that no shell reads)
            command_line(*arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in the server's terminal is not meant for it
        )
    with _children_lock:
        _children[process.pid] = process
    started = Started(process.pid, time.time(), run, runs, leaves_room)
    (place / "started.json").write_text(json.dumps(asdict(started)), encoding="utf-8")
    return state(folder)


def state(folder: Path) -> TrainingState:
    """Return where a character's training stands, whoever started it."""
    _reap()
    started = _read_started(folder)
    place = _place(folder)
    if started is not None and _is_locked(place / "lock"):
        run = _run_of(folder, started)
        return TrainingState(
            phase=_phase(run, is_measuring=bool(started.run) and run is not None and run.is_finished),
            run=run.name if run else "",
            is_stopping=(place / "stopping").exists(),
            started_at=started.at,
            leaves_room=started.leaves_room,
        )
    if _is_locked(folder / "runs" / ".lock"):
        newest = list_runs(folder)[-1:]
        run = newest[0] if newest and not newest[0].is_finished else None
        return TrainingState(phase=_phase(run), run=run.name if run else "", is_elsewhere=True)
    unfinished = newest_unfinished(folder)
    if started is None:
        return TrainingState(phase="idle", can_resume=unfinished is not None)
    run = _run_of(folder, started)
    how, message = _outcome(place, run)
    return TrainingState(
        phase="idle",
        run=run.name if run else "",
        started_at=started.at,
        how=how,
        message=message,
        can_resume=unfinished is not None,
    )


def stop(folder: Path) -> None:
    """Ask the training to save and end; asked again it changes nothing.

    Raises:
        GuardError: With reason `not_found` when nothing is running.
    """
    now = state(folder)
    if now.phase == "idle":
        raise GuardError("nothing is being trained", reason="not_found", where="training")
    if now.is_stopping:
        return  # a second signal would end it without saving
    if now.is_elsewhere:
        pid = _owner(folder)
        if pid:
            os.kill(pid, signal.SIGTERM)
        return
    started = _read_started(folder)
    assert started is not None
    (_place(folder) / "stopping").touch()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGTERM)  # saves and exits; before the first step there is nothing to save


def log_of(folder: Path) -> str:
    """Return the end of what the process said."""
    try:
        with (_place(folder) / "log.txt").open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _LOG_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def forget(folder: Path) -> None:
    """Forget how the last process ended."""
    if state(folder).phase == "idle":
        shutil.rmtree(_place(folder), ignore_errors=True)


def _place(folder: Path) -> Path:
    return folder / "runs" / ".training"


def _running(folder: Path) -> GuardError:
    return GuardError(
        "this character is being trained already",
        reason="training_running",
        where=folder.name,
        action="Wait for its end, or stop it.",
    )


def _take(handle: int) -> bool:
    """Lock a file; somebody who only looks whether it is locked has it for some microseconds."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _is_locked(path: Path) -> bool:
    """Return whether a living process holds a lock."""
    if sys.platform == "win32" or not path.is_file():
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _owner(folder: Path) -> int:
    """Return the process that holds the command line's own lock."""
    text = (folder / "runs" / ".lock").read_text(errors="replace").strip("\0 \n")
    return int(text) if text.isdecimal() else 0


def _read_started(folder: Path) -> Started | None:
    try:
        values: dict[str, Any] = json.loads((_place(folder) / "started.json").read_text(encoding="utf-8"))
        return Started(**{**values, "runs_before": tuple(values["runs_before"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _run_of(folder: Path, started: Started) -> Run | None:
    """Return the run that a process goes on with, or has made."""
    runs = list_runs(folder)
    if started.run:
        return next((run for run in runs if run.name == started.run), None)
    made = [run for run in runs if run.name not in started.runs_before]
    return made[0] if made else None


def _phase(run: Run | None, *, is_measuring: bool = False) -> Phase:
    """Return what is being done, told by what the run's folder holds."""
    if is_measuring or (run is not None and run.is_finished):
        return "measuring"
    if run is None:
        return "preparing"
    try:
        with (run.folder / "events.jsonl").open("rb") as stream:
            first = stream.read(_FIRST_EVENTS_BYTES)
    except OSError:
        return "preparing"
    return "training" if b'"name": "step"' in first else "loading"


def _outcome(place: Path, run: Run | None) -> tuple[How, str]:
    """Return how a process ended that is no more, and its words."""
    try:
        document = document_of((place / "output.json").read_bytes())
    except OSError:
        document = {}
    error = document.get("error")
    was_stopped = (place / "stopping").exists()
    if isinstance(error, dict):
        is_stop = error.get("exit_code") == _INTERRUPTED
        return ("stopped" if is_stop else "failed"), str(error.get("message", ""))
    if document:
        return "finished", ""
    if was_stopped:
        return "stopped", ""
    return ("finished" if run is not None and (run.folder / "evaluation.json").is_file() else "killed"), ""


def _reap() -> None:
    """Take the end of the processes of this server that are over."""
    with _children_lock:
        for pid in [pid for pid, process in _children.items() if process.poll() is not None]:
            del _children[pid]
