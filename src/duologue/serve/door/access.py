"""Who may come in: decided here once for every request, whatever carries its proof.

Pure ASGI, so that streams pass through untouched, and around the whole app, so that no route can be forgotten. There is
one way from a request to a visitor (`_visitor`): a cookie and an `Authorization` header lead to it, and nothing else
does. Headers in which a proxy names a user are not read.
"""

from dataclasses import replace
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from duologue.errors import DuologueError, GuardError
from duologue.serve.door.door import Door
from duologue.serve.door.origin import SAFE_METHODS, Origin
from duologue.serve.door.pages import language_of, login_page
from duologue.serve.door.wording import Language, say
from duologue.serve.refusal import ApiError, as_api_error
from duologue.serve.visitor import LOCAL_ACCOUNT, Visitor, address_of, set_visitor

COOKIE = "duologue"
SECURE_COOKIE = "__Host-duologue"  # browsers take it over https alone, for this host alone and for every path
_COOKIE_SECONDS = 30 * 24 * 3600
_OPEN_PATHS = frozenset({"/health", "/age/done"})  # container health checks have no key, a wallet's browser no login
_OPEN_PATHS_BELOW = "/age/answer/"  # a wallet has no login either; its answer belongs to the request it names
_NOBODY = Visitor(account="", role="user", way="session", is_local=False)
_MAX_FORM_BYTES = 8192


