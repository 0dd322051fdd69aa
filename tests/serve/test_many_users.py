"""Two replicas of duologue on one PostgreSQL and one Redis, behind a real nginx, with one llama.cpp server."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from duologue.chat import People, Person
from tests.conformance.server import postgres_server, postgres_url
from tests.engine.test_remote_replicas import free_port, llama
from tests.guard.test_shared_rate import RedisServer

__all__ = ["postgres_server", "postgres_url"]  # fixtures

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "many-users.md"
PASSWORD = "four words of lamplight"
SAID = ["Good evening, Lila.", "Is there a seat by the window?", "What is the next station?", "Is it far from here?"]


def nginx_site(ports: list[int], listen: int) -> str:
    """Return the site of the how-to page, with the ports of this test."""
    (site,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for old, new in zip((7861, 7862), ports, strict=True):
        assert site.count(f"127.0.0.1:{old}") == 1
        site = site.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    site = re.sub(r"\n\s*ssl_certificate\S*\s[^\n]*", "", site)  # a certificate is the operator's
    return site.replace("listen 443 ssl;", f"listen 127.0.0.1:{listen};")


@contextlib.contextmanager
def nginx(folder: Path, site: str) -> Iterator[None]:
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).is_file():
        pytest.skip("there is no nginx on this machine (Debian: nginx-light)")
    paths = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ log_format upstream '$upstream_addr $request_uri';\n"
        f"access_log {folder}/access.log upstream; {paths}\n{site}\n}}\n"
    )
    process = subprocess.Popen([program, "-e", f"{folder}/error.log", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Replica:
    """A `duologue serve` in a process of its own."""

    port: int
    process: subprocess.Popen[str]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def started(home: Path, port: int, environment: dict[str, str]) -> Replica:
    command = [
        sys.executable,
        "-m",
        "duologue",
        "serve",
        str(home),
        "--engine",
        "remote",
        "--port",
        str(port),
        "--json",
    ]
    log = (home.parent / f"serve-{port}.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    log.close()
    return Replica(port, process)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisServer(tmp_path_factory.mktemp("redis"), free_port())
    server.start()
    yield server
    server.kill()


def make_home(root: Path, address: str) -> Path:
    home = root / "home"
    folder = home / "lila"
    folder.mkdir(parents=True)
    card = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {"name": "Lila", "description": "She runs a train."},
    }
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{address}"\n[data]\ntrain = ["none.json"]\n[character]\ncard = "card.json"\n'
        "[generation]\nmax_new_tokens = 40\n[memory]\nenabled = false\n"
    )
    (home / "home.toml").write_text(
        '[server]\ntrusted_proxies = ["127.0.0.1"]\n[guard]\nrequests_per_minute = 1\nburst = 6\n'
    )
    return home


def said(client: httpx.Client, chat: str) -> list[str]:
    """Return what the user has said in a chat, as it is stored."""
    found = client.get(f"/page/characters/lila/chats/{chat}/file", params={"format": "sillytavern"}).raise_for_status()
    return [row["mes"] for row in map(json.loads, found.text.splitlines()) if row.get("is_user")]


def tell(client: httpx.Client, chat: str, text: str) -> str:
    """Say something, and return the events of the reply to its end."""
    answer = post(client, chat, text)
    assert answer.status_code == 202, answer.text
    return client.get(f"/page/characters/lila/chats/{chat}/events").raise_for_status().text


def post(client: httpx.Client, chat: str, text: str) -> httpx.Response:
    return client.post(f"/page/characters/lila/chats/{chat}/messages", json={"text": text})


def until(is_so, *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_chat_goes_on_at_the_other_replica_and_limits_count_together(postgres_url, redis_server, tmp_path):
    model = free_port()
    home = make_home(tmp_path, f"http://127.0.0.1:{model}/v1#smollm2")
    environment = {
        **os.environ,
        "DUOLOGUE_DATABASE_URL": postgres_url,
        "DUOLOGUE_REDIS_URL": redis_server.url,
        "PYTHONPATH": "",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(llama(model))
        for name in ("mara", "jonas"):
            command = [sys.executable, "-m", "duologue", "account", "add", str(home), name, "--password-stdin"]
            subprocess.run(command, input=f"{PASSWORD}\n", text=True, env=environment, check=True, capture_output=True)
        ports, proxy = [free_port(), free_port()], free_port()
        replicas = {port: started(home, port, environment) for port in ports}  # at the same time: migrations too
        for replica in replicas.values():
            stack.callback(replica.process.stdout.close)
            stack.callback(replica.kill)
        stack.enter_context(nginx(tmp_path, nginx_site(ports, proxy)))
        direct = {
            port: stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300)) for port in ports
        }
        for client in direct.values():
            until(lambda client=client: answers(client))
        address = f"http://127.0.0.1:{proxy}"
        page = {"Origin": address}  # as a browser says it
        mara = stack.enter_context(httpx.Client(base_url=address, headers=page, timeout=300))
        assert mara.post("/login", data={"name": "mara", "password": PASSWORD}).status_code == 303

        began = time.monotonic()
        chat = mara.post("/page/characters/lila/chats", json={}).raise_for_status().json()["id"]
        assert "event: done" in tell(mara, chat, SAID[0])
        assert said(mara, chat) == SAID[:1]
        assert "event: done" in tell(mara, chat, SAID[1])
        busy = {port for port, path in served(tmp_path) if f"/chats/{chat}" in path}
        assert len(busy) == 1, "everything about one chat goes to one replica"
        (here,) = busy

        # The other one knows the login and the chat.
        other = next(port for port in ports if port != here)
        direct[other].cookies.update(dict(mara.cookies))
        assert said(direct[other], chat) == SAID[:2]

        # Killed in the middle of a reply: what was said is there, and the chat goes on.
        assert post(mara, chat, SAID[2]).status_code == 202
        replicas[here].kill()
        assert said(mara, chat) == SAID[:3], "nothing that was acknowledged is lost"
        assert "event: done" in tell(mara, chat, SAID[3])
        assert said(mara, chat) == SAID

        # Limits count together: six at once and one a minute, of which three were spent where nobody is any more.
        num_granted = len(SAID)
        while (answer := post(mara, chat, "And now?")).status_code == 202:
            num_granted += 1
            mara.get(f"/page/characters/lila/chats/{chat}/events")
        assert answer.status_code == 429
        assert num_granted <= 6 + (time.monotonic() - began) // 60
        with psycopg.connect(postgres_url) as connection:
            schemas = {row[0] for row in connection.execute("SELECT nspname FROM pg_namespace")}
        assert {"duologue_chats", "duologue_accounts"} <= schemas
        assert not list(home.rglob("*.sqlite")), "no chat and no account lies in a file"


def test_what_users_set_at_two_replicas_at_once_is_all_kept(tmp_path):
    one, two = People(tmp_path / "people.json"), People(tmp_path / "people.json")
    one.put("mara", Person(name="Mara"))
    two.put("jonas", Person(name="Jonas"))
    assert [one.get(user).name for user in ("mara", "jonas")] == ["Mara", "Jonas"]
    assert [two.get(user).name for user in ("mara", "jonas")] == ["Mara", "Jonas"]
    assert People(tmp_path / "people.json").get("mara").name == "Mara"


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def served(folder: Path) -> list[tuple[int, str]]:
    """Return the replica and the path of each request that nginx has passed on."""
    lines = [line.split() for line in (folder / "access.log").read_text().splitlines()]
    return [(int(upstream.rpartition(":")[2]), path) for upstream, path in lines if upstream != "-"]
