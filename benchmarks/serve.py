"""The server under load: a thousand clients at once, and one visitor beside a thousand silent connections.

The server is `duologue serve --engine fake`, a process of its own, as an operator starts it, with every guard in
front. The clients are another process. Each client of the crowd comes from an address of its own (as a trusted proxy
would say) and wants one streamed reply. What is looked at: everyone is answered with tokens, 429 or 503 within a second
of connecting; the time to the first byte; the server's memory. The same crowd meets a bare server as well, which says
503 to everyone in a fixed line: that is what the clients and this machine, as busy as it is, take by themselves. Then a
normal visitor asks for replies one after the other, alone and while a third process holds connections open that send
half a request, a byte at a time.

    python benchmarks/serve.py --json --out benchmarks/results/serve.json
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import duologue.characters
from duologue.engine import detect_hardware

KEY = "a-key-for-the-benchmark"
HOST = "127.0.0.1"
ALONE_RATIO = 2.0  # a normal visitor's first byte may take this many times as long beside silent connections
ANSWER_SECONDS = 1.0
SETTINGS = """
[model]
base = "fake"

[data]
train = ["none.json"]

[character]
card = "character.png"

[server]
trusted_proxies = ["127.0.0.1"]

[guard]
requests_per_minute = 100000
burst = 100000
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers.

    Attributes:
        port: Where.
        pid: Its process.
    """

    port: int
    pid: int

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Return resident memory, now or (VmHWM) at its highest."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith(field))
        return round(int(line.split()[1]) / 1024, 1)

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one client.

    Attributes:
        status: HTTP status; 0 when the connection failed.
        first_seconds: From connecting to the first byte of the answer's body, or of the refusal.
        has_tokens: Whether text came.
        is_whole: Whether a stream came to its end mark, and a refusal said when to try again.
    """

    status: int
    first_seconds: float
    has_tokens: bool
    is_whole: bool


def main() -> None:
    """Measure and print."""
    arguments = parse()
    allow_open_files()
    if arguments.is_bare:
        asyncio.run(serve_bare())
    if arguments.hold_port:
        asyncio.run(hold_silent(arguments.hold_port, arguments.num_silent))
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        document = measure(server, arguments)
    text = json.dumps(document, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text if arguments.is_json else summary(document))


def measure(server: Served, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every measurement against one server."""
    asyncio.run(visits(server.port, 20))  # warm up
    idle = server.memory_mib()
    rounds = [crowd_round(server, arguments.num_clients) for _ in range(arguments.num_rounds)]
    alone, beside = beside_silent(server.port, arguments)
    hardware = detect_hardware(Path.cwd(), measure_cpu=False)
    return {
        "benchmark": "serve",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), **asdict(hardware)},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "num_clients": arguments.num_clients,
        "crowd": rounds,
        "answer_seconds": ANSWER_SECONDS,
        "visitor": {
            "num_silent": arguments.num_silent,
            "alone": alone,
            "beside": beside,
            "median_ratio": round(beside["median_seconds"] / alone["median_seconds"], 2),
            "p99_ratio": round(beside["p99_seconds"] / alone["p99_seconds"], 2),
        },
        "memory_mib": {"idle": idle, "highest": server.memory_mib("VmHWM"), "after": server.memory_mib()},
    }


def crowd_round(server: Served, num_clients: int) -> dict[str, Any]:
    """Return what became of a crowd, at the server and at a bare one."""
    with serving_bare() as port:
        bare = spread([answer.first_seconds for answer in asyncio.run(crowd(port, num_clients))])
    before = server.cpu_seconds()
    result = told(asyncio.run(crowd(server.port, num_clients)))
    return {**result, "server_cpu_seconds": round(server.cpu_seconds() - before, 2), "bare": bare}


def beside_silent(port: int, arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a visitor's waiting times alone and beside silent connections, taken in turns against drift."""
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(arguments.num_rounds):
        alone += asyncio.run(visits(port, arguments.num_visits))
        with holding_silent(port, arguments.num_silent):
            beside += asyncio.run(visits(port, arguments.num_visits))
    return spread(alone), spread(beside)


# ------------------------------------------------------------------------------------------------------------- a server


@contextlib.contextmanager
def serving(folder: Path, *, settings: str = "", extra: tuple[str, ...] = ()) -> Iterator[Served]:
    """Run the server as a process of its own on a free port.

    Args:
        folder: An empty folder for a character.
        settings: Lines for its duologue.toml.
        extra: Arguments for the command line.
    """
    shutil.copy(duologue.characters.LILA_FOLDER / "character.png", folder)
    (folder / "duologue.toml").write_text(SETTINGS + settings, encoding="utf-8")
    command = [sys.executable, "-m", "duologue", "serve", str(folder), "--engine", "fake", "--port", "0", "--json"]
    environment = {**os.environ, "DUOLOGUE_API_KEY": KEY}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, *extra], env=environment, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.rstrip().endswith("}"):
                line = process.stdout.readline()
                assert line, "the server ended before it answered"
                text += line
            yield Served(int(json.loads(text)["address"].rpartition(":")[2]), process.pid)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


