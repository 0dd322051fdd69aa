"""How fast replies are made: duologue's gguf engine, llama.cpp's own HTTP server and transformers, on the same weights.

llama.cpp's server runs in a process of its own with its own defaults and is asked over HTTP; transformers runs in a
process of its own with the weights of the same file made plain. Every engine reads the same prompts and draws with the
same settings, in turns, round after round; a ratio is the median of the rounds' ratios.

    python benchmarks/generate.py --out benchmarks/results/generate.json     # some minutes
    python benchmarks/generate.py --tiny --engines duologue llama.cpp        # seconds; shows only that it runs
"""

import argparse
import http.client
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from duologue.engine import BaseModel, Sampling, detect_hardware
from duologue.engine.bundled import PREFIX, bundled_file
from duologue.engine.gguf import GgufGenerator
from duologue.engine.gguf.request import completion_request
from duologue.engine.gguf.server import num_threads
from duologue.engine.job import Precision
from duologue.engine.threads import wait_without_spinning

ENGINES = ("duologue", "llama.cpp", "transformers float32", "transformers bfloat16")
WORDS = (
    *("lamp", "station", "evening", "train", "window", "letter", "cat", "bridge", "tea", "fog", "watch", "harbour"),
    *("owl", "ticket", "snow", "whistle", "honey", "cello", "bakery", "compass", "orchard", "lantern", "river"),
    *("hill", "market", "garden", "kettle", "blanket", "story", "sister", "brother", "winter", "spring"),
)
_NEVER = -1e9  # a reply of a fixed length: no token ends it


@dataclass(frozen=True, slots=True)
class Task:
    """One reply to be made.

    Attributes:
        prompt_ids: What is read.
        num_tokens: How many are drawn.
        seed: -1 lets the engine use what it still has of the prompt.
        banned: Ids that are never drawn.
    """

    prompt_ids: list[int]
    num_tokens: int
    seed: int
    banned: list[int]

    @property
    def sampling(self) -> Sampling:
        """The default settings of a chat."""
        bias = tuple((token_id, _NEVER) for token_id in self.banned)
        return Sampling(max_new_tokens=self.num_tokens, seed=self.seed, logit_bias=bias)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one reply took.

    Attributes:
        first_seconds: Until the first text.
        rest_seconds: From there to the end.
        num_tokens: Tokens drawn.
    """

    first_seconds: float
    rest_seconds: float
    num_tokens: int


Run = Callable[[Task], Timing]


def main() -> None:
    """Measure and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled:smollm2-135m", help="a .gguf file or a bundled name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--threads", type=int, default=0, help="duologue's threads for drawing; 0 is its own choice")
    parser.add_argument("--tiny", action="store_true", help="short prompts and replies, one round")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peer", choices=ENGINES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    file = bundled_file(arguments.model) if arguments.model.startswith(PREFIX) else Path(arguments.model)
    if arguments.peer:
        serve(arguments.peer, file)
        return
    wait_without_spinning()
    prompts, num_drawn, rounds = ((64, 128), 8, 1) if arguments.tiny else ((512, 2048), 128, arguments.rounds)
    document = measured(
        file,
        engines=tuple(arguments.engines),
        prompts=prompts,
        num_drawn=num_drawn,
        rounds=rounds,
        threads=arguments.threads,
    )
    text = json.dumps(document, indent=1, default=str)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measured(
    file: Path, *, engines: tuple[str, ...], prompts: tuple[int, int], num_drawn: int, rounds: int, threads: int
) -> dict[str, Any]:
    """Return the whole result."""
    context_tokens = max(prompts) + 2 * num_drawn + 64
    with ExitStack() as stack:
        generator = GgufGenerator.open(BaseModel(str(file)), context_tokens=context_tokens, num_threads=threads)
        stack.callback(generator.close)
        runs: dict[str, Run] = {}
        for engine in engines:
            runs[engine] = ours(generator) if engine == "duologue" else stack.enter_context(peer(engine, file))
        rows = [
            row
            for number in range(-1, rounds)  # the first one warms up and does not count
            for row in one_round(number, runs, generator, prompts=prompts, num_drawn=num_drawn)
            if number >= 0
        ]
    with tempfile.TemporaryDirectory() as name:
        hardware = detect_hardware(Path(name), measure_cpu=False)
    drawing, reading = num_threads(file)
    ratios = {engine: compared(rows, engine) for engine in engines if engine != "duologue"}
    against = ratios.get("llama.cpp", {})
    return {
        "benchmark": "generate",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), **asdict(hardware)},
        "versions": {name: version(name) for name in ("xllamacpp", "transformers", "torch")},
        "load_average": os.getloadavg()[0],
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "model": file.name,
        "rounds": rounds,
        "reply_tokens": num_drawn,
        "duologue_threads": {"drawing": threads or drawing, "reading": reading},
        "target": "duologue is at least as fast as llama.cpp's own server: every speed ratio at least 1",
        "reached": bool(against) and all(value >= 1 for key, value in against.items() if "per_second" in key),
        "medians": {engine: medians([row[engine] for row in rows]) for engine in engines},
        "duologue_over": ratios,
        "rows": rows,
    }


