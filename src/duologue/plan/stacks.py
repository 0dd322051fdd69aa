"""Which profile and which recipe a published run had, from what its row says and what its source ships.

A recipe here is what the source's own script or configuration file sets where the row is silent: litgpt's
config_hub/finetune/*.yaml, torchtune's recipes/configs, Qwen's finetune.py, fsdp_qlora's train.py.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from duologue.engine import ModelFacts
from duologue.plan import profiles as p
from duologue.plan.shapes import ATTENTION
from duologue.plan.workload import Optimizer

_MLP = ("gate_proj", "up_proj", "down_proj")
_ALL = (*ATTENTION, *_MLP)
_QV = ("q_proj", "v_proj")
_SHORT = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj"}
# litgpt's files that adapt every layer and the head; the others adapt queries and values.
_LITGPT_ALL = ("gemma", "phi-2", "phi-3", "tiny")


class Unstated(Exception):
    """A row leaves open something that the prediction needs."""


@dataclass(frozen=True, slots=True)
class RowRecipe:
    """What a run set besides model, sizes and format.

    Attributes:
        rank: Of the adapter.
        modules: Adapted linear layers.
        dropout: At the adapter's input.
        accumulation: Micro-batches per optimizer step.
        optimizer: Kind of AdamW.
    """

    rank: int
    modules: tuple[str, ...] | Literal["all-linear"]
    dropout: float
    accumulation: int
    optimizer: Optimizer


def recipe_of(row: Mapping[str, str], facts: ModelFacts) -> RowRecipe:
    """Return the recipe of a row.

    Raises:
        Unstated: Neither the row nor its source says what is adapted.
    """
    stack, notes = row.get("stack", ""), row.get("notes", "")
    stated = row.get("lora_rank", "").strip()
    rank = int(stated) if stated.isdigit() and int(stated) > 0 else _usual_rank(stack, facts)
    if rank is None:
        raise Unstated(f"lora_rank is '{stated}'")
    modules = _stated_modules(notes) or _usual_modules(stack, facts)
    if modules is None:
        raise Unstated(f"neither the row nor the stack '{stack}' says which layers are adapted")
    dropout = 0.05 if stack in ("litgpt", "qwen1", "hf-kbit") else 0.0
    return RowRecipe(
        rank=rank,
        modules=modules,
        dropout=dropout,
        accumulation=8 if stack == "qwen1" else 1,
        optimizer="paged_adamw_8bit" if row.get("optimizer", "").startswith("paged_adamw_8bit") else "adamw",
    )


def profile_of(row: Mapping[str, str], facts: ModelFacts, *, is_quantized: bool) -> p.StackProfile:
    """Return the profile of the stack that a row ran on.

    Raises:
        Unstated: The stack has no profile.
    """
    stack = row.get("stack", "")
    if stack.startswith("fms-"):
        return _fms_profile(stack, facts, is_quantized=is_quantized)
    variants: dict[str, Callable[[Mapping[str, str], bool], p.StackProfile]] = {
        "hf-kbit": _kbit_profile,
        "unsloth": _unsloth_profile,
        "answerai": _answerai_profile,
        "qwen1": lambda _, quantized: p.QWEN1_GPTQ if quantized else p.QWEN1,
        "torchtune": _torchtune_profile,
        "litgpt": lambda found, _: p.LITGPT_HUB if "config_hub" in found.get("source", "") else p.LITGPT,
        "peft": lambda found, _: p.PEFT_DORA if "DoRA" in found.get("notes", "") else p.PEFT_PURE,
        "trl": lambda _, __: p.TRL,
    }
    if stack not in variants:
        raise Unstated(f"the stack '{stack}' is not described")
    return variants[stack](row, is_quantized)


def _kbit_profile(row: Mapping[str, str], is_quantized: bool) -> p.StackProfile:
    on_windows = "windows" in row.get("gpu", "").lower()
    if is_quantized:
        return p.HF_KBIT_WINDOWS if on_windows else p.HF_KBIT
    return p.HF_WINDOWS if on_windows else p.PEFT  # a 16-bit base is not prepared


def _unsloth_profile(row: Mapping[str, str], _: bool) -> p.StackProfile:
    return p.HF_KBIT if "HF+FA2" in row.get("notes", "") else p.UNSLOTH  # its table's own comparison


def _answerai_profile(row: Mapping[str, str], _: bool) -> p.StackProfile:
    notes = row.get("notes", "")
    return p.ANSWERAI_OFFLOAD if "offload" in notes else p.ANSWERAI_FSDP if "FSDP" in notes else p.ANSWERAI


def _torchtune_profile(row: Mapping[str, str], is_quantized: bool) -> p.StackProfile:
    if is_quantized and "tutorials" in row.get("source", ""):
        return p.TORCHTUNE_FIRST_QLORA
    return replace(p.TORCHTUNE, offloads_block_inputs=True) if "offload" in row.get("grad_ckpt", "") else p.TORCHTUNE


def _fms_profile(stack: str, facts: ModelFacts, *, is_quantized: bool) -> p.StackProfile:
    """fms-<base>-<kernels>-<table>: three tables, three versions of transformers and of the fused loss."""
    parts = stack.split("-")
    base, kernels, table = (*parts[1:], "", "", "")[:3]
    known = {"plain": p.FMS_KBIT if base == "kbit" else p.FMS_PLAIN, "foak": p.FMS_FOAK, "liger": p.FMS_LIGER}
    if kernels not in known:
        raise Unstated(f"the stack '{stack}' is not described")
    found = known[kernels]
    if kernels == "foak":  # the first table's loss holds one more copy of the logits than the later ones
        found = replace(found, gap_logit_bytes=8.5) if table == "a100" else replace(found, logit_bytes=8.0)
    if table == "granite":  # a newer transformers keeps no second copy of the shifted logits
        plain = kernels == "plain"
        found = replace(
            found,
            logit_bytes=12.0 if plain else found.logit_bytes,
            logit_hidden_bytes=8.0 if plain else 6.0,
            gap_logit_bytes=5.0,
        )
    if not is_quantized:  # a 16-bit base ran slower than a packed one in all three tables; their notes give no reason
        found = replace(found, traffic=1.2 * found.traffic)
        if kernels != "plain":
            found = replace(found, gradient_hidden_bytes=2.0)
    # transformers 4.45 repeats Mistral's keys before FlashAttention; 4.48 and Llama's code do not
    if table == "liger" and "mistral" in facts.name.lower():
        found = replace(found, repeats_keys=True)
    return found


def _stated_modules(notes: str) -> tuple[str, ...] | None:
    if re.search(r"all[- ]linear", notes):
        return _ALL
    found = re.search(r"targets ([a-z]+(?:,[a-z]+)*)", notes)
    if found is None:
        return None
    if found[1] == "mlp":
        return _MLP
    names = [_SHORT[short] for short in found[1].split(",") if short in _SHORT]
    return tuple(names) or None


def _usual_modules(stack: str, facts: ModelFacts) -> tuple[str, ...] | None:
    name = facts.name.lower()
    if stack == "litgpt":
        return _ALL if any(part in name for part in _LITGPT_ALL) else _QV
    if stack == "torchtune":  # the recipes since Llama 3 adapt output projection and feed-forward part too
        return _QV if re.search(r"llama-? ?2\b", name) else ("q_proj", "v_proj", "o_proj", *_MLP)
    usual = {
        "qwen1": ("q_proj", "v_proj", "o_proj", *_MLP),  # c_attn is one matrix: as many parameters as q and v
        "unsloth": _ALL,
        "answerai": ("q_proj", "k_proj", "v_proj", *_MLP),
        "peft": _QV,
    }
    return ATTENTION if stack.startswith("fms-") else usual.get(stack)


def _usual_rank(stack: str, facts: ModelFacts) -> int | None:
    if stack == "litgpt":
        name = facts.name.lower()
        return 16 if "gemma" in name else 8 if "phi" in name else 32
    return None
