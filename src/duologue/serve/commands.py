"""`python -m duologue …` as a process of its own: what needs much memory or may break does not happen in the server."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.serve.refusal import ApiError

_STATUS = {"bug": 500, "engine": 500, "interrupted": 503}  # what else is refused has its cause in what was given
_NUM_ERROR_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: 0 when all is well; below 0 the signal that killed it.
        document: The one JSON document it printed; empty when it printed none.
        said: The end of what it said to people.
    """

    exit_code: int
    document: dict[str, Any]
    said: str = ""

    def refusal(self) -> ApiError | None:
        """Return why the command refused, or None when it answered."""
        error = self.document.get("error")
        if isinstance(error, dict):
            kind = str(error.get("kind", "error"))
            return ApiError(_STATUS.get(kind, 409), str(error.get("message", "")), code=kind)
        if self.document:
            return None
        why = f"signal {-self.exit_code}" if self.exit_code < 0 else f"exit code {self.exit_code}"
        return ApiError(500, f"the command ended without an answer ({why}). {self.said}".strip(), code="no_answer")


def command_line(*arguments: str, module: str = "duologue") -> list[str]:
    """Return the words that run `duologue` with this interpreter, from wherever this one has it."""
    # -P: a json.py in the folder where the server was started must not take the place of the library's.
    return [sys.executable, "-P", "-m", module, *arguments]


async def run_command(arguments: Sequence[str], *, folder: Path, module: str = "duologue") -> Ended:
    """Run a command to its end; it is killed when the caller is cancelled, so that nobody waits for what nobody wants.

    Args:
        arguments: Such as `["plan", "/home/me/lila", "--json"]`.
        folder: Where it runs.
        module: What runs; the command line but for what only the server needs.
    """
    process = await asyncio.create_subprocess_exec(
        *command_line(*arguments, module=module),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, document_of(out), said.decode("utf-8", "replace")[-_NUM_ERROR_CHARS:])


def document_of(text: bytes) -> dict[str, Any]:
    """Return the JSON document that a command printed; an empty one where it was ended before it could."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
