"""What is left to a visitor, in the headers that clients read: OpenAI's, and the IETF's draft for any API.

Sources: OpenAI API reference, rate limits in headers; draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from duologue.guard import Grant, Quota

_KEY = "duologue.grant"


def note_grant(scope: Scope, grant: Grant) -> None:
    """Say what is left to the visitor of a request."""
    holder = scope.get(_KEY)
    if isinstance(holder, list):
        holder.append(grant)


class QuotaHeaders:
    """Adds to the answer of a request that was counted how much is left.

    Args:
        app: The app behind it.
        quotas: What one visitor is granted.
    """

    def __init__(self, app: ASGIApp, *, quotas: Sequence[Quota]) -> None:
        """Write the policy, which never changes."""
        self._app = app
        self._policy = ", ".join(
            f'"{quota.name}";q={quota.burst};w={max(1, math.ceil(quota.window_seconds))}' for quota in quotas
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        grants: list[Grant] = []
        scope[_KEY] = grants

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and grants:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = self._policy
                for name, value in _left(grants[-1]).items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _left(grant: Grant) -> dict[str, str]:
    left = {"requests": grant.requests, "tokens": grant.tokens}
    headers = {
        "RateLimit": ", ".join(
            f'"{name}";r={allowance.remaining};t={math.ceil(allowance.reset_seconds)}'
            for name, allowance in left.items()
        )
    }
    for name, allowance in left.items():
        headers[f"x-ratelimit-limit-{name}"] = str(allowance.limit)
        headers[f"x-ratelimit-remaining-{name}"] = str(allowance.remaining)
        headers[f"x-ratelimit-reset-{name}"] = duration(allowance.reset_seconds)
    return headers


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: `120ms`, `6.5s`, `2m3s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 10) / 10:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest}s"
