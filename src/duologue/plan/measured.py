"""The laws of memory and time as measured on this machine: by a probe of this job, or by earlier runs of its kind.

`plan_memory`, `plan_time` and `seconds_per_step` stand in for the laws of the same name and give exactly those where
nothing was measured. A probe's micro-steps are fitted by `seconds = start + slope x FLOPs`, where the FLOPs of a
micro-batch follow its padded tokens and, through attention, their length; so two shapes predict any mix of lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import MicroBatch, Probe
from duologue.plan import memory as law_of_memory
from duologue.plan import time as law_of_time
from duologue.plan.calibration import Factor, Factors, Learned, RunKind
from duologue.plan.flops import training_flops
from duologue.plan.machine import Machine
from duologue.plan.memory import Component, MemoryPlan
from duologue.plan.time import TimePlan
from duologue.plan.workload import GROUP_BATCHES, Workload

_PROBE_SPREAD_MEMORY = 0.04  # three steps see nearly the whole peak
_PROBE_SPREAD_TIME = 0.08  # the machine may be busier or warmer later


@dataclass(frozen=True, slots=True)
class SpeedModel:
    """What a probe says about one optimizer step.

    Attributes:
        start_seconds: Per micro-step, whatever its size.
        seconds_per_flop: Per FLOP of a micro-step.
        optimizer_seconds: Per optimizer step.
    """

    start_seconds: float
    seconds_per_flop: float
    optimizer_seconds: float

    def seconds(self, batches: Sequence[MicroBatch], workload: Workload) -> float:
        """Return the seconds of one optimizer step with these micro-batches."""
        work = sum(micro_flops(workload, batch) for batch in batches)
        return len(batches) * self.start_seconds + work * self.seconds_per_flop + self.optimizer_seconds


def plan_memory(workload: Workload, machine: Machine) -> MemoryPlan:
    """Return the peak memory of a run, as far as possible as measured."""
    law = law_of_memory.plan_memory(workload, machine)
    probe = _probe_of(workload, machine)
    if probe is not None and _is_same_batch(workload, probe):
        return _probed_memory(law, probe)
    factor = factors_of(workload, machine).memory
    return law if factor == Factor() else _scaled_memory(law, factor)


def seconds_per_step(workload: Workload, machine: Machine) -> float:
    """Return the mean duration of one optimizer step, as far as possible as measured."""
    probe = _probe_of(workload, machine)
    if probe is not None:
        model = fit_speed(probe, workload)
        if _is_same_batch(workload, probe) and len(probe.schedule) >= workload.steps_per_epoch:
            epoch = probe.schedule[: workload.steps_per_epoch]
            return sum(model.seconds(batches, workload) for batches in epoch) / len(epoch)
        group, num_steps = _typical_group(workload), _steps_of_group(workload)
        return (model.seconds(group, workload) - model.optimizer_seconds) / num_steps + model.optimizer_seconds
    return law_of_time.seconds_per_step(workload, machine) / factors_of(workload, machine).speed.value


def plan_time(
    workload: Workload, machine: Machine, *, max_steps: int, eval_every_steps: int, config: Config
) -> TimePlan:
    """Return the duration of a run of `max_steps` optimizer steps, as far as possible as measured."""
    law = law_of_time.plan_time(
        workload, machine, max_steps=max_steps, eval_every_steps=eval_every_steps, config=config
    )
    if machine.measured is None:
        return law
    probe, factors = _probe_of(workload, machine), factors_of(workload, machine)
    if probe is None and not factors.num_runs:
        return law
    train = max_steps * seconds_per_step(workload, machine) / 60
    num_tokens = float(law.num_tokens)
    if probe is not None and _is_same_batch(workload, probe):
        train, num_tokens = _scheduled(probe, workload, max_steps, mean_minutes=train / max_steps, law=law)
    ratio = train / law.train_minutes if law.train_minutes else 1.0
    total = law.setup_minutes + train + ratio * law.eval_minutes
    spread = Factor(1.0, _PROBE_SPREAD_TIME) if probe is not None else factors.speed
    low, high = spread.interval(law.low_minutes / law.total_minutes, law.high_minutes / law.total_minutes)
    return replace(
        law,
        num_tokens=round(num_tokens),
        tokens_per_second=num_tokens / (60 * train) if train else law.tokens_per_second,
        train_minutes=train,
        eval_minutes=ratio * law.eval_minutes,
        total_minutes=total,
        low_minutes=low * total,
        high_minutes=high * total,
    )


def learned(workload: Workload, machine: Machine, *, time: TimePlan, memory: MemoryPlan) -> Learned:
    """Return how far a plan was moved away from the law, so that a run can be held against the law itself."""
    if machine.measured is None:
        return Learned()
    law_step = law_of_time.seconds_per_step(workload, machine)
    law_speed = workload.tokens_per_step / law_step
    law_memory = law_of_memory.plan_memory(workload, machine)
    return Learned(
        speed=time.tokens_per_second / law_speed,
        memory=memory.allocated_gib / law_memory.allocated_gib,
        num_runs=factors_of(workload, machine).num_runs,
        is_probed=_probe_of(workload, machine) is not None,
    )


def assumptions(workload: Workload, machine: Machine) -> tuple[str, ...]:
    """Return where speed and memory come from, in words; nothing where they are the law's."""
    measured = machine.measured
    if measured is None:
        return ()
    lines = [measured.calibration.note] if measured.calibration.note else []
    factors, probe = factors_of(workload, machine), _probe_of(workload, machine)
    if probe is not None:
        listed = ", ".join(str(size) for size in sorted({step.batch.num_tokens for step in probe.micro_steps}))
        lines.append(f"Speed and memory from a probe of this job on this machine (micro-batches of {listed} tokens).")
    elif measured.probe is not None:
        lines.append("The probe measured other settings than these; it was not used.")
    if probe is None and factors.num_runs:
        runs = "1 run" if factors.num_runs == 1 else f"{factors.num_runs} runs"
        lines.append(
            f"Speed from {runs} on this machine: {factors.speed.value:.2f} times the prediction; "
            f"memory {factors.memory.value:.2f} times."
        )
    return tuple(lines)