def one_round(
    number: int, runs: dict[str, Run], generator: GgufGenerator, *, prompts: tuple[int, int], num_drawn: int
) -> Iterator[dict[str, dict[str, float]]]:
    """Yield what each engine took for one round; each round begins with another engine."""
    chance = random.Random(number)
    ids = {length: prompt_ids(generator, length, chance) for length in prompts}
    told = list(generator.tokenizer.encode(" And then, what did you do after the lamp was lit?"))
    banned = sorted(generator.tokenizer.stop_token_ids)
    names = list(runs)
    turn = number % len(names)
    row: dict[str, dict[str, float]] = {name: {} for name in names}
    for name in names[turn:] + names[:turn]:
        for length in prompts:
            cold = runs[name](Task(ids[length], num_drawn if length == prompts[0] else 1, number + 1, banned))
            row[name][f"prompt_{length}_tokens_per_second"] = length / cold.first_seconds
            if length == prompts[0]:
                row[name]["decode_tokens_per_second"] = (cold.num_tokens - 1) / cold.rest_seconds
        runs[name](Task(ids[prompts[1]], 1, -1, banned))
        warm = runs[name](Task(ids[prompts[1]] + told, 8, -1, banned))
        row[name]["warm_first_token_seconds"] = warm.first_seconds
    yield row


def prompt_ids(generator: GgufGenerator, length: int, chance: random.Random) -> list[int]:
    """Return a prompt of exactly so many tokens that no earlier prompt begins like."""
    text = " ".join(chance.choice(WORDS) for _ in range(2 * length))
    return list(generator.tokenizer.encode(text))[:length]


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {key: round(statistics.median(row[key] for row in rows), 4) for key in rows[0]}


def compared(rows: list[dict[str, dict[str, float]]], engine: str) -> dict[str, float]:
    """Return the median over the rounds of our figure over another engine's."""
    first = rows[0]["duologue"]
    return {key: round(statistics.median(row["duologue"][key] / row[engine][key] for row in rows), 3) for key in first}


def ours(generator: GgufGenerator) -> Run:
    """Return how duologue makes a reply."""

    def run(task: Task) -> Timing:
        begun = time.perf_counter()
        first, num_tokens = 0.0, 0
        for piece in generator.stream(task.prompt_ids, task.sampling, cancel=threading.Event()):
            first = first or time.perf_counter()
            num_tokens = piece.num_tokens
        return Timing(first - begun, time.perf_counter() - first, num_tokens)

    return run


