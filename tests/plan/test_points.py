"""Published rows become predictions, or say what they lack."""

from dataclasses import replace

import pytest

from duologue.plan.points import machine_of_row, predict_points, workload_of
from duologue.plan.stacks import Unstated

ROW = {
    "model": "mistralai/Mistral-7B-v0.1",
    "params_b": "7.24",
    "method": "qlora",
    "quant": "nf4-dq",
    "lora_rank": "16",
    "seq_len": "4096",
    "micro_batch": "8",
    "grad_ckpt": "on",
    "optimizer": "adamw_torch",
    "gpu": "A100 80GB",
    "peak_gb": "",
    "tokens_per_s": "",
    "source": "foundation-model-stack/fms-acceleration",
    "notes": "seq 4096 packed; FA2; targets q,k,v,o",
    "stack": "fms-nf4-plain-a100",
    "tier": "allocated+device",
}


def one(**changes):
    return predict_points([{**ROW, **changes}])[0]


def test_a_published_run_comes_out_as_it_was_measured():
    found = one()  # 28.412 GB allocated, 35.67 on the device, 3,663 tokens/s
    assert found.predicted_allocated_gb == pytest.approx(28.412, rel=0.01)
    assert found.predicted_device_gb == pytest.approx(35.67, rel=0.05)
    assert found.predicted_tokens_per_s == pytest.approx(3663, rel=0.05)
    assert found.verdict == "fits"
    assert found.low_gb < found.predicted_device_gb < found.high_gb


def test_the_measured_columns_are_not_read():
    assert one(peak_gb="1", tokens_per_s="1", tier="x") == one(peak_gb="OOM", tokens_per_s="", tier="")


def test_the_json_has_exactly_the_promised_keys():
    tree = predict_points([ROW, {**ROW, "model": "unknown"}])[1].as_json()
    assert list(tree) == [
        "row",
        "predicted_allocated_gb",
        "predicted_reserved_gb",
        "predicted_device_gb",
        "predicted_tokens_per_s",
        "verdict",
        "why",
    ]
    assert tree["row"] == 1
    assert tree["predicted_allocated_gb"] is None


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"model": "Mystery 7B"}, "the shape of 'Mystery 7B'"),
        ({"method": "full"}, "trains 'full'"),
        ({"seq_len": ""}, "the sequence length is ''"),
        ({"seq_len": "0"}, "the sequence length is '0'"),
        ({"micro_batch": "-1"}, "micro_batch is '-1'"),
        ({"grad_ckpt": ""}, "grad_ckpt is ''"),
        ({"grad_ckpt": "on (yaml default; A6000 row unknown)", "gpu": "RTX A6000"}, "a6000 row unknown"),
        ({"quant": "hqq"}, "quant is 'hqq'"),
        ({"lora_rank": ""}, "lora_rank is ''"),
        ({"stack": "other", "notes": ""}, "the stack 'other'"),
    ],
)
def test_a_row_that_states_too_little_has_no_prediction_and_says_why(changes, lacks):
    found = one(**changes)
    assert found.predicted_allocated_gb is found.predicted_tokens_per_s is found.verdict is None
    assert lacks in found.why


def test_a_short_line_of_a_file_has_no_prediction():
    found = predict_points([{"model": "Llama 2 7B", "method": "lora", "notes": None, None: ["more"]}])[0]
    assert found.verdict is None
    assert "the sequence length is ''" in found.why or "lora_rank" in found.why


def test_int8_rows_are_planned_in_int8():
    assert workload_of({**ROW, "quant": "int8"}).quantization == "int8"
    assert one(quant="nf4").predicted_allocated_gb < one(quant="int8").predicted_allocated_gb


def test_an_unstated_card_still_has_its_tensors_predicted():
    found = one(gpu="not stated")
    assert found.predicted_allocated_gb == pytest.approx(one().predicted_allocated_gb)
    assert found.predicted_device_gb is found.verdict is found.predicted_tokens_per_s is None
    assert "card is not stated" in found.why


def test_a_card_known_only_by_its_size_has_a_verdict_and_no_speed():
    found = one(gpu="24 GB card")
    assert found.verdict == "no"
    assert found.predicted_tokens_per_s is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("A100-SXM4-40GB", "A100 SXM4 40GB"),
        ("2x RTX 4090 (<=400 W)", "RTX 4090 24GB"),
        ("4x A100 40GB SXM", "A100 SXM4 40GB"),
        ("RTX 4080 16GB (Windows)", "RTX 4080 16GB"),
        ("2x RTX 6000 Ada 48GB", "RTX 6000 Ada 48GB"),
        ("L40S 48GB", "L40S 48GB"),
        ("A10G 24GB", "A10G 24GB"),
    ],
)
def test_cards_are_found_as_publications_write_them(text, name):
    machine = machine_of_row({"gpu": text})
    assert machine is not None
    assert (machine.name, machine.is_known_gpu) == (name, True)


def test_the_recipe_of_the_source_fills_what_a_row_leaves_open():
    litgpt = {**ROW, "stack": "litgpt", "notes": "", "lora_rank": "", "grad_ckpt": "off", "source": "config_hub"}
    assert workload_of(litgpt).lora.target_modules == ("q_proj", "v_proj")
    assert workload_of(litgpt).lora.rank == 32
    assert len(workload_of({**litgpt, "model": "gemma2-9b"}).lora.target_modules) == 7
    with pytest.raises(Unstated, match="which layers"):
        workload_of({**ROW, "stack": "trl", "notes": ""})


def test_dynamic_lengths_plan_memory_by_the_longest_and_speed_by_the_mean():
    work = workload_of({**ROW, "seq_len": "<=768 dynamic (mean 210)", "stack": "peft", "quant": "none"})
    assert work.longest_micro_batch_tokens == 8 * 768
    assert work.mean_tokens == pytest.approx(210, rel=0.02)
    assert work.is_padded


def test_the_cards_of_one_machine_are_counted():
    row = {**ROW, "stack": "answerai", "gpu": "2x RTX 3090", "notes": "FSDP; PER GPU"}
    assert workload_of(row).num_gpus == 2
    assert workload_of(row).profile.is_sharded


def test_a_profile_can_be_changed_to_hold_a_source_out():
    found = predict_points([ROW], change=lambda profile: replace(profile, traffic=2 * profile.traffic))[0]
    assert found.predicted_tokens_per_s < 0.8 * one().predicted_tokens_per_s
    assert found.predicted_allocated_gb == one().predicted_allocated_gb
