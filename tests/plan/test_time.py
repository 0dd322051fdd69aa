"""Minutes against measured CPU speeds and published GPU runs."""

from dataclasses import replace

import pytest

from duologue.config import Config, load_recipe
from duologue.data import DataStats
from duologue.engine import Gpu, Hardware, LoraSettings, ModelFacts
from duologue.plan import hardware_for, known_facts
from duologue.plan.flops import training_flops
from duologue.plan.machine import Machine, machine_of
from duologue.plan.profiles import FMS_PLAIN
from duologue.plan.time import plan_time, seconds_per_step
from duologue.plan.workload import Workload

CPU = Hardware((), num_cores=2, ram_bytes=2**35, ram_free_bytes=2**35, disk_free_bytes=10**11, cpu_gflops=130.0)


def facts(name: str) -> ModelFacts:
    found = known_facts(name)
    assert found is not None
    return found


def card(name: str) -> Machine:
    return machine_of(hardware_for(name, base=CPU))


SMOLLM = facts("bundled:smollm2-135m")
MISTRAL = facts("mistralai/Mistral-7B-v0.1")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
A100 = card("A100 SXM4 80GB")
CONFIG: Config = load_recipe("quickstart")


def workload(
    model: ModelFacts = SMOLLM,
    *,
    rank=16,
    modules="all-linear",
    num_layers=0,
    length=256,
    trained=0.5,
    quantization="none",
    dtype="float32",
    micro_batch_size=4,
    accumulation=1,
    checkpointing=False,
    num_validation_tokens=0,
) -> Workload:
    lora = LoraSettings(rank=rank, alpha=16, target_modules=modules, num_layers=num_layers)
    stats = DataStats(64, 4, 64 * length, round(trained * 64 * length), num_validation_tokens, length, (length,) * 64)
    return Workload(model, lora, stats, quantization, True, dtype, micro_batch_size, accumulation, checkpointing)


def speed(work: Workload, machine: Machine) -> float:
    return work.tokens_per_step / seconds_per_step(work, machine)


@pytest.mark.parametrize(("num_layers", "lowest", "highest"), [(0, 142, 160), (15, 242, 242)])
def test_the_reference_cpu_s_measured_speeds_are_met_within_twelve_percent(num_layers, lowest, highest):
    predicted = speed(workload(num_layers=num_layers), machine_of(CPU))
    assert 0.88 * lowest <= predicted <= 1.12 * highest


def test_half_the_backward_pass_makes_a_cpu_much_faster():
    assert speed(workload(num_layers=15), machine_of(CPU)) > 1.35 * speed(workload(), machine_of(CPU))


def test_twice_the_cpu_speed_halves_the_steps():
    fast = machine_of(replace(CPU, cpu_gflops=260.0))
    assert seconds_per_step(workload(), fast) * 2 == pytest.approx(seconds_per_step(workload(), machine_of(CPU)))


@pytest.mark.parametrize(
    ("quantization", "micro_batch_size", "measured"), [("none", 4, 3324), ("nf4", 4, 3596), ("nf4", 8, 3663)]
)
def test_published_a100_speeds_of_mistral_are_met_within_fifteen_percent(quantization, micro_batch_size, measured):
    # foundation-model-stack/fms-acceleration, a100_80gb.csv: rank 16 on q,k,v,o, 4096 packed tokens, checkpointing
    work = workload(
        MISTRAL,
        modules=ATTENTION,
        length=4096,
        trained=1.0,
        quantization=quantization,
        dtype="bfloat16",
        micro_batch_size=micro_batch_size,
        checkpointing=True,
    )
    assert speed(replace(work, profile=FMS_PLAIN), A100) == pytest.approx(measured, rel=0.12)
    assert speed(work, A100) == pytest.approx(measured, rel=0.2)  # and our own stack does about the same


def test_few_tokens_are_bound_by_kernel_launches_and_not_by_the_model():
    # Qwen README, A100: 7B with 32 layers takes 0.15 s per micro-step at 256 tokens
    work = workload(MISTRAL, dtype="bfloat16", micro_batch_size=1, checkpointing=True)
    assert seconds_per_step(work, A100) == pytest.approx(0.16, rel=0.1)


