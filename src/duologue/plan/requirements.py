"""System memory and disk for each stage of a character's way: load, train, checkpoint, merge, GGUF."""

from dataclasses import dataclass

from duologue.config import Config
from duologue.engine import Hardware, ModelFacts
from duologue.plan.machine import Machine
from duologue.plan.memory import GIB, MemoryPlan
from duologue.plan.resolve import ResolvedSettings, lora_settings
from duologue.plan.shapes import num_adapter_params, num_params

_LIBRARIES_GIB = 0.6  # Python with torch, transformers and peft on a CPU
_CUDA_LIBRARIES_GIB = 2.5  # with the CUDA libraries mapped in; an estimate, not measured on many machines
_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_CHECKPOINT_BYTES = 12  # per adapter parameter in float32: weight and two Adam moments
_ADAPTER_FILE_BYTES = 4
_Q4_K_M_BITS = 4.8944  # llama.cpp's own table for Llama 3.1 8B (tools/quantize/README.md)
_RUN_FILES_GIB = 0.05  # events, TensorBoard, report


@dataclass(frozen=True, slots=True)
class Need:
    """What one stage needs.

    Attributes:
        stage: `load`, `train`, `base model`, `checkpoints`, `adapter`, `merge`, `gguf`.
        gib: How much.
        why: What it consists of.
    """

    stage: str
    gib: float
    why: str


@dataclass(frozen=True, slots=True)
class RequirementsPlan:
    """System memory and disk of a run, and of what may follow it.

    Attributes:
        ram_gib: Most system memory while the run is loaded and trained.
        ram_free_gib: What is free now.
        disk_gib: Disk for the base model and everything the run keeps.
        disk_free_gib: What is free now, where the run is kept.
        ram: System memory by stage; merging and GGUF come after the run and need theirs only then.
        disk: Disk by stage.
    """

    ram_gib: float
    ram_free_gib: float
    disk_gib: float
    disk_free_gib: float
    ram: tuple[Need, ...]
    disk: tuple[Need, ...]

    @property
    def has_enough_ram(self) -> bool:
        """Whether the run's system memory is free."""
        return self.ram_gib <= self.ram_free_gib

    @property
    def has_enough_disk(self) -> bool:
        """Whether the run's disk space is free."""
        return self.disk_gib <= self.disk_free_gib


def plan_requirements(
    config: Config,
    facts: ModelFacts,
    *,
    settings: ResolvedSettings,
    memory: MemoryPlan,
    machine: Machine,
    hardware: Hardware,
) -> RequirementsPlan:
    """Return what a run needs of system memory and disk, each stage by itself."""
    ram = _ram(config, facts, settings=settings, memory=memory, machine=machine)
    disk = _disk(config, facts)
    during = {"load", "train"}
    return RequirementsPlan(
        ram_gib=max(need.gib for need in ram if need.stage in during),
        ram_free_gib=hardware.ram_free_bytes / GIB,
        disk_gib=sum(need.gib for need in disk if need.stage not in ("merge", "gguf")),
        disk_free_gib=hardware.disk_free_bytes / GIB,
        ram=ram,
        disk=disk,
    )


def _ram(
    config: Config, facts: ModelFacts, *, settings: ResolvedSettings, memory: MemoryPlan, machine: Machine
) -> tuple[Need, ...]:
    is_file = _is_gguf(facts)
    merged = num_params(facts) * _ELEMENT_BYTES[config.export.dtype] / GIB
    libraries = _CUDA_LIBRARIES_GIB if machine.gpu else _LIBRARIES_GIB
    largest = _largest_tensor(facts) / GIB
    if is_file:
        load = Need(
            "load", libraries + 4 * num_params(facts) / GIB, "the file is unpacked to 32 bit before anything else"
        )
    elif machine.gpu:
        load = Need("load", libraries + 2 * largest, "weights are read through the page cache, one tensor at a time")
    else:
        load = Need("load", memory.device_gib, "weights stay in system memory")
    train = (
        Need("train", libraries, "the model and its activations are on the GPU")
        if machine.gpu
        else Need("train", memory.device_gib, "the peak above")
    )
    load_dtype = _ELEMENT_BYTES[settings.compute_dtype] * num_params(facts) / GIB
    merge = (
        Need("merge", libraries + load_dtype + merged, "the whole model, folded and read back")
        if is_file
        else Need("merge", libraries + 4 * largest, "one tensor at a time; read back block by block where it must be")
    )
    return (
        load,
        train,
        merge,
        Need("gguf", _LIBRARIES_GIB + 3 * largest, "one tensor at a time"),
    )


def _disk(config: Config, facts: ModelFacts) -> tuple[Need, ...]:
    params, adapter = num_params(facts), num_adapter_params(facts, lora_settings(config))
    base = facts.weights_bytes or 2 * params
    kept = config.training.num_checkpoints
    merged = params * _ELEMENT_BYTES[config.export.dtype]
    quantised = params * _Q4_K_M_BITS / 8
    return (
        Need("base model", base / GIB, "the file that came with the package" if _is_gguf(facts) else "16-bit weights"),
        Need(
            "checkpoints",
            (kept + 1) * _CHECKPOINT_BYTES * adapter / GIB,
            f"{kept} are kept, and the next is written before the oldest goes",
        ),
        Need("adapter", _ADAPTER_FILE_BYTES * adapter / GIB + _RUN_FILES_GIB, "with the run's log and report"),
        Need("merge", merged / GIB, f"the whole model in {config.export.dtype}; twice while the closer one is chosen"),
        Need("gguf", (merged + quantised) / GIB, "a 16-bit file first, then Q4_K_M beside it"),
    )


def _is_gguf(facts: ModelFacts) -> bool:
    return facts.name.startswith("bundled:") or facts.name.endswith(".gguf")


def _largest_tensor(facts: ModelFacts) -> int:
    """Bytes of the largest weight in 16 bit: the embedding, or a layer of the feed-forward block."""
    return 2 * facts.hidden_size * max(facts.vocab_size, facts.intermediate_size)
