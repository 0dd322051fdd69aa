"""A finished run against its plan, kept for the next plan on this machine."""

from collections.abc import Mapping

from duologue.plan.calibration import CalibrationTarget, Entry, RunKind, record
from duologue.plan.plan import Plan


def keep_run(
    target: CalibrationTarget,
    plan: Plan,
    plan_versus_actual: Mapping[str, Mapping[str, float]],
    *,
    model: str,
    num_steps: int,
) -> str:
    """Keep what a run measured, and return what the next plan will take from it, in words.

    The plan may have been calibrated itself; what is kept is measured over the law, so corrections do not pile up.
    """
    speed, memory = plan_versus_actual["tokens_per_second"], plan_versus_actual["memory_gib"]
    kind = RunKind(
        host=target.host,
        device=plan.machine,
        profile=plan.profile,
        quantization=plan.settings.quantization,
        compute_dtype=plan.settings.compute_dtype,
    )
    entry = Entry(
        kind=kind,
        date=target.date,
        model=model,
        num_steps=num_steps,
        speed_ratio=_ratio(speed) * plan.learned.speed,
        memory_ratio=_ratio(memory) * plan.learned.memory,
    )
    kept = record(target.path, entry)
    factors = kept.factors(kind)
    if not factors.num_runs:
        return kept.note
    runs = "1 run" if factors.num_runs == 1 else f"{factors.num_runs} runs"
    sentence = (
        f"The next plan of this kind takes {factors.speed.value:.2f} times the predicted speed and "
        f"{factors.memory.value:.2f} times the predicted memory, from {runs} on this machine."
    )
    return f"{kept.note} {sentence}".strip()


def _ratio(pair: Mapping[str, float]) -> float:
    return pair["actual"] / pair["plan"] if pair["plan"] else 0.0
