"""The routes of accounts: one's own password and keys, and, for admins, everybody's accounts."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from duologue.errors import GuardError
from duologue.serve.door.access import cookie_token, set_cookie
from duologue.serve.door.accounts import Account, ApiKey
from duologue.serve.door.door import Door
from duologue.serve.page.body import Body, parse
from duologue.serve.visitor import Visitor, address_of, visitor_of

_Password = Annotated[str, Field(max_length=1024)]


class _NewPassword(Body):
    old: _Password
    new: _Password


class _NewKey(Body):
    name: Annotated[str, Field(max_length=200)]


class _NewAccount(Body):
    name: Annotated[str, Field(max_length=200)]
    password: _Password
    role: Literal["admin", "user"] = "user"


class _ResetPassword(Body):
    new: _Password


def account_routes(door: Door) -> APIRouter:
    """Return the routes of a visitor's own account."""
    router = APIRouter(prefix="/page/account")

    @router.get("")
    async def show(request: Request) -> JSONResponse:
        visitor = visitor_of(request.scope)
        keys = await door.in_thread(door.accounts.keys, visitor.account)
        return JSONResponse(
            {
                "name": visitor.name,
                "role": visitor.role,
                "has_password": bool(visitor.name),
                "keys": [_shown_key(key) for key in keys],
            }
        )

    @router.post("/password")
    async def change_password(request: Request) -> Response:
        visitor = _person(request)
        body = parse(_NewPassword, await request.body())
        await run_in_threadpool(door.check_old_password, visitor, body.old, address=address_of(request.scope))
        await run_in_threadpool(door.accounts.set_password, visitor.account, body.new)
        # This browser has just shown both passwords: it goes on, with a token that is new.
        token = await run_in_threadpool(
            lambda: door.logins.begin(visitor.account, old_token=cookie_token(Headers(scope=request.scope)))
        )
        # After the answer, which belongs to a login that has ended too.
        answer = JSONResponse({"name": visitor.name}, background=BackgroundTask(door.end_streams, visitor.account))
        set_cookie(answer, token, door.site.origin(request.scope))
        return answer

    @router.post("/keys")
    async def add_key(request: Request) -> JSONResponse:
        visitor = _person(request)
        body = parse(_NewKey, await request.body())
        key = await run_in_threadpool(door.accounts.add_key, visitor.account, body.name)
        return JSONResponse({"id": key.id, "key": key.key}, status_code=201, headers={"Cache-Control": "no-store"})

    @router.delete("/keys/{key_id}")
    async def remove_key(request: Request, key_id: str) -> JSONResponse:
        visitor = _person(request)
        await run_in_threadpool(door.remove_key, visitor.account, key_id)
        return JSONResponse({"removed": key_id})

    return router


def accounts_routes(door: Door) -> APIRouter:
    """Return the routes of everybody's accounts, for admins."""
    router = APIRouter(prefix="/page/accounts")

    @router.get("")
    async def list_accounts(request: Request) -> JSONResponse:
        _admin(request)
        accounts = await run_in_threadpool(door.accounts.listed)
        return JSONResponse({"accounts": [_shown_account(account) for account in accounts]})

    @router.post("")
    async def add_account(request: Request) -> JSONResponse:
        _admin(request)
        body = parse(_NewAccount, await request.body())
        account = await run_in_threadpool(door.add_account, body.name, body.password, role=body.role)
        return JSONResponse(_shown_account(account), status_code=201)

    @router.delete("/{account_id}")
    async def remove_account(request: Request, account_id: str) -> JSONResponse:
        visitor = _admin(request)
        if account_id == visitor.account:
            raise GuardError(
                "nobody removes the account they are logged in to",
                reason="forbidden",
                where="account",
                action="Another admin can, or the command line: duologue account remove FOLDER NAME",
            )
        await run_in_threadpool(door.remove_account, account_id)
        return JSONResponse({"removed": account_id})

    @router.post("/{account_id}/password")
    async def reset_password(request: Request, account_id: str) -> JSONResponse:
        _admin(request)
        body = parse(_ResetPassword, await request.body())
        account = await run_in_threadpool(door.accounts.of, account_id)
        await run_in_threadpool(door.set_password, account.id, body.new)
        return JSONResponse(_shown_account(account))

    return router


def _person(request: Request) -> Visitor:
    """Return who is logged in to an account with a browser: a stolen key must not make others, or lock its owner out.

    Raises:
        GuardError: With reason `forbidden`.
    """
    visitor = visitor_of(request.scope)
    if visitor.way != "session" or not visitor.name:
        raise GuardError("this is for somebody who is logged in to an account", reason="forbidden", where="account")
    return visitor


def _admin(request: Request) -> Visitor:
    visitor = visitor_of(request.scope)
    if visitor.role != "admin" or visitor.way == "api_key":
        raise GuardError("only an admin may do this, logged in with a browser", reason="forbidden", where="account")
    return visitor


def _shown_account(account: Account) -> dict[str, object]:
    return {"id": account.id, "name": account.name, "role": account.role, "made_at": _shown_time(account.made_at)}


def _shown_key(key: ApiKey) -> dict[str, object]:
    used_at = _shown_time(key.used_at) if key.used_at else None
    return {"id": key.id, "name": key.name, "made_at": _shown_time(key.made_at), "used_at": used_at}


def _shown_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
