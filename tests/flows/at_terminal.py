"""A command at a terminal of its own: what a person sees is read, what they type is written, Ctrl-C is a key."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

from tests.flows.command_line import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]")
# The terminal becomes the child's own, so that Ctrl-C reaches it as a signal.
_START = (
    "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "runpy.run_module('duologue', run_name='__main__', alter_sys=True)"
)
_SECONDS = 240  # of waiting for what must come; a busy machine is slow


class AtTerminal:
    """A child process whose terminal we hold."""

    def __init__(self, *arguments: object, cwd: Path, columns: int) -> None:
        """Start `duologue` with these arguments."""
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, arguments)],
            cwd=cwd,
            env=environment | {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._raw = b""

    def __enter__(self) -> "AtTerminal":
        """Return the terminal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child if it goes on."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)

    @property
    def shown(self) -> str:
        """Everything that was shown so far, without what moves and colours."""
        text = _CONTROL.sub("", self._raw.decode(errors="replace"))
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def wait_for(self, words: str, *, times: int = 1, since: int = 0) -> str:
        """Wait until words were shown so often, behind so many characters; return all that is there."""
        deadline = time.monotonic() + _SECONDS
        while self.shown[since:].count(words) < times:
            assert time.monotonic() < deadline, f"'{words}' did not come: {self.shown[-2000:]}"
            assert self._read(), f"it ended without '{words}': {self.shown[-2000:]}"
        return self.shown

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def ended(self) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + _SECONDS
        while self._read():
            assert time.monotonic() < deadline, f"it did not end: {self.shown[-2000:]}"
        return self.process.wait(timeout=60)

    def _read(self) -> bool:
        """Take what is there; return False when nothing can come any more."""
        if not select.select([self.ours], [], [], 1.0)[0]:
            return True
        try:
            some = os.read(self.ours, 65536)
        except OSError:  # Linux says so when the child has closed its side
            return False
        self._raw += some
        return bool(some)
