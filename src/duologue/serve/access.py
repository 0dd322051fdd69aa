"""Who may come in: the API key for programs, a login page for people, and local visitors only when there is no key.

Pure ASGI, so that streams pass through untouched, and around the whole app, so that no route can be forgotten.
"""

import hashlib
import hmac
import html
import ipaddress
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from duologue.errors import GuardError
from duologue.guard import RateLimiter
from duologue.serve.refusal import ApiError, as_api_error
from duologue.serve.visitor import Visitor, address_of, set_visitor

COOKIE = "duologue_key"
_COOKIE_SECONDS = 30 * 24 * 3600
_OPEN_PATHS = frozenset({"/health"})  # container health checks have no key
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_WRONG_KEYS_PER_MINUTE = 10


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Lets a request through when it carries the key, or, without a key, when it comes from this machine's own pages.

    Args:
        app: The app to protect.
        api_key: The key; empty means that none is needed.
        title: Shown on the login page.
    """

    def __init__(self, app: ASGIApp, *, api_key: str, title: str) -> None:
        """Prepare the token that a browser keeps instead of the key."""
        self._app = app
        self._api_key = api_key
        self._title = title
        # Made from the key alone: a login survives a restart and ends when the key changes.
        self._token = hmac.new(api_key.encode(), b"duologue page", hashlib.sha256).hexdigest() if api_key else ""
        self._attempts = RateLimiter(_WRONG_KEYS_PER_MINUTE, _WRONG_KEYS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        set_visitor(scope, Visitor())
        refusal = await self._keyed(scope, receive) if self._api_key else _local(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    async def _keyed(self, scope: Scope, receive: Receive) -> Response | None:
        path, headers = scope["path"], Headers(scope=scope)
        try:
            if path == "/login" and scope["method"] == "POST":
                return await self._login(scope, receive)
            if path in _OPEN_PATHS:
                return None
            if self._has_cookie(headers):
                set_visitor(scope, Visitor(way="shared_key"))
                return None if _is_same_origin(scope, headers) else _forbidden("the request comes from another site")
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if given and self._is_key(given, scope):
                set_visitor(scope, Visitor(way="shared_key"))
                return None
        except GuardError as error:
            return _refusal(as_api_error(error))
        if scope["method"] in _SAFE_METHODS and not path.startswith("/v1/"):
            return self._login_page(401)
        message = "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'"
        return _refusal(ApiError(401, message, code="invalid_api_key"))

    async def _login(self, scope: Scope, receive: Receive) -> Response:
        body = await Request(scope, receive).body()
        fields = parse_qs(body.decode("utf-8", "replace"))
        if not self._is_key(fields.get("key", [""])[0].strip(), scope):
            return self._login_page(401, "That is not the key.")
        answer = RedirectResponse("/", status_code=303)
        is_https = scope.get("scheme") == "https"
        answer.set_cookie(
            COOKIE, self._token, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", secure=is_https
        )
        return answer

    def _is_key(self, given: str, scope: Scope) -> bool:
        if hmac.compare_digest(given.encode(), self._api_key.encode()):
            return True
        self._attempts.take(address_of(scope))  # guessing is slow: wrong keys are counted
        return False

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._token.encode())

    def _login_page(self, status: int, notice: str = "") -> Response:
        page = resources.files("duologue.serve").joinpath("login.html").read_text(encoding="utf-8")
        page = page.replace("{{title}}", html.escape(self._title)).replace("{{notice}}", html.escape(notice))
        return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})


def _local(scope: Scope) -> Response | None:
    """Refuse what a foreign web page could send to this machine: another host name (DNS rebinding), another origin."""
    headers = Headers(scope=scope)
    name = _host_name(headers.get("host", ""))
    if name not in _LOCAL_NAMES:
        return _forbidden(f"this server has no API key and answers only to localhost, not to '{name}'")
    if not _is_same_origin(scope, headers):
        return _forbidden("the request comes from another site")
    return None


def _is_same_origin(scope: Scope, headers: Headers) -> bool:
    origin = headers.get("origin")
    # A page of another site cannot set X-Forwarded-Host; a reverse proxy may.
    own_names = (headers.get("host"), headers.get("x-forwarded-host"))
    return scope["method"] in _SAFE_METHODS or not origin or origin.partition("://")[2] in own_names


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as a bracket that is never closed
        return ""


def _forbidden(message: str) -> Response:
    return _refusal(ApiError(403, message, code="forbidden"))


def _refusal(error: ApiError) -> Response:
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers())
