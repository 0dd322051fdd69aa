"""Routes of the page: plan, training and runs of a character, for an admin."""

import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from duologue.errors import GuardError
from duologue.plan import Plan, plan_from_json
from duologue.serve import training
from duologue.serve.commands import run_command
from duologue.serve.core import Core
from duologue.serve.library import Entry, Library
from duologue.serve.page.body import Body, parse
from duologue.serve.page.conversations import conversation_routes, data_stamp, entry_for_admin
from duologue.serve.page.duel import duel_routes
from duologue.serve.page.knobs import Knobs, as_options, changes_of, settings_json, write_changes
from duologue.serve.page.runs import find_run, progress_json, run_json, runs_json
from duologue.serve.page.uploads import upload_routes
from duologue.serve.page.welcome import welcome_routes
from duologue.serve.refusal import ApiError
from duologue.train import newest_unfinished

_PLAN_SECONDS = 120.0  # what is free of memory and disk changes meanwhile
_REST_SECONDS = 20.0  # replies that are being written may end before the memory is needed


class _Start(Body):
    knobs: Knobs = Knobs()
    resumes: bool = False


def train_routes(core: Core) -> APIRouter:
    """Return the routes of the panel."""
    router = APIRouter()
    router.include_router(upload_routes(core))
    router.include_router(welcome_routes(core))
    router.include_router(conversation_routes(core))
    router.include_router(duel_routes(core))
    router.include_router(_training_routes(core))
    router.include_router(_run_routes(core))
    if core.library.shelf is not None:
        core.library.shelf.ask_before_loading(lambda: refuse_while_training(core.library))
    return router


def refuse_while_training(library: Library) -> None:
    """Refuse to load a model while a character is trained that needs the whole memory.

    Raises:
        GuardError: With reason `training`.
    """
    for entry in library.entries():
        now = training.state(entry.folder)
        if now.phase != "idle" and not now.leaves_room:
            raise GuardError(
                f"{entry.name} is being trained and the memory holds no second model",
                reason="training",
                retry_after_seconds=60.0,
                action="Talk goes on when the training has ended.",
            )