def factors_of(workload: Workload, machine: Machine) -> Factors:
    """Return what earlier runs of this kind on this machine suggest."""
    if machine.measured is None:
        return Factors()
    return machine.measured.calibration.factors(kind_of(workload, machine.name, host=machine.measured.host))


def kind_of(workload: Workload, device_name: str, *, host: str) -> RunKind:
    """Return the runs that a run can be compared with."""
    return RunKind(host, device_name, workload.profile.name, workload.quantization, workload.compute_dtype)


def fit_speed(probe: Probe, workload: Workload) -> SpeedModel:
    """Return the least-squares line through the probe's micro-steps, each weighted by its own duration.

    Neither a negative start nor a negative slope is taken: then the line goes through the origin.
    """
    start, slope = _line([(micro_flops(workload, step.batch), step.seconds) for step in probe.micro_steps])
    return SpeedModel(start, slope, probe.optimizer_seconds)


def micro_flops(workload: Workload, batch: MicroBatch) -> float:
    """Return the FLOPs of a micro-batch."""
    permille = round(1000 * workload.trained_fraction)
    return batch.num_tokens * _flops_per_token(_without_data(workload), round(batch.length_tokens), permille)


@lru_cache(maxsize=4096)  # a run has few different lengths and many micro-batches
def _flops_per_token(workload: Workload, length: int, trained_permille: int) -> float:
    stats = DataStats(1000, 0, 1000 * length, trained_permille * length, 0, length, (length,))
    return training_flops(replace(workload, stats=stats)).total


