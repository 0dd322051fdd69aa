"""A tokenizer as the fields of a GGUF header: tokens, what joins them, control tokens and the chat template.

What is written is the tokenizer as transformers loads it, which is the one that the model was trained with. llama.cpp
knows two kinds. Byte-level ones join by a list of pairs. SentencePiece's join the neighbours that make the token with
the highest score; their `tokenizer.json` has pairs only, and a token's score is the rank of the first pair making it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType
from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from duologue.engine.hf.gguf_out.file import Field
from duologue.engine.hf.gguf_out.pretokenizers import pretokenizer_name
from duologue.engine.hf.load import quiet
from duologue.errors import EngineError

_Json = Mapping[str, Any]
_SPACE = "▁"  # SentencePiece's
_NOT_STRIPPING = {"<unk>", "<s>", "<|endoftext|>"}  # llama.cpp's exceptions for Phi-3
_LEAST_SCORE = -1e6  # of tokens that no pair makes


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the header says of a tokenizer.

    Attributes:
        fields: The header's fields.
        takes_following_space: Whether control tokens swallow the white space behind them, as Phi-3's do. llama.cpp
            goes by the model's name.
        warnings: Where llama.cpp may give other ids.
    """

    fields: dict[str, Field]
    takes_following_space: bool
    warnings: tuple[str, ...]


def read_vocabulary(folder: Path, *, num_rows: int) -> Vocabulary:
    """Return the vocabulary of a model.

    Args:
        folder: Holds the tokenizer.
        num_rows: Rows of the model's embedding, which may be more than there are tokens.

    Raises:
        EngineError: It is not there, or of a kind that llama.cpp cannot take.
    """
    where = str(folder)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise EngineError(f"the tokenizer cannot be loaded ({first_line})", where=where) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise EngineError(f"the tokenizer is a {type(tokenizer).__name__}", where=where, needed="a tokenizer.json")
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    if document["model"]["type"] != "BPE":
        raise EngineError(
            f"the tokenizer is of the kind {document['model']['type']}",
            where=where,
            needed="BPE, as those of Llama, Mistral, Qwen, Gemma and Phi are",
        )
    is_byte_level = "ByteLevel" in json.dumps(document["pre_tokenizer"])
    make = _byte_level if is_byte_level else _sentencepiece
    fields, warnings = make(document, num_rows, where)
    fields |= _special(tokenizer, num_rows, where)
    fields["tokenizer.ggml.add_space_prefix"] = _adds_space(document, tokenizer, warnings)
    num_dropped = sum(token["id"] >= num_rows for token in document["added_tokens"])
    if num_dropped:
        warnings.append(f"{num_dropped} added tokens have no row in the model and are left out")
    return Vocabulary(fields, _takes_following_space(document, num_rows, where), tuple(warnings))


def _byte_level(document: _Json, num_rows: int, where: str) -> tuple[dict[str, Field], list[str]]:
    normalizer = document["normalizer"]
    warnings = []
    if normalizer is not None and normalizer["type"] == "NFC":
        warnings.append(
            "the tokenizer composes letters and accents (NFC) and llama.cpp does not: decomposed text differs"
        )
    elif normalizer is not None:
        raise EngineError(
            f"the tokenizer changes texts by {normalizer['type']}, which llama.cpp does not do",
            where=where,
            action="Use the merged model with vLLM or transformers.",
        )
    tokens, types = _tokens(document, num_rows, where)
    fields: dict[str, Field] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pretokenizer_name(document, where=where),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in _merges(document)],
    }
    return fields, warnings


def _sentencepiece(document: _Json, num_rows: int, where: str) -> tuple[dict[str, Field], list[str]]:
    model = document["model"]
    if not model.get("byte_fallback"):
        raise EngineError(
            "the tokenizer falls back to neither bytes nor their letters",
            where=where,
            needed="one like those of Llama, Mistral, Qwen, Gemma and Phi",
        )
    tokens, types = _tokens(document, num_rows, where)
    vocabulary: Mapping[str, int] = model["vocab"]
    for text, token in vocabulary.items():
        if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            types[token] = int(TokenType.BYTE)
    if model.get("unk_token") in vocabulary:
        types[vocabulary[model["unk_token"]]] = int(TokenType.UNKNOWN)
    ranks: dict[str, int] = {}
    merges = _merges(document)
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    for added in document["added_tokens"]:
        # A run of spaces is written with the sign for the space, and is made by joining like any other token.
        if not added["special"] and _SPACE in added["content"] and added["id"] < num_rows:
            is_joined = added["content"] in ranks
            types[added["id"]] = int(TokenType.NORMAL if is_joined else TokenType.USER_DEFINED)
            tokens[added["id"]] = added["content"] if is_joined else added["content"].replace(_SPACE, " ")
    fields: dict[str, Field] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [float(-ranks[token]) if token in ranks else _LEAST_SCORE for token in tokens],
        "tokenizer.ggml.token_type": types,
    }
    num_odd = _count_odd_merges(merges, vocabulary)
    warnings = []
    if num_odd:
        warnings.append(
            f"{num_odd} of {len(merges)} pairs of the tokenizer join in an order that llama.cpp may not keep"
        )
    return fields, warnings