def _training_routes(core: Core) -> APIRouter:
    router = APIRouter(prefix="/characters/{character_id}")
    plans = _Plans()

    @router.post("/plan")
    async def make_plan(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        knobs = parse(Knobs, await request.body())
        return JSONResponse(await plans.make(entry, knobs))

    @router.get("/training")
    def look(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        assert entry.config is not None
        now = training.state(entry.folder)
        return JSONResponse(
            {
                **_state_json(entry, now),
                "settings": settings_json(entry.config),
                "runs": runs_json(entry.folder, now),
            }
        )

    @router.post("/training")
    async def start(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        body = parse(_Start, await request.body())
        plan = _resumed_plan(entry) if body.resumes else _as_plan(await plans.make(entry, body.knobs))
        if plan.verdict == "no":
            raise ApiError(
                409,
                f"this run does not fit: it needs {plan.memory.device_gib:.1f} GiB and there are "
                f"{plan.memory.available_gib:.1f}",
                code="does_not_fit",
            )
        now = await run_in_threadpool(_start, core, entry, body, plan)
        return JSONResponse(_state_json(entry, now), status_code=202)

    @router.post("/training/stop")
    def stop(request: Request, character_id: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        training.stop(entry.folder)
        return JSONResponse(_state_json(entry, training.state(entry.folder)))

    @router.get("/training/log")
    def log(request: Request, character_id: str) -> Response:
        return PlainTextResponse(training.log_of(entry_for_admin(core, request, character_id).folder))

    return router


def _run_routes(core: Core) -> APIRouter:
    router = APIRouter(prefix="/characters/{character_id}/runs/{run}")

    @router.get("")
    def show(request: Request, character_id: str, run: str) -> JSONResponse:
        folder = entry_for_admin(core, request, character_id).folder
        return JSONResponse(run_json(find_run(folder, run), training.state(folder)))

    @router.get("/report")
    def report(request: Request, character_id: str, run: str) -> Response:
        path = find_run(entry_for_admin(core, request, character_id).folder, run).folder / "report.html"
        if not path.is_file():
            raise ApiError(404, "this run has no report yet", code="not_found")
        return FileResponse(path, media_type="text/html")  # its own strict policy comes from `limits`

    @router.post("/evaluation")
    def measure(request: Request, character_id: str, run: str) -> JSONResponse:
        entry = entry_for_admin(core, request, character_id)
        found = find_run(entry.folder, run)
        if not found.is_finished:
            raise ApiError(409, "only a finished run can be measured", code="not_finished")
        with training.claimed(entry.folder) as lock:
            arguments = ["eval", str(entry.folder), "--run", run, "--json"]
            now = training.start(entry.folder, arguments, lock=lock, run=run)
        return JSONResponse(_state_json(entry, now), status_code=202)

    return router


def _state_json(entry: Entry, now: training.TrainingState) -> dict[str, Any]:
    return {
        "phase": now.phase,
        "run": now.run,
        "is_elsewhere": now.is_elsewhere,
        "is_stopping": now.is_stopping,
        "started_at": now.started_at,
        "how": now.how,
        "message": now.message,
        "can_resume": now.can_resume,
        "can_talk": now.leaves_room,
        "progress": progress_json(find_run(entry.folder, now.run)) if now.run else None,
    }


class _Plans:
    """The newest plan of each character, as `duologue plan --json` prints it."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[object, dict[str, Any]]] = {}

    async def make(self, entry: Entry, knobs: Knobs) -> dict[str, Any]:
        """Return the plan with the knobs as they stand; asked again for the same, it is not made again.

        Raises:
            ApiError: There is nothing to plan, or it cannot be planned; its sentence says why.
        """
        changes = await run_in_threadpool(changes_of, knobs, entry.folder)
        options = as_options(changes)
        asked = (options, await run_in_threadpool(data_stamp, entry), int(time.monotonic() / _PLAN_SECONDS))
        known = self._known.get(entry.folder)
        if known is not None and known[0] == asked:
            return known[1]
        ended = await run_command(["plan", str(entry.folder), *options, "--json"], folder=entry.folder)
        refusal = ended.refusal()
        if refusal is not None:
            raise refusal
        self._known[entry.folder] = (asked, ended.document)
        return ended.document


def _as_plan(document: dict[str, Any]) -> Plan:
    return plan_from_json({key: value for key, value in document.items() if key not in ("knobs", "notes")})


def _resumed_plan(entry: Entry) -> Plan:
    """Return the plan of the interrupted run."""
    found = newest_unfinished(entry.folder)
    if found is None:
        raise ApiError(409, "there is no interrupted run to go on with", code="nothing_to_resume")
    return plan_from_json(found.read("plan.json"))


def _start(core: Core, entry: Entry, body: _Start, plan: Plan) -> training.TrainingState:
    """Start the process, with the memory free for it.

    Raises:
        GuardError: One is running already, or somebody is being answered.
        ApiError: The disk is full.
    """
    library = core.library
    leaves_room = _leaves_room(plan, library)
    engine = library.engine if library.engine == "fake" else "hf"  # the others only reply
    arguments = ["train", str(entry.folder), "--engine", engine, "--json"]
    try:
        with training.claimed(entry.folder) as lock:
            if not leaves_room and library.shelf is not None and not library.shelf.rest(timeout_seconds=_REST_SECONDS):
                raise GuardError(
                    "somebody is being answered right now, and the memory holds no second model",
                    reason="busy",
                    retry_after_seconds=_REST_SECONDS,
                    action="Try again in a moment.",
                )
            run = ""
            if body.resumes:
                found = newest_unfinished(entry.folder)
                assert found is not None
                run, arguments = found.name, [*arguments, "--resume"]
            else:
                write_changes(entry.folder, changes_of(body.knobs, entry.folder))
            return training.start(entry.folder, arguments, lock=lock, run=run, leaves_room=leaves_room)
    except OSError as error:
        raise ApiError(507, f"the training cannot be started ({error.strerror})", code="disk_full") from error


def _leaves_room(plan: Plan, library: Library) -> bool:
    """Return whether training at its worst and a model that replies are in memory together."""
    if library.engine not in ("hf", "gguf"):
        return True  # the model that replies is not in this memory
    chat = next((each for each in plan.chat if each.engine == library.engine), None)
    free_gib = plan.memory.available_gib - plan.memory.high_gib
    return chat is not None and chat.total_gib <= free_gib