@contextlib.contextmanager
def serving_bare() -> Iterator[int]:
    """Run a server that answers everything with one fixed line."""
    with subprocess.Popen([sys.executable, __file__, "--bare"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def serve_bare() -> None:
    """Answer everything with one fixed line."""

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:  # noqa: ARG002  (whatever it was)
            self.transport.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy")
            self.transport.write_eof()

    server = await asyncio.get_running_loop().create_server(Bare, HOST, 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ------------------------------------------------------------------------------------------------------------ the crowd


async def crowd(port: int, num_clients: int) -> list[Answer]:
    """Let so many clients ask at the same moment."""
    return await asyncio.gather(*(ask(port, f"10.1.{number // 250}.{number % 250}") for number in range(num_clients)))


async def visits(port: int, num_visits: int) -> list[float]:
    """Let one visitor ask again and again; return the times to the first byte."""
    seconds = []
    for _ in range(num_visits):
        answer = await ask(port, "192.0.2.7")
        assert answer.has_tokens, answer
        seconds.append(answer.first_seconds)
    return seconds


async def ask(port: int, address: str) -> Answer:
    """Ask for a streamed reply on a connection of its own and read it to its end."""
    began = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return Answer(0, time.perf_counter() - began, has_tokens=False, is_whole=False)
    try:
        writer.write(request(address))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(65536)
        seconds = time.perf_counter() - began
        status = int(head.split()[1])
        while status == 200 and b"[DONE]" not in body[-64:]:
            part = await reader.read(65536)
            if not part:
                break
            body += part
        is_whole = b"[DONE]" in body[-64:] if status == 200 else b"retry-after:" in head.lower()
        return Answer(status, seconds, has_tokens=b'"content":"' in body, is_whole=is_whole)
    except (OSError, asyncio.IncompleteReadError):
        return Answer(0, time.perf_counter() - began, has_tokens=False, is_whole=False)
    finally:
        writer.close()


def request(address: str, *, message: str = "Hello there") -> bytes:
    """Return a request for a streamed reply, as a trusted proxy passes it on."""
    body = json.dumps({"model": "lila-quill", "stream": True, "messages": [{"role": "user", "content": message}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {KEY}\r\n"
        f"X-Forwarded-For: {address}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def told(answers: list[Answer]) -> dict[str, Any]:
    """Return what became of a crowd."""
    statuses = Counter(str(answer.status) for answer in answers)
    served = [answer.first_seconds for answer in answers if answer.status == 200]
    late = [answer for answer in answers if answer.first_seconds > ANSWER_SECONDS]
    return {
        "statuses": dict(sorted(statuses.items())),
        "num_with_tokens": sum(answer.has_tokens for answer in answers),
        "num_in_order": sum(answer.is_whole for answer in answers),
        "num_late": len(late),
        "first_byte": spread([answer.first_seconds for answer in answers]),
        "first_byte_of_replies": spread(served),
    }


def spread(seconds: list[float]) -> dict[str, Any]:
    """Return median, 99th percentile and longest."""
    if not seconds:
        return {"num": 0}
    ordered = sorted(seconds)
    return {
        "num": len(ordered),
        "median_seconds": round(statistics.median(ordered), 4),
        "p99_seconds": round(ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)], 4),
        "longest_seconds": round(ordered[-1], 4),
    }


# --------------------------------------------------------------------------------------------------- silent connections


@contextlib.contextmanager
def holding_silent(port: int, num_silent: int) -> Iterator[None]:
    """Hold connections open in another process, each with half a request."""
    command = [sys.executable, __file__, "--hold-port", str(port), "--num-silent", str(num_silent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()


async def hold_silent(port: int, num_silent: int) -> None:
    """Hold connections that send a byte of a header each second; those the server closes are opened again."""

    async def hold(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                opened.add(number)
                while not writer.is_closing():
                    await asyncio.sleep(1.0)
                    writer.write(b"a")
                    await writer.drain()
            await asyncio.sleep(0.1)

    opened: set[int] = set()
    held = [asyncio.create_task(hold(number)) for number in range(num_silent)]
    while len(opened) < num_silent:
        await asyncio.sleep(0.05)
    print("held", flush=True)
    await asyncio.gather(*held)


def allow_open_files() -> None:
    """Allow this process as many open files as the machine lets it have: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ------------------------------------------------------------------------------------------------------------- printing


def summary(document: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = []
    for number, each in enumerate(document["crowd"], start=1):
        counts = ", ".join(f"{count} x {status}" for status, count in each["statuses"].items())
        first = each["first_byte"]
        lines.append(
            f"crowd {number}: {document['num_clients']} clients: {counts}; first byte median "
            f"{first['median_seconds']:.3f} s, p99 {first['p99_seconds']:.3f} s, longest "
            f"{first['longest_seconds']:.3f} s (a bare server: {each['bare']['longest_seconds']:.3f} s)"
        )
    visitor, memory = document["visitor"], document["memory_mib"]
    lines.append(
        f"visitor: first byte {1000 * visitor['alone']['median_seconds']:.1f} ms alone, "
        f"{1000 * visitor['beside']['median_seconds']:.1f} ms beside {visitor['num_silent']} silent connections "
        f"(x{visitor['median_ratio']:.2f}; p99 x{visitor['p99_ratio']:.2f})"
    )
    lines.append(f"memory: {memory['idle']} MiB idle, {memory['highest']} MiB at its highest")
    lines.append(f"machine: {document['machine']['num_cores']} cores, load average {document['load_average'][0]}")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", dest="is_json", action="store_true", help="print the whole document")
    parser.add_argument("--out", type=Path, help="write the document to a file as well")
    parser.add_argument("--num-clients", type=int, default=1000)
    parser.add_argument("--num-silent", type=int, default=1000)
    parser.add_argument("--num-rounds", type=int, default=3)
    parser.add_argument("--num-visits", type=int, default=60)
    parser.add_argument("--bare", dest="is_bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--hold-port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
