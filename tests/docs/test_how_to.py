"""The commands of README and the how-to pages are run in a scratch folder, on the model that ships, at tiny settings.

What differs from what a page says: `duologue` is a script here that makes training, measuring and replies short, lets a
server answer without a model at a free port and go on behind the page's next command, and gives a chat one line to
read. Fences under `<!-- not run: REASON -->` are left out. Tutorial and guide are followed in test_running.py.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Fence, documents, fences, name
from tests.docs.scenes import SCENES, Scene, copy_into, make_lila
from tests.docs.test_running import SHORT

FOLLOWED_ELSEWHERE = ("docs/guide/", "docs/tutorial/")
RUN = ("sh", "console")


def with_commands(page: Path) -> list[Fence]:
    """Return the fences of a page that hold commands; where output is shown, those with a prompt."""
    return [fence for fence in fences(page) if fence.language in RUN and fence.commands()]


def runnable(page: Path) -> list[Fence]:
    """Return the fences of a page whose commands can be run here."""
    return [fence for fence in with_commands(page) if not fence.not_run]


PAGES = {name(page): page for page in documents() if not name(page).startswith(FOLLOWED_ELSEWHERE) and runnable(page)}


def script(port: int) -> str:
    """Return the `duologue` of these tests."""
    program = f"'{sys.executable}' -m duologue"
    short = " ".join(f"--set '{value}'" for value in SHORT)
    return f"""#!/bin/sh
case "$*" in
    serve*)
        {program} "$@" --engine fake --port {port} >server.log 2>&1 &
        echo $! >>server.pids
        for _ in $(seq 600); do
            curl --silent --fail http://127.0.0.1:{port}/health >/dev/null && exit 0
            kill -0 $! || break
            sleep 0.2
        done
        cat server.log >&2
        exit 1 ;;
    train*|eval*|export*|tune*) exec {program} "$@" {short} ;;
    chat*) echo 'Hello.' | {program} "$@" --set generation.max_new_tokens=3 ;;
    *) exec {program} "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained Lila, made once."""
    place = tmp_path_factory.mktemp("shelf")
    make_lila(place)
    short = [word for value in SHORT for word in ("--set", value)]
    command = [sys.executable, "-m", "duologue", "train", "lila", *short]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def stage(tmp_path: Path) -> Iterator["Stage"]:
    """A folder with `duologue` on the path; servers that were begun in it are ended."""
    made = Stage(tmp_path)
    try:
        yield made
    finally:
        made.end_servers()


class Stage:
    """Where fences are run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (place / "bin").mkdir()
        (place / "bin" / "duologue").write_text(script(self.port), encoding="utf-8")
        (place / "bin" / "duologue").chmod(0o755)

    def run(self, fence: Fence, folder: Path, scene: Scene) -> None:
        text = fence.text
        if fence.language == "console":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
        if "duologue serve" in text:
            self.end_servers()
        text = text.replace("127.0.0.1:7860", f"127.0.0.1:{self.port}").replace("curl ", "curl --fail --silent ")
        environment = {
            **os.environ,
            "PATH": f"{self.place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "HF_HUB_OFFLINE": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in scene.allowed, f"{fence.where}\n{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert "Traceback" not in done.stderr, f"{fence.where}\n{done.stderr[-4000:]}"

    def end_servers(self) -> None:
        for file in self.place.rglob("server.pids"):
            for number in map(int, file.read_text().split()):
                end(number)
            file.unlink()


def end(number: int) -> None:
    """End a process that is no child of this one, and wait until it is gone."""
    try:
        os.kill(number, signal.SIGTERM)
        while Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.05)
    except (ProcessLookupError, FileNotFoundError):
        return


def slow_where_it_is(page: str) -> object:
    marks = [pytest.mark.slow, pytest.mark.timeout(900)] if SCENES[page].is_slow else []
    return pytest.param(page, marks=marks)


@pytest.mark.parametrize("page", [slow_where_it_is(page) for page in PAGES if page in SCENES])
def test_what_a_page_tells_you_to_type_works(page, stage, request):
    scene = SCENES[page]
    shelf = request.getfixturevalue("shelf") if scene.is_trained else None
    folder = stage.place / "scratch"
    for number, fence in enumerate(runnable(PAGES[page])):
        if not scene.in_order or not number:
            stage.end_servers()
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            copy_into(folder, scene, shelf)
        stage.run(fence, folder, scene)
        for bundle in (folder / "lila" / "exports").glob("*.charx"):  # is handed to a friend
            shutil.copy(bundle, folder / "lila.charx")


def test_every_page_with_commands_has_its_scene(capsys):
    every = [fence for page in documents() for fence in with_commands(page)]
    here = [fence for page in PAGES.values() for fence in runnable(page)]
    there = [fence for fence in every if fence.where.startswith(FOLLOWED_ELSEWHERE) and not fence.not_run]
    slow = sum(SCENES[fence.where.partition(":")[0]].is_slow for fence in here)
    left_out = [fence for fence in every if fence.not_run]
    sorted_out = {fence.where for fence in (*here, *there, *left_out)}
    with capsys.disabled():
        print(
            f"\n{len(every)} fences with commands: {len(here)} are run here, {slow} of them in slow tests, "
            f"{len(there)} in test_running.py (slow); {len(left_out)} are not run, each for a reason"
        )
    assert set(SCENES) == set(PAGES)
    assert [fence.where for fence in every if fence.where not in sorted_out] == []
