"""The device a run is planned for: a GPU with its row of the table, or a CPU."""

from dataclasses import dataclass, replace

from duologue.engine import Gpu, Hardware
from duologue.plan.calibration import Measured
from duologue.plan.gpus import GpuFacts, facts_of, similar_to

DISPLAY_GIB = 1.0  # a desktop on the same card: 0.5 to 1.5 GiB are usual
_GFLOPS_PER_CORE = 40.0  # a cautious guess for a core with AVX2; 65 were measured on the reference CPU


@dataclass(frozen=True, slots=True)
class Machine:
    """What memory and time depend on.

    Attributes:
        name: As shown to people.
        available_bytes: Free memory of the GPU, or free system memory.
        gpu: The GPU in use; None on a CPU machine.
        gpu_facts: Rates, power and price of the GPU.
        is_known_gpu: Whether those are its own and not a similar GPU's.
        cpu_gflops: Matrix speed of the CPU in 1e9 FLOP/s.
        is_cpu_measured: Whether that was measured on this machine.
        measured: Earlier runs and a probe on this machine; None plans by the law alone.
    """

    name: str
    available_bytes: int
    gpu: Gpu | None
    gpu_facts: GpuFacts | None
    is_known_gpu: bool
    cpu_gflops: float
    is_cpu_measured: bool
    measured: Measured | None = None

    @property
    def has_bfloat16(self) -> bool:
        """Whether the GPU multiplies bfloat16 natively."""
        return self.gpu is not None and self.gpu.compute_capability >= (8, 0)

    @property
    def has_int8(self) -> bool:
        """Whether bitsandbytes' int8 kernels run here; older GPUs than Turing lack the instructions."""
        return self.gpu is None or self.gpu.compute_capability >= (7, 5)


def machine_of(hardware: Hardware) -> Machine:
    """Return the device that a run on this hardware uses: the first GPU, else the CPU."""
    gflops = hardware.cpu_gflops or _GFLOPS_PER_CORE * hardware.num_cores
    if not hardware.gpus:
        cores = "1 core" if hardware.num_cores == 1 else f"{hardware.num_cores} cores"
        return Machine(
            name=f"CPU with {cores}",
            available_bytes=hardware.ram_free_bytes,
            gpu=None,
            gpu_facts=None,
            is_known_gpu=False,
            cpu_gflops=gflops,
            is_cpu_measured=hardware.cpu_gflops > 0,
        )
    gpu = hardware.gpus[0]
    row = facts_of(gpu)
    return Machine(
        name=gpu.name,
        available_bytes=gpu.free_bytes,
        gpu=gpu,
        gpu_facts=row or similar_to(gpu),
        is_known_gpu=row is not None,
        cpu_gflops=gflops,
        is_cpu_measured=hardware.cpu_gflops > 0,
    )


def without_display(machine: Machine) -> Machine:
    """Return the machine with less free memory when it is a consumer card of the table: it may drive a display too.

    What a detected card has free is measured, its display included.
    """
    if machine.gpu is None or machine.gpu.driver_version:
        return machine
    if machine.gpu_facts is None or not machine.gpu_facts.is_half_rate:
        return machine
    return replace(machine, available_bytes=max(0, machine.available_bytes - int(DISPLAY_GIB * 2**30)))