def test_a_frozen_weight_costs_four_flops_and_two_more_with_checkpointing():
    plain, recomputed = workload(length=1), workload(length=1, checkpointing=True)
    linear = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    head, adapter, attention = 576 * 49152 * 0.5, 4_884_480, 2 * 576 * 30
    assert training_flops(plain).total == pytest.approx(4 * linear + 4 * head + 6 * adapter + 3.5 * attention)
    assert training_flops(recomputed).total == pytest.approx(6 * linear + 4 * head + 8 * adapter + 4.5 * attention)


def test_layers_below_the_lowest_adapter_have_no_backward_pass():
    all_layers, last_third = training_flops(workload(length=1)), training_flops(workload(length=1, num_layers=10))
    linear = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    saved = all_layers.backward - last_third.backward
    assert saved == pytest.approx(2 / 3 * (2 * linear + 2.5 * 2 * 576 * 30) + 4 * 4_884_480 * 2 / 3)


def test_padding_takes_time_but_counts_as_no_tokens():
    even = workload(length=100)
    lengths = (50,) * 32 + (150,) * 32
    mixed = replace(even, stats=replace(even.stats, lengths=lengths, max_tokens=150), micro_batch_size=64)
    assert mixed.padding_factor == 1.0
    assert speed(mixed, machine_of(CPU)) == pytest.approx(speed(even, machine_of(CPU)))
    mixed = replace(mixed, profile=replace(mixed.profile, pads=True))
    assert mixed.padding_factor == pytest.approx(1.5)
    assert speed(mixed, machine_of(CPU)) == pytest.approx(speed(even, machine_of(CPU)) / 1.5)


def test_a_plan_counts_steps_tokens_and_minutes_that_agree():
    plan = plan_time(workload(), machine_of(CPU), max_steps=32, eval_every_steps=0, config=CONFIG)
    assert (plan.num_steps, plan.num_tokens) == (32, 32 * 4 * 256)
    assert plan.train_minutes * 60 * plan.tokens_per_second == pytest.approx(plan.num_tokens)
    assert plan.total_minutes == pytest.approx(plan.setup_minutes + plan.train_minutes + plan.eval_minutes)
    assert plan.low_minutes < plan.total_minutes < plan.high_minutes


def test_every_measurement_reads_the_validation_split_once():
    def minutes(eval_every_steps: int, tokens: int) -> float:
        work = workload(num_validation_tokens=tokens)
        config = CONFIG
        return plan_time(
            work, machine_of(CPU), max_steps=10, eval_every_steps=eval_every_steps, config=config
        ).eval_minutes

    once = (minutes(0, 8000) - minutes(0, 0)) / 2  # base and tuned
    assert once * 60 == pytest.approx(8000 / 400, rel=0.1)  # 400 tokens/s forward were measured
    assert minutes(4, 8000) - minutes(0, 8000) == pytest.approx(3 * once)  # steps 4, 8 and the last


def test_the_replies_of_the_report_are_decoded_twice_at_the_measured_speed():
    plan = plan_time(workload(), machine_of(CPU), max_steps=1, eval_every_steps=0, config=CONFIG)
    replies = 2 * 5 * 60 / 9.5
    assert plan.eval_minutes * 60 == pytest.approx(replies + 2 * 4.0, rel=0.02)


def test_an_unmeasured_cpu_has_a_wider_interval():
    def spread(hardware: Hardware) -> float:
        plan = plan_time(workload(), machine_of(hardware), max_steps=9, eval_every_steps=0, config=CONFIG)
        return plan.high_minutes / plan.low_minutes

    assert spread(replace(CPU, cpu_gflops=0.0)) > spread(CPU)


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("gpu", ["RTX 4090", "T4", "H200 SXM", "V100 SXM2 32GB", "A10G", "MI300X"])
def test_every_card_gives_a_finite_positive_time(gpu, quantization):
    work = workload(MISTRAL, quantization=quantization, dtype="bfloat16", num_validation_tokens=5000)
    plan = plan_time(work, card(gpu), max_steps=100, eval_every_steps=25, config=CONFIG)
    assert 0 < plan.low_minutes < plan.total_minutes < plan.high_minutes < 10_000


