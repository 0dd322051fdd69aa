"""Published measurements, predicted row by row: what `plan --points` prints and the accuracy page is made from.

A row states a model, a stack, a recipe and a card in the words of its source. It becomes a workload and a machine, and
goes through the same functions as a person's own run. What a row leaves open is filled from the recipe that its source
ships, never from another row's result; where neither says enough, the prediction is empty and `why` says what lacks.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue.data import DataStats
from duologue.engine import Gpu, Hardware, LoraSettings, Quantization
from duologue.errors import PlanError
from duologue.plan.gpus import hardware_for
from duologue.plan.machine import Machine, machine_of
from duologue.plan.memory import GIB, Verdict, plan_memory
from duologue.plan.models import facts_called
from duologue.plan.profiles import StackProfile
from duologue.plan.stacks import Unstated, profile_of, recipe_of
from duologue.plan.time import seconds_per_step
from duologue.plan.workload import Workload

_NO_HARDWARE = Hardware(gpus=(), num_cores=1, ram_bytes=2**36, ram_free_bytes=2**36, disk_free_bytes=2**40)
_ALPACA_LONGEST = 1304  # tokens of Alpaca's longest example for Llama 2 (litgpt, tutorials/resource-tables.md)
_ALPACA_MEAN = 130
_DOUBLE = ("nf4-dq", "torchao-nf4", "gptq-int4")  # scales in 8 bit, or one 16-bit scale per 128 weights
_FORMATS: dict[str, Quantization] = {"none": "none", "int8": "int8"}  # everything else has 4 bits a weight
_USABLE = 0.985
_PLAIN_GPU = (8, 0)  # a card that is only known by its size is taken for one with bfloat16


@dataclass(frozen=True, slots=True)
class PointPrediction:
    """The prediction for one row; numbers in 1e9 bytes and tokens per second, None where the row states too little."""

    row: int
    predicted_allocated_gb: float | None
    predicted_reserved_gb: float | None
    predicted_device_gb: float | None
    predicted_tokens_per_s: float | None
    verdict: Verdict | None
    why: str
    profile: str = ""
    low_gb: float | None = None
    high_gb: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the keys that `plan --points` promises."""
        names = (
            "row",
            "predicted_allocated_gb",
            "predicted_reserved_gb",
            "predicted_device_gb",
            "predicted_tokens_per_s",
            "verdict",
            "why",
        )
        return {name: getattr(self, name) for name in names}


def predict_points(
    rows: Sequence[Mapping[str, str]], *, change: Callable[[StackProfile], StackProfile] | None = None
) -> list[PointPrediction]:
    """Return a prediction for every row, in order.

    Args:
        rows: Columns model, method, quant, lora_rank, seq_len, micro_batch, grad_ckpt, optimizer, gpu, source, notes
            and stack, as texts; peak_gb and tokens_per_s are not read.
        change: Applied to the profile of every row first; how the accuracy page holds sources out.
    """
    # A short line of a CSV file has None where its columns end, and a long one a list under None.
    texts = [{str(name): str(value or "") for name, value in row.items()} for row in rows]
    return [_predict(number, row, change) for number, row in enumerate(texts)]


def workload_of(row: Mapping[str, str]) -> Workload:
    """Return the workload that a row describes.

    Raises:
        Unstated: The row leaves open what neither its source's recipe nor its stack says.
    """
    facts = facts_called(row.get("model", ""))
    if facts is None:
        raise Unstated(f"the shape of '{row.get('model', '')}' is not in the table")
    if row.get("method", "") not in ("lora", "qlora"):
        raise Unstated(f"the row trains '{row.get('method', '')}'; the planner plans adapters")
    recipe = recipe_of(row, facts)
    longest, mean = _lengths(row)
    micro_batch = _whole(row, "micro_batch")
    checkpointing = _checkpointing(row)
    quantization = _quantization(row)
    profile = profile_of(row, facts, is_quantized=quantization != "none")
    accumulation = recipe.accumulation
    count = micro_batch * accumulation
    # Between the longest and the mean: one longest sequence, the others such that the mean is the stated one.
    lengths = (longest,) * count if longest == mean else tuple([mean] * (count * 32 - 1) + [longest])
    total = sum(lengths)
    stats = DataStats(
        num_train_examples=len(lengths),
        num_validation_examples=0,
        num_tokens=total,
        num_trained_tokens=total,
        num_validation_tokens=0,
        max_tokens=longest,
        lengths=lengths,
    )
    return Workload(
        facts=facts,
        lora=LoraSettings(recipe.rank, recipe.rank, dropout=recipe.dropout, target_modules=recipe.modules),
        stats=stats,
        quantization=_FORMATS.get(quantization, "nf4"),
        use_double_quantization=quantization in _DOUBLE or profile.name == "unsloth",
        compute_dtype="bfloat16",
        micro_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        use_gradient_checkpointing=checkpointing,
        profile=profile,
        optimizer=recipe.optimizer,
        num_gpus=_num_gpus(row),
    )


