"""Coming in with an account: the login page, cookies, keys, other sites, guessing, and being sent out again."""

import re
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from duologue.engine.fake import FakeGenerator
from duologue.serve.door.access import COOKIE, SECURE_COOKIE
from duologue.serve.door.throttle import Throttle
from duologue.serve.visitor import visitor_of
from tests.serve.door.people import BODY, PASSWORD, Person, bearer, browsing, logged_in, own_page
from tests.serve.running import Gate, Running, make_bot, make_test_config, running

STREAMED = {**BODY, "stream": True}


class MaybeGated(FakeGenerator):
    """A fake engine that stops after its first word while a gate is there."""

    gate: Gate | None = None

    def stream(self, prompt_ids, sampling, *, cancel):
        pieces = super().stream(prompt_ids, sampling, cancel=cancel)
        gate, self.gate = self.gate, None
        yield next(pieces)
        while gate and not gate.opened.wait(0.01) and not cancel.is_set():
            gate.started.set()
        if not cancel.is_set():
            yield from pieces


ENGINE = MaybeGated(reply="one two three")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with an admin and a shared key."""
    folder = tmp_path_factory.mktemp("guarded")
    with running(make_bot(folder, generator=ENGINE), accounts=folder, api_key="shared secret") as server:
        server.door.add_account("owner", PASSWORD, role="admin")
        yield server


@pytest.fixture
def own(guarded):
    """The same, with nobody's attempts counted before or after."""
    guarded.door.throttle = Throttle()
    yield guarded
    guarded.door.throttle = Throttle()


def statuses(answers) -> list[int]:
    return [answer.status_code for answer in answers]


# ------------------------------------------------------------------------------------------------------- coming in


def test_from_the_first_account_on_this_machine_must_log_in_too_also_when_the_last_is_removed(tmp_path):
    with running(make_bot(tmp_path), accounts=tmp_path) as server, browsing(server) as browser:
        before = browser.get("/v1/models").status_code
        added = browser.post("/page/accounts", json={"name": "mara", "password": PASSWORD, "role": "admin"})
        after = browser.get("/v1/models").status_code
        came = browser.post("/login", data={"name": "mara", "password": PASSWORD}).status_code
        inside = browser.get("/v1/models").status_code
        server.door.remove_account(added.json()["id"])
        at_last = browser.get("/v1/models").status_code

    assert added.status_code == 201, added.text
    assert (before, after, came, inside) == (200, 401, 303, 200)
    assert at_last == 401  # removing the last account opens nothing


@pytest.mark.parametrize(
    ("language", "title", "button"),
    [("en-GB,en;q=0.9", "This place is private", "Come in"), ("de-DE,de;q=0.9,en;q=0.5", "Dieser Ort", "Hereinkommen")],
)
def test_the_login_page_asks_for_name_password_or_key_in_the_browsers_language(guarded, language, title, button):
    page = httpx.get(guarded.url, headers={"Accept-Language": language})

    assert page.status_code == 401
    assert title in page.text
    assert button in page.text
    for field in ('name="name"', 'name="password"', 'name="key"', 'autocomplete="current-password"'):
        assert field in page.text
    assert "<script" not in page.text
    assert f'<html lang="{language[:2]}">' in page.text


def test_a_login_cookie_is_out_of_reach_of_scripts_and_new_each_time(guarded):
    with browsing(guarded) as browser:
        first = browser.post("/login", data={"name": "owner", "password": PASSWORD})
        second = browser.post("/login", data={"name": "owner", "password": PASSWORD})
        cookie = first.headers["set-cookie"]

    tokens = [re.match(r"duologue=([^;]+)", answer.headers["set-cookie"])[1] for answer in (first, second)]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert tokens[0] != tokens[1]
    assert httpx.get(f"{guarded.url}/v1/models", cookies={COOKIE: tokens[0]}).status_code == 401  # renewed at login
    assert httpx.get(f"{guarded.url}/v1/models", cookies={COOKIE: tokens[1]}).status_code == 200


