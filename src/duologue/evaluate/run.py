"""`run`: base and tuned model, one after the other, on the same held-out examples and the same prompts."""

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.engine import Event, Example, Generator, OnEvent, Sampling
from duologue.errors import EngineError
from duologue.evaluate.evaluation import Evaluation, Side
from duologue.messages import Message

_SCORE_CHUNK = 16  # examples between two moves of the progress bar
_MAX_LOSS_NATS = 700.0  # exp() of more overflows; a working model stays below ln(vocabulary), about 12


def run(
    *,
    config: Config,
    character: Character,
    validation: Sequence[Example],
    open_base: Callable[[], Generator],
    open_tuned: Callable[[], Generator],
    on_event: OnEvent,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Measure the base model, close it, then measure the tuned one, so that memory holds one model at a time.

    Args:
        config: Supplies the prompts, the length of the replies and the repetition penalty.
        character: Whose system text stands before each prompt.
        validation: Held-out examples; without any the perplexity is None.
        open_base: Loads the base model.
        open_tuned: Loads the base model with the adapter.
        on_event: Receives `evaluating` events with `which`, `done` and `total`.
        clock: Seconds, for the speed of the replies.

    Raises:
        EngineError: Loading or generating failed, or a loss is not a usable number.
    """
    work = _Work(config, character, tuple(validation), on_event, clock)
    base = _measure(work, open_base, which="base")
    tuned = _measure(work, open_tuned, which="tuned")
    return Evaluation(base=base, tuned=tuned, prompts=config.evaluation.prompts)


@dataclass(frozen=True, slots=True)
class _Work:
    config: Config
    character: Character
    validation: tuple[Example, ...]
    on_event: OnEvent
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _TimedReply:
    text: str
    first_token_seconds: float | None
    tokens_per_second: float | None


def _measure(work: _Work, open_generator: Callable[[], Generator], *, which: Literal["base", "tuned"]) -> Side:
    prompts = work.config.evaluation.prompts
    total = len(work.validation) + len(prompts)

    def report(done: int) -> None:
        work.on_event(Event("evaluating", values={"which": which, "done": done, "total": total}))

    generator = open_generator()
    try:
        report(0)
        nats, num_tokens = _score(generator, work.validation, report)
        replies = []
        for text in prompts:
            replies.append(_reply(generator, text, work))
            report(len(work.validation) + len(replies))
    finally:
        generator.close()
    loss = nats / num_tokens if num_tokens else None
    return Side(
        loss=loss,
        perplexity=None if loss is None else _perplexity(loss, which=which),
        num_scored_tokens=num_tokens,
        tokens_per_second=_median([reply.tokens_per_second for reply in replies]),
        first_token_seconds=_median([reply.first_token_seconds for reply in replies]),
        replies=tuple(reply.text for reply in replies),
    )


def _score(generator: Generator, validation: Sequence[Example], report: Callable[[int], None]) -> tuple[float, int]:
    nats, num_tokens = 0.0, 0
    ordered = sorted(validation, key=lambda example: example.num_tokens)  # equal lengths together: little padding
    for at in range(0, len(ordered), _SCORE_CHUNK):
        part = ordered[at : at + _SCORE_CHUNK]
        part_nats, part_tokens = generator.score(part)
        nats, num_tokens = nats + part_nats, num_tokens + part_tokens
        report(at + len(part))
    return nats, num_tokens


def _reply(generator: Generator, text: str, work: _Work) -> _TimedReply:
    messages = prompt.build(work.character, (Message("user", text),), user_name=work.config.character.user_name)
    prompt_ids = generator.tokenizer.render(messages, add_generation_prompt=True)
    sampling = Sampling(
        max_new_tokens=work.config.evaluation.max_new_tokens,
        temperature=0,
        repetition_penalty=work.config.generation.repetition_penalty,
    )
    started = work.clock()
    arrivals: list[tuple[int, float]] = []  # tokens so far, and when
    texts = []
    for piece in generator.stream(prompt_ids, sampling, cancel=threading.Event()):
        texts.append(piece.text)
        if piece.num_tokens > (arrivals[-1][0] if arrivals else 0):
            arrivals.append((piece.num_tokens, work.clock()))
    if not arrivals:
        return _TimedReply("".join(texts).strip(), None, None)
    (first_count, first_at), (last_count, last_at) = arrivals[0], arrivals[-1]
    speed = (last_count - first_count) / (last_at - first_at) if last_at > first_at else None
    return _TimedReply("".join(texts).strip(), first_at - started, speed)


def _perplexity(loss: float, *, which: str) -> float:
    if not loss < _MAX_LOSS_NATS:  # true for "not a number" too
        raise EngineError(
            f"the held-out loss of the {which} model is {loss:g} nats per token",
            needed=f"less than {_MAX_LOSS_NATS:g}",
            action="Train again with a lower training.learning_rate." if which == "tuned" else "Check model.base.",
        )
    return math.exp(loss)


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None
