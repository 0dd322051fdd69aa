"""The pages of `/age`: where the operator attests, where visitors prove their age, and where their apps answer."""

import re
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from duologue.errors import GuardError
from duologue.serve.door import pages
from duologue.serve.door.access import read_form
from duologue.serve.door.age import subject_of
from duologue.serve.door.age_requests import AgeRequests, Attempt
from duologue.serve.door.door import Door
from duologue.serve.door.mdoc import MAX_BYTES, unproven
from duologue.serve.door.qr import qr_svg
from duologue.serve.door.wording import Language, say
from duologue.serve.library import Library
from duologue.serve.visitor import Visitor, address_of, visitor_of

_LOOK_SECONDS = 4
_CHARACTER = re.compile(r"[a-z0-9-]{1,120}")


def age_routes(door: Door, library: Library) -> APIRouter:
    """Return the routes of `/age`."""
    router = APIRouter(prefix="/age")
    requests = AgeRequests(door.book, door.age)
    _add_own(router, door, library)
    _add_attempts(router, door, requests)
    _add_answers(router, door, requests)
    return router


def _add_own(router: APIRouter, door: Door, library: Library) -> None:
    @router.get("")
    async def show(request: Request) -> Response:
        character = _character(request.query_params.get("character", ""))
        parts = await run_in_threadpool(_state, door, library, visitor_of(request.scope), character, _spoken(request))
        return pages.page(say("age.title", _spoken(request)), _spoken(request), parts)

    @router.post("/attest")
    async def attest(request: Request) -> Response:
        fields = await read_form(request)
        if fields.get("adult") != "yes":
            raise GuardError("the box was not ticked", reason="forbidden", where="age")
        await run_in_threadpool(door.age.attest, visitor_of(request.scope))
        return _to("/age", character=_character(fields.get("character", "")))

    @router.post("/revoke")
    async def revoke(request: Request) -> Response:
        await run_in_threadpool(door.age.revoke, visitor_of(request.scope))
        return _to("/age")


def _add_attempts(router: APIRouter, door: Door, requests: AgeRequests) -> None:
    @router.post("/start")
    async def start(request: Request) -> Response:
        fields = await read_form(request)
        attempt = await run_in_threadpool(
            requests.begin,
            visitor_of(request.scope),
            base_url=door.site.base_url(request.scope),
            back_to=_character(fields.get("character", "")),
        )
        return _to(f"/age/attempts/{attempt.request.id}")

    @router.get("/attempts/{request_id}")
    async def wait(request: Request, request_id: str) -> Response:
        language = _spoken(request)
        attempt = await run_in_threadpool(
            requests.of, visitor_of(request.scope), request_id, base_url=door.site.base_url(request.scope)
        )
        assert door.age.provider is not None, "an attempt has a provider"
        parts = _progress(
            attempt, door.age.provider.link(attempt.request), language, is_wrong="wrong" in request.query_params
        )
        seconds = _LOOK_SECONDS if attempt.state == "open" else 0
        return pages.page(say("age.title", language), language, parts, seconds_to_reload=seconds)

    @router.post("/attempts/{request_id}/code")
    async def type_code(request: Request, request_id: str) -> Response:
        visitor, fields = visitor_of(request.scope), await read_form(request)
        await run_in_threadpool(requests.of, visitor, request_id, base_url="")
        back_to = await run_in_threadpool(requests.finish, visitor, fields.get("code", ""), request_id=request_id)
        if back_to is None:
            return _to(f"/age/attempts/{request_id}", wrong="1")
        return _to("/age", character=back_to)


def _add_answers(router: APIRouter, door: Door, requests: AgeRequests) -> None:
    @router.post("/answer/{request_id}")
    async def answer(request: Request, request_id: str) -> JSONResponse:
        await run_in_threadpool(door.throttle.answer, address=address_of(request.scope))
        fields = _answer_fields(await request.body())
        base_url = door.site.base_url(request.scope)
        code = await run_in_threadpool(requests.answer, request_id, fields, base_url=base_url)
        # Opened by the app on its own device: it ends the attempt there, or shows the code for another device.
        return JSONResponse(
            {"redirect_uri": f"{base_url}/age/done?{urlencode({'code': code})}"}, headers={"Cache-Control": "no-store"}
        )

    @router.get("/done")
    async def done(request: Request) -> Response:
        visitor, language = visitor_of(request.scope), _spoken(request)
        code = request.query_params.get("code", "")[:40]
        back_to = await run_in_threadpool(requests.finish, visitor, code) if subject_of(visitor) else None
        if back_to is not None:
            return _to("/age", character=back_to)
        shown = re.sub(r"[^A-Z0-9]", "", code)
        parts = [pages.paragraph(say("age.code_show", language)), pages.code(shown)]
        return pages.page(say("age.title", language), language, parts)


