"""Minutes of a run: setup, training, measuring. On a GPU a prediction from published runs, on a CPU from its speed."""

from dataclasses import dataclass

from duologue.config import Config
from duologue.plan.activations import logit_bytes_per_token, saved_bytes_per_token
from duologue.plan.flops import training_flops
from duologue.plan.gpus import GpuFacts
from duologue.plan.machine import Machine
from duologue.plan.memory import weight_bytes
from duologue.plan.shapes import num_adapted_layers, num_linear_params, num_params
from duologue.plan.workload import Workload

# The CPU constants were fitted on 2026-11-22 to SmolLM2-135M in float32 on 2 cores of an AMD EPYC (AVX2) where numpy
# multiplied matrices at 130 GFLOP/s. Micro-batches of 4 x 256 tokens, half of them trained: forward only 400 tokens/s,
# all layers at rank 16 142 to 160, the last 15 layers 242. Whole conversations of 450 tokens and more went 16 % (last 6
# layers) and 26 % (last 15) slower than those constants alone say: attention takes 3.8 times as long per FLOP.
_CPU_FORWARD_EFFICIENCY = 0.86
_CPU_BACKWARD_EFFICIENCY = 0.66
_CPU_ATTENTION = 3.8
# NF4 trained at 267, int8 at 283 tokens/s where float32 did 289 (300 conversations, last 6 layers, same machine).
_CPU_PACKED = {"none": 1.0, "nf4": 1.08, "int8": 1.02}
_CPU_16_BIT = 2.0  # a guess: 16-bit arithmetic on a CPU was not measured
_CPU_DECODE_SECONDS_PER_PARAM = 0.105 / 134_515_008  # 9.5 tokens/s on the same machine; bound by memory, not by cores

_LIBRARY_SECONDS = 15.0  # importing torch, transformers and peft; on a GPU also starting CUDA
_GGUF_SECONDS_PER_PARAM = 4.0 / 134_515_008  # the bundled model in 4 s, same machine
_READ_BYTES_PER_SECOND = 1e9  # safetensors from an ordinary SSD

_MATMUL = 0.88  # of the dense peak: 0.869 measured on A100 SXM (ml-engineering's MAMF), 0.86 to 0.88 out of 37 runs
_MATMUL_NEW = 0.80  # H100 and later: 0.803, 0.776
_FLOPS_PER_WATT = 0.7e12  # what a full-rate Ada card holds within its power limit
_LOGIT_TRAFFIC = 0.5  # logits move half as often as what a block saves
_WITHOUT_CHECKPOINTING = 0.75  # three passes instead of four
_FORWARD_TRAFFIC = 0.25
_DOUBLE_QUANTISATION = 1.08  # 6 to 10 % more for unpacking the scales
# Over bf16, int8 with its default threshold adds 1.3 times what NF4 adds (RTX 4090, Llama-3.1-8B, batch 32: 0.0512,
# 0.0461 and 0.0304 s a forward; bitsandbytes 0.45).
_INT8_UNPACKING = 1.3
_LINK_BYTES_PER_SECOND = 30e9  # between the cards of one machine, while sharded weights come together
_SHARPNESS = 3  # of the soft maximum between arithmetic and kernel launches
_DECODE_LAUNCH_SECONDS = {"none": 0.0006, "nf4": 0.0006, "int8": 0.0014}  # per block and token (bitsandbytes 0.45)
_DECODE_BANDWIDTH = 0.6


@dataclass(frozen=True, slots=True)
class TimePlan:
    """How long a run takes.

    Attributes:
        num_steps: Optimizer steps.
        num_tokens: Training tokens of all steps, padding left out.
        tokens_per_second: Training speed, padding left out.
        setup_minutes: Importing libraries and loading the model.
        train_minutes: The optimizer steps.
        eval_minutes: Measurements during and after training, and the replies of the report.
        total_minutes: All three.
        low_minutes: Lower end of the interval around `total_minutes`.
        high_minutes: Upper end.
    """

    num_steps: int
    num_tokens: int
    tokens_per_second: float
    setup_minutes: float
    train_minutes: float
    eval_minutes: float
    total_minutes: float
    low_minutes: float
    high_minutes: float


