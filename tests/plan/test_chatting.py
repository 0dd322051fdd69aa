"""Memory and speed of talking, against published runs and by hand."""

import pytest

from duologue.plan.chatting import cache_bytes_per_token, plan_chat, served_bytes
from tests.plan.machines import facts_of, machine

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def chats(base, gpu, *, quantization="nf4", context_tokens=1024):
    found = plan_chat(facts_of(base), machine(gpu), quantization=quantization, context_tokens=context_tokens)
    return {chat.engine: chat for chat in found}


@pytest.mark.parametrize(("gpu", "published"), [("RTX 3090", 111.7), ("RTX 4090", 127.7), ("RTX 5090", 165.0)])
def test_gguf_writes_as_fast_as_published(gpu, published):
    """llama.cpp, an 8B in Q4_K_M, 1,024 tokens."""
    chat = chats(LLAMA, gpu)["gguf"]
    assert chat.tokens_per_second == pytest.approx(published, rel=0.10)
    assert chat.low_tokens_per_second < published < chat.high_tokens_per_second


@pytest.mark.parametrize(
    ("base", "form", "seconds"),
    [
        (LLAMA, "nf4", 0.0175),
        (LLAMA, "int8", 0.0449),
        ("Qwen/Qwen2.5-14B-Instruct", "nf4", 0.0256),
        ("Qwen/Qwen2.5-14B-Instruct", "int8", 0.0648),
    ],
)
def test_transformers_write_as_fast_as_bitsandbytes_published(base, form, seconds):
    chat = chats(base, "RTX 4090", quantization=form, context_tokens=64)["hf"]
    assert 1 / chat.tokens_per_second == pytest.approx(seconds, rel=0.10)


@pytest.mark.parametrize(("gpu", "published"), [("RTX 3090", 3170), ("RTX 4090", 5266)])
def test_gguf_reads_a_prompt_as_fast_as_published(gpu, published):
    chat = chats(LLAMA, gpu)["gguf"]
    assert 1000 / chat.first_token_seconds == pytest.approx(published, rel=0.25)


def test_an_8b_in_q4_k_m_has_the_size_of_its_file():
    assert served_bytes(facts_of(LLAMA), "Q4_K_M", on_gpu=True) == pytest.approx(4.92e9, rel=0.01)


def test_the_cache_is_two_16_bit_vectors_for_each_layer_and_key_head():
    assert cache_bytes_per_token(facts_of(LLAMA)) == 2 * 2 * 32 * 8 * 128
    short, long = (chats(LLAMA, "RTX 4090", context_tokens=n)["hf"] for n in (1024, 8192))
    assert (long.cache_gib - short.cache_gib) * 2**30 == 7168 * 131_072
    assert long.tokens_per_second < short.tokens_per_second


def test_the_longest_context_just_fits_and_stays_within_the_model_s_own():
    small = chats("meta-llama/Llama-2-13b-chat-hf", "RTX 3080 10GB")["gguf"]
    assert 0 < small.longest_context_tokens < 4096
    at_limit = chats("meta-llama/Llama-2-13b-chat-hf", "RTX 3080 10GB", context_tokens=small.longest_context_tokens)
    beyond = chats("meta-llama/Llama-2-13b-chat-hf", "RTX 3080 10GB", context_tokens=small.longest_context_tokens + 1)
    assert at_limit["gguf"].fits
    assert not beyond["gguf"].fits
    assert chats(LLAMA, "A100 80GB")["gguf"].longest_context_tokens == 131_072


def test_a_model_that_is_too_large_has_no_context_at_all():
    chat = chats("chargoddard/Yi-34B-200K-Llama", "RTX 3060")["hf"]
    assert not chat.fits
    assert chat.longest_context_tokens == 0


def test_a_cpu_gives_a_wide_interval_and_reads_slowly():
    chat = chats("bundled:smollm2-135m", "", quantization="none")["gguf"]
    assert chat.high_tokens_per_second > 2 * chat.low_tokens_per_second
    assert chats(LLAMA, "")["gguf"].first_token_seconds > 100
