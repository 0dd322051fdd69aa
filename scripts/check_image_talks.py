"""Starts duologue in a prepared root as the image does, and checks what it does. Called by check_image_inside.sh."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_KEY = "a-key-for-this-check-only"
_DOCKERFILE = Path(__file__).parents[1] / "deploy" / "Dockerfile"


def main(root: Path) -> int:
    """Run every check; return the exit code."""
    port = _free_port()
    app = _start(root, port)
    began = time.monotonic()
    try:
        _wait_for_health(app, port)
        print(f"check: /health answers after {time.monotonic() - began:.0f} s")
        _check_process(app, root)
        _check_talk(port)
        began = time.monotonic()
        app.send_signal(signal.SIGTERM)
        exit_code = app.wait(timeout=20)
        took = time.monotonic() - began
        assert exit_code == 0, f"SIGTERM ended it with exit code {exit_code}"
        print(f"check: SIGTERM ended it with exit code 0 after {took:.1f} s")
    finally:
        app.kill()
        app.wait()
    written = sorted(path.relative_to(root).as_posix() for path in (root / "data").rglob("*") if path.is_file())
    print(f"check: written under /data: {', '.join(written)}; nothing else could be written but /models and /tmp")
    print("check: passed")
    return 0


def _start(root: Path, port: int) -> subprocess.Popen[bytes]:
    environment = {"PATH": "/opt/duologue/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **_environment_of_image()}
    environment["DUOLOGUE_API_KEY"] = _KEY
    drop = ["--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    command = ["duologue", "serve", "/data", "--host", "0.0.0.0", "--port", str(port)]
    enter = [
        shutil.which("chroot") or "/usr/sbin/chroot",
        str(root),
        "/usr/bin/env",
        "--chdir=/data",
        "/usr/bin/setpriv",
        *drop,
        "--no-new-privs",
    ]
    return subprocess.Popen([*enter, *command], env=environment)


def _environment_of_image() -> dict[str, str]:
    """Return what the last stage of the Dockerfile, that for CPUs, sets."""
    text = _DOCKERFILE.read_text(encoding="utf-8").rsplit("FROM ", 1)[1].replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("ENV "))
    return {name: value for name, value in re.findall(r"(\w+)=(\S+)", line) if name != "PATH"}


def _wait_for_health(app: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert app.poll() is None, f"it ended by itself with exit code {app.returncode}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("it does not answer after 180 s")


def _check_process(app: subprocess.Popen[bytes], root: Path) -> None:
    """Check who runs, and that the root cannot be written by anybody in this name space."""
    lines = (root / "proc" / str(app.pid) / "status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["1000"] * 4, status["Uid"]
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, "it kept capabilities"
    assert status["NoNewPrivs"] == "1"
    try:
        (root / "written").touch()
    except OSError:
        print("check: runs as user 1000 without capabilities, and its root is read-only")
        return
    raise AssertionError("the root is writable")


def _check_talk(port: int) -> None:
    assert _ask(port, "/v1/models", key="")[0] == 401, "it answers without a key"
    status, models = _ask(port, "/v1/models", key=_KEY)
    assert status == 200, models
    model = models["data"][0]["id"]
    turn = {"model": model, "max_tokens": 24, "messages": [{"role": "user", "content": "What do you like to read?"}]}
    began = time.monotonic()
    status, reply = _ask(port, "/v1/chat/completions", key=_KEY, body=turn)
    assert status == 200, reply
    text = reply["choices"][0]["message"]["content"]
    assert text.strip(), "the reply is empty"
    print(f"check: {model} replied after {time.monotonic() - began:.1f} s: {text!r}")


def _ask(port: int, path: str, *, key: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