def machine_of_row(row: Mapping[str, str]) -> Machine | None:
    """Return the card of a row, or None when the row does not say which it is."""
    text = re.sub(r"\(.*?\)", "", row.get("gpu", "")).replace("-", " ")
    text = re.sub(r"^\s*\d+\s*x\s+", "", text).strip()
    if not text or text == "not stated":
        return None
    # The table writes the form before the size and calls only SXM by it.
    words = [word for word in text.split() if word not in ("GB", "Laptop")]
    for name in (text, " ".join(words), " ".join(re.sub(r"^SXM\d$", "SXM4", word) for word in words), f"{text} 80GB"):
        try:
            return machine_of(hardware_for(name, base=_NO_HARDWARE))
        except PlanError:
            continue
    size = re.search(r"(\d+)\s*GB", text)
    if size is None:
        return None
    total = int(size[1]) * GIB
    gpu = Gpu(text, total, int(_USABLE * total), _PLAIN_GPU, "")
    return machine_of(replace(_NO_HARDWARE, gpus=(gpu,)))


def _predict(
    number: int, row: Mapping[str, str], change: Callable[[StackProfile], StackProfile] | None
) -> PointPrediction:
    empty = PointPrediction(number, None, None, None, None, None, "")
    try:
        workload = workload_of(row)
    except Unstated as error:
        return replace(empty, why=f"no prediction: {error}")
    if change is not None:
        workload = replace(workload, profile=change(workload.profile))
    machine = machine_of_row(row)
    # Which card it is decides only the context, the size of cuBLAS's workspaces and the verdict.
    memory = plan_memory(workload, machine or machine_of(hardware_for("A100 SXM4 80GB", base=_NO_HARDWARE)))
    whys = [f"profile {workload.profile.name}"]
    speed = None
    if machine is None:
        whys.append("the card is not stated: no device total, verdict and speed")
    elif not machine.is_known_gpu:
        whys.append(f"the rates of {machine.name} are not in the table: no speed")
    else:
        speed = workload.tokens_per_step / seconds_per_step(workload, machine)
    return PointPrediction(
        row=number,
        predicted_allocated_gb=memory.allocated_gib * GIB / 1e9,
        predicted_reserved_gb=memory.reserved_gib * GIB / 1e9,
        predicted_device_gb=memory.device_gib * GIB / 1e9 if machine else None,
        predicted_tokens_per_s=speed,
        verdict=memory.verdict if machine else None,
        why="; ".join(whys),
        profile=workload.profile.name,
        low_gb=memory.low_gib * GIB / 1e9,
        high_gb=memory.high_gib * GIB / 1e9,
    )


def _lengths(row: Mapping[str, str]) -> tuple[int, int]:
    """Longest and mean length; equal where the row says one number."""
    text = row.get("seq_len", "").strip()
    if text.isdigit() and int(text) > 0:
        return int(text), int(text)
    bound = re.match(r"<=\s*(\d+)", text)
    mean = re.search(r"mean (\d+)", text)
    if bound:
        return int(bound[1]), int(mean[1]) if mean else _ALPACA_MEAN if "Alpaca" in text else int(bound[1])
    if "Alpaca" in text:
        return _ALPACA_LONGEST, _ALPACA_MEAN
    raise Unstated(f"the sequence length is '{text}'")


def _whole(row: Mapping[str, str], name: str) -> int:
    text = row.get(name, "").strip()
    if not text.isdigit() or int(text) <= 0:
        raise Unstated(f"{name} is '{text}'")
    return int(text)


def _checkpointing(row: Mapping[str, str]) -> bool:
    text = row.get("grad_ckpt", "").strip().lower()
    unknown = re.search(r"(\S+) row unknown", text)
    if unknown and unknown[1] in row.get("gpu", "").lower():
        raise Unstated(f"grad_ckpt is '{text}'")
    if text.startswith(("on", "unsloth")):
        return True
    if text.startswith("off"):
        return False
    raise Unstated(f"grad_ckpt is '{text}'")


def _quantization(row: Mapping[str, str]) -> str:
    text = row.get("quant", "").strip()
    if text in ("none", "int8", "nf4", "nf4-dq", "fp4", "torchao-nf4", "gptq-int4"):
        return text
    raise Unstated(f"quant is '{text}'")


def _num_gpus(row: Mapping[str, str]) -> int:
    found = re.match(r"\s*(\d+)\s*x\s", row.get("gpu", ""))
    return int(found[1]) if found else 1
