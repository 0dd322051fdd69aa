"""A running server around any library, and clients of it."""

import contextlib
import threading
from collections.abc import Iterator

import httpx
import openai
import uvicorn

from duologue.config import Home
from duologue.serve import Library, build_app
from tests.serve.running import Running

HELLO = [{"role": "user", "content": "Hello there"}]
MODEL = "lila-quill"


def client_of(url: "Running | str", *, key: str = "none", retries: int = 0) -> openai.OpenAI:
    address = url if isinstance(url, str) else url.url
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=retries, timeout=20)


def post(server: Running, path: str = "/v1/chat/completions", **body: object) -> httpx.Response:
    """Send a body; the model and, for a chat, a message are there by themselves."""
    document = {"model": MODEL, **({"messages": HELLO} if path.endswith("chat/completions") else {}), **body}
    return httpx.post(f"{server.url}{path}", json=document, timeout=20)


@contextlib.contextmanager
def serving(library: Library, home: Home) -> Iterator[str]:
    """Serve a library and yield the address."""
    app = build_app(library, home=home)
    config = uvicorn.Config(app, port=0, log_config=None, proxy_headers=False, timeout_graceful_shutdown=1, ws="none")
    is_ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            is_ready.set()

    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert is_ready.wait(30)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
