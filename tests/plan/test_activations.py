"""Saved activations against the table measured with saved-tensor hooks."""

import pytest

from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts
from duologue.plan.activations import backward_bytes_per_token, logit_bytes_per_token, saved_bytes_per_token
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
    assert saved_bytes_per_token(workload(micro_batch_size=2), on_gpu=True) == alone + 4 * (H - KV)


def test_recomputing_a_block_needs_its_saved_tensors_and_its_gradients():
    saved = saved_bytes_per_token(workload(), on_gpu=True)
    assert backward_bytes_per_token(workload(), on_gpu=True) == saved + 6 * H + 6 * F


def test_a_trained_token_costs_14_bytes_per_vocabulary_entry_in_16_bit():
    assert logit_bytes_per_token(workload()) == 14 * VOCAB
    assert logit_bytes_per_token(workload(dtype="float32")) == 12 * VOCAB
