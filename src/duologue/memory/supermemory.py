"""Supermemory through its SDK 5: the one file that knows it. Every failure becomes a `HostedError`.

The SDK does not check what it puts into URLs, does not check what it gets, retries a POST three times, follows
redirects with the body, and waits for a slow body as long as a byte comes now and then. All of that is settled here.
"""

import contextlib
import ipaddress
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from duologue.errors import ConfigError
from duologue.memory.service import Deletion, Document, Fault, HostedError, HostedLine

SEND_SECONDS = 20.0
_MAX_BODY_BYTES = 2**20
_MAX_LIST_BODY_BYTES = 2**25
_MAX_PAGES = 10_000
_MAX_QUESTION_CHARS = 2000
_NAMESPACE = re.compile(r"[a-zA-Z0-9_:-]{1,100}")
_DOCUMENT = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_KEY = re.compile(r"[\x21-\x7e]+")
_SILENT = {
    # The SDK would tell the version of Python and of the machine's kernel; None takes a header out.
    "User-Agent": "duologue",
    "X-Fern-Language": None,
    "X-Fern-Runtime": None,
    "X-Fern-Platform": None,
}
_FAULTS: dict[int, Fault] = {
    401: "refused", 402: "unpaid", 403: "refused", 404: "missing", 408: "slow", 409: "conflict", 429: "busy",
}  # fmt: skip
_WORDS: dict[Fault, tuple[str, str]] = {
    "unreachable": ("it cannot be reached", ""),
    "slow": ("it took too long to answer", ""),
    "busy": ("it asks for fewer requests", ""),
    "broken": ("it has an error of its own", ""),
    "garbled": ("it answers with something that is not Supermemory's", "Check memory.supermemory_url."),
    "refused": ("it refuses the key", "Set SUPERMEMORY_API_KEY to a valid key and start again."),
    "unpaid": ("its credit is used up", "Top up the account, or set memory.supermemory = false."),
    "unsupported": (
        "it does not know the interface of Supermemory's SDK 5",
        "Check memory.supermemory_url; older servers do not have it.",
    ),
    "rejected": ("it does not accept what it was sent", ""),
    "missing": ("there is no such thing", ""),
    "conflict": ("it is still busy with the same document", ""),
}
_Answer = TypeVar("_Answer")