def test_float32_on_a_gpu_is_slower_than_16_bit():
    fast, slow = workload(MISTRAL, dtype="bfloat16", length=2048), workload(MISTRAL, length=2048)
    assert speed(slow, card("T4")) < speed(slow, card("RTX 4090")) < speed(fast, card("RTX 4090"))


def test_a_gpu_that_is_not_in_the_table_is_taken_for_the_slowest_of_its_generation():
    gpu = Gpu("NVIDIA GeForce RTX 4070 Laptop GPU", 8 * 2**30, 8 * 2**30, (8, 9), "580.1")
    unknown = machine_of(replace(CPU, gpus=(gpu,)))
    work = workload(MISTRAL, dtype="bfloat16", length=1024)
    assert not unknown.is_known_gpu
    assert speed(work, unknown) == speed(work, card("RTX 4060 Ti"))


def test_int8_and_nf4_take_about_as_long_and_16_bit_less_at_few_tokens():
    def seconds(quantization: str) -> float:
        work = workload(
            facts("meta-llama/Llama-2-13b-chat-hf"), dtype="bfloat16", quantization=quantization, checkpointing=True
        )
        return seconds_per_step(work, card("RTX 4090"))

    assert seconds("none") < seconds("nf4") < seconds("int8") < 1.1 * seconds("nf4")


def test_a_small_model_reaches_a_lower_share_of_the_peak_than_a_large_one():
    # fms-acceleration, A100: PowerLM-3b 0.39 of the peak, Mistral-7B 0.50, Llama-2-70B above 0.6
    def share(name: str) -> float:
        work = workload(facts(name), modules=ATTENTION, length=4096, trained=1.0, dtype="bfloat16", checkpointing=True)
        work = replace(work, profile=FMS_PLAIN)
        return speed(work, A100) * training_flops(work).total / 312e12

    small, middle, large = (share(name) for name in ("ibm/PowerLM-3b", MISTRAL.name, "meta-llama/Llama-2-70b-hf"))
    assert 0.35 < small < middle < large < 0.75


def test_packed_formats_train_on_a_cpu_nearly_as_fast_as_float32():
    # docs/LOG.md: 289 tokens/s in float32, 267 in NF4, 283 in int8
    plain = speed(workload(num_layers=6), machine_of(CPU))
    assert speed(workload(num_layers=6, quantization="nf4"), machine_of(CPU)) == pytest.approx(
        plain * 267 / 289, rel=0.01
    )
    assert speed(workload(num_layers=6, quantization="int8"), machine_of(CPU)) == pytest.approx(
        plain * 283 / 289, rel=0.01
    )


def test_long_conversations_are_slower_on_a_cpu_than_short_batches():
    # docs/LOG.md: the quickstart's conversations of up to 726 tokens went at 182 tokens/s, 4 x 256 at 242
    short, long = (speed(workload(num_layers=15, length=length), machine_of(CPU)) for length in (256, 600))
    assert long == pytest.approx(182, rel=0.1)
    assert short > 1.15 * long


def test_a_token_of_a_large_model_waits_for_its_weights_and_one_of_a_small_model_for_its_launches():
    def seconds_per_token(model: ModelFacts) -> float:
        def minutes(max_new_tokens: int) -> float:
            evaluation = CONFIG.evaluation.model_copy(update={"max_new_tokens": max_new_tokens})
            config = CONFIG.model_copy(update={"evaluation": evaluation})
            work = workload(model, dtype="bfloat16")
            return plan_time(work, card("RTX 4090"), max_steps=1, eval_every_steps=0, config=config).eval_minutes

        return 60 * (minutes(101) - minutes(1)) / (2 * len(CONFIG.evaluation.prompts) * 100)

    assert seconds_per_token(MISTRAL) == pytest.approx(2 * 7.24e9 / (0.6 * 1008e9), rel=0.02)
    assert seconds_per_token(SMOLLM) == pytest.approx(30 * 0.0006)


def test_unpacking_scales_that_are_packed_themselves_takes_longer():
    work = workload(MISTRAL, quantization="nf4", dtype="bfloat16", micro_batch_size=1, length=512)
    assert seconds_per_step(work, A100) > seconds_per_step(replace(work, use_double_quantization=False), A100)
