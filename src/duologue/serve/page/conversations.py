"""Routes of the page: the conversations of a character, the check of them, and the coloured preview."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from duologue.characters import lila_data_files
from duologue.config import CONFIG_NAME
from duologue.data import find_unknown_speakers, load_settings, resolve_files
from duologue.errors import DataError
from duologue.guard import InputValidator
from duologue.serve.commands import run_command
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.page.body import Body, parse
from duologue.serve.page.knobs import Value, write_changes
from duologue.serve.page.uploads import DATA_SUFFIXES, fresh_folder, safe_name, uploaded
from duologue.serve.refusal import ApiError

_SHOWN_FAULTS = 40
_SHOWN_SPEAKERS = 12

_MAX_NAME_CHARS = 200
Name = Annotated[str, Field(min_length=1, max_length=_MAX_NAME_CHARS)]


class _Added(Body):
    uploads: list[Annotated[str, Field(max_length=40)]] = Field(default_factory=list, max_length=50)
    example: bool = False


class _Names(Body):
    character_names: list[Name] = Field(default_factory=list, max_length=20)
    user_names: list[Name] = Field(default_factory=list, max_length=20)


@dataclass(frozen=True, slots=True)
class _Check:
    stamp: object
    started: float
    task: "asyncio.Task[dict[str, Any]]"


def conversation_routes(core: Core) -> APIRouter:
    """Return the routes of the conversations; only an admin may use them."""
    router = APIRouter()
    for make in (_file_routes, _check_routes):
        router.include_router(make(core), prefix="/characters/{character_id}")
    return router


def entry_for_admin(core: Core, request: Request, character_id: str) -> Entry:
    """Return a character for an admin.

    Raises:
        GuardError: It is not there, or the visitor is no admin.
        ApiError: Its folder has faults.
    """
    entry = core.entry(request.scope, character_id)
    core.require_admin(request.scope)
    if entry.config is None:
        raise ApiError(409, entry.fault, code="broken")
    return entry


def _file_routes(core: Core) -> APIRouter:
    router = APIRouter()

    @router.get("/data")
    def files(request: Request, character_id: str) -> JSONResponse:
        return JSONResponse({"files": _listed(entry_for_admin(core, request, character_id))})

    @router.post("/data")
    async def add(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        body = parse(_Added, await request.body())
        root = core.library.root
        sources = [(_of_conversations(uploaded(root, each)), True) for each in body.uploads]
        sources += [(path, False) for path in lila_data_files()] if body.example else []
        added = await run_in_threadpool(_add, entry, sources)
        return JSONResponse({"added": added, "files": _listed(core.library.entry(entry.id))})

    @router.delete("/data/{name}")
    def take_away(request: Request, character_id: str, name: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        path = entry.folder / "data" / name
        if path.name != safe_name(name) or path not in _files(entry):
            raise ApiError(404, f"there is no file '{name[:80]}' in data/", code="not_found")
        place = fresh_folder(core.library.root)
        place.mkdir(parents=True)
        shutil.move(path, place / path.name)  # so that it can be put back
        return JSONResponse({"upload": place.name, "files": _listed(entry)})

    @router.put("/names")
    async def say_who(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        body = parse(_Names, await request.body())
        for name in (*body.character_names, *body.user_names):
            InputValidator(_MAX_NAME_CHARS).validate(name)
        changes: dict[str, Value] = {
            "data.character_names": tuple(body.character_names),
            "data.user_names": tuple(body.user_names),
        }
        await run_in_threadpool(write_changes, entry.folder, changes)
        return JSONResponse({"saved": True})

    return router


def _check_routes(core: Core) -> APIRouter:
    router = APIRouter()
    checks: dict[Path, _Check] = {}

    @router.get("/check")
    async def check(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        paths = await run_in_threadpool(_files, entry)
        if not paths:
            return JSONResponse({"state": "empty"})
        stamp = await run_in_threadpool(data_stamp, entry)
        known = checks.get(entry.folder)
        if known is None or known.stamp != stamp or known.task.cancelled():
            if known is not None:
                known.task.cancel()
            known = _Check(stamp, time.monotonic(), asyncio.create_task(_check(entry, paths)))
            checks[entry.folder] = known
        if not known.task.done():
            await asyncio.wait([known.task], timeout=0.5)  # a poll that waits a moment has its answer sooner
        if not known.task.done():
            return JSONResponse({"state": "running", "seconds": time.monotonic() - known.started})
        error = known.task.exception()
        if error is not None:
            checks.pop(entry.folder, None)
            raise error
        return JSONResponse({"state": "done", **known.task.result()})

    return router


def _files(entry: Entry) -> tuple[Path, ...]:
    """Return the files a character is trained on; none while there are none."""
    assert entry.config is not None
    found: dict[Path, None] = {}
    for pattern in entry.config.data.train:
        try:
            found |= dict.fromkeys(resolve_files([pattern], entry.folder))
        except DataError:
            continue  # nothing lies there yet
    return tuple(path for path in found if path.is_file())


def _listed(entry: Entry) -> list[dict[str, Any]]:
    data = entry.folder / "data"
    return [
        {"name": path.name, "num_bytes": path.stat().st_size, "can_be_removed": path.parent == data}
        for path in _files(entry)
    ]


def _add(entry: Entry, sources: Sequence[tuple[Path, bool]]) -> list[str]:
    """Bring files into a character's data/, under names that are free; return the names."""
    data = entry.folder / "data"
    try:
        data.mkdir(exist_ok=True)
        names = []
        for path, is_upload in sources:
            target = _free(data / path.name)
            if is_upload:
                shutil.move(path, target)
                path.parent.rmdir()
            else:
                shutil.copyfile(path, target)
            names.append(target.name)
    except OSError as error:
        raise ApiError(
            507, f"the file cannot be kept ({error.strerror}); free some disk space", code="disk_full"
        ) from error
    known = {path.name for path in _files(entry)}
    missing = [f"data/{name}" for name in names if name not in known]
    if missing:
        assert entry.config is not None
        write_changes(entry.folder, {"data.train": (*entry.config.data.train, *map(_literal, missing))})
    return names


