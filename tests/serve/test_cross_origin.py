"""Pages of other sites: those that are named may use the API with a key, and no other route."""

import httpx
import pytest

from duologue.errors import ConfigError
from duologue.serve.cross_origin import check_origins
from tests.serve.running import make_bot, make_test_config, running

KEY = "secret-key-of-the-test"
SITE = "https://chat.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"}
BODY = {"model": "lila-quill", "messages": [{"role": "user", "content": "Hi"}]}


def serving(folder, *origins):
    config = make_test_config()
    config = config.model_copy(update={"server": config.server.model_copy(update={"allowed_origins": origins})})
    return running(make_bot(folder, config=config), config=config, api_key=KEY)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("bot"), SITE) as started:
        yield started.url


def allowed(answer):
    assert "access-control-allow-credentials" not in answer.headers
    return answer.headers.get("access-control-allow-origin")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/tokenize", "/completion"])
def test_a_browser_on_a_named_site_may_ask_the_api(url, path):
    answer = httpx.options(url + path, headers={"Origin": SITE, **ASKS}, timeout=20)

    assert answer.status_code == 200
    assert allowed(answer) == SITE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_its_request_is_answered_with_the_key_alone(url, more):
    for key, status in [(KEY, 200), ("wrong", 401), ("", 401)]:
        headers = {"Origin": SITE, **({"Authorization": f"Bearer {key}"} if key else {})}
        answer = httpx.post(f"{url}/v1/chat/completions", json={**BODY, **more}, headers=headers, timeout=20)
        assert (answer.status_code, allowed(answer)) == (status, SITE)


@pytest.mark.parametrize("origin", ["https://other.example", "http://chat.example", f"{SITE}.evil.example", "null"])
def test_no_other_site_may(url, origin):
    preflight = httpx.options(f"{url}/v1/chat/completions", headers={"Origin": origin, **ASKS}, timeout=20)
    headers = {"Origin": origin, "Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=20)

    assert preflight.status_code >= 400
    assert (allowed(preflight), allowed(answer)) == (None, None)


@pytest.mark.parametrize("path", ["/page/state", "/page/account/keys", "/", "/login", "/age", "/metrics"])
@pytest.mark.parametrize("origins", [(), (SITE,), ("*",)])
def test_the_pages_own_routes_are_for_no_other_site(tmp_path, path, origins):
    with serving(tmp_path, *origins) as started:
        headers = {"Origin": SITE, "Authorization": f"Bearer {KEY}"}
        answers = [
            httpx.options(started.url + path, headers={**headers, **ASKS}, timeout=20),
            httpx.get(started.url + path, headers=headers, timeout=20),
        ]
    assert [allowed(answer) for answer in answers] == [None, None]


def test_every_site_never_has_credentials(tmp_path):
    with serving(tmp_path, "*") as started:
        headers = {"Origin": "https://any.example", "Authorization": f"Bearer {KEY}"}
        answer = httpx.get(f"{started.url}/v1/models", headers=headers, timeout=20)

    assert allowed(answer) == "*"


def test_by_default_there_is_none(tmp_path):
    with running(make_bot(tmp_path), api_key=KEY) as started:
        answer = httpx.options(f"{started.url}/v1/models", headers={"Origin": SITE, **ASKS}, timeout=20)

    assert answer.status_code >= 400
    assert allowed(answer) is None


@pytest.mark.parametrize("origin", ["chat.example", f"{SITE}/", f"{SITE}/chat", "https://*.example", "null", ""])
def test_what_is_no_origin_is_refused_before_the_server_starts(origin):
    with pytest.raises(ConfigError, match=r"server\.allowed_origins"):
        check_origins([origin])
