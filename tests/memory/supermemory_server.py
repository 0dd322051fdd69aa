"""A server on this machine that speaks Supermemory's interface 5 as it is documented, and fails on request."""

import gzip
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sm_test_key"
_PATH = re.compile(r"/ns/([a-zA-Z0-9_:-]{1,100})/(document|search|memories|list)(?:/([a-zA-Z0-9_-]{1,255}))?")
_ADD_KEYS = {"content", "id", "date", "metadata", "supportingContext", "group", "taskType", "dreaming"}
_SEARCH_KEYS = {"query", "limit", "searchMode", "include", "filter", "threshold", "rerank", "rewriteQuery"}
NOW = "2026-11-22T12:00:00Z"
HTML = b"<!DOCTYPE html><html><body>Attention required</body></html>"


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Stored:
    """A document."""

    id: str
    content: str
    date: str
    metadata: dict[str, Any]
    billed_chars: int = 0


@dataclass
class Learned:
    """A memory that the service concluded."""

    id: str
    text: str
    document: str
    metadata: dict[str, Any]
    is_inference: bool = False
    is_latest: bool = True
    is_forgotten: bool = False
    is_stubborn: bool = False  # outlives its document


@dataclass
class Service:
    """The state of the server. `fault` takes the place of its next answers, `num_faults` of them (-1: all)."""

    documents: dict[str, dict[str, Stored]] = field(default_factory=dict)
    learned: dict[str, list[Learned]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    fault: str = ""
    num_faults: int = -1
    only: str = ""
    results: list[Any] | None = None
    url: str = ""
    lock: Any = field(default_factory=threading.RLock)
    released: threading.Event = field(default_factory=threading.Event)

    def fail(self, fault: str, *, times: int = -1, only: str = "") -> None:
        """Fail from now on: a status, a status with Retry-After (`429:7`), or a word of `_FAULTS`."""
        self.fault, self.num_faults, self.only = fault, times, only

    def recover(self) -> None:
        """Answer again."""
        self.fault = ""
        self.released.set()

    def reset(self) -> None:
        """Know nothing and answer."""
        self.recover()
        self.documents, self.learned, self.requests, self.results = {}, {}, [], None
        self.released = threading.Event()

    def took(self, part: str) -> list[Request]:
        """Return the requests whose path holds a text."""
        return [request for request in self.requests if part in request.path]

    def everything(self) -> str:
        """Return all texts that are stored, to search in them."""
        contents = [document.content for documents in self.documents.values() for document in documents.values()]
        memories = [one.text for some in self.learned.values() for one in some]
        return "\n".join([*contents, *memories])

    def next_fault(self, path: str) -> str:
        """Return what to do instead of answering, or nothing."""
        if not self.fault or self.num_faults == 0 or self.only not in path:
            return ""
        self.num_faults -= 1
        return self.fault


@contextmanager
def serving() -> Iterator[Service]:
    """Run a server on this machine."""
    service = Service()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def log_message(self, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else {}
        service = self.service
        with service.lock:
            service.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
            fault = service.next_fault(self.path)
        if fault:
            self._fail(fault)
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            self.send_json(401, {"error": "Unauthorized"})
        else:
            with service.lock:
                status, answer = _route(service, self.command, self.path, body)
            self.send_json(status, answer)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def send_json(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(answer).encode(), {**JSON, **(headers or {})})

    def send_bytes(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def begin(self, num_bytes: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(num_bytes))
        self.end_headers()

    def _fail(self, fault: str) -> None:
        status, _, retry_after = fault.partition(":")
        if status.isdigit():
            headers = {"Retry-After": retry_after} if retry_after else None
            self.send_json(int(status), {"error": "on request"}, headers)
        elif fault in _BODIES:
            self.send_bytes(*_BODIES[fault])
        else:
            _FAULTS[fault](self)


def _hang(handler: _Handler) -> None:
    handler.service.released.wait(20)
    handler.close_connection = True


def _drip(handler: _Handler) -> None:
    handler.begin(100_000)
    while not handler.service.released.wait(0.05):
        handler.wfile.write(b" ")
    handler.close_connection = True


def _cut(handler: _Handler) -> None:
    handler.begin(500)
    handler.wfile.write(b'{"results": [{"id"')
    handler.close_connection = True


def _huge(handler: _Handler) -> None:
    handler.begin(64 * 2**20)
    for _ in range(1024):
        handler.wfile.write(b" " * 2**16)


def _slam(handler: _Handler) -> None:
    handler.close_connection = True
    handler.connection.close()


def _lost(handler: _Handler) -> None:
    """The request is carried out; its answer never arrives."""
    request = handler.service.requests[-1]
    with handler.service.lock:
        _route(handler.service, request.method, request.path, request.body)
    _slam(handler)


JSON = {"Content-Type": "application/json"}
_PAGE = {"Content-Type": "text/html"}
_BODIES: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "html 200": (200, HTML, _PAGE),
    "html 403": (403, HTML, _PAGE),
    "html 404": (404, HTML, _PAGE),
    "html 502": (502, HTML, _PAGE),
    "empty 200": (200, b"", {}),
    "json null": (200, b"null", JSON),
    "json list": (200, b"[1, 2]", JSON),
    "json text": (200, b'"ok"', JSON),
    "json empty": (200, b"{}", JSON),
    "json nulls": (200, b'{"results": [null, 7]}', JSON),
    "json deep": (200, b"[" * 100_000, JSON),
    "json cut": (200, b'{"results": [', JSON),
    "not utf-8": (200, b'{"results": "\xff\xfe"}', JSON),
    "bad gzip": (200, b"nonsense", {"Content-Encoding": "gzip"}),
    "gzip bomb": (200, gzip.compress(b" " * (8 * 2**20)), {"Content-Encoding": "gzip"}),
    "redirect": (307, b"", {"Location": "http://127.0.0.1:9/elsewhere"}),
}
_FAULTS: dict[str, Callable[[_Handler], None]] = {
    "hang": _hang,
    "drip": _drip,
    "cut": _cut,
    "huge": _huge,
    "slam": _slam,
    "lost": _lost,
}


def _route(service: Service, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    parts = urlsplit(path)
    match = _PATH.fullmatch(parts.path)
    if match is None:
        return 404, {"error": "Not Found"}
    namespace, what, name = match.groups()
    documents = service.documents.setdefault(namespace, {})
    learned = service.learned.setdefault(namespace, [])
    if what == "list":
        return 200, _list(documents, learned, name, parse_qs(parts.query))
    if what == "search":
        if set(body) - _SEARCH_KEYS or not body.get("query") or not 1 <= body.get("limit", 10) <= 100:
            return 400, {"error": "Bad Request"}
        results = service.results if service.results is not None else _search(documents, learned, body)
        return 200, {"results": results, "searchTime": 12}
    change = {"POST": _add, "PATCH": _replace, "DELETE": _delete if what == "document" else _forget}[method]
    return change(documents, learned, {**body, "id": name} if name else body)


def _replace(documents: dict[str, Stored], learned: list[Learned], body: dict[str, Any]) -> tuple[int, Any]:
    if documents.pop(body["id"], None) is None:
        return 404, {"error": "document not found"}
    learned[:] = [one for one in learned if one.document != body["id"]]
    return _add(documents, learned, body)


def _delete(documents: dict[str, Stored], learned: list[Learned], body: dict[str, Any]) -> tuple[int, Any]:
    gone = [one for one in body["ids"] if documents.pop(one, None)]
    learned[:] = [one for one in learned if one.document not in gone or one.is_stubborn]
    errors = [{"id": one, "error": "Document not found"} for one in body["ids"] if one not in gone]
    return 200, {"count": len(gone), "errors": errors}


def _forget(documents: dict[str, Stored], learned: list[Learned], body: dict[str, Any]) -> tuple[int, Any]:
    found = [one for one in learned if one.id in body["ids"]]
    for one in found:
        one.is_forgotten = True
    return 200, {"count": len(found), "errors": [], "matches": []}


def _add(documents: dict[str, Stored], learned: list[Learned], body: dict[str, Any]) -> tuple[int, Any]:
    content, name = body.get("content"), body.get("id", f"doc{len(documents)}")
    if set(body) - _ADD_KEYS or not isinstance(content, str) or not content or not re.fullmatch(r".{1,255}", name):
        return 400, {"error": "Bad Request"}
    old = documents.get(name)
    if old is not None and old.content == content:
        return 200, {"id": name, "status": "done"}
    new = content.removeprefix(old.content) if old is not None else content
    # Reusing an id appends what is new.
    whole = (old.content if old is not None else "") + new
    billed = (old.billed_chars if old is not None else 0) + len(new)
    documents[name] = Stored(name, whole, body.get("date", ""), body.get("metadata", {}), billed)
    for line in new.splitlines():
        said = line.partition(": ")[2]
        if "I " in said:
            fact = f"The user said: {said}"
            number = f"mem{len(learned)}_{abs(hash(line)) % 10**6}"
            learned.append(Learned(number, fact, name, body.get("metadata", {})))
    return 200, {"id": name, "status": "queued"}


def _search(documents: dict[str, Stored], learned: list[Learned], body: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = set(re.findall(r"\w+", body["query"].lower()))
    excluded = {one["value"] for one in body.get("filter", {}).get("operands", ()) if one["operator"] == "neq"}
    found: list[tuple[float, dict[str, Any]]] = []

    def consider(text: str, kind: str, name: str, document: str, metadata: dict[str, Any], **more: Any) -> None:
        shared = wanted & set(re.findall(r"\w+", text.lower()))
        if shared and metadata.get("session") not in excluded:
            result = {
                "id": name, kind: text, "metadata": metadata, "similarity": len(shared) / len(wanted),
                "isLatest": True, "isInference": False, "system": {"updatedAt": NOW, "createdAt": NOW},
                "included": {"document": {"id": document, "metadata": metadata, "system": {}}}, **more,
            }  # fmt: skip
            found.append((len(shared) / len(wanted), result))

    for document in documents.values():
        for number, line in enumerate(document.content.splitlines()):
            consider(line, "chunk", f"{document.id}#{number}", document.id, document.metadata)
    for one in learned:
        if not one.is_forgotten:
            more = {"isLatest": one.is_latest, "isInference": one.is_inference}
            consider(one.text, "memory", one.id, one.document, one.metadata, **more)
    found.sort(key=lambda pair: -pair[0])
    return [result for _, result in found[: body.get("limit", 10)]]


def _list(
    documents: dict[str, Stored], learned: list[Learned], kind: str, query: dict[str, list[str]]
) -> dict[str, Any]:
    page, limit = int(query.get("page", ["1"])[0]), int(query.get("limit", ["10"])[0])
    everything: dict[str, list[Any]] = {
        "documents": [
            {"id": one.id, "content": one.content, "metadata": one.metadata, "type": "text", "system": {}}
            for one in documents.values()
        ],
        "chunks": [],
        "memories": [
            {"id": one.id, "memory": one.text, "metadata": one.metadata, "isInference": one.is_inference, "version": 1}
            for one in learned
        ],
    }
    items = everything[kind]
    shown = {name: [] for name in everything} | {kind: items[(page - 1) * limit : page * limit]}
    pages = max(1, -(-len(items) // limit))
    return {**shown, "pagination": {"currentPage": page, "totalItems": len(items), "totalPages": pages, "limit": limit}}


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60.0) -> bool:
    """Return whether something became so in time."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
