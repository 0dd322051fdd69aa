"""Every `auto` becomes a value with a reason that says the numbers."""

from dataclasses import fields, replace

import pytest

from duologue.config import Config, make_config
from duologue.data import DataStats
from duologue.engine import Hardware, ModelFacts
from duologue.plan import Reason, ResolvedSettings, hardware_for, known_facts
from duologue.plan.machine import machine_of
from duologue.plan.resolve import Resolution, resolve
from duologue.plan.time import seconds_per_step

CPU = Hardware((), num_cores=2, ram_bytes=2**34, ram_free_bytes=23 * 2**30, disk_free_bytes=10**11, cpu_gflops=130.0)
LENGTHS = tuple(range(20, 388)) * 2


def stats(lengths=LENGTHS, *, num_validation_examples=64) -> DataStats:
    lengths = tuple(sorted(lengths))
    total = sum(lengths)
    return DataStats(len(lengths), num_validation_examples, total, total // 2, 4000, lengths[-1], lengths)


def resolved(*overrides: str, base="bundled:smollm2-135m", gpu="", data=None, hardware=CPU) -> Resolution:
    tree = {"model": {"base": base}, "data": {"train": ["data/*.json"]}}
    config: Config = make_config(tree, overrides=overrides, where="test")
    facts = known_facts(base)
    assert isinstance(facts, ModelFacts)
    machine = machine_of(hardware_for(gpu, base=hardware) if gpu else hardware)
    return resolve(config, data or stats(), facts, machine=machine)


def reason(found: Resolution, setting: str) -> Reason:
    return next(reason for reason in found.reasons if reason.setting == setting)


def test_every_setting_has_one_reason_with_its_value():
    found = resolved()
    assert [one.setting for one in found.reasons] == [field.name for field in fields(ResolvedSettings)]
    for one in found.reasons:
        assert one.value == getattr(found.settings, one.setting)
        assert one.why


def test_explicit_values_are_kept_and_listed():
    found = resolved(
        "model.quantization=nf4",
        "model.compute_dtype=bfloat16",
        "training.micro_batch_size=3",
        "training.gradient_accumulation_steps=5",
        "training.gradient_checkpointing=on",
        "training.max_steps=70",
        "training.save_every_steps=9",
        "training.eval_every_steps=0",
        "generation.context_tokens=1000",
        gpu="RTX 4090",
    )
    assert found.settings == ResolvedSettings("nf4", "bfloat16", 3, 5, 70, 2, 9, 0, True, 1000)
    explicit = [one.setting for one in found.reasons if one.why == "as the config says"]
    assert len(explicit) == 9  # all but the warm-up, which is a fraction


def test_epochs_are_counted_in_steps_rounded_up():
    found = resolved("training.num_epochs=1.5", data=stats((100,) * 100))
    assert found.settings.max_steps == 20  # 1.5 x 13
    assert "1.5 epochs of 100 examples / 8 are 20 steps" in reason(found, "max_steps").why


def test_the_budget_shortens_an_automatic_number_of_steps_and_says_by_how_much():
    found = resolved("training.num_epochs=2", "budget.max_minutes=5")
    minutes = seconds_per_step(found.workload, machine_of(CPU)) / 60
    assert found.settings.max_steps == int(5 / minutes)
    whole = 184 * minutes
    assert reason(found, "max_steps").why == (
        f"2 epochs of 736 examples / 8 would be 184 steps and {whole:.1f} minutes; "
        f"budget.max_minutes = 5 allows {found.settings.max_steps}"
    )


def test_a_generous_budget_changes_nothing():
    assert resolved("budget.max_minutes=10000").settings.max_steps == resolved().settings.max_steps


def test_even_the_smallest_budget_allows_twenty_steps_and_says_why():
    found = resolved("budget.max_minutes=0.0001")
    assert found.settings.max_steps == 20
    assert "allows 0, but fewer than 20 steps teach nothing" in reason(found, "max_steps").why


def test_an_explicit_number_of_steps_is_not_shortened_but_the_reason_tells_the_overrun():
    found = resolved("training.max_steps=5000", "budget.max_minutes=5")
    assert found.settings.max_steps == 5000
    assert "above budget.max_minutes = 5" in reason(found, "max_steps").why


@pytest.mark.parametrize(
    ("gpu", "quantization"),
    [("A100 SXM4 80GB", "none"), ("RTX 4090", "int8"), ("RTX 3080 Ti", "nf4"), ("RTX 3080 10GB", "nf4")],
)
def test_the_most_exact_format_that_fits_is_taken(gpu, quantization):
    found = resolved("data.max_length_tokens=512", base="meta-llama/Llama-2-13b-chat-hf", gpu=gpu)
    assert found.settings.quantization == quantization
    assert quantization in reason(found, "quantization").why


def test_a_card_without_int8_instructions_is_not_offered_int8():
    found = resolved(base="meta-llama/Llama-2-13b-chat-hf", gpu="V100 SXM2 32GB")
    assert found.settings.quantization == "nf4"
    assert found.settings.compute_dtype == "float32"
    assert "int8" not in reason(found, "quantization").why


@pytest.mark.parametrize(("gpu", "dtype"), [("RTX 3060", "bfloat16"), ("T4", "float32"), ("", "float32")])
def test_the_compute_type_is_bfloat16_only_where_the_gpu_has_it(gpu, dtype):
    assert resolved(gpu=gpu).settings.compute_dtype == dtype


def test_checkpointing_is_on_only_where_the_run_would_not_fit_without():
    base = "meta-llama/Llama-2-13b-chat-hf"
    long = stats((1024,) * 80)
    small, large = resolved(base=base, gpu="RTX 4090", data=long), resolved(base=base, gpu="H200 SXM", data=long)
    assert small.settings.use_gradient_checkpointing
    assert not large.settings.use_gradient_checkpointing
    assert "does not fit safely" in reason(small, "use_gradient_checkpointing").why


def test_the_micro_batch_is_the_largest_that_fits_and_the_global_batch_stays_eight():
    roomy = resolved(gpu="A100 SXM4 80GB").settings
    assert (roomy.micro_batch_size, roomy.gradient_accumulation_steps) == (8, 1)
    on_cpu = resolved().settings
    assert (on_cpu.micro_batch_size, on_cpu.gradient_accumulation_steps) == (4, 2)
    cramped = resolved(base="meta-llama/Llama-2-13b-chat-hf", gpu="RTX 4060 Ti", data=stats((4000,) * 40)).settings
    assert cramped.micro_batch_size * cramped.gradient_accumulation_steps == 8
    assert cramped.micro_batch_size < 8


def test_a_given_accumulation_keeps_the_automatic_global_batch_at_eight():
    found = resolved("training.gradient_accumulation_steps=4", gpu="A100 SXM4 80GB").settings
    assert (found.micro_batch_size, found.gradient_accumulation_steps) == (2, 4)


def test_a_micro_batch_is_never_larger_than_the_data():
    assert resolved(data=stats((50, 60, 70)), gpu="A100 SXM4 80GB").settings.micro_batch_size == 2


def test_what_fits_nowhere_is_made_as_lean_as_possible_and_says_so():
    tiny = replace(CPU, ram_free_bytes=2**28)
    found = resolved(hardware=tiny)
    assert found.settings.micro_batch_size == 1
    assert found.settings.quantization == "nf4"
    assert found.settings.use_gradient_checkpointing
    assert "the smallest" in reason(found, "quantization").why
    assert "the smallest" in reason(found, "micro_batch_size").why


def test_saving_and_measuring_follow_the_number_of_steps():
    long, short = resolved("training.max_steps=5000").settings, resolved("training.max_steps=3").settings
    assert (long.save_every_steps, long.eval_every_steps, long.warmup_steps) == (100, 1250, 150)
    assert (short.save_every_steps, short.eval_every_steps, short.warmup_steps) == (1, 1, 1)


def test_without_validation_examples_nothing_is_measured_during_training():
    assert resolved(data=stats(num_validation_examples=0)).settings.eval_every_steps == 0


@pytest.mark.parametrize(("fraction", "steps"), [(0, 0), (0.05, 5), (1, 92)])
def test_the_warm_up_is_a_share_of_the_steps(fraction, steps):
    found = resolved(f"training.warmup_fraction={fraction}", "training.num_epochs=1")
    assert (found.settings.max_steps, found.settings.warmup_steps) == (92, steps)


def test_the_context_is_the_model_s_own_and_at_most_4096():
    assert resolved().settings.context_tokens == 4096
    beyond = resolved("generation.context_tokens=9000")
    assert beyond.settings.context_tokens == 9000
    assert "made for 8,192 tokens only" in reason(beyond, "context_tokens").why