@contextmanager
def peer(engine: str, file: Path) -> Iterator[Run]:
    """Start another engine in a process of its own and yield how it makes a reply."""
    command = [sys.executable, __file__, "--peer", engine, "--model", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sent, told = process.stdin, process.stdout
        address = told.readline().strip()
        assert address, f"{engine} did not start"

        def asked(task: Task) -> Timing:
            print(json.dumps(asdict(task)), file=sent, flush=True)
            return Timing(**json.loads(told.readline()))

        try:
            yield over_http(address) if engine == "llama.cpp" else asked
        finally:
            sent.close()


def over_http(address: str) -> Run:
    """Return how a client of llama.cpp's server gets a reply."""

    def run(task: Task) -> Timing:
        request = completion_request(task.prompt_ids, task.sampling)
        request["n_predict"] = request.pop("max_tokens")
        for extra in ("timings_per_token", "return_progress"):  # what only duologue asks for
            del request[extra]
        connection = http.client.HTTPConnection(address)
        begun = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/completion", json.dumps(request | {"stream": True}), headers)
        first, num_tokens = 0.0, 0
        for line in connection.getresponse():
            if not line.startswith(b"data: "):
                continue
            first = first or time.perf_counter()
            chunk = json.loads(line[6:])
            num_tokens = chunk.get("tokens_predicted", num_tokens)
        ended = time.perf_counter()
        connection.close()
        return Timing(first - begun, ended - first, num_tokens)

    return run


def serve(engine: str, file: Path) -> None:
    """Be the other engine until the standard input ends."""
    if engine == "llama.cpp":
        _serve_llama_cpp(file)
    else:
        _serve_transformers(file, "bfloat16" if engine.endswith("bfloat16") else "float32")


def _serve_llama_cpp(file: Path) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()  # everything else as llama.cpp chooses it
    parameters.model.path = str(file)
    parameters.n_ctx = 4096
    parameters.port = 0
    parameters.verbosity = -1
    parameters.endpoint_metrics = True
    server = xllamacpp.Server(parameters)
    server.handle_metrics()  # returns once its loop runs
    print(server.listening_address.removeprefix("http://"), flush=True)
    sys.stdin.read()


class Clock:
    """Notes when the prompt is handed over, and when each token is there."""

    def __init__(self) -> None:
        """Begin with none."""
        self.times: list[float] = []

    def put(self, _value: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is kept back."""


def _serve_transformers(file: Path, dtype: Precision) -> None:
    import torch
    from transformers import LogitsProcessorList
    from transformers.generation.logits_process import SuppressTokensLogitsProcessor

    from duologue.engine.hf.load import load_model

    # transformers would keep the weights packed and unpack them at each step; here it gets plain ones.
    model = load_model(BaseModel(str(file), compute_dtype=dtype))
    model.config.use_cache = True
    model.eval()
    print("ready", flush=True)
    kept: Any = None
    for line in sys.stdin:
        task = Task(**json.loads(line))
        ids = torch.tensor([task.prompt_ids])
        clock = Clock()
        if task.seed >= 0:
            torch.manual_seed(task.seed)
            kept = None
        begun = time.perf_counter()
        with torch.inference_mode():
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=kept,
                max_new_tokens=task.num_tokens,
                do_sample=True,
                temperature=task.sampling.temperature,
                top_p=task.sampling.top_p,
                top_k=0,
                min_p=task.sampling.min_p,
                repetition_penalty=task.sampling.repetition_penalty,
                logits_processor=LogitsProcessorList([SuppressTokensLogitsProcessor(task.banned)]),
                streamer=clock,
                return_dict_in_generate=True,
                pad_token_id=0,
            )
        kept = found.past_key_values
        kept.crop(len(task.prompt_ids) - 1 - kept.get_seq_length())
        times = clock.times
        timing = Timing(times[1] - begun, times[-1] - times[1], len(times) - 1)
        print(json.dumps(asdict(timing)), flush=True)


if __name__ == "__main__":
    main()
