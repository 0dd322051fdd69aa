"""Small random models of every family with real tokenizer structures, trained on the spot."""

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

THREE_DIGITS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ONE_DIGIT = THREE_DIGITS.replace("{1,3}", "")
BY_CASE = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
BY_CASE_WITH_ENDINGS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_ENDINGS}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_ENDINGS}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SENTENCES = [
    "The lighthouse keeper wrote 12 letters in 1987, and she'll write 345 more.",
    "Rain fell on the harbour;  the boats   were tied, the nets were dry.",
    "Wir gehen über die Brücke, sagte er. ¿Dónde está el faro? Où est la mer?",
    "He said: 'I'M HERE' -- we've seen it... They'd know! (100% sure) {a: [1, 2]}",
    "Привет, маяк. 灯台は海のそばにある。 the THE The then they there these",
    "\tone\n\ntwo\r\n  three    four\n    five",
]
CONTROL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")


def byte_level_tokenizer(kind, *, num_tokens=600):
    """A byte-level tokenizer that cuts texts as the named llama.cpp tokenizer does."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    patterns = {
        "llama-bpe": THREE_DIGITS,
        "dbrx": THREE_DIGITS,
        "qwen2": ONE_DIGIT,
        "tekken": BY_CASE,
        "gpt-4o": BY_CASE_WITH_ENDINGS,
    }
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind in ("llama-bpe", "tekken")))
    if kind in patterns:
        split = pre_tokenizers.Split(Regex(patterns[kind]), behavior="isolated")
        words = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if kind == "smollm":
        words = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    tokenizer.pre_tokenizer = words
    tokenizer.normalizer = normalizers.NFC() if kind == "qwen2" else None
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        special_tokens=list(CONTROL[1:]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return _wrapped(tokenizer, adds_bos=kind in ("llama-bpe", "tekken"))


def sentencepiece_tokenizer(kind, *, num_tokens=700):
    """A SentencePiece-like tokenizer: `llama` puts a space in front, `gemma` does not, `phi3`'s marks take spaces."""
    learner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens - 256, special_tokens=list(CONTROL[:3]), show_progress=False, limit_alphabet=90
    )
    learner.train_from_iterator([f"▁{sentence}" for sentence in SENTENCES] * 3, trainer)
    learnt = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    pieces = [text for text, token in learnt if token > 2] + ["▁▁", "▁▁▁▁"]
    # SentencePiece numbers control tokens, bytes, what is joined (the likeliest first), then single letters.
    joined, letters = [p for p in pieces if len(p) > 1], [p for p in pieces if len(p) == 1]
    order = [*CONTROL[:3], *(f"<0x{byte:02X}>" for byte in range(256)), *joined, *letters]
    vocabulary = {text: token for token, text in enumerate(dict.fromkeys(order))}
    merges = [
        (text[:at], text[at:])
        for text in joined
        for at in range(1, len(text))
        if text[:at] in vocabulary and text[at:] in vocabulary
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = replace if kind == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), replace])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps if kind == "gemma" else [*steps, decoders.Strip(" ", 1, 0)])
    takes_space = kind == "phi3"
    extra = [*CONTROL[3:], *(["<|endoftext|>"] if takes_space else [])]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in CONTROL[:2]])
    tokenizer.add_special_tokens([AddedToken("</s>", normalized=False, special=True, rstrip=takes_space)])
    tokenizer.add_special_tokens(
        [
            AddedToken(text, normalized=False, special=True, rstrip=takes_space and text != "<|endoftext|>")
            for text in extra
        ]
    )
    return _wrapped(tokenizer, adds_bos=True, unk_token="<unk>")


def tiny_config(model_type, *, vocab_size, **changes):
    """Settings of a model with rows that K-quants can hold."""
    settings = {
        "vocab_size": vocab_size,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "tie_word_embeddings": model_type.startswith("gemma"),
        "use_cache": False,
    }
    if model_type not in ("qwen2", "phi3"):
        settings["head_dim"] = 64
    if model_type.startswith("gemma"):
        settings |= {"query_pre_attn_scalar": 64, "sliding_window": 8}
    return AutoConfig.for_model(model_type, **{**settings, **changes})


def tiny_model(config, *, seed=0):
    """A random model whose norms and biases matter."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.add_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.08))
    return model


def save(model, tokenizer, folder):
    """Write both as a merged model lies on disk."""
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def logprobs(model, ids):
    """transformers' log-probabilities of what follows `ids`."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1).numpy()


def _wrapped(tokenizer, *, adds_bos, **settings):
    if adds_bos:
        bos = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=list(CONTROL[3:]),
        chat_template=TEMPLATE,
        **settings,
    )
