"""Models that several characters share: loaded when a word is first needed of them, put away when room is needed.

A generator from the shelf can be handed out before its model is loaded, so that chats and memories can be looked at
without it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from duologue.engine.base import Generator, Piece, Sampling, Tokenizer
from duologue.engine.job import Adapter, BaseModel, Example
from duologue.engine.open import EngineName, open_generator
from duologue.errors import EngineError
from duologue.messages import Message

_LONGEST_WAIT_SECONDS = 600.0  # for another model's replies to end; a reply of a large model takes minutes
# A turn asks for its model many times in a row, to count tokens and then to reply. Between two of these moments another
# turn must not take the model away, or two characters would load theirs in turns and neither would come to a word.
_REST_SECONDS = 1.0

Key = tuple[EngineName, BaseModel, Adapter | None]
Open = Callable[..., Generator]


@dataclass(slots=True)
class _Loaded:
    generator: Generator
    num_users: int = 0
    used_at: float = 0.0  # monotonic

    def rest(self, now: float) -> float:
        """Return the seconds until it may be put away, were nobody to use it any more."""
        return max(0.0, self.used_at + _REST_SECONDS - now)


class Shelf:
    """At most so many models in memory; the one used longest ago makes room, never one that is being used.

    Args:
        max_models: Models that may be loaded at the same time.
        open_model: Loads one; `open_generator` but in tests.
    """

    def __init__(self, max_models: int = 1, *, open_model: Open = open_generator) -> None:
        """Load nothing."""
        assert max_models > 0
        self._max_models = max_models
        self._open_model = open_model
        self._loaded: OrderedDict[Key, _Loaded] = OrderedDict()
        self._changed = threading.Condition()
        self._before_loading: Callable[[], None] = _allowed
        self._loading = threading.Lock()  # one at a time: two together may not fit while each alone does

    def lend(
        self, engine: EngineName, base: BaseModel, *, adapter: Adapter | None = None, api_key: str = ""
    ) -> Generator:
        """Return a generator whose model is loaded once it is needed; the arguments are those of `open_generator`."""
        return _Lent(self, (engine, base, adapter), api_key=api_key)

    def names(self) -> tuple[str, ...]:
        """Return the base models that are loaded, the one used last at the end."""
        with self._changed:
            return tuple(base.name for _, base, _ in self._loaded)

    def is_loaded(self, engine: EngineName, base: BaseModel, adapter: Adapter | None = None) -> bool:
        """Return whether a model is in memory."""
        with self._changed:
            return (engine, base, adapter) in self._loaded

    def ask_before_loading(self, ask: Callable[[], None]) -> None:
        """Have somebody asked before a model is loaded, who raises when there is no memory for it now."""
        self._before_loading = ask

    def rest(self, *, timeout_seconds: float) -> bool:
        """Free every model, waiting for those in use; return False when one still is after that time."""
        deadline = time.monotonic() + timeout_seconds
        if not self._loading.acquire(timeout=timeout_seconds):
            return False  # one is being loaded right now
        try:
            while True:
                with self._changed:
                    idle = [self._loaded.pop(key) for key, each in list(self._loaded.items()) if not each.num_users]
                for each in idle:
                    each.generator.close()
                with self._changed:
                    if not self._loaded:
                        return True
                    if time.monotonic() > deadline:
                        return False
                    if all(each.num_users for each in self._loaded.values()):
                        self._changed.wait(deadline - time.monotonic())
        finally:
            self._loading.release()

    def close(self) -> None:
        """Free every model; whoever is still using one has failed to stop."""
        with self._changed:
            loaded = list(self._loaded.values())
            self._loaded.clear()
            self._changed.notify_all()
        for each in loaded:
            each.generator.close()

    @contextmanager
    def using(self, key: Key, *, api_key: str) -> Iterator[Generator]:
        """Yield a model, loaded and safe from being put away.

        Raises:
            EngineError: Loading failed, or no other model could be put away.
        """
        loaded = self._take(key)
        if loaded is None:
            with self._loading:
                loaded = self._take(key) or self._load(key, api_key=api_key)
        try:
            yield loaded.generator
        finally:
            with self._changed:
                loaded.num_users -= 1
                loaded.used_at = time.monotonic()
                self._changed.notify_all()

    def _take(self, key: Key) -> _Loaded | None:
        with self._changed:
            loaded = self._loaded.get(key)
            if loaded is not None:
                self._loaded.move_to_end(key)
                loaded.num_users += 1
            return loaded

    def _load(self, key: Key, *, api_key: str) -> _Loaded:
        engine, base, adapter = key
        self._before_loading()
        self._make_room(base)
        loaded = _Loaded(self._open_model(engine, base, adapter=adapter, api_key=api_key), num_users=1)
        with self._changed:
            self._loaded[key] = loaded
        return loaded

    def _make_room(self, base: BaseModel) -> None:
        deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
        while True:
            with self._changed:
                if len(self._loaded) < self._max_models:
                    return
                now = time.monotonic()
                idle = [(each.rest(now), key) for key, each in self._loaded.items() if not each.num_users]
                seconds, oldest = min(idle, key=lambda each: each[0], default=(_LONGEST_WAIT_SECONDS, None))
                freed = self._loaded.pop(oldest) if oldest is not None and not seconds else None
                if freed is None:
                    if now > deadline:
                        raise EngineError(
                            f"there is no room for {base.name}: other models have been in use for "
                            f"{_LONGEST_WAIT_SECONDS / 60:g} minutes",
                            action="Try again later, or allow more models with server.max_models if they fit.",
                        )
                    self._changed.wait(min(seconds, deadline - now))
            if freed is not None:
                freed.generator.close()


def _allowed() -> None:
    """Nobody minds that a model is loaded."""


class _Lent:
    """A generator that asks the shelf for its model each time it needs it."""

    def __init__(self, shelf: Shelf, key: Key, *, api_key: str) -> None:
        self._shelf = shelf
        self._key = key
        self._api_key = api_key
        self._context_tokens = 0
        self._tokenizer = _LentTokenizer(shelf, key, api_key=api_key)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def context_tokens(self) -> int:
        if not self._context_tokens:
            with self._shelf.using(self._key, api_key=self._api_key) as generator:
                self._context_tokens = generator.context_tokens
        return self._context_tokens

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        with self._shelf.using(self._key, api_key=self._api_key) as generator:
            yield from generator.stream(prompt_ids, sampling, cancel=cancel)

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        with self._shelf.using(self._key, api_key=self._api_key) as generator:
            return generator.unsupported(sampling)

    def score(self, examples: Sequence[Example]) -> tuple[float, int]:
        with self._shelf.using(self._key, api_key=self._api_key) as generator:
            return generator.score(examples)

    def close(self) -> None:
        """Nothing to free here: the model is the shelf's."""


class _LentTokenizer:
    """The tokenizer of a model that may not be loaded yet; llama.cpp's works only while its model is."""

    def __init__(self, shelf: Shelf, key: Key, *, api_key: str) -> None:
        self._shelf = shelf
        self._key = key
        self._api_key = api_key

    @property
    def stop_token_ids(self) -> frozenset[int]:
        with self._own() as own:
            return own.stop_token_ids

    @property
    def special_tokens(self) -> tuple[str, ...]:
        with self._own() as own:
            return own.special_tokens

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        with self._own() as own:
            return own.render(messages, add_generation_prompt=add_generation_prompt, continues=continues)

    def encode(self, text: str) -> Sequence[int]:
        with self._own() as own:
            return own.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        with self._own() as own:
            return own.decode(ids)

    @contextmanager
    def _own(self) -> Iterator[Tokenizer]:
        with self._shelf.using(self._key, api_key=self._api_key) as generator:
            yield generator.tokenizer
