"""What a load balancer or a client of llama.cpp asks first: whether the server can answer yet."""

import threading

import httpx
import pytest

from duologue.chat import open_bot
from duologue.config import load_home
from duologue.engine import Shelf
from duologue.engine.fake import FakeGenerator
from duologue.serve import Library
from tests.serve.api.serving import HELLO, serving
from tests.serve.page.homes import make_character
from tests.serve.running import Gate


@pytest.fixture
def slow_to_wake(tmp_path):
    """Serve a home whose model takes until the gate is opened to be loaded."""
    gate = Gate()

    def open_model(*_, **__) -> FakeGenerator:
        gate.started.set()
        assert gate.opened.wait(30)
        return FakeGenerator()

    shelf = Shelf(1, open_model=open_model)
    make_character(tmp_path, base="fake", rows=None)
    home = load_home(tmp_path)

    def open_one(folder, config, *, adapter):
        return open_bot(folder, config, engine="fake", adapter=adapter, shelf=shelf)

    library = Library(tmp_path, home, open_bot=open_one, shelf=shelf, engine="fake")
    try:
        with serving(library, home) as url:
            yield url, gate
    finally:
        gate.opened.set()
        library.close()
        shelf.close()


def test_health_says_loading_while_the_first_model_is_loaded_and_ok_before_and_after(slow_to_wake):
    url, gate = slow_to_wake
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}  # nothing is loaded before it is needed
    answers = []
    body = {"model": "fake", "messages": HELLO}
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))
    )
    asking.start()
    assert gate.started.wait(30)
    loading, without_body = httpx.get(f"{url}/health"), httpx.head(f"{url}/health")
    gate.opened.set()
    asking.join(60)

    assert loading.status_code == 503
    assert (without_body.status_code, without_body.content) == (503, b"")
    assert loading.json()["status"] == "loading"
    assert loading.json()["error"]["message"] == "Loading model"
    assert loading.json()["error"]["type"] == "unavailable_error"
    assert int(loading.headers["retry-after"]) > 0
    assert answers[0].status_code == 200, answers[0].text
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert httpx.head(f"{url}/health").status_code == 200
