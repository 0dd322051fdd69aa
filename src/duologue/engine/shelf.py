"""Models that several characters share: loaded when a word is first needed of them, put away when room is needed.

A generator from the shelf can be handed out before its model is loaded, so that chats and memories can be looked at
without it.

What counts is the weights in memory. Characters on the same base share them where the engine can (`engine.shared`):
each has its adapter on the one loaded base, and none waits for another's to be loaded. Only while a base has one
character, its adapter may be folded in, which replies faster; it is loaded anew when a second one comes. Models on
other servers take no memory here.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from duologue.engine.base import Generator, Piece, Sampling, Tokenizer
from duologue.engine.job import Adapter, BaseModel, Example
from duologue.engine.open import EngineName, open_generator
from duologue.engine.shared import SharedBase, can_share, open_shared
from duologue.errors import EngineError
from duologue.messages import Message

_LONGEST_WAIT_SECONDS = 600.0  # for another model's replies to end; a reply of a large model takes minutes
# A turn asks for its model many times in a row, to count tokens and then to reply. Between two of these moments another
# turn must not take the model away, or two characters would load theirs in turns and neither would come to a word.
_REST_SECONDS = 1.0

_MAX_ADAPTERS = 8  # on one base; one of rank 64 takes 0.5 to 1 GB beside a model of 34 B

Key = tuple[EngineName, BaseModel, Adapter | None]
Open = Callable[..., Generator]


OpenShared = Callable[[EngineName, BaseModel], SharedBase]


@dataclass(slots=True, eq=False)
class _Weights:
    """A loaded model: of one generator, or a base that several share."""

    takes_memory: bool = True
    shared: SharedBase | None = None


@dataclass(slots=True)
class _Loaded:
    generator: Generator
    weights: _Weights = field(default_factory=_Weights)
    num_users: int = 0
    used_at: float = 0.0  # monotonic

    def rest(self, now: float) -> float:
        """Return the seconds until it may be put away, were nobody to use it any more."""
        return max(0.0, self.used_at + _REST_SECONDS - now)


class Shelf:
    """At most so many models in memory; the one used longest ago makes room, never one that is being used.

    Args:
        max_models: Models that may be loaded at the same time; a base with several adapters is one.
        open_model: Loads one; `open_generator` but in tests.
        open_base: Loads one for several adapters; `open_shared`, unless models are opened in a way of their own: then
            each adapter is a model.
        num_replies: Replies at the same time by one model of llama.cpp.
    """

    def __init__(
        self,
        max_models: int = 1,
        *,
        open_model: Open = open_generator,
        open_base: OpenShared | None = None,
        num_replies: int = 1,
    ) -> None:
        """Load nothing."""
        assert max_models > 0
        self._max_models = max_models
        self._num_replies = num_replies
        self._open_model = open_model
        self._open_base = open_base or (open_shared if open_model is open_generator else None)
        self._wanted: dict[tuple[EngineName, BaseModel], set[Adapter | None]] = {}  # who was lent a base, ever
        self._loaded: OrderedDict[Key, _Loaded] = OrderedDict()
        self._changed = threading.Condition()
        self._is_loading = False
        self._before_loading: Callable[[], None] = _allowed
        self._loading = threading.Lock()  # one at a time: two together may not fit while each alone does

    def lend(
        self, engine: EngineName, base: BaseModel, *, adapter: Adapter | None = None, api_key: str = ""
    ) -> Generator:
        """Return a generator whose model is loaded once it is needed; the arguments are those of `open_generator`."""
        with self._changed:
            self._wanted.setdefault((engine, base), set()).add(adapter)
        return _Lent(self, (engine, base, adapter), api_key=api_key)

    def names(self) -> tuple[str, ...]:
        """Return the base models that are loaded, the one used last at the end; a shared one is there once."""
        with self._changed:
            by_weights = {each.weights: base.name for (_, base, _), each in reversed(self._loaded.items())}
            return tuple(reversed(by_weights.values()))

    def is_loaded(self, engine: EngineName, base: BaseModel, adapter: Adapter | None = None) -> bool:
        """Return whether a model is in memory."""
        with self._changed:
            return (engine, base, adapter) in self._loaded

    @property
    def is_waking(self) -> bool:
        """Whether the first model is being loaded: until then nobody can be answered."""
        with self._changed:
            return self._is_loading and not self._loaded

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
                self._free(idle)
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
        self._free(loaded)

    @contextmanager
    def using(self, key: Key, *, api_key: str) -> Iterator[Generator]:
        """Yield a model, loaded and safe from being put away.

        Raises:
            EngineError: Loading failed, or no other model could be put away.
        """
        loaded = self._take(key)
        if loaded is None:
            with self._loading:
                loaded = self._take(key) or self._load_and_tell(key, api_key=api_key)
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

    def _load_and_tell(self, key: Key, *, api_key: str) -> _Loaded:
        self._is_loading = True
        try:
            return self._load(key, api_key=api_key)
        finally:
            self._is_loading = False

    def _load(self, key: Key, *, api_key: str) -> _Loaded:
        engine, base, adapter = key
        if engine == "remote":  # it is loaded elsewhere
            loaded = _Loaded(self._open_model(engine, base, adapter=adapter, api_key=api_key), _Weights(False))
        else:
            loaded = self._load_here(key, api_key=api_key)
        loaded.num_users = 1
        with self._changed:
            self._loaded[key] = loaded
        return loaded

    def _load_here(self, key: Key, *, api_key: str) -> _Loaded:
        engine, base, adapter = key
        with self._changed:
            others = self._wanted.get((engine, base), set()) - {adapter}
            present = [each.weights for (*model, _), each in self._loaded.items() if model == [engine, base]]
        weights = next((each for each in present if each.shared is not None), None)
        open_base = self._open_base if can_share(engine, adapter) else None
        is_sharing = open_base is not None and any(can_share(engine, other) for other in others)
        if weights is not None and weights.shared is not None and is_sharing:
            self._make_room_for_adapter(weights)
            return _Loaded(weights.shared.generator(adapter), weights)
        self._before_loading()
        self._make_room(base, instead_of=present if is_sharing else ())
        if open_base is None or not is_sharing:
            more = {"num_replies": self._num_replies} if engine == "gguf" and self._num_replies > 1 else {}
            return _Loaded(self._open_model(engine, base, adapter=adapter, api_key=api_key, **more))
        shared = open_base(engine, base)
        try:
            return _Loaded(shared.generator(adapter), _Weights(shared=shared))
        except BaseException:
            shared.close()
            raise

    def _make_room(self, base: BaseModel, *, instead_of: Sequence[_Weights] = ()) -> None:
        """Put models away until one more may be loaded, those first that it stands in for."""
        deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
        while True:
            with self._changed:
                by_weights: dict[_Weights, list[Key]] = {}
                for key, each in self._loaded.items():
                    if each.weights.takes_memory:
                        by_weights.setdefault(each.weights, []).append(key)
                replaced = [weights for weights in by_weights if weights in instead_of]
                if len(by_weights) < self._max_models and not replaced:
                    return
                now = time.monotonic()
                idle = [
                    (max(self._loaded[key].rest(now) for key in keys), keys)
                    for weights, keys in by_weights.items()
                    if (weights in replaced or not replaced) and not any(self._loaded[key].num_users for key in keys)
                ]
                seconds, oldest = min(idle, key=lambda each: each[0], default=(_LONGEST_WAIT_SECONDS, []))
                freed = [self._loaded.pop(key) for key in oldest] if not seconds else []
                if not freed:
                    if now > deadline:
                        raise EngineError(
                            f"there is no room for {base.name}: other models have been in use for "
                            f"{_LONGEST_WAIT_SECONDS / 60:g} minutes",
                            action="Try again later, or allow more models with server.max_models if they fit.",
                        )
                    self._changed.wait(min(seconds, deadline - now))
            self._free(freed)

    def _make_room_for_adapter(self, weights: _Weights) -> None:
        """Take the adapter off a base that was used longest ago, if it has many; none that is being used."""
        with self._changed:
            on_it = [key for key, each in self._loaded.items() if each.weights is weights]
            idle = [key for key in on_it if not self._loaded[key].num_users]
            freed = [self._loaded.pop(key) for key in idle[:1]] if len(on_it) >= _MAX_ADAPTERS else []
        for each in freed:
            each.generator.close()

    def _free(self, freed: Sequence[_Loaded]) -> None:
        """Close generators, and the bases that nobody has any more."""
        for each in freed:
            each.generator.close()
        with self._changed:
            kept = {each.weights for each in self._loaded.values()}
        for weights in {each.weights for each in freed} - kept:
            if weights.shared is not None:
                weights.shared.close()


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

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
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
