"""What app.py of a Hugging Face Space starts: the server, with the model on loan from ZeroGPU where there is one.

On ZeroGPU a GPU is there only while a function that asked for it runs, in another process: what goes in and comes out
is pickled, so the event that cancels a reply stays here and closing the stream ends it there.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duologue
from duologue.chat import Bot, People, open_bot
from duologue.cli.places import DATABASE_VARIABLE, database_url, judge_key, redis_url, supermemory_key
from duologue.cli.serve import API_KEY_VARIABLE
from duologue.config import Config, Home, load_home
from duologue.engine import (
    Adapter,
    BaseModel,
    EngineName,
    Example,
    Generator,
    Piece,
    Sampling,
    Shelf,
    Tokenizer,
    open_generator,
)
from duologue.errors import ConfigError, DuologueError, EngineError

DATA_VARIABLE = "DUOLOGUE_SPACE_DATA"
_DATA = Path("/data")  # where a Space has its storage, if it has any
# What a visitor of ZeroGPU asks for is counted whether it is used or not, and refused when it is more than is left.
_SHORTEST_SECONDS, _LONGEST_SECONDS = 15, 120
_START_SECONDS = 8.0  # the weights go to the GPU, and the first kernels are loaded
_PROMPT_TOKENS_PER_SECOND = 1000.0
_PROXIES = ("10.0.0.0/8",)  # the Hub's own network; nobody else reaches the port of a Space
_FRAMING = ("https://huggingface.co",)  # where people open a Space
_HOLDING = "duologue is at {address}; chats are kept in {place}"

Gpu = Callable[..., Callable[[Callable[..., Iterator[Piece]]], Callable[..., Iterator[Piece]]]]


def main(here: Path) -> None:
    """Serve the character of a Space's folder until the Space ends; a fault is one sentence in its log."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    print(f"duologue {duologue.__version__} from {Path(duologue.__file__).parents[1]}", flush=True)
    try:
        serve_space(here)
    except DuologueError as error:
        print(f"duologue: {error.kind}: {error.sentence()}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def serve_space(here: Path) -> None:
    """Serve until SIGTERM.

    Args:
        here: The folder that `duologue export space` wrote.

    Raises:
        ConfigError: No secret guards the door, or the settings have faults.
        EngineError: The model cannot be loaded.
    """
    from duologue.serve import Door, Library, build_app, serve

    settings: dict[str, Any] = json.loads((here / "space.json").read_text(encoding="utf-8"))
    folder = here / settings["folder"]
    engine: EngineName = settings["engine"]
    overrides = (f"model.base={here / settings['model_file']}",) if settings["model_file"] else ()
    home = _home(load_home(folder, overrides=overrides))
    data, keeps = data_folder(name=settings["folder"])
    door = Door.open(
        data, home, shared_key=os.environ.get(API_KEY_VARIABLE, ""), database_url=database_url(), redis_url=redis_url()
    )
    _require_guard(is_guarded=door.is_guarded())
    shelf = Shelf(home.server.max_models, open_model=_open_model(settings))
    people = People(data / "people.json")

    def open_one(folder: Path, config: Config, *, adapter: Adapter | None) -> Bot:
        return open_bot(
            data,
            _at_home(config, folder),
            engine=engine,
            adapter=adapter,
            database_url=database_url(),
            supermemory_key=supermemory_key(),
            judge_key=judge_key(),
            shelf=shelf,
            people=people,
        )

    library = Library(folder, home, open_bot=open_one, overrides=overrides, shelf=shelf, engine=engine)
    try:
        (entry,) = library.entries()
        if entry.fault:
            raise ConfigError(entry.fault)
        assert library.bot(entry.id).context_tokens  # loads the model, where ZeroGPU wants it loaded
        _start_zero_gpu()
        app = build_app(library, home=home, redis_url=redis_url(), door=door)
        serve(
            app,
            host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),  # noqa: S104  (the Hub's proxy must reach it)
            port=int(os.environ.get("GRADIO_SERVER_PORT") or os.environ.get("PORT") or home.server.port),
            on_ready=lambda address: print(_HOLDING.format(address=address, place=keeps), flush=True),
        )
    finally:
        library.close()
        shelf.close()


def data_folder(*, name: str) -> tuple[Path, str]:
    """Return where what must last is kept, and that in words.

    Args:
        name: Of the character's folder.

    Raises:
        ConfigError: The folder that was asked for cannot be written.
    """
    asked = os.environ.get(DATA_VARIABLE, "")
    root = Path(asked) if asked else _DATA
    is_lasting = root.is_dir() and os.access(root, os.W_OK)
    if asked and not is_lasting:
        raise ConfigError(
            "the folder is not there or cannot be written", where=DATA_VARIABLE, needed="storage mounted in the Space"
        )
    folder = (root if is_lasting else Path.home() / "duologue-data") / name
    folder.mkdir(parents=True, exist_ok=True)
    if database_url():
        return folder, f"the database of {DATABASE_VARIABLE}"
    if is_lasting:
        return folder, str(folder)
    return folder, (
        f"{folder}, which is lost when the Space restarts: mount storage at {_DATA}, or set the secret "
        f"{DATABASE_VARIABLE}"
    )


