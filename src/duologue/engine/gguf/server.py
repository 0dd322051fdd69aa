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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import xllamacpp

from duologue.engine.gguf.header import read_header
from duologue.engine.gguf.room import BATCH_TOKENS
from duologue.engine.gguf.slots import Slots, Wearing
from duologue.engine.hardware import detect_hardware
from duologue.engine.threads import waits_asleep
from duologue.errors import EngineError, FormError

CacheType = Literal["f16", "q8_0"]

_POLL_SECONDS = 0.05  # how long a set `cancel` can go unseen while llama.cpp is busy with a prompt
_LOOPBACK_SECONDS = 60.0
_CONTEXT_STEP_TOKENS = 256  # llama.cpp rounds every slot's context to it
_QUIET = -1
_ALL_THAT_FIT, _NONE = -1, 0  # layers on a GPU; llama.cpp tries out what fits


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded.

    Attributes:
        model: The `.gguf` file.
        loras: LoRAs in GGUF form; each request says how strongly each of them acts.
        context_tokens: Longest prompt plus reply of each slot.
        num_slots: Replies at the same time.
        cache_type: Type of keys and values; `q8_0` halves their memory.
        uses_gpu: Whether layers go to the GPUs that llama.cpp sees.
        num_threads: Threads that draw tokens; 0 takes what is best here.
    """

    model: Path
    loras: tuple[Path, ...] = ()
    context_tokens: int = 8192
    num_slots: int = 1
    cache_type: CacheType = "f16"
    uses_gpu: bool = False
    num_threads: int = 0


def seen_gpus() -> tuple[tuple[str, int], ...]:
    """Return name and free bytes of each GPU that this build of llama.cpp can use."""
    kinds = xllamacpp.ggml_backend_dev_type
    gpu = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    devices = xllamacpp.get_device_info()
    return tuple((str(each["description"]), int(each["memory_free"])) for each in devices if each["type"] in gpu)


class LlamaServer:
    """A loaded GGUF model.

    Args:
        loading: What is loaded, and how.

    Raises:
        EngineError: llama.cpp cannot load the files.
    """

    def __init__(self, loading: Loading) -> None:
        """Load the model; its weights are mapped, not copied."""
        self._key = secrets.token_urlsafe(32)
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._slots = Slots(loading.num_slots)
        try:
            self._server: Any = xllamacpp.Server(parameters(loading, key=self._key))
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp cannot load this model ('{read_header(loading.model).architecture}')",
                where=" with ".join(str(file) for file in (loading.model, *loading.loras)),
                action=f"Check that the file is whole, that memory is free and that xllamacpp {_version()} knows "
                "models of this family.",
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

    def complete(self, request: dict[str, Any], *, wearing: Wearing = ()) -> dict[str, Any]:
        """Return llama.cpp's answer to a completion request.

        Raises:
            EngineError: llama.cpp refused it.
        """
        slot = self._slots.take(request["prompt"], wearing=wearing, gave_up=self._closing.is_set)
        if slot is None:
            raise _closed()
        try:
            answer: dict[str, Any] = self._open_server().handle_completions(request | _placed(slot, wearing))
        finally:
            self._slots.give_back(slot)
        return _checked(answer)

    def stream(
        self,
        request: dict[str, Any],
        *,
        wearing: Wearing = (),
        is_alone: bool = False,
        cancel: threading.Event,
    ) -> Generator[dict[str, Any], None, None]:
        """Yield llama.cpp's chunks; ends early, within 50 ms, once `cancel` is set or the model is closed.

        Args:
            request: A completion request.
            wearing: The strength of each LoRA, in the order they were loaded in.
            is_alone: Wait for the other replies to end, and let none begin meanwhile.
            cancel: Ends it.

        Raises:
            EngineError: llama.cpp refused the request.
        """
        self._open_server()

        def gave_up() -> bool:
            return cancel.is_set() or self._closing.is_set()

        slot = self._slots.take(request["prompt"], wearing=wearing, is_alone=is_alone, gave_up=gave_up)
        if slot is not None:
            yield from self._chunks(request | _placed(slot, wearing), slot, cancel)

    def _chunks(
        self, request: dict[str, Any], slot: int, cancel: threading.Event
    ) -> Generator[dict[str, Any], None, None]:
        chunks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        abandoned = threading.Event()

        def receive(chunk: dict[str, Any]) -> bool:
            chunks.put(chunk)
            return abandoned.is_set() or self._closing.is_set()

        def work() -> None:
            try:
                with suppress(EngineError):  # closed meanwhile: the reader is told
                    self._open_server().handle_completions({**request, "stream": True}, receive)
            finally:  # not when its reader has left: llama.cpp may still be busy with it
                self._slots.give_back(slot)
                chunks.put(None)

        worker = threading.Thread(target=work, name="duologue-gguf")
        with self._guard:
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
        """Stop what still runs and free the model; any thread may call it, also more than one."""
        self._closing.set()
        with self._guard:
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.join()
        self._server = None

    def _open_server(self) -> Any:  # noqa: ANN401  (xllamacpp ships no types)
        server = self._server
        if server is None or self._closing.is_set():
            raise _closed()
        return server

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


def parameters(loading: Loading, *, key: str) -> Any:  # noqa: ANN401  (xllamacpp ships no types)
    """Return llama.cpp's settings for loading a model."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = str(loading.model)
    slot_tokens = -(-loading.context_tokens // _CONTEXT_STEP_TOKENS) * _CONTEXT_STEP_TOKENS
    # Each slot has its own context. In a shared one, a long chat would end the replies of the others half-said.
    chosen.n_ctx = slot_tokens * loading.num_slots
    chosen.n_parallel = loading.num_slots
    chosen.kv_unified = False
    chosen.ctx_shift = False  # never drop the beginning of a prompt silently
    chosen.n_batch = BATCH_TOKENS
    chosen.n_gpu_layers = _ALL_THAT_FIT if loading.uses_gpu else _NONE
    chosen.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO
    kinds = {"f16": xllamacpp.ggml_type.GGML_TYPE_F16, "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0}
    chosen.cache_type_k = chosen.cache_type_v = kinds[loading.cache_type]
    chosen.n_threads_http = 2
    drawing, reading = num_threads(loading.model)
    chosen.cpuparams.n_threads = loading.num_threads or drawing
    chosen.cpuparams_batch.n_threads = reading
    chosen.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 0.0) for lora in loading.loras]
    chosen.cache_ram_mib = 0  # the default of 8 GiB would keep old sessions' prompts in memory
    chosen.verbosity = _QUIET
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = 0
    chosen.api_keys = [key]
    chosen.ui = False
    chosen.endpoint_slots = False
    chosen.endpoint_metrics = True
    return chosen


def num_threads(model: Path) -> tuple[int, int]:
    """Return how many threads draw tokens, and how many read prompts."""
    num_cores = detect_hardware(model.parent, measure_cpu=False).num_cores
    num_cores = min(num_cores, psutil.cpu_count(logical=False) or 1)
    # All threads wait for the slowest after every layer. Where they wait in a loop and each core has one, a busy
    # neighbour slows the reply tenfold (2 cores: 67 tokens/s alone, 7 beside two busy processes; with one thread 52 and
    # 39), so one core stays free. Where they sleep, it costs no more than the neighbour takes.
    return (num_cores if waits_asleep() else max(1, num_cores - 1)), num_cores


def _placed(slot: int, wearing: Wearing) -> dict[str, Any]:
    """Return the fields that say in which slot and with which LoRAs a request runs."""
    return {"id_slot": slot, "lora": [{"id": at, "scale": scale} for at, scale in enumerate(wearing)]}


def _version() -> str:
    return str(xllamacpp.__version__)


def _closed() -> EngineError:
    return EngineError("the generator is closed", action="Open it again.")


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        message = f"llama.cpp refused the request: {answer['error'].get('message', answer['error'])}"
        raise FormError(message, where="grammar") if "grammar" in message else EngineError(message)
    return answer
