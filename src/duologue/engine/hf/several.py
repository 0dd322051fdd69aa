"""One loaded base with several adapters on it: they take turns, forward pass by forward pass.

The adapters lie beside the base's weights and are added at each forward pass. Which of them counts is set before the
pass, under a lock; without any, the base computes as if there were none. Keys and values that one adapter has computed
say nothing to another, so each generator keeps its own.
"""

import gc
import itertools
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open

from duologue.engine.hf.generate import HfGenerator
from duologue.engine.hf.load import HfModel, load_model, load_tokenizer
from duologue.engine.hf.merge import attach
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.job import Adapter, BaseModel
from duologue.errors import EngineError

_UNKNOWN = "?"  # no adapter's name: the next turn sets every layer
# What an adapter may bring besides its matrices changes weights that the others use too.
_CHANGES_THE_BASE = ("modules_to_save", "trainable_token_indices", "target_parameters", "ensure_weight_tying")


def is_only_lora(adapter: Adapter) -> bool:
    """Return whether an adapter is nothing but LoRA or DoRA matrices; True where loading it will say what is wrong."""
    try:
        settings = json.loads((adapter.folder / "adapter_config.json").read_bytes())
        with safe_open(adapter.folder / "adapter_model.safetensors", framework="pt") as file:
            is_lora = all("lora_" in key for key in file.keys())  # noqa: SIM118
    except (OSError, ValueError, SafetensorError):
        return True
    if not isinstance(settings, dict):
        return True
    changes = any(settings.get(key) for key in _CHANGES_THE_BASE)
    return is_lora and settings.get("bias", "none") == "none" and not changes


class Several:
    """A loaded base that generators share, each with an adapter of its own or with none."""

    def __init__(self, model: HfModel, tokenizer: HfTokenizer) -> None:
        """Wrap a loaded base without adapters."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._peft: PeftModel | None = None
        self._turn = threading.RLock()
        self._on = ""  # the adapter that counts now; the base alone when empty
        self._numbers = itertools.count(1)
        self._seats: list[_Seat] = []  # the one that had its turn last at the end

    @classmethod
    def open(cls, base: BaseModel) -> "Several":
        """Load a base.

        Raises:
            EngineError: Loading failed.
        """
        return cls(load_model(base), load_tokenizer(base))

    def generator(self, adapter: Adapter | None) -> HfGenerator:
        """Return a generator over the base; closing it frees its adapter and keeps the base.

        Raises:
            EngineError: The adapter does not fit the base; the base is as it was.
        """
        with self._turn:
            name = self._put_on(adapter) if adapter is not None else ""
            seat = _Seat(self, name)
            generator = HfGenerator(self._model, self._tokenizer, seat=seat)
            seat.generators.append(generator)
            self._seats.append(seat)
        return generator

    def close(self) -> None:
        """Free the base."""
        with self._turn:
            self._seats.clear()
            self._peft = None
            del self._model
        _give_back_memory()

    @contextmanager
    def turn(self, seat: "_Seat") -> Iterator[HfModel]:
        """Yield the model with a seat's adapter on it and nobody else's."""
        with self._turn:
            if seat is not self._seats[-1]:
                self._seats.remove(seat)
                self._seats.append(seat)
            self._switch(seat.name)
            yield self._model
            self._keep_within_a_context(seat)

    def make_room(self, seat: "_Seat") -> bool:
        """Free the keys and values that others keep; return False when there were none."""
        with self._turn:
            others = [each for each in self._seats if each is not seat and each.num_cached_tokens]
            for other in others:
                other.forget()
        if others:
            _give_back_memory()
        return bool(others)

    def leave(self, seat: "_Seat") -> None:
        """Take a seat's adapter off the base."""
        with self._turn:
            if seat not in self._seats:
                return
            self._seats.remove(seat)
            seat.generators.clear()
            if seat.name:
                self._take_off(seat.name)
        _give_back_memory()

    def _switch(self, name: str) -> None:
        if name == self._on:
            return
        for layer in self._layers():
            layer.enable_adapters(bool(name))
            if name:
                layer.set_adapter(name, inference_mode=True)
        self._on = name

    def _layers(self) -> list[LoraLayer]:
        return [layer for layer in self._model.modules() if isinstance(layer, LoraLayer)]

    def _put_on(self, adapter: Adapter) -> str:
        if not is_only_lora(adapter):
            raise EngineError(
                "the adapter changes weights of the base itself, which others use too",
                where=str(adapter.folder),
                needed="LoRA or DoRA matrices alone (bias 'none', no modules_to_save)",
            )
        name = f"adapter{next(self._numbers)}"
        try:
            self._peft = attach(self._model, adapter, name=name, onto=self._peft)
        except BaseException:
            self._take_off(name)
            raise
        self._model.requires_grad_(False)
        self._on = _UNKNOWN
        self._switch("")
        return name

    def _take_off(self, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about which adapter counts from now on: the next turn says it
            for layer in self._layers():
                layer.delete_adapter(name)
        self._unwrap()
        self._model.peft_config.pop(name, None)
        if self._peft is not None and self._model.peft_config:
            self._peft.base_model.active_adapter = self._peft.active_adapter = next(iter(self._model.peft_config))
        else:
            self._peft = None
            del self._model.peft_config
        self._on = _UNKNOWN
        self._switch("")

    def _unwrap(self) -> None:
        """Make the layers that have no adapter left what they were before the first."""
        for parent in list(self._model.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, LoraLayer) and not (len(layer.lora_A) or len(layer.lora_embedding_A)):
                    setattr(parent, name, layer.get_base_layer())

    def _keep_within_a_context(self, seat: "_Seat") -> None:
        """Let all kept keys and values together be no more than one context's, which is what was planned for."""
        room = seat.generators[0].context_tokens if seat.generators else 0
        kept = sum(each.num_cached_tokens for each in self._seats)
        for other in self._seats[:-1]:
            if kept <= room:
                return
            kept -= other.num_cached_tokens
            other.forget()


class _Seat:
    """A generator's place at a shared base."""

    def __init__(self, several: Several, name: str) -> None:
        self.name = name
        self.generators: list[HfGenerator] = []  # one, or none when it has left
        self._several = several

    @property
    def num_cached_tokens(self) -> int:
        return sum(generator.num_cached_tokens for generator in self.generators)

    def forget(self) -> None:
        for generator in self.generators:
            generator.forget_cache()

    def turn(self) -> AbstractContextManager[HfModel]:
        return self._several.turn(self)

    def make_room(self) -> bool:
        return self._several.make_room(self)

    def leave(self) -> None:
        self._several.leave(self)


def _give_back_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
