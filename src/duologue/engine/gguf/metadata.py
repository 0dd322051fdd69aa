"""What a GGUF file says of its model: chat template, control tokens, context length."""

from dataclasses import dataclass
from pathlib import Path

from duologue.engine.gguf.header import Header, not_whole, read_header

_UNKNOWN_TOKEN, _CONTROL_TOKEN = 2, 3  # values of tokenizer.ggml.token_type
# Ends of a turn that llama.cpp knows by their text, whatever type the file gives them.
_END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<turn|>",
    "<eos>",
    "</s>",
)
_END_KEYS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


@dataclass(frozen=True, slots=True)
class GgufMetadata:
    """What the chat needs to know of a GGUF file.

    Attributes:
        chat_template: The Jinja source; empty when the file has none.
        context_tokens: Longest context the model was made for.
        bos_token: Text of the first token of a document; empty when there is none.
        eos_token: Text of the last token of a document; empty when there is none.
        control_tokens: Ids and texts that are read as control tokens, in the order of the vocabulary.
        stop_token_ids: Ids that end a reply.
    """

    chat_template: str
    context_tokens: int
    bos_token: str
    eos_token: str
    control_tokens: dict[int, str]
    stop_token_ids: frozenset[int]


def read_metadata(path: Path) -> GgufMetadata:
    """Return the metadata of a GGUF file.

    Raises:
        EngineError: The file cannot be read, is no GGUF file, or is cut off.
    """
    return interpret(read_header(path), path)


def interpret(header: Header, path: Path) -> GgufMetadata:
    """Return what the header of the file at `path` says.

    Raises:
        EngineError: A field has another type than the format gives it.
    """
    try:
        return _interpret(header)
    except ValueError as error:
        raise not_whole(path, error) from error


def _interpret(header: Header) -> GgufMetadata:
    tokens: list[str] = header.of("tokenizer.ggml.tokens", list, [])
    kinds: tuple[int, ...] = header.of("tokenizer.ggml.token_type", tuple, ())
    ids = {header.of(key, int, 0) for key in _END_KEYS if key in header.fields}
    ids |= {token_id for token_id, text in enumerate(tokens) if text in _END_OF_TURN}
    control = {at for at, kind in enumerate(kinds) if kind in (_CONTROL_TOKEN, _UNKNOWN_TOKEN)} | ids

    def text_of(key: str) -> str:
        token_id = header.of(key, int, -1)
        return tokens[token_id] if 0 <= token_id < len(tokens) else ""

    return GgufMetadata(
        chat_template=header.of("tokenizer.chat_template", str, ""),
        context_tokens=header.of(f"{header.architecture}.context_length", int, 0),
        bos_token=text_of("tokenizer.ggml.bos_token_id"),
        eos_token=text_of("tokenizer.ggml.eos_token_id"),
        control_tokens={token_id: tokens[token_id] for token_id in sorted(control) if 0 <= token_id < len(tokens)},
        stop_token_ids=frozenset(token_id for token_id in ids if 0 <= token_id < len(tokens)),
    )
