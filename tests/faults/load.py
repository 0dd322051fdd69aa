"""What the load tests share: the benchmark's server and clients, and a server with slow replies."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[2]

# A server whose replies take seconds, with one chat in which a reply is being written.
SLOW_SERVER = """
import sys
from pathlib import Path
from duologue.config import Home, make_config
from duologue.engine.fake import FakeGenerator
from duologue.serve import Library, build_app, serve
from tests.serve.running import CARD, make_bot

folder = Path(sys.argv[1])
config = make_config({
    "model": {"base": "fake"},
    "data": {"train": ["none.json"]},
    "server": {"max_waiting": 60, "shutdown_seconds": float(sys.argv[2])},
    "guard": {"burst": 100000, "requests_per_minute": 100000, "page_requests_per_minute": 1000000},
}, where="test")
bot = make_bot(folder, generator=FakeGenerator(reply="word " * 2000, delay_seconds=0.02), config=config)
home = Home(server=config.server, guard=config.guard, age=config.age)
app = build_app(Library.of(bot, home=home, folder=folder, card=CARD), home=home)
session_id = bot.new_session()

def ready(url):
    app.state.facts.generations.start(
        lambda cancel: bot.reply(session_id, "Tell me a story", cancel=cancel), session_id=session_id
    )
    print(url, session_id, flush=True)

serve(app, host="127.0.0.1", port=0, on_ready=ready)
bot.close()
print("closed", flush=True)
"""


def load_benchmark() -> ModuleType:
    """Return `benchmarks/serve.py` as a module."""
    name = "serve_benchmark"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / "benchmarks" / "serve.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@contextlib.contextmanager
def slow_server(folder: Path, *, shutdown_seconds: float) -> Iterator[tuple["subprocess.Popen[str]", str, str]]:
    """Run a server whose replies take seconds; yield its process, its address and the chat that has a reply coming."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
    command = [sys.executable, "-W", "ignore", "-c", SLOW_SERVER, str(folder), str(shutdown_seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            url, session_id = process.stdout.readline().split()
            yield process, url, session_id
        finally:
            process.kill()
