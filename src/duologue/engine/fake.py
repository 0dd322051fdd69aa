"""An engine without a model: deterministic arithmetic behind the same Protocols, for tests and for trying things out.

It loads nothing, needs no GPU and answers at once. Its losses, times and replies are computed, not measured, so two
runs with the same job are equal to the last byte.
"""

import json
import math
import random
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from duologue.engine.active import active_constraints
from duologue.engine.base import Piece, Sampling, TemplateTraits
from duologue.engine.chat_text import require_reply
from duologue.engine.facts import ModelFacts
from duologue.engine.job import (
    NOT_TRAINED,
    Adapter,
    BaseModel,
    Event,
    Example,
    FitResult,
    OnEvent,
    Precision,
    TrainingJob,
)
from duologue.engine.merging import Onto, Parity
from duologue.engine.neutral import neutralise
from duologue.errors import EngineError, InterruptedRun
from duologue.files import write_whole
from duologue.messages import FinishReason, Message

DEFAULT_REPLY = "You said: {message} Tell me more about that."
TOKENS_PER_SECOND = 1000.0  # the fake's clock: every token takes a millisecond
_CONTEXT_TOKENS = 8192
_IM_START, _IM_END = 1, 2
_SPECIAL_IDS = {"<|im_start|>": _IM_START, "<|im_end|>": _IM_END}
_FIRST_TEXT_ID = 3
_FORBIDDING_BIAS = -100.0  # as OpenAI's API has it
_CHUNK_BYTES = 6  # 257**6 < 2**53: ids survive JSON and 64-bit arrays
_SPECIAL = re.compile("(" + "|".join(re.escape(text) for text in _SPECIAL_IDS) + ")")
_WORD = re.compile(r" ?\S+|\s+")


