"""How byte-level tokenizers cut a text into words, and llama.cpp's name for each way (llama-vocab.cpp).

A way that is not in the table is refused: a near one would give other ids, and a model that answers almost well.
"""

from collections.abc import Mapping
from typing import Any

from duologue.errors import EngineError

_Json = Mapping[str, Any]
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SIGNS_AND_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_THREE_DIGITS = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS}"
_ONE_DIGIT = rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_SIGNS}"
_BY_CASE = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|{_SIGNS_AND_SLASH}"
)
_BY_CASE_WITH_ENDINGS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}?"
    rf"|\p{{N}}{{1,3}}|{_SIGNS_AND_SLASH}"
)
# The steps, and whether a word that is itself a token is taken whole.
_NAMES: dict[tuple[tuple[str, ...], bool], str] = {
    (("words",), False): "gpt-2",
    (("digits", "words"), False): "smollm",
    ((_THREE_DIGITS,), True): "llama-bpe",
    ((_THREE_DIGITS,), False): "dbrx",  # Phi-4
    ((_ONE_DIGIT,), False): "qwen2",
    ((_BY_CASE,), True): "tekken",
    ((_BY_CASE_WITH_ENDINGS,), False): "gpt-4o",  # Phi-4-mini
}


def pretokenizer_name(document: _Json, *, where: str) -> str:
    """Return llama.cpp's name of the way a byte-level tokenizer cuts texts.

    Args:
        document: The tokenizer in the form of `tokenizer.json`.
        where: For errors.

    Raises:
        EngineError: llama.cpp has no such way, or none that is known here.
    """
    steps = tuple(step for part in _parts(document["pre_tokenizer"]) for step in _steps(part, where))
    name = _NAMES.get((steps, bool(document["model"].get("ignore_merges"))))
    if name is None:
        raise EngineError(
            f"the tokenizer cuts texts in a way that llama.cpp is not known to have ({' and then '.join(steps)})",
            where=where,
            needed=f"one of {', '.join(_NAMES.values())}",
            action="Use the merged model with vLLM or transformers.",
        )
    return name


def _parts(pre_tokenizer: _Json) -> list[_Json]:
    if pre_tokenizer["type"] == "Sequence":
        return [part for inner in pre_tokenizer["pretokenizers"] for part in _parts(inner)]
    return [pre_tokenizer]


def _steps(part: _Json, where: str) -> list[str]:
    if part["type"] == "ByteLevel" and not part.get("add_prefix_space"):
        return ["words"] if part.get("use_regex", True) else []
    if part["type"] == "Digits" and part.get("individual_digits"):
        return ["digits"]
    if part["type"] == "Split" and "Regex" in part["pattern"] and part["behavior"] == "Isolated" and not part["invert"]:
        return [str(part["pattern"]["Regex"])]
    raise EngineError(
        f"the tokenizer cuts texts with {dict(part)}, which llama.cpp does not do",
        where=where,
        action="Use the merged model with vLLM or transformers.",
    )
