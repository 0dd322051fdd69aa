"""Who may show the page in a frame: nobody, unless the operator names a site."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from duologue.errors import ConfigError
from duologue.serve.door.origin import Site
from tests.serve.browser import DESK, IN_BROWSER, opened_context
from tests.serve.running import make_bot, make_test_config, running

PASSWORD = "a long enough password"


def config_with(**server: object):
    config = make_test_config()
    return config.model_copy(update={"server": config.server.model_copy(update=server)})


@contextlib.contextmanager
def framing_site() -> Iterator[ThreadingHTTPServer]:
    """Serve a page that frames the address in its query, under a name that is another site than the server's."""

    class Framing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f'<!doctype html><iframe width=1200 height=800 src="{self.path.partition("?")[2]}"></iframe>'
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Framing)
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()


@pytest.mark.browser
@pytest.mark.skipif(IN_BROWSER[1].args[0], reason=IN_BROWSER[1].kwargs["reason"])
def test_a_named_site_may_frame_the_page_and_another_may_not(browser: Browser, tmp_path: Path):
    with framing_site() as named, framing_site() as other, opened_context(browser, DESK) as page:
        address = f"http://localhost:{named.server_port}"
        config = config_with(frame_ancestors=(address,))
        with running(make_bot(tmp_path, config=config), config=config) as server:
            page.goto(f"{address}/?{server.url}/")
            expect(page.frame_locator("iframe").get_by_role("textbox", name="Your message")).to_be_visible()

            page.goto(f"http://localhost:{other.server_port}/?{server.url}/")
            expect(page.locator("iframe")).to_be_visible()
            with pytest.raises(AssertionError):
                expect(page.frame_locator("iframe").locator("duo-frame")).to_be_attached(timeout=3000)


def test_the_headers_name_the_sites_and_nothing_else_is_loosened(tmp_path):
    config = config_with(frame_ancestors=("https://huggingface.co",))
    with running(make_bot(tmp_path, config=config), config=config) as server:
        headers = httpx.get(server.url).headers
        foreign = httpx.post(f"{server.url}/page/me", json={}, headers={"Origin": "https://huggingface.co"})

    assert "x-frame-options" not in headers
    assert "frame-ancestors https://huggingface.co" in headers["content-security-policy"]
    assert headers["content-security-policy"].count("http") == 1
    assert foreign.status_code == 403  # the page may be shown there; what that site sends itself is refused


@pytest.mark.parametrize("framing", [(), ("https://huggingface.co",)])
def test_a_login_inside_a_frame_is_kept_apart_and_ends_with_the_log_out(tmp_path, framing):
    config = config_with(public_url="https://lila.example", frame_ancestors=framing)
    own = {"Host": "lila.example", "Origin": "https://lila.example"}
    with running(make_bot(tmp_path, config=config), config=config, accounts=tmp_path) as server:
        server.door.accounts.add("mara", PASSWORD, role="admin")
        came = httpx.post(f"{server.url}/login", data={"name": "mara", "password": PASSWORD}, headers=own)
        cookie = came.headers["set-cookie"]
        gone = httpx.post(f"{server.url}/logout", headers={**own, "Cookie": cookie.partition(";")[0]})

    wanted = {"samesite=none", "partitioned"} if framing else {"samesite=lax"}
    for sent in (cookie, gone.headers["set-cookie"]):
        parts = {part.strip().casefold() for part in sent.split(";")[1:]}
        assert wanted | {"secure", "httponly", "path=/"} <= parts
        assert ("partitioned" in parts) == bool(framing)
    assert "max-age=0" in gone.headers["set-cookie"].casefold()


@pytest.mark.parametrize(
    "address", ["*", "https://*.example", "http://huggingface.co", "https://a.example/path", "https:", "'self'", "a; x"]
)
def test_what_is_not_the_address_of_one_site_is_refused(address):
    with pytest.raises(ConfigError, match=r"server\.frame_ancestors"):
        Site("", frame_ancestors=(address,))