def _count_odd_merges(merges: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> int:
    """Return how many tokens are made otherwise than by their scores alone: by some of their pairs, or out of turn."""
    num_pairs = Counter(left + right for left, right in merges)
    num_turns = Counter(
        left + right for at, (left, right) in enumerate(merges) if not at or "".join(merges[at - 1]) != left + right
    )
    num_splits = {
        token: sum(token[:at] in vocabulary and token[at:] in vocabulary for at in range(1, len(token)))
        for token in num_pairs
    }
    return sum(num_turns[token] > 1 or num_pairs[token] < num_splits[token] for token in num_pairs)


def _tokens(document: _Json, num_rows: int, where: str) -> tuple[list[str], list[int]]:
    """Return the text and the type of each row."""
    tokens = [f"[PAD{row}]" for row in range(num_rows)]
    types = [int(TokenType.UNUSED)] * num_rows
    for text, token in document["model"]["vocab"].items():
        if token >= num_rows:
            raise EngineError(
                f"the tokenizer has the token {token} and the model {num_rows} rows",
                where=where,
                action="Export the merged model again; the tokenizer must be the model's own.",
            )
        tokens[token], types[token] = text, int(TokenType.NORMAL)
    for added in document["added_tokens"]:
        if added["lstrip"] or added["single_word"]:
            raise EngineError(
                f"the token '{added['content']}' minds the text before it, which llama.cpp does not do", where=where
            )
        if added["id"] < num_rows:
            tokens[added["id"]] = added["content"]
            types[added["id"]] = int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    twice = [text for text, count in Counter(tokens).items() if count > 1]
    if twice:
        raise EngineError(
            f"the tokenizer has {len(twice)} tokens twice ('{twice[0]}'), and llama.cpp ends on such a file",
            where=where,
        )
    return tokens, types


def _merges(document: _Json) -> list[tuple[str, str]]:
    pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in document["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _special(tokenizer: PreTrainedTokenizerBase, num_rows: int, where: str) -> dict[str, Field]:
    """Return the ids with a part to play, what is added by itself, and the chat template as it is.

    Raises:
        EngineError: Replies end, or prompts begin, with a token that the model has no row for. llama.cpp would take
            another one in its place.
    """
    ids = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    for name in ("bos", "eos"):
        token = ids[name]
        if token is not None and token >= num_rows:
            raise EngineError(
                f"the tokenizer's {name} token has the id {token} and the model {num_rows} rows",
                where=where,
                action="Export the merged model again; the tokenizer must be the model's own.",
            )
    fields: dict[str, Field] = {
        f"tokenizer.ggml.{name}_token_id": int(token)
        for name, token in ids.items()
        if token is not None and token < num_rows
    }
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    # llama.cpp takes away the one that a chat template brings, so that there are never two.
    fields["tokenizer.ggml.add_bos_token"] = ids["bos"] is not None and whole[:1] == [ids["bos"]] != plain[:1]
    fields["tokenizer.ggml.add_eos_token"] = ids["eos"] is not None and whole[-1:] == [ids["eos"]] != plain[-1:]
    if tokenizer.chat_template:
        fields["tokenizer.chat_template"] = str(tokenizer.get_chat_template())
    return fields


def _adds_space(document: _Json, tokenizer: PreTrainedTokenizerBase, warnings: list[str]) -> bool:
    """Tell whether a text gets a space in front; llama.cpp then does so behind each control token, too."""
    if '"Prepend"' in json.dumps(document["normalizer"]):
        return True
    pre_tokenizer = document["pre_tokenizer"] or {}
    scheme = pre_tokenizer.get("prepend_scheme") if pre_tokenizer.get("type") == "Metaspace" else None
    if scheme == "always":
        warnings.append("llama.cpp puts a space in front of text behind control tokens even where one stands already")
    if scheme == "first" and not _begins_with_control_token(tokenizer):
        warnings.append("the tokenizer puts a space in front of a prompt's first word and llama.cpp does not")
    return scheme == "always"


def _begins_with_control_token(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether prompts do, so that nothing is put in front of their first word."""
    if not tokenizer.chat_template:
        return False
    try:
        prompt = str(tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False))
    except (TemplateError, TypeError, ValueError):
        return False
    return prompt.startswith(tuple(tokenizer.all_special_tokens))


def _takes_following_space(document: _Json, num_rows: int, where: str) -> bool:
    """Tell whether control tokens swallow the white space behind them.

    Raises:
        EngineError: Some do, but not those that llama.cpp does it for.
    """
    stripping = {added["content"] for added in document["added_tokens"] if added["rstrip"] and added["id"] < num_rows}
    if not stripping:
        return False
    everything = {added["content"] for added in document["added_tokens"] if added["id"] < num_rows}
    if stripping != everything - _NOT_STRIPPING or not _NOT_STRIPPING | {"</s>"} <= everything:
        raise EngineError(
            f"{len(stripping)} tokens swallow the space behind them, which llama.cpp does for Phi-3's only",
            where=where,
            action="Use the merged model with vLLM or transformers.",
        )
    return True