def test_over_https_the_cookie_is_for_this_host_and_for_https_alone(tmp_path):
    config = make_test_config()
    server_part = config.server.model_copy(update={"public_url": "https://lila.example"})
    config = config.model_copy(update={"server": server_part})
    with running(make_bot(tmp_path), config=config, accounts=tmp_path) as server:
        server.door.accounts.add("mara", PASSWORD, role="admin")
        answer = httpx.post(
            f"{server.url}/login",
            data={"name": "mara", "password": PASSWORD},
            headers={"Host": "lila.example", "Origin": "https://lila.example"},
        )
        plain = httpx.post(
            f"{server.url}/login",
            data={"name": "mara", "password": PASSWORD},
            headers={"Host": "lila.example", "Origin": "http://lila.example"},
        )

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE}=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
    assert plain.status_code == 403


def test_a_key_of_an_account_comes_in_as_that_account(guarded):
    with logged_in(guarded, "keyholder") as mara:
        header = mara.key("notebook")
        listed = httpx.get(f"{guarded.url}/page/account", headers=header).json()

        assert httpx.post(f"{guarded.url}/v1/chat/completions", json=BODY, headers=header).status_code == 200
        assert (listed["name"], listed["role"]) == ("keyholder", "user")
        assert [key["name"] for key in listed["keys"]] == ["notebook"]
        assert listed["keys"][0]["used_at"]


def test_nothing_but_a_login_or_a_bearer_key_comes_in(guarded):
    with logged_in(guarded, "strict") as person:
        key = person.key()["Authorization"].removeprefix("Bearer ")
    tries = [
        {"X-API-Key": key},
        {"api-key": "shared secret"},
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"{COOKIE}={key}"},
        {"Cookie": f"{SECURE_COOKIE}=shared secret"},
        {"Remote-User": "owner", "X-Forwarded-User": "owner", "X-WEBAUTH-USER": "owner"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    ]
    answers = [httpx.get(f"{guarded.url}/v1/models", headers=headers) for headers in tries]
    answers.append(httpx.get(f"{guarded.url}/v1/models?key={key}&api_key={key}"))

    assert set(statuses(answers)) == {401}


def test_a_wrong_key_is_refused_even_with_a_good_cookie(guarded):
    with logged_in(guarded, "both") as person:
        answer = person.browser.get("/v1/models", headers=bearer("dk-00000000-wrong"))

    assert answer.status_code == 401  # what is shown last decides, so that a removed key is noticed


# ---------------------------------------------------------------------------------------------- guessing and telling


def test_a_name_that_exists_and_one_that_does_not_are_answered_alike(guarded):
    with browsing(guarded) as browser:
        known = browser.post("/login", data={"name": "owner", "password": "wrong wrong wrong"})
        unknown = browser.post("/login", data={"name": "nobody", "password": "wrong wrong wrong"})

    assert known.status_code == unknown.status_code == 401
    assert known.text == unknown.text
    assert set(known.headers) == set(unknown.headers)


def guesses(browser: httpx.Client, names) -> list[int]:
    """Guess until it is refused; a slow machine earns a guess more now and then."""
    seen: list[int] = []
    for name in names:
        seen.append(browser.post("/login", data={"name": name, "password": "guess guess"}).status_code)
        if seen[-1] == 429:
            break
    return seen


@pytest.mark.parametrize("name", ["owner", "nobody"])
def test_guessing_at_one_name_is_slowed_down_whether_it_exists_or_not(own, name):
    with browsing(own) as browser:
        seen = guesses(browser, [name] * 19)
        last = browser.post("/login", data={"name": name, "password": PASSWORD})

    assert seen[:12] == [401] * 12
    assert seen[-1] == 429
    assert last.status_code == 429  # the right password too: otherwise the limit would be none
    assert int(last.headers["retry-after"]) >= 1


