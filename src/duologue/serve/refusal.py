"""How the server says no: one body for API and page, with the status and code that clients know."""

import math
from typing import Any

from duologue.errors import DataError, DuologueError, FormError, GuardError
from duologue.store import is_of_storage

_BAD_REQUEST = "invalid_request_error"
_GUARD_STATUS = {
    "rate_limit_exceeded": 429,
    "busy": 503,
    "ending": 503,
    "reply_running": 409,
    "not_found": 404,
    "forbidden": 403,
    "age_required": 403,
    "broken": 409,
    "weak_password": 400,
    "bad_name": 400,
    "bad_form": 400,
    "name_taken": 409,
    "last_admin": 409,
    "too_many_keys": 409,
    "storage_full": 413,
    "age_unproven": 400,
    "training": 503,
    "training_running": 409,
}
_GUARD_CODE = {"too_long_for_context": "context_length_exceeded", "content_policy": "content_policy_violation"}
_FIELDS = ("prompt", "response_format", "grammar", "json_schema")
_DISK_RETRY_SECONDS = 30.0
# OpenAI's clients pass over a longer Retry-After and try again within seconds, unless they are told not to.
_LONGEST_RETRY_SECONDS = 60.0
_TYPES = {429: "rate_limit_error", 503: "unavailable_error", 500: "server_error"}


class ApiError(Exception):
    """A refusal as the client sees it.

    Args:
        status: HTTP status.
        message: What was wrong and what would be right.
        code: Stable machine-readable code, or an empty string.
        param: The field of the request it is about, or an empty string.
        retry_after_seconds: When to try again; 0 when waiting does not help.
    """

    def __init__(
        self, status: int, message: str, *, code: str = "", param: str = "", retry_after_seconds: float = 0.0
    ) -> None:
        """Keep the parts."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        kind = _TYPES.get(self.status, _BAD_REQUEST)
        return {
            "error": {"message": self.message, "type": kind, "param": self.param or None, "code": self.code or None}
        }

    def headers(self) -> dict[str, str]:
        """Return `Retry-After` in whole seconds, and what OpenAI's clients read in milliseconds, when waiting helps."""
        if not self.retry_after_seconds:
            return {}
        headers = {
            "Retry-After": str(max(1, math.ceil(self.retry_after_seconds))),
            "retry-after-ms": str(math.ceil(self.retry_after_seconds * 1000)),
        }
        if self.retry_after_seconds > _LONGEST_RETRY_SECONDS:
            headers["x-should-retry"] = "false"
        return headers


def as_api_error(error: DuologueError) -> ApiError:
    """Return the refusal for a house error: guard and data errors are the client's, the rest is the server's."""
    if isinstance(error, GuardError):
        return ApiError(
            _GUARD_STATUS.get(error.reason, 400),
            error.sentence(),
            code=_GUARD_CODE.get(error.reason, error.reason),
            param=_param(error),
            retry_after_seconds=error.retry_after_seconds,
        )
    if is_of_storage(error.__cause__):
        # Not the client's doing, and the path of a file is not the client's business.
        message = f"{error.found}; nothing that was stored before is lost. The operator has to see to it."
        return ApiError(503, message, code="storage", retry_after_seconds=_DISK_RETRY_SECONDS)
    if isinstance(error, DataError):
        return ApiError(400, error.sentence(), param="messages")
    if isinstance(error, FormError):
        return ApiError(400, error.sentence(), code="unsupported_form", param=error.where.partition(".")[0])
    return ApiError(500, error.sentence(), code=error.kind)


def _param(error: GuardError) -> str:
    """Return the field of the request that a refusal is about; a refusal of the whole request is about none."""
    if error.reason in _GUARD_STATUS:
        return ""
    return error.where if error.where in _FIELDS else "messages"
