"""The exception tree. Every error a person can meet derives from `DuologueError`.

```
DuologueError
├── ConfigError       exit 2   duologue.toml, a command line, a character card
├── DataError         exit 3   conversations: files, rows, fields
├── PlanError         exit 4   the run does not fit, or cannot be planned
├── EngineError       exit 5   loading, training, generating, exporting
│   └── FormError     exit 5   a grammar or a JSON schema that a reply was to follow
├── GuardError        exit 6   input refused, rate limit reached, content policy
└── InterruptedRun    exit 7   stopped by the person or the machine; can be resumed
```
"""

from typing import Any, ClassVar


class DuologueError(Exception):
    """An error with what was found, where, what was needed and what to do next.

    Args:
        found: What was found, a full sentence without its final stop.
        where: File, row, field or command the error belongs to.
        needed: What would have been right.
        action: What the person can do next, as an imperative sentence.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, found: str, *, where: str = "", needed: str = "", action: str = "") -> None:
        """Store the four parts; `str(error)` joins them."""
        self.found = found
        self.where = where
        self.needed = needed
        self.action = action
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """Return the whole message on one line per part."""
        text = f"{self.where}: {self.found}" if self.where else self.found
        if self.needed:
            text += f"; expected {self.needed}"
        text += "."
        return f"{text} {self.action}" if self.action else text

    def as_json(self) -> dict[str, Any]:
        """Return the error as the JSON document that `--json` prints."""
        parts = {"found": self.found, "where": self.where, "needed": self.needed, "action": self.action}
        return {"error": {"kind": self.kind, "message": self.sentence(), "exit_code": self.exit_code, **parts}}


class ConfigError(DuologueError):
    """A fault in duologue.toml, in the command line or in a character card."""

    exit_code = 2
    kind = "config"


class DataError(DuologueError):
    """A fault in the conversations: a file, a row, a field."""

    exit_code = 3
    kind = "data"


class PlanError(DuologueError):
    """The run does not fit the hardware or cannot be planned."""

    exit_code = 4
    kind = "plan"


class EngineError(DuologueError):
    """Loading, training, generating or exporting failed."""

    exit_code = 5
    kind = "engine"


class FormError(EngineError):
    """The grammar or the JSON schema that a reply was to follow cannot be followed."""


class GuardError(DuologueError):
    """The guard refused an input, a reply or a request.

    Args:
        found: What was found.
        reason: Stable machine-readable reason, such as `empty` or `rate_limit_exceeded`.
        retry_after_seconds: Seconds until the same request can succeed; 0 when waiting does not help.
        where: As in `DuologueError`.
        needed: As in `DuologueError`.
        action: As in `DuologueError`.
    """

    exit_code = 6
    kind = "guard"

    def __init__(
        self,
        found: str,
        *,
        reason: str,
        retry_after_seconds: float = 0.0,
        where: str = "",
        needed: str = "",
        action: str = "",
    ) -> None:
        """Store the reason and the waiting time beside the four parts."""
        super().__init__(found, where=where, needed=needed, action=action)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class InterruptedRun(DuologueError):
    """A run was stopped by the person or the machine and can be resumed."""

    exit_code = 7
    kind = "interrupted"
