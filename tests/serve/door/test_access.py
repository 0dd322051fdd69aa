"""Who may come in, with a key and without."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from duologue.serve.door import is_loopback
from duologue.serve.door.access import COOKIE
from duologue.serve.visitor import address_of
from tests.serve.running import make_bot, running

KEY = "correct horse"
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hello"}]}
FOLLOWED = {"Referer": "https://elsewhere.test/", "Sec-Fetch-Site": "cross-site"}
PROTECTED = ["/", "/v1/models", "/theme.css", "/page/state", "/page/static/base.js", "/assets/anything.js"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    with running(make_bot(tmp_path_factory.mktemp("keyed")), api_key=KEY) as started:
        yield started


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", PROTECTED)
def test_nothing_is_shown_without_the_key(keyed, path):
    assert httpx.get(keyed.url + path).status_code == 401


def test_a_program_without_the_key_gets_401_invalid_api_key(keyed):
    answer = httpx.post(f"{keyed.url}/v1/chat/completions", json=BODY)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_program_with_the_key_is_answered(keyed):
    answer = httpx.post(f"{keyed.url}/v1/chat/completions", json=BODY, headers=bearer(KEY))

    assert answer.status_code == 200


def test_health_needs_no_key(keyed):
    assert httpx.get(f"{keyed.url}/health").status_code == 200


def test_the_login_page_lets_in_whoever_knows_the_key(keyed):
    with httpx.Client(base_url=keyed.url) as browser:
        page = browser.get("/")
        assert page.status_code == 401
        assert 'action="/login"' in page.text
        assert "Lila Quill" in page.text
        answer = browser.post("/login", data={"key": KEY})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert KEY not in cookie
        assert browser.get("/").status_code == 200
        assert browser.get("/v1/models").status_code == 200


def test_a_wrong_key_is_told_and_guessing_is_slowed_down(tmp_path):
    with running(make_bot(tmp_path), api_key=KEY) as server:
        first = httpx.post(f"{server.url}/login", data={"key": "wrong"})
        statuses = {httpx.post(f"{server.url}/login", data={"key": f"guess {n}"}).status_code for n in range(12)}
        by_header = httpx.get(f"{server.url}/v1/models", headers=bearer("guess"))
        known = httpx.get(f"{server.url}/v1/models", headers=bearer(KEY))

    assert first.status_code == 401
    assert "That is not the key." in first.text
    assert statuses == {401, 429}
    assert by_header.status_code == 429
    assert int(by_header.headers["retry-after"]) >= 1
    assert known.status_code == 200  # who knows the key is not locked out


def test_a_forged_cookie_is_no_key(keyed):
    for value in ("", "x", "0" * 64, KEY):
        assert httpx.get(keyed.url, headers={"Cookie": f"{COOKIE}={value}".encode()}).status_code == 401


def test_a_login_survives_a_restart_and_ends_with_its_key(tmp_path):
    with running(make_bot(tmp_path), api_key=KEY, accounts=tmp_path) as server:
        cookie = httpx.post(f"{server.url}/login", data={"key": KEY}).cookies[COOKIE]
    with running(make_bot(tmp_path), api_key=KEY, accounts=tmp_path) as server:
        assert httpx.get(server.url, cookies={COOKIE: cookie}).status_code == 200
    with running(make_bot(tmp_path), api_key="another key", accounts=tmp_path) as server:
        assert httpx.get(server.url, cookies={COOKIE: cookie}).status_code == 401


@pytest.mark.parametrize(
    "others", ["a[b]=1; {own}", "{own}; a@b=c", "{own}; theme={{}}; x", "=; {own}", 'q="a; {own}', "ключ=1; {own}"]
)
def test_odd_cookies_of_others_log_nobody_out(keyed, others):
    token = httpx.post(f"{keyed.url}/login", data={"key": KEY}).cookies[COOKIE]
    cookies = others.format(own=f"{COOKIE}={token}").encode()

    assert httpx.get(keyed.url, headers={"Cookie": cookies}).status_code == 200


def test_a_request_from_another_site_is_refused_even_with_the_cookie(keyed):
    cookie = httpx.post(f"{keyed.url}/login", data={"key": KEY}).cookies[COOKIE]
    own = httpx.post(
        f"{keyed.url}/v1/chat/completions", json=BODY, cookies={COOKIE: cookie}, headers={"Origin": keyed.url}
    )
    other = httpx.post(
        f"{keyed.url}/v1/chat/completions", json=BODY, cookies={COOKIE: cookie}, headers={"Origin": "https://evil.test"}
    )

    assert (own.status_code, other.status_code) == (200, 403)


def test_without_a_key_only_local_names_and_own_pages_are_answered(server):
    rebound = httpx.get(f"{server.url}/v1/models", headers={"Host": "evil.test"})
    foreign = httpx.post(f"{server.url}/v1/chat/completions", json=BODY, headers={"Origin": "https://evil.test"})
    local = httpx.get(f"{server.url}/v1/models", headers={"Host": f"localhost:{server.url.rpartition(':')[2]}"})

    assert (rebound.status_code, foreign.status_code, local.status_code) == (403, 403, 200)
    assert "evil.test" in rebound.json()["error"]["message"]


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("1.1", {}, 200),
        ("1.1", {"Referer": "http://127.0.0.1:7860/"}, 200),
        ("1.1", {**FOLLOWED, "Sec-Fetch-Mode": "cors"}, 403),
        ("1.1", {**FOLLOWED, "Sec-Fetch-Mode": "navigate"}, 200),
        ("1.1", {"Referer": "http://lila.example/"}, 403),
        ("1.1", {"Referer": "https://lila.example/", "Sec-Fetch-Site": "same-origin"}, 403),
        ("1.1", {"Referer": "http://[::1"}, 403),
        ("1.1", {"Origin": "http://lila.example"}, 403),
        ("1.1", {"Origin": "null"}, 403),
        ("1.0", {}, 403),
    ],
)
def test_what_a_proxy_that_says_nothing_of_itself_passes_on_is_not_from_this_machine(
    tmp_path, version, headers, status
):
    """As nginx with `proxy_pass` alone does it: the address of this machine as Host, and nothing of who asks."""
    with running(make_bot(tmp_path)) as server:
        port = urlsplit(server.url).port
        lines = [f"GET /v1/models HTTP/{version}", f"Host: 127.0.0.1:{port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = connection.makefile("rb").read().decode()

    assert answer.split()[1] == str(status)


@pytest.mark.parametrize("host", ["[::1", "", "a b", "127.0.0.1.evil.test", "localhost@evil.test"])
def test_a_host_name_that_is_none_or_a_look_alike_is_refused(server, host):
    assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code in (400, 403)


def test_any_authorization_header_is_fine_when_there_is_no_key(server):
    assert httpx.get(f"{server.url}/v1/models", headers=bearer("whatever")).status_code == 200


def test_a_visitor_is_counted_by_address_or_network():
    assert address_of({"client": ("203.0.113.9", 5)}) == "203.0.113.9"
    assert address_of({"client": ("2001:db8::1", 5)}) == address_of({"client": ("2001:db8::2", 5)})
    assert address_of({"client": None}) == "unknown"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_only_loopback_counts_as_this_machine(host, local):
    assert is_loopback(host) is local