def test_guessing_from_one_address_is_slowed_down_across_names(own):
    with browsing(own) as browser:
        seen = guesses(browser, [f"name{number}" for number in range(60)])

    assert seen[:20] == [401] * 20
    assert seen[-1] == 429


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=1&" * 30, b"name=" + b"x" * 9000, b"name=%00&password=%00", b""])
def test_a_login_form_that_is_none_is_refused_without_a_fault_of_ours(guarded, body):
    answer = httpx.post(
        f"{guarded.url}/login", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert answer.status_code in (400, 401, 429)


# -------------------------------------------------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
        {},  # every browser says where a request comes from; what does not is none and has a key
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/page/account/keys"),
        ("DELETE", "/page/account/keys/x"),
        ("POST", "/logout"),
    ],
)
def test_another_site_cannot_use_the_cookie(guarded, headers, method, path):
    with httpx.Client(base_url=guarded.url) as browser:
        browser.post("/login", data={"key": "shared secret"}, headers=own_page(guarded))
        said = {name: guarded.url if value == "OWN" else value for name, value in headers.items()}
        answer = browser.request(method, path, headers=said)
        still = browser.get("/v1/models")

    assert answer.status_code == 403, answer.text
    assert "another site" in answer.text
    assert still.status_code == 200


def test_another_site_cannot_log_a_browser_in_to_its_own_account(guarded):
    answer = httpx.post(f"{guarded.url}/login", data={"key": "shared secret"}, headers={"Origin": "https://evil.test"})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_another_site_cannot_embed_what_only_the_page_may_read(guarded):
    with logged_in(guarded, "embedded") as person:
        embedded = person.browser.get(
            "/page/state", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        )
        linked = person.browser.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})

    assert (embedded.status_code, linked.status_code) == (403, 200)


def test_a_key_needs_no_origin_and_is_not_stopped_by_one(guarded):
    answers = [
        httpx.post(f"{guarded.url}/v1/chat/completions", json=BODY, headers={**bearer("shared secret"), **headers})
        for headers in ({}, {"Origin": "https://sillytavern.example"})
    ]

    assert statuses(answers) == [200, 200]  # a browser does not add the key by itself


def test_without_key_and_accounts_a_proxy_is_refused(server):
    answers = [
        httpx.get(f"{server.url}/v1/models", headers={name: "203.0.113.9"})
        for name in ("X-Forwarded-For", "X-Real-IP", "Via", "Forwarded")
    ]

    assert set(statuses(answers)) == {403}
    assert "through a proxy" in answers[0].text


