"""What three other planners say about the same runs, as JSON. Runs in an environment of theirs, not in duologue's.

    python -m venv peers && peers/bin/pip install fitcheck-llm==0.3.1 canifinetune==0.4.1 ftuneai==0.4.1
    peers/bin/python benchmarks/planner_peers.py < cases.json > peers.json

`benchmarks/planner_accuracy.py --peers peers/bin/python` does this. A case is a model's shape and a recipe; each tool
gets the shape directly, so none is held back by its list of models, and every setting of its own that fits the run.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

MIB, GIB = 2**20, 2**30
Case = dict[str, Any]
Answer = dict[str, Any]


def main() -> None:
    """Read a list of cases from standard input, write a list of answers by tool."""
    tools: dict[str, Callable[[Case], Answer]] = {
        "fitcheck-llm": _fitcheck,
        "canifinetune": _canifinetune,
        "ftuneai": _ftuneai,
    }
    answers = [{name: _asked(tool, case) for name, tool in tools.items()} for case in json.load(sys.stdin)]
    json.dump(answers, sys.stdout, indent=1)


def _asked(tool: Callable[[Case], Answer], case: Case) -> Answer:
    try:
        return tool(case)
    except Exception as error:  # noqa: BLE001 (a tool's refusal is its answer)
        return {"refused": str(error).splitlines()[0][:200] or type(error).__name__}


def _fitcheck(case: Case) -> Answer:
    from fitcheck.config_parser import ModelConfig
    from fitcheck.estimator import TrainingConfig, estimate
    from fitcheck.gpu_db import get_gpu

    if case["num_experts"]:
        return {"refused": "mixtures of experts are not supported"}
    config = ModelConfig(
        name=case["model"],
        num_params=case["num_params"],
        hidden_size=case["hidden_size"],
        num_layers=case["num_layers"],
        num_attention_heads=case["num_heads"],
        num_kv_heads=case["num_kv_heads"],
        intermediate_size=case["intermediate_size"],
        vocab_size=case["vocab_size"],
        head_dim=case["head_dim"],
        tie_word_embeddings=case["has_tied_embeddings"],
    )
    training = TrainingConfig(
        quantization="nf4" if case["is_quantized"] else "none",
        double_quant=case["has_double_quantization"],
        batch_size=case["micro_batch"],
        seq_len=case["length"],
        lora_rank=case["rank"],
        lora_targets=case["modules"],
        grad_checkpoint=case["has_checkpointing"],
        flash_attn=True,
    )
    found = estimate(config, training, get_gpu("card", vram_mib=case["card_bytes"] // MIB))
    device = found.total_mib * MIB / 1e9
    return {
        "allocated_gb": (found.total_mib - found.overhead_mib) * MIB / 1e9,
        "reserved_gb": device,
        "device_gb": device,
        "verdict": "fits" if found.fits else "no",
    }


def _canifinetune(case: Case) -> Answer:
    from canifinetune.estimator.memory import EstimateRequest, estimate

    request = EstimateRequest(
        model_id=case["model"],
        gpu_vram_gb=case["card_bytes"] / GIB,
        method="qlora" if case["is_quantized"] else "lora",
        seq_len=case["length"],
        micro_batch_size=case["micro_batch"],
        quantization="nf4_double_quant" if case["has_double_quantization"] else "nf4",
        lora_rank=case["rank"],
        lora_target_scope="all_linear" if "down_proj" in case["modules"] else "attention",
        optimizer="paged_adamw_8bit" if case["has_paged_optimizer"] else "adamw_torch",
        gradient_checkpointing=case["has_checkpointing"],
        loss_backend="liger" if case["has_fused_loss"] else "stock",
        override={
            "family": "llama" if case["mlp_kind"] == "gated" else "gpt_neox",
            "hidden_size": case["hidden_size"],
            "num_hidden_layers": case["num_layers"],
            "num_attention_heads": case["num_heads"],
            "num_key_value_heads": case["num_kv_heads"],
            "intermediate_size": case["intermediate_size"],
            "vocab_size": case["vocab_size"],
            "tie_word_embeddings": case["has_tied_embeddings"],
            "num_local_experts": case["num_experts"] or 1,
            "num_experts_per_tok": case["num_experts_per_token"] or 1,
            "total_params": case["num_params"],
        },
        use_network=False,
    )
    found = estimate(request)
    memory = found.memory
    margins = memory.cuda_overhead_gb + memory.safety_margin_gb
    return {
        "allocated_gb": (memory.total_estimated_gb - margins) * GIB / 1e9,
        "reserved_gb": (memory.total_estimated_gb - memory.safety_margin_gb) * GIB / 1e9,
        "device_gb": memory.total_estimated_gb * GIB / 1e9,
        "verdict": "no" if found.feasible == "no" else "fits",
    }


def _ftuneai(case: Case) -> Answer:
    from ftuneai.core import models
    from ftuneai.core.memory import MemoryEstimator
    from ftuneai.core.time import TimeEstimator

    spec = models.ModelSpec(
        name=case["model"],
        parameters=case["num_params"],
        hidden_size=case["hidden_size"],
        num_layers=case["num_layers"],
        num_attention_heads=case["num_heads"],
        num_kv_heads=case["num_kv_heads"],
        intermediate_size=case["intermediate_size"],
        vocab_size=case["vocab_size"],
        max_seq_length=max(case["context_tokens"], case["length"]),
        is_moe=bool(case["num_experts"]),
        num_experts=case["num_experts"] or None,
        num_active_experts=case["num_experts_per_token"] or None,
    )
    target = (
        "all_linear"
        if "down_proj" in case["modules"]
        else "attention_all"
        if "o_proj" in case["modules"]
        else "attention"
    )
    config = models.TrainingConfig(
        model=case["model"],
        method=models.FineTuneMethod("qlora" if case["is_quantized"] else "lora"),
        quantization=models.Quantization("4bit" if case["is_quantized"] else "none"),
        batch_size=case["micro_batch"],
        seq_length=case["length"],
        gradient_checkpointing=case["has_checkpointing"],
        lora_rank=case["rank"],
        lora_target=models.LoRATarget(target),
        flash_attention=True,
    )
    memory = MemoryEstimator(spec, config).estimate()
    answer: Answer = {
        "allocated_gb": (memory.total_gb - memory.overhead_gb) * GIB / 1e9,
        "reserved_gb": memory.total_gb * GIB / 1e9,
        "device_gb": memory.total_gb * GIB / 1e9,
        "verdict": "fits" if memory.total_gb * GIB <= case["card_bytes"] else "no",
    }
    if case["card_flops"]:
        gpu = models.GPUSpec(
            name="card",
            vram_gb=case["card_bytes"] / GIB,
            fp16_tflops=case["card_flops"] / 1e12,
            bf16_tflops=case["card_flops"] / 1e12,
            fp32_tflops=case["card_flops"] / 1e12,
            memory_bandwidth_gbps=case["card_bandwidth"] / 1e9,
        )
        time = TimeEstimator(spec, config).estimate(
            gpu=gpu, dataset_size=100_000, epochs=1, avg_seq_length=case["mean_length"]
        )
        answer["tokens_per_s"] = time.total_tokens / (time.total_hours * 3600)
    return answer


if __name__ == "__main__":
    main()