def plan_time(
    workload: Workload, machine: Machine, *, max_steps: int, eval_every_steps: int, config: Config
) -> TimePlan:
    """Return the duration of a run of `max_steps` optimizer steps."""
    step = seconds_per_step(workload, machine)
    load = _load_seconds(workload)
    setup = (_LIBRARY_SECONDS + load) / 60
    train = max_steps * step / 60
    during = -(-max_steps // eval_every_steps) if eval_every_steps else 0
    # Base and tuned model are each loaded, read the validation split and answer every prompt; training reads it too.
    replies = 2 * len(config.evaluation.prompts) * config.evaluation.max_new_tokens
    evaluation = 2 * load + (during + 2) * _reading_seconds(workload, machine)
    evaluation += replies * _decode_seconds(workload, machine)
    total = setup + train + evaluation / 60
    below, above = _interval(machine)
    return TimePlan(
        num_steps=max_steps,
        num_tokens=round(max_steps * workload.tokens_per_step),
        tokens_per_second=workload.tokens_per_step / step,
        setup_minutes=setup,
        train_minutes=train,
        eval_minutes=evaluation / 60,
        total_minutes=total,
        low_minutes=below * total,
        high_minutes=above * total,
    )


def seconds_per_step(workload: Workload, machine: Machine) -> float:
    """Return the mean duration of one optimizer step."""
    if machine.gpu_facts is None:
        computed = workload.tokens_per_step * workload.padding_factor
        return computed * _cpu_seconds_per_token(workload, machine, with_backward=True)
    tokens = workload.tokens_per_step * workload.padding_factor / workload.micro_batches_per_step
    return workload.micro_batches_per_step * _gpu_seconds(
        workload, machine.gpu_facts, tokens=tokens, with_backward=True
    )


def _cpu_seconds_per_token(workload: Workload, machine: Machine, *, with_backward: bool) -> float:
    flops = training_flops(workload)
    speed = machine.cpu_gflops * 1e9
    more = _CPU_ATTENTION - 1
    seconds = (flops.forward + more * flops.attention_forward) / (_CPU_FORWARD_EFFICIENCY * speed)
    if with_backward:
        seconds += (flops.backward + more * flops.attention_backward) / (_CPU_BACKWARD_EFFICIENCY * speed)
    return seconds * _cpu_slowdown(workload)


def _cpu_slowdown(workload: Workload) -> float:
    return _CPU_PACKED[workload.quantization] * (1.0 if workload.element_bytes == 4 else _CPU_16_BIT)


def _gpu_seconds(workload: Workload, gpu: GpuFacts, *, tokens: float, with_backward: bool) -> float:
    """One micro-batch: matrix products, tensors moved between them, unpacked weights; or launches at few tokens."""
    facts, profile = workload.facts, workload.profile
    flops = training_flops(workload)
    share = num_adapted_layers(facts, workload.lora) / facts.num_layers
    passes = 1.0 + (share * (2 if workload.use_gradient_checkpointing else 1) if with_backward else 0.0)
    bandwidth = gpu.bandwidth_bytes_per_second
    busy = tokens * (flops.total if with_backward else flops.forward) / (_matmul_flops(gpu) * _rate_of(workload, gpu))
    busy += tokens * _moved_bytes(workload, with_backward=with_backward) / bandwidth
    if workload.quantization != "none":
        moved = passes * num_linear_params(facts) * profile.unpack_bytes * _unpacking(workload)
        busy += moved / (_bandwidth_efficiency(gpu) * bandwidth)
    if profile.is_sharded:
        far = 1 - 1 / workload.num_gpus
        busy += passes * far * sum(weight_bytes(workload)) / _LINK_BYTES_PER_SECOND
    launches = passes / 3 * facts.num_layers * profile.launch_seconds
    return float((busy**_SHARPNESS + launches**_SHARPNESS) ** (1 / _SHARPNESS))


def _unpacking(workload: Workload) -> float:
    """What unpacking costs beside that of NF4 with float32 scales."""
    if workload.quantization == "int8":
        return _INT8_UNPACKING
    return _DOUBLE_QUANTISATION if workload.use_double_quantization else 1.0


def _matmul_flops(gpu: GpuFacts) -> float:
    """What large matrix products reach."""
    if gpu.compute_capability >= (9, 0) and not gpu.is_half_rate:
        return _MATMUL_NEW * gpu.tensor_flops
    if gpu.compute_capability == (8, 9) and not gpu.is_half_rate:
        return _MATMUL * min(gpu.tensor_flops, _FLOPS_PER_WATT * gpu.watts)
    return _MATMUL * gpu.tensor_flops


def _moved_bytes(workload: Workload, *, with_backward: bool) -> float:
    """Bytes per token that norms, activations, adapters, casts and the loss move: in proportion to what they save.

    This is why small models reach a lower share of the peak than large ones on the same stack.
    """
    facts = workload.facts
    adapted = num_adapted_layers(facts, workload.lora)
    share_with_logits = 1.0 if workload.profile.are_all_logits_computed else workload.trained_fraction
    logits = _LOGIT_TRAFFIC * share_with_logits * logit_bytes_per_token(workload)
    saved = saved_bytes_per_token(workload, on_gpu=True)
    if not with_backward:
        return workload.profile.traffic * _FORWARD_TRAFFIC * (facts.num_layers * saved + logits)
    passes = 1.0 if workload.use_gradient_checkpointing else _WITHOUT_CHECKPOINTING
    blocks = passes * adapted + _FORWARD_TRAFFIC * (facts.num_layers - adapted)
    return workload.profile.traffic * (blocks * saved + logits)


def _rate_of(workload: Workload, gpu: GpuFacts) -> float:
    if workload.element_bytes == 2:
        return 1.0
    # float32: TF32 is half the 16-bit rate; chips before Ampere have no TF32 and fall back to an eighth.
    return 1 / 2 if gpu.compute_capability >= (8, 0) else 1 / 8


def _bandwidth_efficiency(gpu: GpuFacts) -> float:
    """Share of the bandwidth that unpacking NF4 reaches, from published pairs of runs with and without it."""
    if gpu.compute_capability >= (12, 0) or gpu.compute_capability == (8, 9):
        return 0.90  # large second-level caches: 0.85 to 1.0 on an RTX 4090
    if gpu.compute_capability >= (9, 0):
        return 0.32  # H100
    return 0.37 if gpu.compute_capability < (8, 0) else 0.27  # T4; A100 and A10G


def _load_seconds(workload: Workload) -> float:
    facts = workload.facts
    if facts.name.startswith("bundled:") or facts.name.endswith(".gguf"):
        return _GGUF_SECONDS_PER_PARAM * num_params(facts)
    return (facts.weights_bytes or 2 * num_params(facts)) / _READ_BYTES_PER_SECOND


def _reading_seconds(workload: Workload, machine: Machine) -> float:
    """One forward pass over the validation split."""
    return reading_seconds(workload, machine, num_tokens=workload.stats.num_validation_tokens)


def reading_seconds(workload: Workload, machine: Machine, *, num_tokens: float) -> float:
    """Return the duration of one forward pass over so many tokens, in the micro-batches of training."""
    tokens = num_tokens
    if machine.gpu_facts is None:
        return tokens * _cpu_seconds_per_token(workload, machine, with_backward=False)
    at_once = workload.micro_batch_size * workload.mean_tokens
    forwards = -(-tokens // max(1, round(at_once)))
    return forwards * _gpu_seconds(workload, machine.gpu_facts, tokens=at_once, with_backward=False)


def _decode_seconds(workload: Workload, machine: Machine) -> float:
    """One generated token: every weight is read once, every block is launched once."""
    if machine.gpu_facts is None:
        return _CPU_DECODE_SECONDS_PER_PARAM * num_params(workload.facts) * _cpu_slowdown(workload)
    reading = sum(weight_bytes(workload)) / (_DECODE_BANDWIDTH * machine.gpu_facts.bandwidth_bytes_per_second)
    return max(reading, _DECODE_LAUNCH_SECONDS[workload.quantization] * workload.facts.num_layers)


def _interval(machine: Machine) -> tuple[float, float]:
    if machine.gpu_facts is not None:
        return (0.7, 1.5) if machine.is_known_gpu else (0.4, 2.0)
    return (0.8, 1.35) if machine.is_cpu_measured else (0.4, 2.5)
