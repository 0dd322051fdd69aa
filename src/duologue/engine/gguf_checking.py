"""What an exported GGUF file is asked before it is called done. llama.cpp and torch are imported on first use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from duologue.engine.bundled import PREFIX, bundled_file
from duologue.engine.job import Adapter, BaseModel, Example, OnEvent
from duologue.engine.merging import Parity
from duologue.messages import Message, Role


@dataclass(frozen=True, slots=True)
class Turns:
    """A chat template as the texts between messages.

    Attributes:
        between: The text between a message of one role, or the beginning (""), and one of the next role.
        reply_header: The text behind the last message, in front of a reply.
        end_marks: Texts of the tokens that end a reply.
    """

    between: Mapping[tuple[str, Role], str]
    reply_header: str
    end_marks: tuple[str, ...]


def compare_gguf(
    adapter: Adapter,
    files: Sequence[Path],
    examples: Sequence[Example],
    prompts: Sequence[Sequence[Message]],
    *,
    lora: Path | None = None,
    on_event: OnEvent = lambda _: None,
) -> tuple[Parity, ...]:
    """Return how near each GGUF file is, in llama.cpp, to the adapter on its own base.

    Args:
        adapter: The reference, on the base as it was quantised for training.
        files: Exported models.
        examples: Conversations, best those that were never trained on; their replies are compared token by token.
        prompts: Messages whose rendered ids are compared.
        lora: The adapter as a GGUF file, put on each of them; None where it is folded in.
        on_event: Receives `preparing` events with `done` and `total` tokens.

    Raises:
        EngineError: A model cannot be loaded, or there is nothing to compare.
    """
    from duologue.engine.gguf.parity import compare

    return compare(adapter, files, examples, prompts, lora=lora, on_event=on_event)


def read_turns(file: Path) -> Turns | None:
    """Return the chat template of a GGUF file as the texts between messages; None where it is more than that.

    Raises:
        EngineError: The file cannot be read, or has no chat template.
    """
    from duologue.engine.gguf.turns import read_turns as read

    return read(file)


def place_of_base(base: BaseModel) -> Path:
    """Return where a base model lies on this disk: a `.gguf` file, or a folder of safetensors files.

    Raises:
        EngineError: It is not there and cannot be fetched.
    """
    if base.name.startswith(PREFIX):
        return bundled_file(base.name)
    from duologue.engine.hf.fold import find_files

    files = find_files(base)
    return files.folder if files is not None else Path(base.name)
