"""Routes of the page: chats, messages, replies, and the pictures of who speaks."""

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from duologue.errors import ConfigError
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.page.feedback import feedback_routes
from duologue.serve.page.talk_chats import chat_routes
from duologue.serve.page.talk_messages import message_routes
from duologue.serve.page.talk_replies import Asks, reply_routes
from duologue.serve.pictures import Pictures, make_pictures
from duologue.serve.refusal import ApiError

_MAX_PICTURES = 64  # kept in memory, each of them some 50 kB
_Key = tuple[Path, int, int]


def talk_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    asks = Asks()
    router = APIRouter(prefix="/characters/{character_id}")
    router.include_router(chat_routes(core))
    router.include_router(message_routes(core, asks))
    router.include_router(reply_routes(core, asks))
    router.include_router(feedback_routes(core))
    album = _Album()

    @router.get("/avatar.webp")
    async def avatar(request: Request, character_id: str, companion: int = 0) -> Response:
        card = _card(core.entry(request.scope, character_id), companion)
        pictures = await album.of(card)
        return _picture(pictures.avatar if pictures else None, of=character_id)

    @router.get("/portrait.webp")
    async def portrait(request: Request, character_id: str) -> Response:
        pictures = await album.of(_card(core.entry(request.scope, character_id), 0))
        return _picture(pictures.portrait if pictures else None, of=character_id)

    return router


class _Album:
    """Pictures that were made, the last ones; a card that has changed is looked at anew."""

    def __init__(self) -> None:
        self._made: dict[_Key, Pictures | None] = {}
        self._making = asyncio.Lock()

    async def of(self, card: Path | None) -> Pictures | None:
        key = await run_in_threadpool(_key, card)
        if card is None or key is None:
            return None
        async with self._making:  # one at a time: a gallery asks for many at once
            if key not in self._made:
                while len(self._made) >= _MAX_PICTURES:
                    del self._made[next(iter(self._made))]
                self._made[key] = await run_in_threadpool(_made, card)
            return self._made[key]


def _card(entry: Entry, companion: int) -> Path | None:
    """Return the card of a character, or of one of those who are in its chats, counted from 1."""
    if not companion:
        return entry.card
    companions = entry.config.character.companions if entry.config else ()
    return entry.folder / companions[companion - 1] if 0 < companion <= len(companions) else None


def _key(card: Path | None) -> _Key | None:
    if card is None or not card.is_file():
        return None
    status = card.stat()
    return card, status.st_mtime_ns, status.st_size


def _made(card: Path) -> Pictures | None:
    """Return the pictures of a card; None for one whose picture cannot be shown: the gallery says what is wrong."""
    try:
        return make_pictures(card)
    except ConfigError:
        return None


def _picture(content: bytes | None, *, of: str) -> Response:
    if content is None:
        raise ApiError(404, f"'{of}' has no picture", code="not_found")
    # Asked for anew each time would flicker; a changed card is seen after a minute at the latest.
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=60"})