class Access:
    """Lets a request through with a login or a key, or, where neither exists, from this machine's own pages.

    Args:
        app: The app to protect.
        door: What it looks into.
        title: Shown on the login page.
    """

    def __init__(self, app: ASGIApp, *, door: Door, title: str) -> None:
        """Keep the parts."""
        self._app = app
        self._door = door
        self._title = title

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = self._door.site.origin(scope)
        try:
            came = await self._come(scope, receive, origin)
        except DuologueError as error:
            came = _refusal(as_api_error(error))
        if isinstance(came, Response):
            await came(scope, receive, send)
            return
        set_visitor(scope, came)
        await self._answer(came, scope, receive, send)

    async def _answer(self, visitor: Visitor, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._door.requests.entered(visitor) as request:
            await self._app(scope, request.receiving(receive), request.sending(send))
            if request.is_unanswered:
                await _refusal(_no_login())(scope, receive, send)
            elif request.is_cut:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _come(self, scope: Scope, receive: Receive, origin: Origin) -> Visitor | Response:
        path, headers = scope["path"], Headers(scope=scope)
        needs_login = await self._door.needs_login()
        if path == "/login" and scope["method"] == "POST" and needs_login:
            return await self._log_in(scope, receive, origin)
        if not needs_login:
            refusal = _local_refusal(scope, headers, origin)
            return refusal or (RedirectResponse("/", 303) if path in ("/login", "/logout") else Visitor())
        visitor = await self._visitor(scope, headers, origin)
        if isinstance(visitor, Response):
            return visitor
        if path == "/logout" and scope["method"] == "POST" and visitor is not None:
            return await self._log_out(headers, origin)
        if visitor is not None:
            return RedirectResponse("/", 303) if path in ("/login", "/logout") else visitor
        if path in _OPEN_PATHS or path.startswith(_OPEN_PATHS_BELOW):
            return _NOBODY
        if scope["method"] in SAFE_METHODS and (path in ("/", "/login") or "text/html" in headers.get("accept", "")):
            return await self._login_page(headers)
        return _refusal(_no_login())

    async def _visitor(self, scope: Scope, headers: Headers, origin: Origin) -> Visitor | Response | None:
        """Return who asks, None for who shows nothing, or a refusal."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and given.strip():
            found = await self._door.in_thread(self._door.with_key, given.strip())
            if found is None:
                await self._door.in_thread(self._door.throttle.wrong_key, address=address_of(scope))
                return _refusal(_no_login())
            return replace(found, is_local=origin.is_local)
        token = cookie_token(headers)
        login = await self._door.in_thread(self._door.logins.find, token) if token else None
        if login is None:
            return None
        return _foreign_refusal(scope, headers, origin, must_say=True) or replace(
            login.visitor, is_local=origin.is_local
        )

    async def _log_in(self, scope: Scope, receive: Receive, origin: Origin) -> Response:
        headers = Headers(scope=scope)
        if origin.is_own_page(headers) is False:
            return _foreign()
        fields = await read_form(Request(scope, receive))
        language = language_of(headers)
        if fields.get("key"):
            key = fields["key"].strip()
            account_id = LOCAL_ACCOUNT if self._door.is_shared_key(key) else ""
            if not account_id:
                await self._door.in_thread(self._door.throttle.wrong_key, address=address_of(scope))
            notice = say("login.wrong_key", language)
        else:
            name, password = fields.get("name", "")[:256], fields.get("password", "")
            await self._door.in_thread(self._door.throttle.attempt, address=address_of(scope), name=name)
            account = await self._door.in_thread(self._door.accounts.with_password, name, password)
            account_id = account.id if account else ""
            notice = say("login.wrong_password", language)
        if not account_id:
            return await self._login_page(headers, notice)
        token = await self._door.in_thread(lambda: self._door.logins.begin(account_id, old_token=cookie_token(headers)))
        answer = RedirectResponse("/", status_code=303)
        set_cookie(answer, token, origin)
        return answer

    async def _log_out(self, headers: Headers, origin: Origin) -> Response:
        await self._door.log_out(cookie_token(headers))
        answer = RedirectResponse("/", status_code=303)
        forget_cookie(answer, origin)
        return answer

    async def _login_page(self, headers: Headers, notice: str = "") -> Response:
        has_accounts = await self._door.has_accounts()
        language: Language = language_of(headers)
        return login_page(self._title, language, notice, asks_name=has_accounts, asks_key=self._door.has_shared_key)


def cookie_token(headers: Headers) -> str:
    """Return the token that a browser shows; empty without one."""
    cookies = cookie_parser(headers.get("cookie", ""))  # reads around cookies of others that are none
    return (cookies.get(SECURE_COOKIE) or cookies.get(COOKIE, ""))[:256]


def set_cookie(answer: Response, token: str, origin: Origin) -> None:
    """Give a browser its token: out of reach of scripts, of other sites, and of plain http once it came over https.

    Where another site may frame the page, the cookie goes along inside that frame too. What other sites send is refused
    all the same: every request that changes something must come from a page of this server.
    """
    _send_cookie(answer, token, origin, max_age=_COOKIE_SECONDS)


def forget_cookie(answer: Response, origin: Origin) -> None:
    """Have a browser throw its token away."""
    _send_cookie(answer, "", origin, max_age=0)


def _send_cookie(answer: Response, token: str, origin: Origin, *, max_age: int) -> None:
    is_framed = origin.may_be_framed and origin.is_https
    answer.set_cookie(
        SECURE_COOKIE if origin.is_https else COOKIE,
        token,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="none" if is_framed else "lax",
        secure=origin.is_https,
    )
    if (
        is_framed
    ):  # a drawer of its own per framing site, which browsers leave open (CHIPS); Python's http knows it late
        name, value = answer.raw_headers.pop()
        answer.raw_headers.append((name, value + b"; Partitioned"))


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form.

    Raises:
        GuardError: With reason `bad_form`.
    """
    body = await request.body()
    try:
        if len(body) > _MAX_FORM_BYTES:
            raise ValueError
        fields = parse_qs(body.decode("utf-8"), max_num_fields=20, strict_parsing=False)
    except ValueError as error:
        raise GuardError(
            f"the form of {len(body)} bytes cannot be read",
            reason="bad_form",
            needed=f"at most {_MAX_FORM_BYTES} bytes of UTF-8 and 20 fields",
        ) from error
    return {name: values[0] for name, values in fields.items()}


def _local_refusal(scope: Scope, headers: Headers, origin: Origin) -> Response | None:
    """Refuse what is not from this machine: another host name (DNS rebinding), a proxy, another site."""
    foreign = _foreign_refusal(scope, headers, origin, must_say=False)
    if foreign is None and not origin.is_local:
        name = headers.get("host", "")[:80]
        through = "through a proxy" if origin.is_proxied else f"as '{name}'"
        return _refusal(
            ApiError(
                403,
                f"this server has no API key and no accounts, so it answers only to localhost on its own machine, not "
                f"{through}",
                code="forbidden",
            )
        )
    return foreign


def _foreign_refusal(scope: Scope, headers: Headers, origin: Origin, *, must_say: bool) -> Response | None:
    """Refuse what a page of another site makes a browser send.

    Args:
        scope: The request.
        headers: Its headers.
        origin: Where it comes from.
        must_say: Whether a request that changes something must say which page made it: with a cookie it must, because
            every browser says it, and what is no browser has a key instead.
    """
    is_own = origin.is_own_page(headers)
    if scope["method"] in SAFE_METHODS:
        is_embedded = headers.get("sec-fetch-mode", "navigate") != "navigate"
        return _foreign() if is_own is False and is_embedded and "sec-fetch-site" in headers else None
    return None if is_own or (is_own is None and not must_say) else _foreign()


def _foreign() -> Response:
    return _refusal(ApiError(403, "the request comes from another site", code="forbidden"))


def _no_login() -> ApiError:
    message = "the API key is missing or wrong; send it as 'Authorization: Bearer KEY', or log in at /login"
    return ApiError(401, message, code="invalid_api_key")


def _refusal(error: ApiError) -> Response:
    headers = {**error.headers(), "Cache-Control": "no-store"}
    return JSONResponse(error.body(), status_code=error.status, headers=headers)
