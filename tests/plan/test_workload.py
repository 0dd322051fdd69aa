"""Steps and padding of a run, counted as the engine cuts its batches."""

import random
from dataclasses import replace

import pytest

from duologue.data import DataStats
from duologue.engine import LoraSettings, ModelFacts
from duologue.plan.profiles import DUOLOGUE
from duologue.plan.workload import Workload

PADDING = replace(DUOLOGUE, pads=True)  # a stack that fills examples up

MODEL = ModelFacts("test", 64, 2, 128, 4, 4, 16, 1000, False, 4096)


def workload(lengths, *, micro_batch_size=4, accumulation=2) -> Workload:
    lengths = tuple(sorted(lengths))
    total = sum(lengths)
    stats = DataStats(len(lengths), 0, total, total // 2, 0, lengths[-1], lengths)
    return Workload(
        MODEL,
        LoraSettings(rank=4, alpha=4),
        stats,
        "none",
        True,
        "float32",
        micro_batch_size,
        accumulation,
        False,
        profile=PADDING,
    )


def test_an_epoch_ends_on_a_smaller_step_when_the_examples_do_not_divide():
    work = workload([10] * 19)
    assert work.steps_per_epoch == 3
    assert work.tokens_per_step == pytest.approx(190 / 3)
    assert work.micro_batches_per_step == pytest.approx((2 + 2 + 1) / 3)


def test_equal_lengths_need_no_padding():
    assert workload([37] * 100).padding_factor == 1.0


def test_a_small_set_is_padded_exactly_as_it_is_cut():
    # sorted longest first: 9 8 7 6 | 5 4 3 2 -> 4 x 9 + 4 x 5
    assert workload([2, 3, 4, 5, 6, 7, 8, 9]).padding_factor == pytest.approx((36 + 20) / 44)


def test_single_sequences_are_never_padded():
    assert workload([5, 50, 500], micro_batch_size=1).padding_factor == 1.0


def test_the_padding_of_a_large_set_is_that_of_its_shuffled_groups():
    draw = random.Random(7)
    lengths = [int(draw.lognormvariate(5, 0.5)) + 1 for _ in range(2000)]
    padded = total = 0
    for at in range(0, 1984, 64):  # the engine's groups: eight global batches of eight, sorted
        group = sorted(lengths[at : at + 64], reverse=True)
        for start in range(0, 64, 4):
            padded += 4 * group[start]
            total += sum(group[start : start + 4])
    assert workload(lengths).padding_factor == pytest.approx(padded / total, rel=0.02)


def test_the_longest_examples_together_decide_the_memory():
    assert workload([10, 20, 30]).longest_micro_batch_tokens == 3 * 30
    assert workload([10, 20, 30], micro_batch_size=2).longest_micro_batch_tokens == 2 * 30


def test_our_own_stack_pads_nothing():
    mixed = replace(workload([10, 20, 30]), profile=DUOLOGUE)
    assert mixed.padding_factor == 1.0
    assert not mixed.is_padded
    assert mixed.longest_micro_batch_tokens == 60


def test_packed_rows_have_no_padding_and_bound_the_memory():
    mixed = workload(range(10, 330, 10), micro_batch_size=2, accumulation=4)
    packed = replace(mixed, pack_length_tokens=1000)
    assert mixed.padding_factor > 1.0 == packed.padding_factor
    assert mixed.longest_micro_batch_tokens == 2 * 320
    assert packed.longest_micro_batch_tokens == 1000
    assert packed.micro_batches_per_step == pytest.approx(8 * 165 / 1000)
    assert not packed.is_padded


def test_a_pack_is_never_longer_than_a_step_nor_shorter_than_the_longest_example():
    few = workload([50, 60], micro_batch_size=1, accumulation=2)
    assert replace(few, pack_length_tokens=4096).longest_micro_batch_tokens == 110
    assert replace(few, pack_length_tokens=16).longest_micro_batch_tokens == 60