def _state(door: Door, library: Library, visitor: Visitor, character: str, language: Language) -> list[str]:
    """Return what the page says to somebody now."""
    go_on = f"/#/talk/{quote(character)}" if character else "/"
    proof = door.age.proof(visitor)
    if proof is not None:
        days = {"made": pages.date_of(proof.made_at, language), "date": pages.date_of(proof.expires_at, language)}
        key = "age.attested" if proof.kind == "attestation" else "age.proven"
        return [
            pages.paragraph(say(key, language, **days)),
            pages.link(go_on, say("age.go_on", language)),
            pages.form("/age/revoke", "", say("age.revoke", language), is_quiet=True),
        ]
    parts = [pages.paragraph(_about(library, character, language))]
    kept = pages.hidden("character", character)
    if door.age.may_attest(visitor):
        parts.append(pages.paragraph(say("age.attest_about", language)))
        box = pages.checkbox("adult", say("age.attest", language))
        parts.append(pages.form("/age/attest", kept + box, say("age.attest_send", language)))
    elif door.age.provider is None:
        parts.append(pages.paragraph(say("age.none", language)))
    elif not subject_of(visitor):
        parts.append(pages.paragraph(say("age.no_subject", language)))
    else:
        parts.append(pages.paragraph(say("age.start_about", language)))
        parts.append(pages.form("/age/start", kept, say("age.start", language)))
    return [*parts, pages.quiet_link("/", say("age.back", language))]


def _about(library: Library, character: str, language: Language) -> str:
    """Return what this is about: a character's name and rating, and nothing else of it."""
    found = next((entry for entry in library.entries() if entry.id == character), None)
    if found is None or found.rating == "general":
        return say("age.about_any", language)
    return say("age.about", language, name=found.name, rating=found.rating)


def _progress(attempt: Attempt, link: str, language: Language, *, is_wrong: bool) -> list[str]:
    again = pages.quiet_link(f"/age?{urlencode({'character': attempt.back_to})}", say("age.again", language))
    if attempt.state == "refused":
        return [pages.alert(say("age.refused", language, reason=attempt.fault)), again]
    if attempt.state == "shown":
        return [
            pages.paragraph(say("age.code_about", language)),
            pages.alert(say("age.code_wrong", language) if is_wrong else ""),
            pages.form(
                f"/age/attempts/{attempt.request.id}/code",
                pages.code_field(say("age.code", language)),
                say("age.code_send", language),
            ),
            again,
        ]
    return [
        pages.link(link, say("age.open_app", language)),
        pages.paragraph(say("age.scan", language)),
        qr_svg(link),
        pages.paragraph(say("age.waiting", language)),
        pages.quiet_link(f"/age/attempts/{attempt.request.id}", say("age.look_again", language)),
        again,
    ]


def _answer_fields(body: bytes) -> dict[str, str]:
    try:
        if len(body) > 3 * MAX_BYTES:
            raise ValueError
        fields = parse_qs(body.decode("utf-8"), max_num_fields=20)
    except ValueError as error:
        raise unproven("the answer cannot be read") from error
    if any(len(values) != 1 for values in fields.values()):
        raise unproven("a field of the answer comes twice")
    return {name: values[0] for name, values in fields.items()}


def _character(name: str) -> str:
    """Return a character's id as it may stand in an address; empty for anything else."""
    return name if _CHARACTER.fullmatch(name) else ""


def _spoken(request: Request) -> Language:
    return pages.language_of(request.headers)


def _to(path: str, **query: str) -> Response:
    asked = urlencode({name: value for name, value in query.items() if value})
    return RedirectResponse(f"{path}?{asked}" if asked else path, status_code=303)
