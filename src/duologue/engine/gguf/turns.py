"""What a chat template writes between two messages, for programs that know only simpler templates."""

from collections.abc import Sequence
from pathlib import Path

from duologue.engine.chat_text import ChatText
from duologue.engine.gguf.header import read_header
from duologue.engine.gguf.metadata import GgufMetadata, read_metadata
from duologue.engine.gguf_checking import Turns
from duologue.engine.template import ChatTemplate
from duologue.errors import DataError
from duologue.messages import Message, Role

_TRIED: tuple[tuple[Role, ...], ...] = (
    ("system", "user", "assistant", "user"),
    ("system", "assistant", "user", "assistant", "user"),
    ("user", "assistant", "user"),
    ("assistant", "user"),
    ("system", "user", "assistant", "user", "assistant", "user", "assistant", "user"),
)


def read_turns(file: Path) -> Turns | None:
    """Return the chat template of a GGUF file as the texts between messages; None where it is more than that.

    The token that begins a document is left out where llama.cpp puts it in front by itself.

    Raises:
        EngineError: The file cannot be read, or has no chat template.
    """
    metadata, fields = read_metadata(file), read_header(file).fields
    adds_bos = fields.get("tokenizer.ggml.add_bos_token", fields.get("tokenizer.ggml.model") == "llama")
    text = _chat_text(metadata, file)
    between: dict[tuple[str, Role], str] = {}
    headers = set()
    for roles in _TRIED:
        found = _found(text, roles)
        if found is None:
            continue
        if adds_bos:
            found[0] = found[0].removeprefix(metadata.bos_token)
        for pair, said in zip(zip(("", *roles), roles, strict=False), found, strict=False):
            if between.setdefault(pair, said) != said:
                return None
        headers.add(found[-1])
    if len(headers) != 1:
        return None
    ends = tuple(metadata.control_tokens[each] for each in sorted(metadata.stop_token_ids))
    return Turns(between, headers.pop(), ends)


def _chat_text(metadata: GgufMetadata, file: Path) -> ChatText:
    tokens = {"bos_token": metadata.bos_token, "eos_token": metadata.eos_token}
    template = ChatTemplate(metadata.chat_template, tokens=tokens, where=str(file))

    def fill(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        return template.render(messages, add_generation_prompt=add_generation_prompt)

    return ChatText(fill, (), source=metadata.chat_template)


def _found(text: ChatText, roles: Sequence[Role]) -> list[str] | None:
    """Return the texts in front of each message and behind the last, or None where these messages are refused."""
    words = [f"Word{number}word" for number in range(len(roles))]
    try:
        rest = text.render(
            [Message(role, word) for role, word in zip(roles, words, strict=True)], add_generation_prompt=True
        )
    except DataError:
        return None
    found = []
    for word in words:
        before, mark, rest = rest.partition(word)
        if not mark or word in rest:
            return None
        found.append(before)
    return [*found, rest]
