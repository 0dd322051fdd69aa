"""The header of a GGUF file: chat template, control tokens, context length.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian). llama.cpp reads
the same header when it loads the model, but its bindings do not hand it out.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from duologue.errors import EngineError

T = TypeVar("T")
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_STRING_BYTES = 2**24  # a chat template is the longest string there is; real ones stay below 2**17
_MAX_KEY_BYTES = 2**16  # the format's own limit
_MAX_FIELDS, _MAX_ITEMS = 2**14, 2**22  # real files have below 100 fields and 300,000 tokens
_MAX_HEADER_BYTES = 2**27  # the largest vocabularies take 10 MB
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
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
    try:
        with path.open("rb") as file:
            return _interpret(_read_fields(file))
    except OSError as error:
        raise EngineError(f"cannot read the model ({error.strerror})", where=str(path)) from error
    except (ValueError, struct.error, KeyError) as error:
        raise EngineError(
            f"this is not a whole GGUF file ({error})",
            where=str(path),
            needed="GGUF version 2 or 3, little endian",
            action="Download or export the file again.",
        ) from error


def _read_fields(file: BinaryIO) -> dict[str, Any]:
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, _num_tensors, num_fields = _unpack(file, "IQQ")
    if version not in _VERSIONS:
        raise ValueError(f"it has version {version}")
    if num_fields > _MAX_FIELDS:
        raise ValueError(f"its header has {num_fields} fields")
    fields: dict[str, Any] = {}
    for _ in range(num_fields):
        key = _read_text(file, limit=_MAX_KEY_BYTES)
        (kind,) = _unpack(file, "I")
        fields[key] = _read_value(file, kind)
    return fields


def _read_value(file: BinaryIO, kind: int) -> Any:  # noqa: ANN401  (the format decides the type)
    if kind == _STRING:
        return _read_text(file)
    if kind != _ARRAY:
        return _unpack(file, _SCALARS[kind])[0]
    item_kind, num_items = _unpack(file, "IQ")
    if num_items > _MAX_ITEMS:
        raise ValueError(f"it holds a list of {num_items} items")
    if item_kind in _SCALARS:
        return _unpack(file, _SCALARS[item_kind], num_items)
    if item_kind == _STRING:
        return [_read_text(file) for _ in range(num_items)]
    raise ValueError("it holds a nested list")


def _read_text(file: BinaryIO, *, limit: int = _MAX_STRING_BYTES) -> str:
    (num_bytes,) = _unpack(file, "Q")
    if num_bytes > limit:
        raise ValueError(f"it holds a string of {num_bytes} bytes")
    if file.tell() + num_bytes > _MAX_HEADER_BYTES:
        raise ValueError(f"its header is longer than {_MAX_HEADER_BYTES} bytes")
    raw = file.read(num_bytes)
    if len(raw) < num_bytes:
        raise ValueError("it ends inside its header")
    return raw.decode("utf-8", "replace")


def _unpack(file: BinaryIO, codes: str, num_repeats: int = 1) -> tuple[Any, ...]:
    layout = struct.Struct(f"<{num_repeats}{codes}" if num_repeats != 1 else f"<{codes}")
    return layout.unpack(file.read(layout.size))


def _interpret(fields: dict[str, Any]) -> GgufMetadata:
    tokens: list[str] = _of(fields, "tokenizer.ggml.tokens", list, [])
    kinds: tuple[int, ...] = _of(fields, "tokenizer.ggml.token_type", tuple, ())
    ids = {_of(fields, key, int, 0) for key in _END_KEYS if key in fields}
    ids |= {token_id for token_id, text in enumerate(tokens) if text in _END_OF_TURN}
    control = {at for at, kind in enumerate(kinds) if kind in (_CONTROL_TOKEN, _UNKNOWN_TOKEN)} | ids
    architecture = _of(fields, "general.architecture", str, "")

    def text_of(key: str) -> str:
        token_id = _of(fields, key, int, -1)
        return tokens[token_id] if 0 <= token_id < len(tokens) else ""

    return GgufMetadata(
        chat_template=_of(fields, "tokenizer.chat_template", str, ""),
        context_tokens=_of(fields, f"{architecture}.context_length", int, 0),
        bos_token=text_of("tokenizer.ggml.bos_token_id"),
        eos_token=text_of("tokenizer.ggml.eos_token_id"),
        control_tokens={token_id: tokens[token_id] for token_id in sorted(control) if 0 <= token_id < len(tokens)},
        stop_token_ids=frozenset(token_id for token_id in ids if 0 <= token_id < len(tokens)),
    )


def _of(fields: dict[str, Any], key: str, kind: type[T], default: T) -> T:
    value = fields.get(key, default)
    if not isinstance(value, kind):
        raise ValueError(f"'{key[:80]}' is a {type(value).__name__}")
    return value
