"""A hub of our own on this machine: the endpoints that a push of the real `huggingface_hub` asks, and their faults."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TOKEN = "hf_" + "a" * 8  # short: no secret's pattern matches it
LFS_BYTES = 1000  # files from this size on are large ones here
CHUNK_BYTES = 400_000  # a large file above this size is sent in parts


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        status: Answered instead; 0 cuts the connection after half of the body was read.
        headers: Sent along.
        message: What the hub says.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"


@dataclass
class Repo:
    """A repository: its files in the newest commit."""

    kind: str
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, str] = field(default_factory=dict)
    commits: int = 0


class LocalHub:
    """The server's state.

    Attributes:
        url: Its address.
        repos: By type and name.
        objects: Large files that have arrived, by SHA-256.
        asked: Method and path of every request, in order.
        received: Bytes of large files, in all.
        faults: By a pattern of method and path, what goes wrong; each fault happens once.
    """

    def __init__(self) -> None:
        self.url = ""
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.asked: list[str] = []
        self.received = 0
        self.faults: list[tuple[str, Fault]] = []
        self.spoils = False
        self.lock = threading.Lock()

    def fail(self, pattern: str, *faults: Fault) -> None:
        """Let requests that match fail, one after the other."""
        self.faults += [(pattern, fault) for fault in faults]

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            for number, (pattern, fault) in enumerate(self.faults):
                if re.search(pattern, line):
                    del self.faults[number]
                    return fault
        return None

    def uploads(self) -> list[str]:
        """Return the requests that brought a large file or a part of one."""
        return [line for line in self.asked if line.startswith("PUT ")]


@contextlib.contextmanager
def running_hub() -> Iterator[LocalHub]:
    """Yield a hub that answers; it is gone afterwards."""
    hub = LocalHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: LocalHub

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        hub, path = self.state, urlsplit(self.path).path
        line = f"{self.command} {path}"
        hub.asked.append(line)
        length = int(self.headers.get("content-length") or 0)
        fault = hub.take_fault(line)
        if fault is not None and fault.status == 0:
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self._body(length)
        if fault is not None:
            self._send(fault.status, {"error": fault.message}, fault.headers)
            return
        is_storage = path.startswith(("/storage/", "/complete/"))
        if not is_storage and self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
            return
        for pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, line)
            if found:
                answer(self, body, *found.groups())
                return
        self._send(404, {"error": f"no such endpoint: {line}"})

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815

    def _body(self, length: int) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(length)
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(document).encode(), headers)

    def _send_bytes(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _repo(self, kind: str, name: str) -> Repo | None:
        repo = self.state.repos.get((kind, name))
        if repo is None:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return repo

    def whoami(self, _: bytes) -> None:
        self._send(
            200, {"type": "user", "name": "ann", "fullname": "Ann", "orgs": [], "auth": {"type": "access_token"}}
        )

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'ann'}/{asked['name']}"
        kind = asked.get("type") or "model"
        if kind == "space" and asked.get("sdk") != "gradio":
            self._send(400, {"error": "a Space needs its SDK"})
            return
        url = f"{self.state.url}/{'spaces/' if kind == 'space' else ''}{name}"
        if (kind, name) in self.state.repos:
            self._send(409, {"error": "You already created this repo", "url": url})
            return
        is_private = asked.get("private", asked.get("visibility") == "private")
        self.state.repos[kind, name] = Repo(kind, bool(is_private))
        self._send(200, {"url": url, "name": name})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        fine = content.startswith("---\n")
        faults = [] if fine else [{"message": "there is no front matter"}]
        self._send(200 if fine else 400, {"errors": faults, "warnings": []})

    def info(self, _: bytes, kind: str, name: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        siblings = []
        for path, content in repo.files.items():
            entry = {"rfilename": path, "size": len(content), "blobId": _git_sha1(content)}
            if path in repo.large:
                entry["lfs"] = {"sha256": repo.large[path], "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        about = {"id": name, "sha": f"{repo.commits:040x}", "private": repo.private, "tags": [], "siblings": siblings}
        self._send(200, {**about, "downloads": 0, "likes": 0})

    def preupload(self, body: bytes, kind: str, name: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        files = []
        for asked in json.loads(body)["files"]:
            is_large = asked["size"] >= LFS_BYTES
            known = repo.files.get(asked["path"])
            oid = None if known is None else repo.large.get(asked["path"]) or _git_sha1(known)
            mode = "lfs" if is_large else "regular"
            files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send(200, {"files": files})

    def batch(self, body: bytes, _prefix: str, _name: str) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            if oid in self.state.objects:
                objects.append({"oid": oid, "size": size})
                continue
            url = self.state.url
            header = {}
            href = f"{url}/storage/{oid}"
            if size > CHUNK_BYTES:
                href = f"{url}/complete/{oid}"
                header = {"chunk_size": str(CHUNK_BYTES)}
                for part in range(1, -(-size // CHUNK_BYTES) + 1):
                    header[str(part)] = f"{url}/storage/{oid}/{part}"
            upload = {"href": href, "header": header}
            verify = {"href": f"{url}/verify/{oid}", "header": {}}
            objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
        self._send(200, {"transfer": "multipart", "objects": objects})

    def store(self, body: bytes, oid: str) -> None:
        self.state.received += len(body)
        self._keep(oid, body)
        self._send_bytes(200, b"")

    def store_part(self, body: bytes, oid: str, part: str) -> None:
        self.state.received += len(body)
        self.state.parts.setdefault(oid, {})[int(part)] = body
        self._send_bytes(200, b"", {"etag": hashlib.md5(body).hexdigest()})

    def complete(self, body: bytes, oid: str) -> None:
        parts = self.state.parts.pop(oid)
        for asked in json.loads(body)["parts"]:
            assert hashlib.md5(parts[asked["partNumber"]]).hexdigest() == asked["etag"]
        self._keep(oid, b"".join(content for _, content in sorted(parts.items())))
        self._send(200, {})

    def _keep(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() == oid:
            self.state.objects[oid] = content[:-1] + b"?" if self.state.spoils else content

    def verify(self, _: bytes, oid: str) -> None:
        self._send(*((200, {}) if oid in self.state.objects else (422, {"error": "the object did not arrive"})))

    def commit(self, body: bytes, kind: str, name: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        files, large = dict(repo.files), dict(repo.large)
        for item in map(json.loads, body.splitlines()):
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                large.pop(value["path"], None)
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.state.objects:
                    self._send(400, {"error": f"{value['path']} was not uploaded"})
                    return
                content = files[value["path"]] = self.state.objects[value["oid"]]
                large[value["path"]] = hashlib.sha256(content).hexdigest()
            elif item["key"] == "deletedFile":
                del files[value["path"]]
                large.pop(value["path"], None)
        repo.files, repo.large, repo.commits = files, large, repo.commits + 1
        oid = f"{repo.commits:040x}"
        self._send(200, {"commitUrl": f"{self.state.url}/{name}/commit/{oid}", "commitOid": oid})

    def resolve(self, _: bytes, name: str, path: str) -> None:
        repo = self._repo("model", name)
        if repo is None:
            return
        content = repo.files[path]
        etag = repo.large.get(path) or _git_sha1(content)
        self._send_bytes(200, content, {"etag": f'"{etag}"', "x-repo-commit": f"{repo.commits:040x}"})


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_ROUTES = [
    (r"GET /api/whoami-v2", _Handler.whoami),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (r"GET /api/(model|space)s/([^/]+/[^/]+)", _Handler.info),
    (r"POST /api/(model|space)s/([^/]+/[^/]+)/preupload/main", _Handler.preupload),
    (r"POST /api/(model|space)s/([^/]+/[^/]+)/commit/main", _Handler.commit),
    (r"POST /(spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /storage/(\w+)", _Handler.store),
    (r"PUT /storage/(\w+)/(\d+)", _Handler.store_part),
    (r"POST /complete/(\w+)", _Handler.complete),
    (r"POST /verify/(\w+)", _Handler.verify),
    (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/\w+/(.+)", _Handler.resolve),
]
