"""A model that compares replies, opened when it is first asked: those that are measured have left memory by then."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from duologue.cli.places import judge_key
from duologue.engine import BaseModel, EngineName, Generator, Sampling, open_generator
from duologue.messages import Message

_ANSWER_TOKENS = 8  # one word is asked for

Ask = Callable[[Sequence[Message]], str]


@contextlib.contextmanager
def opened_judge(name: str) -> Iterator[Ask | None]:
    """Yield what asks the judge and returns its answer's text; None without a name.

    Args:
        name: As in `[model] base`: a server's address, a `.gguf` file, a folder, a hub's or a bundled name.

    Raises:
        EngineError: When asked: the model cannot be opened, or does not answer.
    """
    opened: list[Generator] = []

    def ask(messages: Sequence[Message]) -> str:
        if not opened:
            opened.append(_open(name))
        [generator] = opened
        prompt_ids = generator.tokenizer.render(messages, add_generation_prompt=True)
        sampling = Sampling(max_new_tokens=_ANSWER_TOKENS, temperature=0, repetition_penalty=1.0)
        return "".join(piece.text for piece in generator.stream(prompt_ids, sampling, cancel=threading.Event()))

    try:
        yield ask if name else None
    finally:
        for generator in opened:
            generator.close()


def _open(name: str) -> Generator:
    engine: EngineName = "remote" if "://" in name else "gguf" if name.endswith(".gguf") else "hf"
    return open_generator(engine, BaseModel(name), api_key=judge_key() if engine == "remote" else "")