class FakeTokenizer:
    """A ChatML tokenizer without a vocabulary file: a word, cut into chunks of at most 6 bytes, is its own id.

    An id is the number whose digits in bijective base 256 are the chunk's bytes, so every text can be encoded and
    every rendered prompt decoded. English comes to about four characters per token, as with real tokenizers.
    """

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """The id of `<|im_end|>`."""
        return frozenset({_IM_END})

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The two ChatML marks."""
        return tuple(_SPECIAL_IDS)

    @property
    def traits(self) -> TemplateTraits:
        """ChatML carries everything."""
        return TemplateTraits()

    @property
    def fingerprint(self) -> str:
        """There is only one such tokenizer."""
        return "fake"

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the ids of the messages in ChatML; with `continues` they end with the last reply's content.

        Raises:
            DataError: `continues`, and the last message is not an assistant's.
        """
        if not continues:
            return tuple(self.encode(self.render_text(messages, add_generation_prompt=add_generation_prompt)))
        require_reply(messages)
        before = self.render(messages[:-1], add_generation_prompt=True)
        return (*before, *self.encode(neutralise(messages[-1].content, self.special_tokens)))

    def render_text(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the messages in ChatML."""
        safe = [(message.role, neutralise(message.content, self.special_tokens)) for message in messages]
        text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in safe)
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        return [self.encode(text) for text in texts]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; ChatML marks in it become control tokens, as with real tokenizers."""
        ids: list[int] = []
        for part in _SPECIAL.split(text):
            if part in _SPECIAL_IDS:
                ids.append(_SPECIAL_IDS[part])
                continue
            for word in _WORD.findall(part):
                raw = word.encode("utf-8", "replace")
                ids += [_chunk_id(raw[at : at + _CHUNK_BYTES]) for at in range(0, len(raw), _CHUNK_BYTES)]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, control tokens left out."""
        return b"".join(_chunk_bytes(token_id) for token_id in ids).decode("utf-8", "replace")


class FakeGenerator:
    """A generator that repeats the last user message inside a fixed sentence, word by word.

    Where the last message is an open reply, it goes on with it. Words whose tokens a logit bias forbids are left out.

    Args:
        reply: What it says; `{message}` stands for the last user message, `{seed}` for the seed.
        delay_seconds: Pause before every word; a set `cancel` ends the pause at once.
        context_tokens: Longest prompt plus reply it accepts.
    """

    def __init__(
        self, *, reply: str = DEFAULT_REPLY, delay_seconds: float = 0.0, context_tokens: int = _CONTEXT_TOKENS
    ) -> None:
        """Keep the settings; there is nothing to load."""
        self._reply = reply
        self._delay_seconds = delay_seconds
        self._context_tokens = context_tokens
        self._tokenizer = FakeTokenizer()
        self._held: list[int] = []  # the last prompt and reply, as a cache would hold them
        self._is_closed = False

    @property
    def tokenizer(self) -> FakeTokenizer:
        """The ChatML tokenizer of the fake."""
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        return self._context_tokens

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply word by word; the last piece is empty and carries the finish reason.

        Raises:
            EngineError: Prompt and reply do not fit the context, or the generator is closed.
        """
        if self._is_closed:
            raise EngineError("the generator is closed", action="Open it again.")
        wanted = len(prompt_ids) + sampling.max_new_tokens
        if wanted > self._context_tokens:
            raise EngineError(
                f"prompt ({len(prompt_ids)} tokens) and reply ({sampling.max_new_tokens} tokens) need {wanted} tokens",
                needed=f"at most {self._context_tokens}",
                action="Shorten the conversation or lower generation.max_new_tokens.",
            )
        text = self._reply.replace("{message}", _last_user_text(prompt_ids, self._tokenizer))
        text = text.replace("{seed}", str(sampling.seed))
        if said := _open_text(prompt_ids, self._tokenizer):
            text = text.removeprefix(said) if text.startswith(said) else f" {text}"
        return self._pieces(list(prompt_ids), _cut_at_stop(text, sampling.stop), sampling, cancel)

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return what would hold the reply to a form: where there is one choice only, no other setting matters."""
        return active_constraints(sampling)

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        """Return likelihoods that depend on the tokens alone: between 1 and 2 nats each."""
        targets = [[label for label in example.labels[1:] if label != NOT_TRAINED] for example in examples]
        return tuple((sum(1.0 + label % 1009 / 1009 for label in labels), len(labels)) for labels in targets)

    def close(self) -> None:
        """Refuse further work, as a freed model would."""
        self._is_closed = True

    def _pieces(self, prompt_ids: list[int], text: str, sampling: Sampling, cancel: threading.Event) -> Iterator[Piece]:
        num_cached = _num_agreeing(self._held, prompt_ids[:-1])
        self._held = list(prompt_ids)
        forbidden = {token for token, value in sampling.logit_bias if value <= _FORBIDDING_BIAS}
        num_tokens = 0
        finish_reason: FinishReason = "stop"
        for word in _WORD.findall(text):
            if cancel.wait(self._delay_seconds):
                finish_reason = "cancelled"
                break
            ids = self._tokenizer.encode(word)[: sampling.max_new_tokens - num_tokens]
            if forbidden.intersection(ids):
                continue
            num_tokens += len(ids)
            self._held += ids
            raw = b"".join(_chunk_bytes(token_id) for token_id in ids)
            yield Piece(raw.decode("utf-8", "ignore"), num_tokens)
            if num_tokens == sampling.max_new_tokens:
                finish_reason = "length"
                break
        yield Piece("", num_tokens, finish_reason, num_cached)


class FakeTrainer:
    """A trainer whose loss falls along a fixed curve and whose adapter is a few bytes."""

    def facts(self, base: BaseModel) -> ModelFacts:
        """Return the shape of a tiny Llama; the fake has no weights of its own."""
        return ModelFacts(
            name=base.name,
            hidden_size=64,
            num_layers=2,
            intermediate_size=256,
            num_heads=4,
            num_kv_heads=2,
            head_dim=16,
            vocab_size=49152,
            has_tied_embeddings=True,
            context_tokens=_CONTEXT_TOKENS,
        )

    def tokenizer(self, base: BaseModel) -> FakeTokenizer:  # noqa: ARG002  (the Protocol's signature)
        """Return the ChatML tokenizer of the fake, the same for every base."""
        return FakeTokenizer()

    def fit(
        self,
        job: TrainingJob,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Run the steps of a job, continuing from `checkpoints/state.json` when it is there.

        Raises:
            InterruptedRun: `should_stop` was set; the state after the last finished step is on disk.
        """
        assert train, "a plan without examples must not reach the engine"
        on_event(Event("loading", values={"base": job.base.name}))
        on_event(Event("loaded", values={"seconds": 0.0}))
        state = _read_state(job.run_folder)
        if state.step:
            on_event(Event("resumed", step=state.step, values={"max_steps": job.max_steps}))
        num_tokens = num_trained_tokens = 0
        for step in range(state.step + 1, job.max_steps + 1):
            batch = _batch(train, job, step=step)
            state = _State(step, (*state.losses, _loss(job, step=step)))
            num_tokens += sum(example.num_tokens for example in batch)
            num_trained_tokens += sum(example.num_trained_tokens for example in batch)
            on_event(_step_event(job, state, batch))
            if validation and job.eval_every_steps and step % job.eval_every_steps == 0:
                on_event(Event("evaluated", step=step, values={"validation_loss": state.losses[-1] + 0.1}))
            if step % job.save_every_steps == 0 or step == job.max_steps or should_stop.is_set():
                _write_state(job.run_folder, state)
                on_event(Event("checkpoint", step=step, values={"folder": str(job.run_folder / "checkpoints")}))
            if should_stop.is_set() and step < job.max_steps:
                raise InterruptedRun(
                    f"training stopped after step {step} of {job.max_steps}", action="Continue with --resume."
                )
        adapter = _write_adapter(job, state)
        on_event(Event("saved", step=state.step, values={"folder": str(adapter.folder)}))
        tail = state.losses[-max(1, len(state.losses) // 10) :]
        return FitResult(
            adapter=adapter,
            num_steps=state.step,
            final_loss=sum(tail) / len(tail),
            num_trained_tokens=num_trained_tokens,
            num_tokens=num_tokens,
            seconds=num_tokens / TOKENS_PER_SECOND,
            peak_memory_bytes=16 * sum(example.num_tokens for example in (*train, *validation)),
            reload_max_difference=0.0,
        )

    def merge(self, adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto, on_event: OnEvent) -> None:
        """Write a copy of the adapter's numbers as a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = (adapter.folder / "adapter_model.safetensors").read_bytes()
        write_whole(folder / "model.safetensors", weights)
        settings = {"model_type": "fake", "base": adapter.base.name, "dtype": dtype, "onto": onto}
        write_whole(folder / "config.json", json.dumps(settings))
        total = len(weights)
        on_event(Event("preparing", values={"what": "merging", "done": total, "total": total, "seconds": 0.0}))

    def compare(
        self,
        adapter: Adapter,
        folders: Sequence[Path],
        examples: Sequence[Example],
        prompts: Sequence[Sequence[Message]],
    ) -> tuple[Parity, ...]:
        """Compare the numbers, which were copied: a folder is equal to the adapter or has nothing of it."""
        del prompts
        weights = (adapter.folder / "adapter_model.safetensors").read_bytes()
        return tuple(
            _parity(examples, is_equal=(folder / "model.safetensors").read_bytes() == weights) for folder in folders
        )


@dataclass(frozen=True, slots=True)
class _State:
    step: int = 0
    losses: tuple[float, ...] = ()


def _parity(examples: Sequence[Example], *, is_equal: bool) -> Parity:
    num_positions = sum(label != NOT_TRAINED for example in examples for label in example.labels)
    off = 0.0 if is_equal else 1.0
    return Parity(off, 1.0 - off, len(examples), num_positions, is_equal, is_equal, off)


def _chunk_id(chunk: bytes) -> int:
    number = 0
    for byte in chunk:
        number = number * 256 + byte + 1
    return _FIRST_TEXT_ID - 1 + number


def _chunk_bytes(token_id: int) -> bytes:
    if token_id < _FIRST_TEXT_ID:
        return b""
    number, digits = token_id - _FIRST_TEXT_ID + 1, bytearray()
    while number:
        number, digit = divmod(number - 1, 256)
        digits.append(digit)
    return bytes(reversed(digits))


def _last_user_text(prompt_ids: Sequence[int], tokenizer: FakeTokenizer) -> str:
    text = ""
    header = "user\n"
    starts = [at for at, token_id in enumerate(prompt_ids) if token_id == _IM_START]
    if not starts:  # a raw prompt
        return tokenizer.decode(prompt_ids).strip()
    for start, end in zip(starts, [*starts[1:], len(prompt_ids)], strict=True):
        message = tokenizer.decode(prompt_ids[start:end])
        if message.startswith(header):
            text = message.removeprefix(header).strip()
    return text


def _open_text(prompt_ids: Sequence[int], tokenizer: FakeTokenizer) -> str:
    """Return what an open reply at the end of a prompt says so far."""
    ids = list(prompt_ids)
    last = ids[len(ids) - 1 - ids[::-1].index(_IM_START) :] if _IM_START in ids else ids
    return "" if _IM_END in last else tokenizer.decode(last).removeprefix("assistant\n")


def _num_agreeing(held: Sequence[int], ids: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    places = (at for at, (old, new) in enumerate(zip(held, ids, strict=False)) if old != new)
    return next(places, min(len(held), len(ids)))


def _cut_at_stop(text: str, stop: Sequence[str]) -> str:
    found = [text.index(mark) for mark in stop if mark and mark in text]
    return text[: min(found)] if found else text


def _batch(train: Sequence[Example], job: TrainingJob, *, step: int) -> list[Example]:
    first = (step - 1) * job.examples_per_step
    return [_example_at(train, job.seed, first + offset) for offset in range(job.examples_per_step)]


def _example_at(train: Sequence[Example], seed: int, at: int) -> Example:
    epoch, position = divmod(at, len(train))
    order = list(range(len(train)))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return train[order[position]]


def _loss(job: TrainingJob, *, step: int) -> float:
    wobble = random.Random(f"{job.seed}/loss/{step}").uniform(-0.05, 0.05)
    return 1.5 + 2.0 * math.exp(-3.0 * step / job.max_steps) + wobble


def _learning_rate(job: TrainingJob, *, step: int) -> float:
    if step <= job.warmup_steps:
        return job.learning_rate * step / job.warmup_steps
    progress = (step - job.warmup_steps) / max(1, job.max_steps - job.warmup_steps)
    shapes = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    return job.learning_rate * shapes[job.lr_schedule]


def _step_event(job: TrainingJob, state: _State, batch: list[Example]) -> Event:
    num_tokens = sum(example.num_tokens for example in batch)
    values: dict[str, float | int | str] = {
        "loss": state.losses[-1],
        "learning_rate": _learning_rate(job, step=state.step),
        "grad_norm": 1.0,
        "seconds": num_tokens / TOKENS_PER_SECOND,
        "num_tokens": num_tokens,
        "num_trained_tokens": sum(example.num_trained_tokens for example in batch),
        "tokens_per_second": TOKENS_PER_SECOND,
        "memory_gib": 0.0,
        "max_steps": job.max_steps,
    }
    return Event("step", step=state.step, values=values)


def _read_state(run_folder: Path) -> _State:
    path = run_folder / "checkpoints" / "state.json"
    if not path.exists():
        return _State()
    document = json.loads(path.read_text(encoding="utf-8"))
    return _State(document["step"], tuple(document["losses"]))


def _write_state(run_folder: Path, state: _State) -> None:
    path = run_folder / "checkpoints" / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(state)))


def _write_adapter(job: TrainingJob, state: _State) -> Adapter:
    folder = job.run_folder / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": job.base.name, "r": job.lora.rank}
    write_whole(folder / "adapter_config.json", json.dumps(config, indent=2))
    write_whole(folder / "adapter_model.safetensors", _safetensors(state.losses))
    return Adapter(folder=folder, base=job.base)


def _safetensors(numbers: Sequence[float]) -> bytes:
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    shape = {"losses": {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [0, len(data)]}}
    header = json.dumps(shape).encode()
    return struct.pack("<Q", len(header)) + header + data
