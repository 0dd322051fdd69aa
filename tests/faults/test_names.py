"""Fault 17: no name in a path, an upload or a body reaches a file that is not its own."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.routes import WRITING
from tests.faults.test_texts import require_no_server_error

HOSTILE = {
    "up": "..",
    "up and down": "../ada-bell",
    "far up": "../../../../etc/passwd",
    "encoded": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "encoded twice": "%252e%252e%252fetc%252fpasswd",
    "backslashes": "..\\..\\windows\\win.ini",
    "absolute": "/etc/passwd",
    "a drive": "C:\\boot.ini",
    "a share": "\\\\host\\share",
    "NUL": "ada-bell\0.png",
    "a device": "CON",
    "a device with an ending": "aux.json",
    "a dot at the end": "ada-bell.",
    "a blank at the end": "ada-bell ",
    "a stream": "ada-bell::$DATA",
    "long": "a" * 300,
    "very long": "a" * 5_000,
    "other case": "ADA-BELL",
    "wide dots": "\uff0e\uff0e\uff0fetc",
    "overlong UTF-8": "%c0%ae%c0%ae/etc",
    "a tilde": "~root",
    "a glob": "*",
    "a URL": "file:///etc/passwd",
    "a link": "outside",
    "a number": "99999999999999999999999",
    "below zero": "-1",
    "half a pair": "\udcff",
}
OFTEN = (
    "up and down",
    "encoded",
    "backslashes",
    "absolute",
    "NUL",
    "a device",
    "long",
    "a link",
    "below zero",
    "a number",
    "up",
)
SECRET = "the contents of a file beside the home"


@pytest.fixture(scope="module")
def watched(home):
    """The home with a secret beside it and a link to it inside."""
    secret = home.root.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "duologue.toml").write_text(f'# {SECRET}\n[model]\nbase = "fake"\n[data]\ntrain = ["x"]\n')
    for folder in (home.root / "ada", home.root / "ada" / "runs"):
        folder.mkdir(exist_ok=True)
        (folder / "outside").symlink_to(secret)
    return home


def fingerprint(root: Path) -> dict[str, bytes]:
    """Return every file beside the home's own databases."""
    files = (path for path in root.parent.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): path.read_bytes() for path in files if ".sqlite" not in path.name}


def some(table, often):
    """Return the names of a table; those that are not tried often are slow."""
    return [name if name in often else pytest.param(name, marks=pytest.mark.slow) for name in table]


@pytest.mark.parametrize("name", some(HOSTILE, OFTEN))
def test_no_hostile_name_in_any_path_reaches_a_file(watched, name):
    hostile = quote(HOSTILE[name], safe="%", errors="surrogateescape")
    if set(hostile) == {"."}:
        hostile = hostile.replace(".", "%2e")  # a client resolves the plain ones itself, into another route
    before = fingerprint(watched.root)
    count = 0
    for route in watched.routes:
        if "{path:path}" in route.path or route.path.endswith("/training"):
            continue
        for part in route.names:
            path = route.filled({**watched.values, part: hostile})
            count += 1
            body = json.dumps(watched.body(route)) if route.model else None
            answer = watched.client.request(route.method, path, content=body)
            require_no_server_error(answer, f"{route} {part}={hostile[:60]}")
            assert SECRET not in answer.text
            assert "root:x:" not in answer.text
            if ".." in HOSTILE[name].split("/"):
                continue  # the client itself goes up, to another route
            ours = part in ("upload_id", "run", "duel_id", "key_id", "account_id", "request_id", "session_id", "name")
            if ours and not answer.is_redirect:
                assert 400 <= answer.status_code < 500, f"{route} {part}={hostile[:60]}: {answer.status_code}"
        watched.wait_until_idle()
    after = fingerprint(watched.root)
    outside = {path for path in after.keys() ^ before.keys() if not path.startswith(f"{watched.root}/")}
    assert outside == set()
    assert after[str(watched.root.parent / "secret" / "duologue.toml")].startswith(b"# " + SECRET.encode())
    assert count > 60


@pytest.mark.parametrize("name", some(HOSTILE, OFTEN))
def test_no_hostile_name_of_an_upload_is_a_place(watched, name):
    for ending in ("", ".json", ".png"):
        answer = watched.client.post(
            "/page/uploads", params={"name": HOSTILE[name].replace("\udcff", "x") + ending}, content=b'[{"a": 1}]'
        )
        require_no_server_error(answer, f"upload {name}")
    outside = {path.name for path in watched.root.parent.iterdir()}
    assert outside == {watched.root.name, "secret"}


def test_an_unknown_name_is_answered_alike_whether_or_not_the_thing_is_there(watched):
    paths = (f"/page/characters/{name}/chats" for name in ("nobody", "outside", "secret", "..%2fsecret"))
    answers = [watched.client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["error"]["code"] for answer in answers}) == 1


# --------------------------------------------------------------------------------------------------------- fault 20

BOMBS = {
    "deep lists": b"[" * 100_000,
    "deep lists, whole": b"[" * 20_000 + b"]" * 20_000,
    "deep tables": b'{"text":' * 50_000 + b"1" + b"}" * 50_000,
    "a long number": b'{"text": ' + b"9" * 100_000 + b"}",
    "a large exponent": b'{"text": 1e999999999, "depth": 1e400}',
    "not a number": b'{"text": NaN, "depth": Infinity}',
    "keys twice": b'{"text": "a", "text": "b"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}",
    "bytes": bytes(range(256)) * 20,
    "half a pair": b'{"text": "\\ud800", "title": "\\udfff"}',
    "cut": b'{"text": "abc',
    "a mark at its front": b'\xef\xbb\xbf{"text": "a"}',
    "another encoding": '{"text": "a"}'.encode("utf-16"),
    "null": b"null",
    "a text": b'"text"',
    "nothing": b"",
    "wrong types": b'{"text": {"a": []}, "title": 5, "depth": "x", "messages": "y", "fields": [], "entry": 7}',
}


@pytest.mark.parametrize(
    "name", some(BOMBS, ("deep lists", "deep tables", "not a number", "half a pair", "wrong types"))
)
def test_no_json_bomb_is_a_server_error(watched, name):
    routes = [route for route in watched.routes if route.method in (*WRITING, "DELETE") and not is_final(route.path)]
    for route in routes:
        answer = watched.ask(route, content=BOMBS[name], headers={"Content-Type": "application/json"})
        require_no_server_error(answer, f"{route} {name}")
        if name in ("deep lists", "cut", "bytes") and route.model is not None:
            assert 400 <= answer.status_code < 500, f"{route}: {answer.status_code}"
    watched.wait_until_idle()
    assert watched.client.get("/health").status_code == 200


def is_final(path: str) -> bool:
    """Tell whether a DELETE of this path, or a POST, would take away what the tests need."""
    return path in ("/page/characters/{character_id}", "/page/characters/{character_id}/chats/{session_id}")
