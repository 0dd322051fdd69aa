"""Saved activations against the table measured with saved-tensor hooks."""

from dataclasses import replace

import pytest

from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts
from duologue.plan.activations import backward_bytes_per_token, logit_bytes_per_token, saved_bytes_per_token
from duologue.plan.profiles import HF_KBIT, HF_KBIT_WINDOWS, LITGPT, PEFT, PEFT_PURE, TRL
from duologue.plan.workload import Workload

H, F, KV, R, HEADS, VOCAB = 512, 1408, 128, 24, 8, 1000
CONSTANT = 4 * HEADS + 8
MODEL = ModelFacts("test", H, 4, F, HEADS, 2, H // HEADS, VOCAB, False, 4096)
ALL = "all-linear"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
QUERY_VALUE = ("q_proj", "v_proj")


def workload(*, dtype="bfloat16", modules=ALL, dropout=0.0, quantization="none", micro_batch_size=1) -> Workload:
    lora = LoraSettings(rank=R, alpha=16, dropout=dropout, target_modules=modules)
    stats = DataStats(8, 0, 800, 400, 0, 100, (100,) * 8)
    return Workload(MODEL, lora, stats, quantization, True, dtype, micro_batch_size, 1, False)


@pytest.mark.parametrize(
    ("dtype", "modules", "expected"),
    [
        ("bfloat16", ALL, 24 * H + 8 * F + 4 * KV + 14 * R),
        ("bfloat16", ATTENTION, 20 * H + 6 * F + 4 * KV + 8 * R),
        ("bfloat16", QUERY_VALUE, 16 * H + 6 * F + 4 * KV + 4 * R),
        ("float16", ALL, 24 * H + 8 * F + 4 * KV + 14 * R),
        ("float32", ALL, 24 * H + 16 * F + 8 * KV + 28 * R),
        ("float32", ATTENTION, 20 * H + 12 * F + 8 * KV + 16 * R),
        ("float32", QUERY_VALUE, 20 * H + 12 * F + 8 * KV + 8 * R),
    ],
)
def test_a_block_keeps_exactly_the_measured_bytes_per_token(dtype, modules, expected):
    assert saved_bytes_per_token(workload(dtype=dtype, modules=modules), on_gpu=True) == expected + CONSTANT


@pytest.mark.parametrize(
    ("dtype", "modules", "expected"),
    [
        ("bfloat16", ALL, 48 * H + 12 * F + 4 * KV + 14 * R),
        ("bfloat16", ATTENTION, 36 * H + 6 * F + 4 * KV + 8 * R),
        ("bfloat16", QUERY_VALUE, 24 * H + 6 * F + 4 * KV + 4 * R),
        ("float32", ALL, 64 * H + 20 * F + 8 * KV + 28 * R),
        ("float32", ATTENTION, 48 * H + 12 * F + 8 * KV + 16 * R),
        ("float32", QUERY_VALUE, 32 * H + 12 * F + 8 * KV + 8 * R),
    ],
)
def test_dropout_adds_copies_and_masks_as_measured_on_a_cpu(dtype, modules, expected):
    with_dropout = workload(dtype=dtype, modules=modules, dropout=0.05)
    assert saved_bytes_per_token(with_dropout, on_gpu=False) == expected + CONSTANT


@pytest.mark.parametrize(
    ("profile", "modules", "expected"),
    [
        (TRL, ALL, 16 * H + 8 * F + 4 * KV + 14 * R),
        (TRL, ATTENTION, 14 * H + 6 * F + 4 * KV + 8 * R),
        (TRL, QUERY_VALUE, 14 * H + 6 * F + 4 * KV + 4 * R),
        (PEFT, ALL, 24 * H + 8 * F + 4 * KV + 14 * R),
        (HF_KBIT, ALL, 24 * H + 14 * F + 4 * KV + 14 * R),
        (HF_KBIT, ATTENTION, 20 * H + 12 * F + 4 * KV + 8 * R),
        (HF_KBIT, QUERY_VALUE, 16 * H + 12 * F + 4 * KV + 4 * R),
        (PEFT_PURE, ALL, 36 * H + 10 * F + 4 * KV + 28 * R),
        (PEFT_PURE, ATTENTION, 28 * H + 6 * F + 4 * KV + 16 * R),
        (PEFT_PURE, QUERY_VALUE, 20 * H + 6 * F + 4 * KV + 8 * R),
    ],
)
def test_every_stack_keeps_exactly_what_was_measured_for_it(profile, modules, expected):
    work = replace(workload(modules=modules), profile=profile)
    assert saved_bytes_per_token(work, on_gpu=True) == expected + CONSTANT


@pytest.mark.parametrize(
    ("modules", "more"), [(ALL, 14 * H + F), (ATTENTION, 10 * H), (QUERY_VALUE, 4 * H)], ids=["all", "qkvo", "qv"]
)
def test_dropout_over_16_bit_adapters_gives_each_its_own_input_and_mask(modules, more):
    without = replace(workload(modules=modules), profile=TRL)
    with_dropout = replace(workload(modules=modules, dropout=0.05), profile=TRL)
    assert saved_bytes_per_token(with_dropout, on_gpu=True) - saved_bytes_per_token(without, on_gpu=True) == more


def test_an_older_bitsandbytes_keeps_the_inputs_of_packed_layers():
    plain = replace(workload(modules=QUERY_VALUE), profile=LITGPT)
    packed = replace(workload(modules=QUERY_VALUE, quantization="nf4"), profile=LITGPT)
    kept = saved_bytes_per_token(packed, on_gpu=True) - saved_bytes_per_token(plain, on_gpu=True)
    assert kept == 2 * (3 * H + F)  # of query/key/value, of the output projection, of gate/up, of down


def test_attention_without_a_flash_kernel_grows_with_the_length():
    flash, math = replace(workload(), profile=HF_KBIT), replace(workload(), profile=HF_KBIT_WINDOWS)
    more = saved_bytes_per_token(math, on_gpu=True) - saved_bytes_per_token(flash, on_gpu=True)
    assert more == 4 * HEADS * 100 + 8 * (H - KV)


def test_a_plain_feed_forward_keeps_one_tensor_and_two_experts_keep_twice_as_many():
    def kept(**shape) -> float:
        work = workload(modules=ATTENTION)
        return saved_bytes_per_token(replace(work, facts=replace(MODEL, **shape)), on_gpu=True)

    assert kept() - kept(mlp_kind="plain") == 4 * F
    assert kept(num_experts=8, num_experts_per_token=2) - kept() == 6 * F
    assert kept(norm_kind="layer") == kept() - 4 * H
    assert kept(has_query_key_norm=True) - kept() == 4 * (H + KV)


@pytest.mark.parametrize(("modules", "masks"), [(ALL, 6 * H + F), (ATTENTION, 4 * H), (QUERY_VALUE, 2 * H)])
def test_a_dropout_mask_is_one_byte_per_input_on_a_gpu(modules, masks):
    without = saved_bytes_per_token(workload(modules=modules), on_gpu=True)
    assert saved_bytes_per_token(workload(modules=modules, dropout=0.05), on_gpu=True) - without == masks


def test_int8_keeps_the_inputs_of_the_frozen_layers_too_and_nf4_does_not():
    plain = saved_bytes_per_token(workload(), on_gpu=True)
    assert saved_bytes_per_token(workload(quantization="nf4"), on_gpu=True) == plain
    assert saved_bytes_per_token(workload(quantization="int8"), on_gpu=True) == plain + 4 * H + 2 * F


def test_a_padded_batch_repeats_keys_and_values_for_every_query_head():
    alone = saved_bytes_per_token(workload(), on_gpu=True)
    even = workload(micro_batch_size=2)
    mixed = replace(even, stats=replace(even.stats, lengths=(50,) * 4 + (150,) * 4, max_tokens=150))
    mixed = replace(mixed, profile=replace(mixed.profile, pads=True))
    assert saved_bytes_per_token(even, on_gpu=True) == alone  # without padding there is no mask
    assert saved_bytes_per_token(mixed, on_gpu=True) == alone + 4 * (H - KV)
    assert saved_bytes_per_token(replace(mixed, pack_length_tokens=500), on_gpu=True) == alone


def test_recomputing_a_block_needs_its_saved_tensors_and_its_gradients():
    saved = saved_bytes_per_token(workload(), on_gpu=True)
    assert backward_bytes_per_token(workload(), on_gpu=True) == saved + 6 * H + 6 * F


def test_a_trained_token_costs_14_bytes_per_vocabulary_entry_in_16_bit():
    assert logit_bytes_per_token(workload()) == 14 * VOCAB
    assert logit_bytes_per_token(workload(dtype="float32")) == 12 * VOCAB