class SupermemoryReader:
    """A Supermemory server. Threads may share it.

    Args:
        api_key: The key; it is sent to `url` and nowhere else.
        url: The server: https, or any address of this machine.

    Raises:
        ConfigError: The key is empty, or the address would send it in the clear.
    """

    def __init__(self, api_key: str, *, url: str = "https://api.supermemory.ai") -> None:
        """Check the key and the address; the SDK is loaded at the first call."""
        if not _KEY.fullmatch(api_key):
            raise ConfigError(
                "the key of Supermemory is empty or has characters that no key has",
                where="SUPERMEMORY_API_KEY",
                action="Set it, or set memory.supermemory = false.",
            )
        self.name = f"Supermemory ({_checked(url)})"
        self._url = url
        self._api_key = api_key
        self._lock = threading.Lock()
        self._call = threading.local()
        self._made: Any = None
        self._is_closed = False

    def prepare(self) -> None:
        """See `SecondReader.prepare`."""
        self._client()

    def search(
        self, namespace: str, question: str, *, limit: int, seconds: float, exclude_session: str = ""
    ) -> tuple[HostedLine, ...]:
        """See `SecondReader.search`."""
        name = self._safe(_NAMESPACE, namespace)
        wanted: dict[str, Any] = {
            "query": question[:_MAX_QUESTION_CHARS],
            "limit": max(1, min(100, limit)),
            "search_mode": "hybrid",
            "include": {"documents": True},
        }
        if exclude_session:
            wanted["filter"] = {
                "operator": "and",
                "operands": [{"field": "session", "operator": "neq", "value": exclude_session}],
            }
        answer = self._ask(seconds, lambda client: client.search(name, **wanted))
        results = getattr(answer, "results", None)
        if not isinstance(results, list):
            raise self._error("garbled", "no results in its answer")
        lines = (_line(result) for result in results)
        return tuple(line for line in lines if line is not None and line.session_id != (exclude_session or None))

    def put(self, namespace: str, document: Document, *, is_grown: bool) -> None:
        """See `SecondReader.put`: what has only grown is added under the same id, other changes replace it."""
        owner, name = self._safe(_NAMESPACE, namespace), self._safe(_DOCUMENT, document.id)
        values: dict[str, Any] = {
            "content": document.content,
            "date": document.date,
            "metadata": {"session": document.session_id},
        }
        if not is_grown:
            try:
                self._ask(SEND_SECONDS, lambda client: client.documents.update(owner, name, **values))
            except HostedError as error:
                if error.fault != "missing":
                    raise
            else:
                return
        answer = self._ask(SEND_SECONDS, lambda client: client.add(owner, id=name, **values))
        if not isinstance(getattr(answer, "id", None), str):
            raise self._error("garbled", "no document in its answer")

    def delete_documents(self, namespace: str, ids: Sequence[str]) -> Deletion:
        """See `SecondReader.delete_documents`; documents it does not know are as good as deleted."""
        owner, names = self._safe(_NAMESPACE, namespace), [self._safe(_DOCUMENT, name) for name in ids]
        return self._delete(names, 100, lambda some, client: client.documents.delete(owner, ids=some))

    def forget_lines(self, namespace: str, ids: Sequence[str]) -> Deletion:
        """See `SecondReader.forget_lines`. It keeps their history; deleting the document is what erases."""
        owner = self._safe(_NAMESPACE, namespace)
        return self._delete(ids, 500, lambda some, client: client.memories.forget(owner, ids=some))

    def list_lines(self, namespace: str) -> Iterator[dict[str, Any]]:
        """See `SecondReader.list_lines`; `kind` says which, `document` or `memory`."""
        owner = self._safe(_NAMESPACE, namespace)
        for kind, one in (("documents", "document"), ("memories", "memory")):
            for page in range(1, _MAX_PAGES + 1):
                answer = self._ask(SEND_SECONDS, _listing(owner, kind, page), most_bytes=_MAX_LIST_BODY_BYTES)
                items = getattr(answer, kind, None)
                if not isinstance(items, list):
                    raise self._error("garbled", f"no {kind} in its answer")
                for item in items:
                    yield {**_as_document(item), "kind": one}
                pages = getattr(getattr(answer, "pagination", None), "total_pages", None)
                if not items or not isinstance(pages, int | float) or page >= pages:
                    break

    def close(self) -> None:
        """See `SecondReader.close`."""
        with self._lock:
            self._is_closed = True
            if self._made is not None:
                self._made.close()

    def _delete(self, ids: Sequence[str], most: int, delete: Callable[[list[str], Any], Any]) -> Deletion:
        num_deleted, errors = 0, []
        for start in range(0, len(ids), most):
            some = list(ids[start : start + most])
            try:
                answer = self._ask(SEND_SECONDS, partial(delete, some))
            except HostedError as error:
                if error.fault != "missing":
                    raise
                continue  # none of them is there
            count = getattr(answer, "count", None)
            if not isinstance(count, int):
                raise self._error("garbled", "no count in its answer")
            num_deleted += count
            errors += [text for text in map(_error_text, getattr(answer, "errors", None) or []) if text]
        return Deletion(num_deleted, tuple(errors))

    def _safe(self, shape: re.Pattern[str], name: str) -> str:
        if shape.fullmatch(name) is None:
            raise self._error("rejected", "a name that is not safe in a URL")  # the SDK would put it there as it is
        return name

    def _ask(self, seconds: float, call: Callable[[Any], _Answer], *, most_bytes: int = _MAX_BODY_BYTES) -> _Answer:
        """Call the SDK once, for so long at most, and translate what it raises."""
        self._call.deadline = time.monotonic() + seconds
        self._call.most_bytes = most_bytes
        self._call.seconds = seconds
        try:
            return call(self._client().with_options(timeout=seconds, max_retries=0))
        except HostedError:
            raise
        except _Exceeded as error:
            raise self._error(error.fault, str(error)) from error
        except Exception as error:  # the SDK lets through whatever httpx, json and pydantic raise
            raise self._translated(error) from error

    def _client(self) -> Any:  # noqa: ANN401  (the SDK is loaded late)
        with self._lock:
            if self._is_closed:
                raise self._error("unreachable", "it has been closed")
            if self._made is None:
                import supermemory  # 0.5 s, which only those pay who use it

                headers: Any = _SILENT
                self._made = supermemory.Supermemory(
                    api_key=self._api_key, base_url=self._url, max_retries=0, default_headers=headers
                )
                http = self._made._http_client
                http.follow_redirects = False  # the words of a chat go to the configured address and nowhere else
                http.event_hooks = {
                    "request": http.event_hooks["request"],
                    "response": [self._read_within_limits, *http.event_hooks["response"]],
                }
            return self._made

    def _read_within_limits(self, response: Any) -> None:  # noqa: ANN401  (httpx is the SDK's)
        """Read a body before the SDK does: only so long and only so much."""
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > self._call.most_bytes:
                raise _Exceeded("garbled", f"its answer is larger than {self._call.most_bytes / 2**20:.0f} MiB")
            if time.monotonic() > self._call.deadline:
                raise _Exceeded("slow", f"its answer was not complete after {self._call.seconds:g} s")
        response._content = bytes(body)

    def _translated(self, error: Exception) -> HostedError:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status > 0:
            return self._by_status(error, status)
        kind = type(error).__name__
        if kind == "APITimeoutError":
            return self._error("slow")
        return self._error("unreachable" if kind == "APIConnectionError" else "garbled", kind)

    def _by_status(self, error: Exception, status: int) -> HostedError:
        is_ours = isinstance(getattr(error, "body", None), dict)  # a page of HTML comes from something in between
        if status < 400:
            fault: Fault = "garbled"
        elif status >= 500:
            fault = "broken"
        elif status == 403 and not is_ours:
            fault = "rejected"  # a firewall that dislikes this one text
        elif status == 404 and not is_ours:
            fault = "unsupported"
        else:
            fault = _FAULTS.get(status, "rejected")
        headers = {key.lower(): value for key, value in (getattr(error, "headers", None) or {}).items()}
        return self._error(fault, f"status {status}", retry_after=_seconds(headers.get("retry-after", "")))

    def _error(self, fault: Fault, detail: str = "", *, retry_after: float = 0.0) -> HostedError:
        found, action = _WORDS[fault]
        return HostedError(
            f"{found} ({detail})" if detail else found,
            fault=fault,
            retry_after_seconds=retry_after,
            where=self.name,
            action=action,
        )


