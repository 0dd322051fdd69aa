"""Routes of the panel Talk: asking for replies, stopping them, and following them while they are written."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.chat import Chain, ReplyStream, is_urgent
from duologue.errors import DuologueError
from duologue.serve.core import Core
from duologue.serve.generation import Generation, OpenStream
from duologue.serve.markup import safe_html
from duologue.serve.page.body import Body, RowId, parse
from duologue.serve.page.talk_place import Place, place_of
from duologue.serve.refusal import as_api_error

FRAME_SECONDS = 1 / 12  # people read no faster
_MAX_ASKS = 512
_ALIVE_SECONDS = 15.0
_REFUSAL_SECONDS = 1.0  # a message is stored or refused by then, unless a model must be loaded to count its tokens
_MAKE_WAY_SECONDS = 10.0  # a reply that is stopped ends within a token
_RENDER_SHARE = 8  # rendering takes at most one part in so many of the time

Kind = Literal["reply", "regenerate", "continue", "next", "impersonate", "edit"]


class _Said(Body):
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)]


class _Wish(Body):
    kind: Literal["regenerate", "continue", "next", "impersonate"]
    message_id: RowId | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A reply that was asked for.

    Attributes:
        generation: The reply on its way, or its end.
        kind: What was asked for.
        message_id: The reply that gets another version; 0 for none.
        prefix: What the reply goes on from.
    """

    generation: Generation
    kind: Kind
    message_id: int = 0
    prefix: str = ""


class Asks:
    """The last reply of each chat, so that a page that comes back hears how it ended; bounded."""

    def __init__(self) -> None:
        """Start with none."""
        self._asks: OrderedDict[str, Ask] = OrderedDict()

    def add(self, session_id: str, ask: Ask) -> None:
        """Take note of a reply."""
        self._asks.pop(session_id, None)
        self._asks[session_id] = ask
        while len(self._asks) > _MAX_ASKS:
            self._asks.popitem(last=False)

    def find(self, session_id: str) -> Ask | None:
        """Return the last reply of a chat."""
        return self._asks.get(session_id)

    def heard(self, session_id: str) -> None:
        """Forget how a reply ended, because a page has said so."""
        self._asks.pop(session_id, None)


