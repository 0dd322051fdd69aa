"""How fast one opened generator is, by length of context."""

import math
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from duologue.engine import Generator, Sampling
from duologue.errors import DataError
from duologue.evaluate.material import general_texts
from duologue.evaluate.observed import Speed
from duologue.messages import Message

LENGTHS_TOKENS = (128, 512, 1024)
NUM_ROUNDS = 3
NUM_NEW_TOKENS = 32
WARM = " (warm)"
"""Stands behind the name of an engine whose prompt was read before."""


def measure_speeds(
    generator: Generator,
    *,
    engine: str,
    lengths: Sequence[int] = LENGTHS_TOKENS,
    num_rounds: int = NUM_ROUNDS,
    num_new_tokens: int = NUM_NEW_TOKENS,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    peak_memory_bytes: Callable[[], int] | None = None,
) -> tuple[Speed, ...]:
    """Return the speed at each length that fits the context: cold, and warm under the engine's name and ` (warm)`.

    Every round has a prompt that begins differently, so that nothing kept from an earlier one helps. The same prompt
    is then given once more: that is the warm figure. One short reply before all others is not counted, as first
    calls load and compile things. A reply that ends at once has no speed; its round counts for the first token only.

    Args:
        generator: An open one that nobody else uses.
        engine: Its name in the result.
        lengths: Prompt lengths in tokens; those that do not fit with the reply are left out, and the longest that
            does fit takes the place of the first of them.
        num_rounds: Of which medians are taken.
        num_new_tokens: Length of each reply.
        seed: Of the prompts.
        clock: Seconds.
        peak_memory_bytes: Tells the peak so far; by default that of this process's resident memory, reset before each
            length where the system can (Linux). A model on another server is not in it.

    Raises:
        EngineError: The generator failed.
    """
    peak = peak_memory_bytes or peak_resident_bytes
    _timed(generator, _prompt(generator, min(16, generator.context_tokens // 2), f"{seed}/first"), 2, clock)
    speeds: list[Speed] = []
    for length in _fitting(lengths, generator.context_tokens - num_new_tokens):
        if peak_memory_bytes is None:
            _reset_peak()
        cold, warm = [], []
        num_tokens = length
        for number in range(num_rounds):
            prompt = _prompt(generator, length, f"{seed}/{length}/{number}")
            num_tokens = len(prompt)
            cold.append(_timed(generator, prompt, num_new_tokens, clock))
            warm.append(_timed(generator, prompt, num_new_tokens, clock))
        used = peak()
        speeds += [
            _median(engine, num_tokens, cold, used),
            _median(f"{engine}{WARM}", num_tokens, warm, used),
        ]
    return tuple(speeds)


def peak_resident_bytes() -> int:
    """Return the peak of this process's resident memory since it was last reset; 0 where the system does not tell."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peak() -> None:
    """Let the peak begin anew; where that is not allowed it goes on being that of the whole process."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _fitting(lengths: Sequence[int], most: int) -> list[int]:
    """Return the lengths up to `most`; the first longer one becomes `most`."""
    fitting = [length for length in sorted(lengths) if length <= most]
    is_longer_wanted = len(fitting) < len(lengths)
    return [*fitting, most] if is_longer_wanted and most > max(fitting, default=0) else fitting


def _prompt(generator: Generator, length: int, seed: str) -> tuple[int, ...]:
    """Return a prompt of so many tokens that begins like no other; a server's are estimated, and packed messages."""
    draw = random.Random(seed)
    words = " ".join(text.text for text in general_texts()).split()
    # Rotation alone could meet an earlier prompt; the number in front makes the first token differ as well.
    start = draw.randrange(len(words))
    words = words[start:] + words[:start]
    text = f"{draw.randrange(10**6)} " + " ".join(words * math.ceil(2 * length / len(words)))
    try:
        ids = tuple(generator.tokenizer.encode(text))
    except DataError:  # the vocabulary is on the server: whole messages only
        return _packed(generator, text.split(), length)
    return (ids * math.ceil(length / len(ids)))[:length]


def _packed(generator: Generator, words: Sequence[str], length: int) -> tuple[int, ...]:
    """Return the longest message of these words that is at most so many ids; at least one word."""
    low, high = 1, len(words)

    def rendered(num: int) -> tuple[int, ...]:
        return generator.tokenizer.render((Message("user", " ".join(words[:num])),), add_generation_prompt=True)

    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(rendered(middle)) <= length else (low, middle - 1)
    return rendered(low)


@dataclass(frozen=True, slots=True)
class _Round:
    first_token_seconds: float
    tokens_per_second: float | None


def _timed(generator: Generator, prompt: Sequence[int], num_new_tokens: int, clock: Callable[[], float]) -> _Round:
    started = clock()
    arrivals: list[tuple[int, float]] = []  # tokens so far, and when
    sampling = Sampling(max_new_tokens=num_new_tokens, temperature=0, repetition_penalty=1.0, min_p=0.0, top_p=1.0)
    for piece in generator.stream(prompt, sampling, cancel=threading.Event()):
        if piece.num_tokens > (arrivals[-1][0] if arrivals else 0):
            arrivals.append((piece.num_tokens, clock()))
    if not arrivals:  # the reply ended with its first token: the whole time is that of the first token
        return _Round(clock() - started, None)
    (first_count, first_at), (last_count, last_at) = arrivals[0], arrivals[-1]
    speed = (last_count - first_count) / (last_at - first_at) if last_at > first_at else None
    return _Round(first_at - started, speed)


def _median(engine: str, context_tokens: int, rounds: Sequence[_Round], peak_memory_bytes: int) -> Speed:
    speeds = [timed.tokens_per_second for timed in rounds if timed.tokens_per_second is not None]
    return Speed(
        engine=engine,
        context_tokens=context_tokens,
        first_token_seconds=statistics.median(timed.first_token_seconds for timed in rounds),
        tokens_per_second=statistics.median(speeds) if speeds else 0.0,
        peak_memory_bytes=peak_memory_bytes,
    )