class _Exceeded(Exception):
    """A body was too long or took too long."""

    def __init__(self, fault: Fault, text: str) -> None:
        self.fault: Fault = fault
        super().__init__(text)


def _checked(url: str) -> str:
    """Return the host of an address.

    Raises:
        ConfigError: It would send the key and the chat in the clear.
    """
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))):
            return host
    raise ConfigError(
        "the address of Supermemory is not an https address",
        where="memory.supermemory_url",
        needed="https://host, or http://localhost:port for a server on this machine",
    )


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listing(namespace: str, kind: str, page: int) -> Callable[[Any], Any]:
    include = {"content": True} if kind == "documents" else {}
    return lambda client: client.list(
        namespace, kind, page=page, limit=100, sort="createdAt", order="asc", include=include
    )


def _line(result: Any) -> HostedLine | None:  # noqa: ANN401  (unchecked by the SDK: every field may be missing)
    """Return a result that can be used; None for one that is outdated or says nothing."""
    memory, chunk = (_text(result, name) for name in ("memory", "chunk"))
    if not (memory or chunk) or getattr(result, "is_latest", None) is False:
        return None
    similarity = getattr(result, "similarity", None)
    system = getattr(result, "system", None)
    document = getattr(getattr(result, "included", None), "document", None)
    session = _metadata(result) or _metadata(document)
    return HostedLine(
        id=_text(result, "id"),
        text=memory or chunk,
        similarity=float(similarity) if isinstance(similarity, int | float) and 0 <= similarity <= 1 else 0.0,
        is_passage=not memory,
        is_guess=getattr(result, "is_inference", None) is True,
        said_at=_text(system, "created_at") or _text(system, "updated_at"),
        session_id=session,
        document_id=_text(document, "id"),
    )


def _text(thing: Any, name: str) -> str:  # noqa: ANN401
    value = thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
    return value if isinstance(value, str) else ""


def _metadata(thing: Any) -> str:  # noqa: ANN401
    return _text(getattr(thing, "metadata", None), "session")


def _error_text(error: Any) -> str:  # noqa: ANN401
    """Return what could not be deleted and why; empty for what is not there, which is what was wanted."""
    text = _text(error, "error") or "no reason given"
    return "" if "not found" in text.lower() else text


def _as_document(item: Any) -> dict[str, Any]:  # noqa: ANN401
    to_dict = getattr(item, "to_dict", None)
    document = to_dict(mode="json") if callable(to_dict) else item
    return document if isinstance(document, dict) else {"value": document}


def _seconds(header: str) -> float:
    """Return Retry-After in seconds; a date or nonsense is 0."""
    return float(header) if re.fullmatch(r"\s*\d{1,9}\s*", header) else 0.0