def reply_routes(core: Core, asks: Asks) -> APIRouter:
    """Return the routes.

    Args:
        core: What every route works with.
        asks: The replies that were asked for.
    """
    router = APIRouter(prefix="/chats/{session_id}")

    @router.post("/messages")
    async def say(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        text = parse(_Said, await request.body()).text
        bot, user = place.bot, place.account
        await _start(
            core,
            asks,
            request,
            place,
            kind="reply",
            open_stream=lambda cancel: bot.replies(session_id, text, cancel=cancel, user=user),
            said=text,
        )
        return JSONResponse({"kind": "reply"}, status_code=202)

    @router.post("/replies")
    async def wish(request: Request, character_id: str, session_id: str) -> JSONResponse:
        place = await place_of(core, request, character_id, session_id)
        wanted = parse(_Wish, await request.body())
        if wanted.message_id is not None:
            await run_in_threadpool(place.find, wanted.message_id)
        prefix = await run_in_threadpool(_prefix, place) if wanted.kind == "continue" else ""
        await _start(
            core,
            asks,
            request,
            place,
            kind=wanted.kind,
            open_stream=_stream_of(place, wanted),
            message_id=wanted.message_id or 0,
            prefix=prefix,
        )
        return JSONResponse({"kind": wanted.kind}, status_code=202)

    @router.post("/stop")
    async def stop(request: Request, character_id: str, session_id: str) -> JSONResponse:
        await place_of(core, request, character_id, session_id)
        running = core.generations.find(session_id)
        if running:
            running.cancel.set()
        return JSONResponse({"was_running": running is not None})

    @router.get("/events")
    async def events(request: Request, character_id: str, session_id: str) -> StreamingResponse:
        place = await place_of(core, request, character_id, session_id)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        told = _tell(core, asks, place)
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    return router


async def ask_for_edited(core: Core, asks: Asks, request: Request, place: Place, *, message_id: int, text: str) -> None:
    """Say a user's message differently and ask for the reply to it.

    Raises:
        GuardError: The text is refused, or no reply can be made now.
    """
    bot, session_id, user = place.bot, place.session_id, place.account
    await _start(
        core,
        asks,
        request,
        place,
        kind="edit",
        open_stream=lambda cancel: bot.edit_and_reply(session_id, message_id, text, cancel=cancel, user=user),
        said=text,
    )


def _stream_of(place: Place, wish: _Wish) -> OpenStream:
    bot, session_id, user = place.bot, place.session_id, place.account
    wishes: dict[str, OpenStream] = {
        "regenerate": lambda cancel: bot.regenerate(session_id, cancel=cancel, user=user, message_id=wish.message_id),
        "continue": lambda cancel: bot.continue_reply(session_id, cancel=cancel, user=user),
        "next": lambda cancel: (
            bot.next_reply(session_id, cancel=cancel, user=user) or bot.go_on(session_id, cancel=cancel, user=user)
        ),
        "impersonate": lambda cancel: bot.impersonate(session_id, cancel=cancel, user=user),
    }
    return wishes[wish.kind]


def _prefix(place: Place) -> str:
    path = place.bot.sessions.path(place.session_id)
    return path[-1].message.content if path else ""


async def _start(
    core: Core,
    asks: Asks,
    request: Request,
    place: Place,
    *,
    kind: Kind,
    open_stream: OpenStream,
    said: str = "",
    message_id: int = 0,
    prefix: str = "",
) -> None:
    """Start a reply; what is refused at its beginning is raised here, what comes later is told by the events."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[DuologueError | None] = loop.create_future()

    def tell(outcome: DuologueError | None) -> None:
        if not opened.done():
            opened.set_result(outcome)

    def open_and_tell(cancel: object) -> ReplyStream | Chain:
        try:
            stream = open_stream(cancel)  # type: ignore[arg-type]
        except DuologueError as error:
            loop.call_soon_threadsafe(tell, error)
            raise
        except Exception:
            loop.call_soon_threadsafe(tell, None)
            raise
        loop.call_soon_threadsafe(tell, None)
        return stream

    in_crisis = bool(said) and await run_in_threadpool(is_urgent, said)
    if in_crisis:
        await _make_way(core, place.session_id)
    generation = await run_in_threadpool(
        core.start_reply,
        request.scope,
        place.entry,
        open_and_tell,
        bot=place.bot,
        session_id=place.session_id,
        is_urgent=in_crisis,
    )
    asks.add(place.session_id, Ask(generation, kind, message_id, prefix))
    try:
        refusal = await asyncio.wait_for(asyncio.shield(opened), _REFUSAL_SECONDS)
    except TimeoutError:
        return
    if refusal is not None:
        asks.heard(place.session_id)
        raise refusal


async def _make_way(core: Core, session_id: str) -> None:
    """Stop the reply that is being written in a chat, for an answer that does not wait."""
    deadline = time.monotonic() + _MAKE_WAY_SECONDS
    while (running := core.generations.find(session_id)) and time.monotonic() < deadline:
        running.cancel.set()
        await asyncio.sleep(FRAME_SECONDS)


async def _tell(core: Core, asks: Asks, place: Place) -> AsyncIterator[bytes]:
    """Yield the events of a chat's reply: where it stands in line, its text as it grows, and how it ended."""
    ask = asks.find(place.session_id)
    running = core.generations.find(place.session_id)
    if ask is None or (running is not None and running is not ask.generation):
        ask = Ask(running, "reply") if running else None
    if ask is None:
        yield _event("done", {})
        return
    generation = ask.generation
    yield _event("begin", {"kind": ask.kind, "message_id": ask.message_id})
    seen, place_told = -1, -1
    while True:
        is_done = generation.is_done
        if generation.place != place_told and not is_done:
            place_told = generation.place
            yield _event("place", {"place": place_told})
        text, began = generation.text, time.monotonic()
        if len(text) > max(seen, 0) and not is_done:
            seen = len(text)
            yield _event("text", await run_in_threadpool(_shown, place, ask, text))
        if is_done:
            break
        await asyncio.sleep(max(FRAME_SECONDS, _RENDER_SHARE * (time.monotonic() - began)))
        while not await generation.more(max(seen, 0), timeout_seconds=_ALIVE_SECONDS, place=place_told):
            yield b": alive\n\n"
    asks.heard(place.session_id)
    if generation.error is not None:
        body = as_api_error(generation.error)
        yield _event(
            "failed",
            {
                "message": body.message,
                "code": body.code,
                "status": body.status,
                "retry_after": body.retry_after_seconds,
            },
        )
        return
    yield _event(
        "done", {"kind": ask.kind, "text": generation.text} if ask.kind == "impersonate" else {"kind": ask.kind}
    )


def _shown(place: Place, ask: Ask, text: str) -> dict[str, object]:
    """Return the text so far as it is shown; of several who speak, only the one who speaks now."""
    cast = place.bot.cast
    if ask.kind == "impersonate":
        return {"text": text}
    part, speaker = 0, 0
    if cast.is_group:
        for at, member in enumerate(cast.members):
            mark = f"\n\n{member.name}: "
            part += text.count(mark)
            if (found := text.rfind(mark)) >= 0:
                text, speaker = text[found + len(mark) :], at
        if not part:
            path = place.bot.sessions.path(place.session_id)
            said = cast.speaker_of(path[-1]) if path and path[-1].message.role == "assistant" else None
            speaker = cast.members.index(said) if said else 0
    return {
        "html": safe_html(ask.prefix + text, is_growing=True),
        "part": part,
        "companion": speaker,
        "name": cast.members[speaker].name,
    }


def _event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