class OnLoan:
    """A generator whose replies run where a GPU is lent for them.

    Args:
        generator: The loaded model.
        gpu: `spaces.GPU`: takes how long, and returns what wraps a function.
        tokens_per_second: Speed of a reply.
    """

    def __init__(self, generator: Generator, gpu: Gpu, *, tokens_per_second: float) -> None:
        """Register the function that needs the GPU; the Hub wants to know of one when the app starts."""
        self._generator = generator

        def duration(prompt_ids: Sequence[int], sampling: Sampling) -> int:
            return seconds_needed(len(prompt_ids), sampling, tokens_per_second=tokens_per_second)

        @gpu(duration=duration)
        def reply(prompt_ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
            yield from generator.stream(prompt_ids, sampling, cancel=threading.Event())

        self._reply = reply

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._generator.tokenizer

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        return self._generator.context_tokens

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one piece after `cancel` is set.

        Raises:
            EngineError: The quota is used up, no GPU is free, or generation failed.
        """
        pieces = self._reply(list(prompt_ids), sampling)
        num_tokens = 0
        try:
            for piece in pieces:
                yield piece
                num_tokens = piece.num_tokens
                if piece.finish_reason is None and cancel.is_set():
                    yield Piece("", num_tokens, "cancelled")
                    return
        except DuologueError:
            raise
        except Exception as error:  # Gradio's errors, which carry what the Hub says
            raise EngineError(
                f"ZeroGPU did not reply ({error})", action="Try again later: the quota of GPU time may be used up."
            ) from error
        finally:
            close = getattr(pieces, "close", None)  # an iterator of another library
            if close is not None:
                close()

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return what the engine cannot honour."""
        return self._generator.unsupported(sampling)

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        """Return the negative log-likelihood in nats of each example, and the tokens it was summed over."""
        return self._generator.score(examples)

    def close(self) -> None:
        """Free the model."""
        self._generator.close()


def seconds_needed(num_prompt_tokens: int, sampling: Sampling, *, tokens_per_second: float) -> int:
    """Return how long the longest reply may take: what ZeroGPU is asked for."""
    seconds = _START_SECONDS + num_prompt_tokens / _PROMPT_TOKENS_PER_SECOND
    seconds += sampling.max_new_tokens / max(tokens_per_second, 0.1)
    return min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, round(seconds)))


def _open_model(settings: dict[str, Any]) -> Callable[..., Generator]:
    def opened(engine: EngineName, base: BaseModel, *, adapter: Adapter | None = None, api_key: str = "") -> Generator:
        generator = open_generator(engine, base, adapter=adapter, api_key=api_key)
        if not settings["zero_gpu"] or find_spec("spaces") is None:
            return generator
        gpu: Gpu = import_module("spaces").GPU
        return OnLoan(generator, gpu, tokens_per_second=settings["tokens_per_second"])

    return opened


def _start_zero_gpu() -> None:
    """Tell ZeroGPU that the app is ready; Gradio's own `launch`, which would do it, is not what serves here."""
    if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):
        import_module("spaces.zero").startup()


def _home(home: Home) -> Home:
    """Return the settings of the server as they are in a Space: its address, the Hub's proxy, the Hub's frame."""
    host = os.environ.get("SPACE_HOST", "")
    server: dict[str, object] = {"trusted_proxies": home.server.trusted_proxies or _PROXIES}
    if host and not home.server.public_url:
        server["public_url"] = f"https://{host}"
        server["frame_ancestors"] = home.server.frame_ancestors or _FRAMING
    return home.model_copy(update={"server": home.server.model_copy(update=server)})


def _at_home(config: Config, folder: Path) -> Config:
    """Return the configuration with the paths of its files in full: chats and memories lie in another folder."""
    character = config.character
    update = {
        "card": str(folder / character.card) if character.card else "",
        "companions": tuple(str(folder / path) for path in character.companions),
        "lorebooks": tuple(str(folder / path) for path in character.lorebooks),
    }
    return config.model_copy(update={"character": character.model_copy(update=update)})


def _require_guard(*, is_guarded: bool) -> None:
    if not is_guarded:
        raise ConfigError(
            "everybody could talk here: no key is set, and there is no account",
            where="the Space's settings",
            needed=f"the secret {API_KEY_VARIABLE}",
            action=f"Open Settings, Variables and secrets, New secret: {API_KEY_VARIABLE} with a long random text. "
            "Then restart the Space.",
        )
