"""Files with conversations on their way to a character: they wait in the home's `.uploads/` until they are used."""

import re
import secrets
import shutil
import time
import unicodedata
from pathlib import Path
from typing import BinaryIO

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from duologue.serve import limits
from duologue.serve.core import Core
from duologue.serve.refusal import ApiError

FOLDER = ".uploads"
MAX_TOTAL_BYTES = 2 * 2**30
_KEPT_SECONDS = 24 * 3600.0
_SPARE_BYTES = 256 * 2**20  # what the disk must have left afterwards
_BLOCK_BYTES = 2**20
_MAX_NAME_BYTES = 120
_ID = re.compile(r"[0-9a-f]{16}")
# What the readers of duologue.data know, as the end of a name. Anything else is told at once, not after an upload.
CARD_SUFFIXES = (".png", ".apng", ".charx")  # and .json
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".txt", ".log", ".csv", ".tsv", ".parquet", ".gz")
SUFFIXES = (*DATA_SUFFIXES, *CARD_SUFFIXES, *PICTURE_SUFFIXES[1:])


def upload_routes(core: Core) -> APIRouter:
    """Return the routes of uploads; only an admin may use them."""
    router = APIRouter()

    @router.post("/uploads")
    async def upload(request: Request) -> JSONResponse:
        core.require_admin(request.scope)
        name = safe_name(request.query_params.get("name", ""))
        if not name.lower().endswith(SUFFIXES):
            raise ApiError(
                400,
                f"'{name}' is neither a file with conversations nor a picture; expected {', '.join(SUFFIXES)}",
                code="unknown_format",
                param="name",
            )
        root = core.library.root / FOLDER
        # Of a body in parts nobody knows the size: there must be room for the largest.
        declared = int(request.headers.get("content-length", limits.STREAMED_BODIES["/page/uploads"]))
        await run_in_threadpool(_make_room, root, declared)
        place = fresh_folder(core.library.root)
        try:
            num_bytes = await _receive(request, place / name)
        except BaseException:
            await run_in_threadpool(shutil.rmtree, place, ignore_errors=True)
            raise
        return JSONResponse({"id": place.name, "name": name, "num_bytes": num_bytes})

    @router.delete("/uploads/{upload_id}")
    def remove(request: Request, upload_id: str) -> JSONResponse:
        core.require_admin(request.scope)
        shutil.rmtree(uploaded(core.library.root, upload_id).parent, ignore_errors=True)
        return JSONResponse({"removed": upload_id})

    return router


def uploaded(root: Path, upload_id: str) -> Path:
    """Return the file of an upload.

    Raises:
        ApiError: 404 when there is none.
    """
    place = root / FOLDER / upload_id
    files = list(place.iterdir()) if _ID.fullmatch(upload_id) and place.is_dir() else []
    if len(files) != 1:
        raise ApiError(404, "this file is not here any more; choose it again", code="not_found", param="uploads")
    return files[0]


def fresh_folder(root: Path) -> Path:
    """Return where another upload can lie."""
    return root / FOLDER / secrets.token_hex(8)


def safe_name(name: str) -> str:
    """Return a file name without folders, without signs that mean something to a shell or a file system, and short."""
    base = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(sign if sign.isalnum() or sign in " ._-()" else "_" for sign in base)
    kept = " ".join(kept.split()).lstrip(".- ")
    stem, dot, suffix = kept.rpartition(".")
    if not stem:
        stem, dot, suffix = kept or "conversations", "", ""
    while len(f"{stem}{dot}{suffix}".encode()) > _MAX_NAME_BYTES and stem:
        stem = stem[:-1]
    return f"{stem.rstrip() or 'conversations'}{dot}{suffix[:10]}"


async def _receive(request: Request, path: Path) -> int:
    """Write a body to a file as it arrives; return its size."""
    num_bytes, held = 0, bytearray()
    try:
        stream = await run_in_threadpool(_open, path)
        try:
            async for part in request.stream():
                held += part
                num_bytes += len(part)
                if len(held) >= _BLOCK_BYTES:
                    await run_in_threadpool(stream.write, bytes(held))
                    held.clear()
            await run_in_threadpool(stream.write, bytes(held))
        finally:
            await run_in_threadpool(stream.close)
    except ClientDisconnect as error:
        raise ApiError(400, "the file did not arrive whole", code="incomplete") from error
    except OSError as error:
        raise ApiError(
            507, f"the file cannot be kept ({error.strerror}); free some disk space", code="disk_full"
        ) from error
    if not num_bytes:
        raise ApiError(400, f"'{path.name}' is empty", code="empty_file")
    return num_bytes


def _open(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True)
    return path.open("xb")


def _make_room(root: Path, num_bytes: int) -> None:
    """Remove uploads nobody has used for a day, and see whether another one has its place.

    Raises:
        ApiError: Too much waits already, or the disk is too full.
    """
    if root.is_dir():
        for place in root.iterdir():
            if time.time() - place.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
    waiting = sum(file.stat().st_size for file in root.glob("*/*")) if root.is_dir() else 0
    if waiting + num_bytes > MAX_TOTAL_BYTES:
        raise ApiError(
            413,
            f"{waiting / 2**20:.0f} MiB of uploads wait to be used, and at most {MAX_TOTAL_BYTES // 2**20} may",
            code="too_many_uploads",
        )
    free = shutil.disk_usage(root if root.is_dir() else root.parent).free
    if free < num_bytes + _SPARE_BYTES:
        raise ApiError(
            507,
            f"the disk has {free / 2**20:.0f} MiB left and the file needs {num_bytes / 2**20:.0f}; free some space",
            code="disk_full",
        )