def _without_data(workload: Workload) -> Workload:
    return replace(workload, stats=DataStats(1, 0, 1, 1, 0, 1, (1,)))


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Start and slope of y = start + slope x, relative errors squared and summed."""
    weights = [1 / (y * y) for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    if spread > 1e-6 * total * mean_x**2:
        slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
        start = mean_y - slope * mean_x
        if slope > 0 and start >= 0:
            return start, slope
    return 0.0, sum(w * x * y for w, (x, y) in zip(weights, points, strict=True)) / sum(
        w * x * x for w, (x, _) in zip(weights, points, strict=True)
    )


def _probe_of(workload: Workload, machine: Machine) -> Probe | None:
    """The machine's probe when it measured this model, adapter and weight format."""
    if machine.measured is None or machine.measured.probe is None:
        return None
    job = machine.measured.probe.job
    is_same = (
        job.base.name == workload.facts.name
        and job.base.quantization == workload.quantization
        and job.base.compute_dtype == workload.compute_dtype
        and job.lora == workload.lora
        and job.use_gradient_checkpointing == workload.use_gradient_checkpointing
    )
    return machine.measured.probe if is_same else None


def _is_same_batch(workload: Workload, probe: Probe) -> bool:
    job = probe.job
    longest = max((batch.length_tokens for step in probe.schedule for batch in step), default=0)
    return (
        job.micro_batch_size == workload.micro_batch_size
        and job.gradient_accumulation_steps == workload.gradient_accumulation_steps
        and job.pack_length_tokens == workload.pack_length_tokens
        and longest <= workload.stats.max_tokens
    )


def _scheduled(
    probe: Probe, workload: Workload, max_steps: int, *, mean_minutes: float, law: TimePlan
) -> tuple[float, float]:
    """Minutes and tokens of a run whose first steps are known one by one; the rest are of mean length."""
    model = fit_speed(probe, workload)
    known = probe.schedule[:max_steps]
    minutes = sum(model.seconds(batches, workload) for batches in known) / 60
    tokens = float(sum(probe.schedule_tokens[:max_steps]))
    rest = max_steps - len(known)
    return minutes + rest * mean_minutes, tokens + rest * law.num_tokens / max(1, max_steps)


def _typical_group(workload: Workload) -> list[MicroBatch]:
    """The micro-batches of one group that the engine sorts by length, its examples evenly spaced quantiles."""
    lengths = workload.stats.lengths
    size = min(len(lengths), GROUP_BATCHES * workload.examples_per_step)
    group = [lengths[(2 * at + 1) * len(lengths) // (2 * size)] for at in reversed(range(size))]
    if workload.pack_length_tokens:
        num_rows = max(1, -(-sum(group) // workload.pack_length_tokens))
        attended = sum(length**2 for length in group) / sum(group)
        return [MicroBatch(round(sum(group) / num_rows), attended)] * num_rows
    step = workload.micro_batch_size
    parts = [group[at : at + step] for at in range(0, size, step)]
    return [MicroBatch(len(part) * part[0], part[0]) for part in parts]


def _steps_of_group(workload: Workload) -> float:
    size = min(len(workload.stats.lengths), GROUP_BATCHES * workload.examples_per_step)
    return size / (workload.stats.num_train_examples / workload.steps_per_epoch)


def _probed_memory(law: MemoryPlan, probe: Probe) -> MemoryPlan:
    gib = law_of_memory.GIB
    device = probe.peak_device_bytes / gib
    return replace(
        law,
        components=_scaled(law.components, device / law.device_gib),
        allocated_gib=probe.peak_allocated_bytes / gib,
        reserved_gib=probe.peak_reserved_bytes / gib,
        device_gib=device,
        low_gib=device * (1 - _PROBE_SPREAD_MEMORY),
        high_gib=device * (1 + _PROBE_SPREAD_MEMORY),
    )


def _scaled_memory(law: MemoryPlan, factor: Factor) -> MemoryPlan:
    device = law.device_gib * factor.value
    low, high = factor.interval(law.low_gib / law.device_gib, law.high_gib / law.device_gib)
    return replace(
        law,
        components=_scaled(law.components, factor.value),
        allocated_gib=law.allocated_gib * factor.value,
        reserved_gib=law.reserved_gib * factor.value,
        device_gib=device,
        low_gib=low * device,
        high_gib=high * device,
    )


def _scaled(components: Sequence[Component], factor: float) -> tuple[Component, ...]:
    return tuple(Component(item.name, item.gib * factor) for item in components)