def _of_conversations(path: Path) -> Path:
    """Return a file that may hold conversations, as its name says.

    Raises:
        ApiError: 400: it is a picture.
    """
    if not path.name.lower().endswith(DATA_SUFFIXES):
        needed = ", ".join(DATA_SUFFIXES)
        raise ApiError(400, f"'{path.name}' holds no conversations; expected {needed}", code="unknown_format")
    return path


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _literal(name: str) -> str:
    """Return a file's name as a pattern that only it matches."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def data_stamp(entry: Entry) -> object:
    """Return what changes when a check or a plan has to be made again."""
    paths = _files(entry)
    watched = [*paths, entry.folder / CONFIG_NAME, *([entry.card] if entry.card else [])]
    return [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in watched]


async def _check(entry: Entry, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the account of the data and a few conversations as they are trained."""
    ended = await run_command([str(entry.folder)], folder=entry.folder, module="duologue.serve.checking")
    refusal = ended.refusal()
    if refusal is not None:
        raise refusal
    return {
        "account": _account_json(ended.document["account"]),
        "speakers": await run_in_threadpool(unknown_speakers, entry, paths),
        "conversations": [_conversation_json(each) for each in ended.document["conversations"]],
        "preview_fault": ended.document["preview_fault"],
    }


def _account_json(document: dict[str, Any]) -> dict[str, Any]:
    """Return the account with the names of the files for their paths and the first faults of each."""
    files = []
    for each in document["files"]:
        name, faults = Path(each["path"]).name, each["faults"]
        shown = [{**fault, "path": name} for fault in faults[:_SHOWN_FAULTS]]
        files.append({**each, "path": name, "faults": shown, "num_faults": len(faults)})
    return {**document, "files": files}


def unknown_speakers(entry: Entry, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return who speaks in chat logs that do not say who the character is."""
    assert entry.config is not None
    try:
        found = find_unknown_speakers(list(paths), load_settings(entry.config, entry.folder))
    except DataError:
        return []  # the check names the fault
    return [{"name": name, "num_messages": count} for name, count in found.most_common(_SHOWN_SPEAKERS)]


def _conversation_json(conversation: dict[str, Any]) -> dict[str, Any]:
    messages = [message for example in conversation["examples"] for message in example["messages"]]
    return {
        "path": Path(conversation["path"]).name,
        "row": conversation["row"],
        "num_trained_tokens": conversation["num_trained_tokens"],
        "num_context_tokens": conversation["num_context_tokens"],
        "num_cut_tokens": conversation["num_cut_tokens"],
        "messages": [
            {"role": message["role"], "spans": _spans(message["tokens"])}
            for message in [*messages, *conversation["cut"]]
        ],
    }


def _spans(tokens: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tokens as stretches of text with one state; control tokens are shown as what they are."""
    spans: list[dict[str, Any]] = []
    for token in tokens:
        same = {"state": token["state"], "is_control": token["is_control"]}
        if spans and {key: spans[-1][key] for key in same} == same:
            spans[-1]["text"] += token["text"]
        else:
            spans.append({**same, "text": token["text"]})
    return spans
