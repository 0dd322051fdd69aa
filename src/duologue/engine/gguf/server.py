"""llama.cpp's own server inside this process: completions by direct call, tokens through its loopback port.

xllamacpp always opens an HTTP port beside its direct calls, and the tokeniser is reachable only there. The port is a
free one on 127.0.0.1, its web page is off, and a random key that never leaves this process guards it.
"""

import http.client
import json
import queue
import secrets
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import psutil
import xllamacpp

from duologue.engine.hardware import detect_hardware
from duologue.errors import EngineError

_POLL_SECONDS = 0.05  # how long a set `cancel` can go unseen while llama.cpp is busy with a prompt
_BATCH_TOKENS = 512  # a cancelled prompt stops at the next multiple
_LOOPBACK_SECONDS = 60.0
_QUIET = -1


class LlamaServer:
    """A loaded GGUF model.

    Args:
        model: The `.gguf` file.
        lora: A LoRA in GGUF form, applied at full strength; None for the bare model.
        context_tokens: Longest prompt plus reply.

    Raises:
        EngineError: llama.cpp cannot load the files.
    """

    def __init__(self, model: Path, *, lora: Path | None, context_tokens: int) -> None:
        """Load the model; its weights are mapped, not copied."""
        self._key = secrets.token_urlsafe(32)
        self._closing = threading.Event()
        self._workers: list[threading.Thread] = []
        try:
            self._server: Any = xllamacpp.Server(_parameters(model, lora, context_tokens, key=self._key))
        except RuntimeError as error:
            files = f"{model} with {lora}" if lora else str(model)
            raise EngineError(
                "llama.cpp cannot load this model",
                where=files,
                action="Check that the file is whole, that memory is free and that the adapter belongs to the model.",
            ) from error
        # Its loop starts after the constructor returns, and a server freed before that never ends. The figures come out
        # of the loop, so it runs once they are here.
        self._server.handle_metrics()
        self._address = self._server.listening_address.removeprefix("http://")

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of `text`, with control tokens read as such and none added."""
        body = {"content": text, "add_special": False, "parse_special": True}
        tokens: list[int] = self._post("/tokenize", body)["tokens"]
        return tokens

    def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        text: str = self._post("/detokenize", {"tokens": list(ids)})["content"]
        return text

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return llama.cpp's answer to a completion request.

        Raises:
            EngineError: llama.cpp refused it.
        """
        answer: dict[str, Any] = self._open_server().handle_completions(request)
        return _checked(answer)

    def stream(self, request: dict[str, Any], *, cancel: threading.Event) -> Generator[dict[str, Any], None, None]:
        """Yield llama.cpp's chunks; ends early, within 50 ms, once `cancel` is set.

        Raises:
            EngineError: llama.cpp refused the request.
        """
        server = self._open_server()
        chunks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        abandoned = threading.Event()

        def receive(chunk: dict[str, Any]) -> bool:
            chunks.put(chunk)
            return abandoned.is_set() or self._closing.is_set()

        def work() -> None:
            try:
                server.handle_completions({**request, "stream": True}, receive)
            finally:
                chunks.put(None)

        worker = threading.Thread(target=work, name="duologue-gguf")
        self._workers = [*filter(threading.Thread.is_alive, self._workers), worker]
        worker.start()
        try:
            while not cancel.is_set():
                try:
                    chunk = chunks.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if chunk is None:
                    return
                yield _checked(chunk)
        finally:
            abandoned.set()

    def close(self) -> None:
        """Stop what still runs and free the model."""
        self._closing.set()
        for worker in self._workers:
            worker.join()
        self._workers = []
        self._server = None

    def _open_server(self) -> Any:  # noqa: ANN401  (xllamacpp ships no types)
        if self._server is None:
            raise EngineError("the generator is closed", action="Open it again.")
        return self._server

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._open_server()
        connection = http.client.HTTPConnection(self._address, timeout=_LOOPBACK_SECONDS)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"llama.cpp did not answer on {path} ({error})") from error
        finally:
            connection.close()
        return _checked(answer)


def _parameters(model: Path, lora: Path | None, context_tokens: int, *, key: str) -> Any:  # noqa: ANN401
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = context_tokens
    parameters.n_parallel = 1
    parameters.n_batch = _BATCH_TOKENS
    parameters.n_threads_http = 2
    # All threads wait for the slowest after every layer. With each core taken, one busy neighbour slows the reply
    # tenfold (2 cores: 67 tokens/s alone, 7 beside two busy processes; with one thread 52 and 39), so one stays free.
    num_cores = min(detect_hardware(model.parent, measure_cpu=False).num_cores, psutil.cpu_count(logical=False) or 1)
    parameters.cpuparams.n_threads = max(1, num_cores - 1)
    parameters.cpuparams_batch.n_threads = num_cores
    parameters.cache_ram_mib = 0  # the default of 8 GiB would keep old sessions' prompts in memory
    parameters.verbosity = _QUIET
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_metrics = True
    if lora:
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
    return parameters


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise EngineError(f"llama.cpp refused the request: {answer['error'].get('message', answer['error'])}")
    return answer