def test_a_websocket_is_refused_before_anything_else(guarded):
    """The server speaks none; what asks for one gets no further than any request without a login."""
    host, port = urlsplit(guarded.url).hostname, urlsplit(guarded.url).port
    with socket.create_connection((host, port)) as line:
        line.sendall(
            b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        first = line.recv(64)

    assert first.split(b" ")[1] in (b"401", b"403", b"404", b"426")


# -------------------------------------------------------------------------------------------------- being sent out


def read_until(server: Running, person: Person, headers: dict[str, str], end, *, goes_on: bool = False) -> list[str]:
    """Open a stream, do something once its first word is there, and return what came."""
    gate = ENGINE.gate = Gate()
    came: list[str] = []

    def read() -> None:
        with (
            httpx.Client(base_url=server.url, headers=headers, timeout=60) as client,
            client.stream("POST", "/v1/chat/completions", json=STREAMED) as answer,
        ):
            came.extend(answer.iter_lines())

    thread = threading.Thread(target=read)
    thread.start()
    assert gate.started.wait(30)
    end()
    if goes_on:
        gate.opened.set()
    thread.join(30)
    gate.opened.set()
    assert not thread.is_alive(), f"the stream of {person.account.name} goes on"
    server.wait_until_idle()
    return came


def cookie_of(person: Person) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={person.browser.cookies[COOKIE]}"}


def end_by_logout(server: Running, person: Person) -> None:
    assert person.browser.post("/logout").status_code == 303


def end_by_password(server: Running, person: Person) -> None:
    answer = person.browser.post("/page/account/password", json={"old": PASSWORD, "new": PASSWORD + " new"})
    assert answer.status_code == 200, answer.text


def end_by_reset(server: Running, person: Person) -> None:
    server.door.set_password(person.account.id, PASSWORD + " new")


def end_by_removal(server: Running, person: Person) -> None:
    server.door.remove_account(person.account.id)


def end_key(server: Running, person: Person) -> None:
    [key] = server.door.accounts.keys(person.account.id)
    assert person.browser.delete(f"/page/account/keys/{key.id}").status_code == 200


def end_elsewhere(server: Running, person: Person) -> None:
    """As the command line does it, in another process: the server is not told."""
    server.door.accounts.remove(person.account.id)


@pytest.mark.parametrize("end", [end_by_logout, end_by_password, end_by_reset, end_by_removal, end_elsewhere])
def test_being_sent_out_ends_a_stream_that_runs(guarded, end):
    with logged_in(guarded, "mara") as person:
        came = read_until(guarded, person, {**own_page(guarded), **cookie_of(person)}, lambda: end(guarded, person))
        later = person.browser.get("/v1/models").status_code

    assert "data: [DONE]" not in came
    assert "three" not in "".join(came)
    assert later == (200 if end is end_by_password else 401)  # that browser has shown the new password


@pytest.mark.parametrize(
    ("end", "is_ended"),
    [
        (end_by_logout, False),
        (end_by_password, False),
        (end_by_reset, True),
        (end_by_removal, True),
        (end_elsewhere, True),
        (end_key, True),
    ],
)
def test_a_keys_stream_ends_with_the_key_or_its_account_and_not_with_a_login(guarded, end, is_ended):
    with logged_in(guarded, "mara") as person:
        header = person.key()
        came = read_until(guarded, person, header, lambda: end(guarded, person), goes_on=not is_ended)
        later = httpx.get(f"{guarded.url}/v1/models", headers=header).status_code

    assert ("data: [DONE]" in came) is not is_ended
    assert later == (401 if is_ended else 200)


def test_changing_the_password_keeps_this_browser_in_and_sends_the_others_out(own):
    with logged_in(own, "mara") as person, browsing(own) as there:
        here = person.browser
        assert there.post("/login", data={"name": "mara", "password": PASSWORD}).status_code == 303
        wrong = here.post("/page/account/password", json={"old": "not the old one", "new": "another fine password"})
        weak = here.post("/page/account/password", json={"old": PASSWORD, "new": "short"})
        changed = here.post("/page/account/password", json={"old": PASSWORD, "new": "another fine password"})
        still, gone = here.get("/page/account"), there.get("/page/account")

    assert statuses((wrong, weak, changed, still, gone)) == [403, 400, 200, 200, 401]


def test_a_key_cannot_make_keys_change_the_password_or_touch_accounts(guarded):
    with logged_in(guarded, "careful", role="admin") as person:
        header = person.key()
        tries = [
            ("POST", "/page/account/keys", {"name": "another"}),
            ("POST", "/page/account/password", {"old": PASSWORD, "new": "another fine password"}),
            ("GET", "/page/accounts", None),
            ("POST", "/page/accounts", {"name": "spy", "password": PASSWORD}),
            ("DELETE", f"/page/accounts/{person.account.id}", None),
        ]
        answers = [httpx.request(method, guarded.url + path, json=body, headers=header) for method, path, body in tries]

    assert set(statuses(answers)) == {403}


def test_an_admin_manages_accounts_and_a_user_does_not(own):
    with (
        logged_in(own, "boss", role="admin") as boss,
        logged_in(own, "mara") as mara,
    ):
        forbidden = [
            mara.browser.get("/page/accounts"),
            mara.browser.post("/page/accounts", json={"name": "spy", "password": PASSWORD}),
            mara.browser.delete(f"/page/accounts/{boss.account.id}"),
            mara.browser.post(f"/page/accounts/{boss.account.id}/password", json={"new": "another fine password"}),
        ]
        listed = boss.browser.get("/page/accounts").json()["accounts"]
        oneself = boss.browser.delete(f"/page/accounts/{boss.account.id}")
        reset = boss.browser.post(f"/page/accounts/{mara.account.id}/password", json={"new": "another fine password"})
        out = mara.browser.get("/page/account")
        removed = boss.browser.delete(f"/page/accounts/{mara.account.id}")
        unknown = boss.browser.delete(f"/page/accounts/{mara.account.id}")

    assert set(statuses(forbidden)) == {403}
    assert {account["name"] for account in listed} == {"owner", "boss", "mara"}
    assert not any("password" in account for account in listed)
    assert statuses((oneself, reset, out, removed, unknown)) == [403, 200, 401, 200, 404]


def test_every_route_behind_the_door_knows_who_asks():
    with pytest.raises(AssertionError, match="without passing the door"):
        visitor_of({"type": "http"})
