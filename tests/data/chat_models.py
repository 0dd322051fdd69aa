"""The chat templates of well-known models, each with a small vocabulary of the same kind, made in a second.

The files in `templates/` give what the originals give (for messages without tools). The vocabularies are trained here
on a few lines of text; what matters is how they split text, which control tokens they have and what these do to spaces.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from duologue.engine.hf.tokenizer import HfTokenizer

TEMPLATES = Path(__file__).parent / "templates"
_CORPUS = [
    "The night train to the coast leaves at nine; bring tea, a lantern and your best coat.",
    "*tilts her head* Well, well, passenger! You're late again. Isn't it?\n\nShe smiles... 12 34 567 8,900.",
    "USER: Hello there ASSISTANT: Hi! system user assistant model <|user|> <|model|> <|system|> [INST] [/INST] <<SYS>>",
    "|>*waves* |>* |>(quietly) ]: :) \n\n \n\n\n   \t tabs\tand  double  spaces\n- one\n- two\n",
    "Ünïcödé ist schön, l'été aussi; 日本語 и русский, émojis 🚂🌙.",
] * 4
# The split of Llama 3 and Qwen; GPT-2's is what ByteLevel does by itself.
_TIKTOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class ChatModel:
    """A template's file, a kind of vocabulary, and the tokens that control it."""

    template: str
    vocabulary: Callable[[], Tokenizer]
    control: tuple[str, ...]
    eos: str
    bos: str = ""
    is_right_stripped: bool = False


def gpt2_bytes() -> Tokenizer:
    """Byte-level BPE that splits as GPT-2 does."""
    return _byte_level(None)


def tiktoken_bytes() -> Tokenizer:
    """Byte-level BPE that splits as Llama 3 and Qwen do."""
    return _byte_level(_TIKTOKEN)


def sentencepiece() -> Tokenizer:
    """SentencePiece BPE as newer files describe it: a space in front of the first word only."""
    tokenizer = _sentencepiece(pre_tokenizers.Metaspace(prepend_scheme="first", split=False))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return tokenizer


def legacy_sentencepiece() -> Tokenizer:
    """SentencePiece BPE as Llama 2's file describes it: a space in front of every stretch of text."""
    tokenizer = _sentencepiece(None)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_THOUGHTS = ("<think>", "</think>", "<tool_response>", "</tool_response>")
_LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_GEMMA = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>")
_PHI_3 = ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_PHI_4 = (*_CHATML, "<|im_sep|>")
_INST = ("<s>", "</s>", "[INST]", "[/INST]")

MODELS = {
    "llama-2": ChatModel("llama-2", legacy_sentencepiece, ("<s>", "</s>"), "</s>", "<s>"),
    "llama-3": ChatModel("llama-3", tiktoken_bytes, _LLAMA_3, "<|eot_id|>", "<|begin_of_text|>"),
    "mistral-v1": ChatModel("mistral-v1", legacy_sentencepiece, ("<s>", "</s>"), "</s>", "<s>"),
    "mistral-v3": ChatModel("mistral-v3", sentencepiece, _INST, "</s>", "<s>"),
    "mistral-v3-tekken": ChatModel("mistral-v3-tekken", tiktoken_bytes, _INST, "</s>", "<s>"),
    "yi": ChatModel("yi", sentencepiece, _CHATML, "<|im_end|>"),
    "qwen2.5": ChatModel("qwen2.5", tiktoken_bytes, _CHATML, "<|im_end|>"),
    "qwen3": ChatModel("qwen3", tiktoken_bytes, (*_CHATML, *_THOUGHTS), "<|im_end|>"),
    "gemma-2": ChatModel("gemma-2", sentencepiece, _GEMMA, "<eos>", "<bos>"),
    "gemma-3": ChatModel("gemma-3", sentencepiece, _GEMMA, "<eos>", "<bos>"),
    "phi-3": ChatModel("phi-3", sentencepiece, _PHI_3, "<|endoftext|>", "<s>", is_right_stripped=True),
    "phi-4": ChatModel("phi-4", tiktoken_bytes, _PHI_4, "<|im_end|>"),
    "vicuna": ChatModel("vicuna", legacy_sentencepiece, ("<s>", "</s>"), "</s>", "<s>"),
    "metharme": ChatModel("metharme", legacy_sentencepiece, ("<s>", "</s>"), "</s>", "<s>"),
    "metharme-bytes": ChatModel("metharme", gpt2_bytes, ("<s>", "</s>"), "</s>", "<s>"),
    "smollm2": ChatModel("smollm2", gpt2_bytes, _CHATML, "<|im_end|>"),
}


@cache
def chat_model(name: str) -> HfTokenizer:
    """Return the tokenizer of one of `MODELS`."""
    model = MODELS[name]
    return with_template(model, (TEMPLATES / f"{model.template}.jinja").read_text(encoding="utf-8"))


def with_template(model: ChatModel, template: str) -> HfTokenizer:
    """Return a model's tokenizer with another template."""
    library = model.vocabulary()
    is_thought = frozenset(_THOUGHTS)
    library.add_tokens(
        [
            AddedToken(
                token,
                special=token not in is_thought,
                normalized=False,
                rstrip=model.is_right_stripped and token not in ("<s>", "<|endoftext|>"),
            )
            for token in model.control
        ]
    )
    named = {"bos_token": model.bos} if model.bos else {}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=library, eos_token=model.eos, **named)
    wrapped.chat_template = template
    return HfTokenizer(wrapped, name=model.template)


@cache
def _trained(kind: str) -> str:
    tokenizer = Tokenizer(models.BPE())
    alphabet: list[str] = []
    if kind == "sentencepiece":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    else:
        split = [pre_tokenizers.Split(Regex(kind), behavior="isolated")] if kind else []
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [*split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not kind)]
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer.to_str()


def _byte_level(split: str | None) -> Tokenizer:
    tokenizer = Tokenizer.from_str(_trained(split or ""))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(pre_tokenizer: pre_tokenizers.PreTokenizer | None) -> Tokenizer:
    trained = json.loads(_trained("sentencepiece"))["model"]
    names = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *trained["vocab"]]
    merges = [tuple(pair) for pair in trained["merges"]]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer
