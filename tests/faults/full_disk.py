"""A server in a process of its own, whose disk can be made full and be emptied again.

The system limits the size of the process's files, as it would end a disk (EFBIG for ENOSPC); that needs no
administrator.
"""

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.serve.page.panels import make_home

_SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.faults.served import served
with served(Path(sys.argv[1]), is_made=True) as home:
    cookie = "; ".join(f"{name}={value}" for name, value in home.client.cookies.items())
    print(home.client.base_url, home.values["session_id"], cookie, sep="\\t", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Limited:
    """The server.

    Attributes:
        process: It runs here.
        client: Asks it, as an admin.
        session: A chat.
        root: Its home.
    """

    process: subprocess.Popen[str]
    client: httpx.Client
    session: str
    root: Path

    @contextlib.contextmanager
    def full_from(self, num_bytes: int) -> Iterator[None]:
        """Let no file grow beyond a size."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def largest_file(self) -> int:
        """Return the size of the largest file of the home, in bytes."""
        return max(path.stat().st_size for path in self.root.rglob("*") if path.is_file())


@contextlib.contextmanager
def limited(folder: Path, repository: Path) -> Iterator[Limited]:
    """Start the server, and stop it at the end."""
    root = make_home(folder / "home")
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(root), str(repository)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
    )
    try:
        line = process.stdout.readline()
        assert line, "the server did not start"
        url, session, cookie = line.rstrip("\n").split("\t")
        headers = {"Origin": url.rstrip("/"), "Cookie": cookie}
        with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            yield Limited(process, client, session, root)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
