"""`cloud_task`: a plan to a SkyPilot task that rents the card, trains there, and survives the loss of the machine.

A spot machine may vanish at any moment. The run folder is therefore copied to a bucket every two minutes, and a new
machine fetches it and resumes. Checkpoints are whole or absent, so a copy that was cut off costs one checkpoint, not
the run: `--delete-after` keeps the older ones in the bucket until the newer ones are there.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from duologue.errors import PlanError
from duologue.plan.gpus import all_gpus
from duologue.plan.plan import Plan

KEPT_EVERY_SECONDS = 120
_SYSTEM_GIB = 40  # the image of the machine, CUDA build of torch and the other packages
_PROGRAM_PARTS = ("Makefile", "pyproject.toml", "requirements", "scripts", "src", "README.md", "LICENSE")
_INTERRUPTED = 7  # our exit code for a run that can be resumed


@dataclass(frozen=True, slots=True)
class CloudJob:
    """What is sent to the cloud.

    Attributes:
        name: The character's folder by name; names the job and its place in the bucket.
        folder: The character's folder on this machine.
        files: What the run reads, relative to the folder: duologue.toml, the card, the data. Nothing else is sent.
        bucket: The bucket's name; SkyPilot makes it when it is missing.
        program: Root of a clone of duologue to install from; None installs the released version.
        version: Of duologue.
        num_gpus: Cards of the machine.
        overrides: Lines of `--set`, passed on.
        needs_token: Whether the base model comes from the hub, where some models ask for a token.
    """

    name: str
    folder: Path
    files: Sequence[str]
    bucket: str
    program: Path | None
    version: str
    num_gpus: int = 1
    overrides: Sequence[str] = ()
    needs_token: bool = False


def cloud_task(plan: Plan, job: CloudJob) -> str:
    """Return a SkyPilot task (YAML): spot, resumable, checkpoints in a bucket.

    Raises:
        PlanError: The plan does not fit, the card is in no cloud's list, or the bucket's name is none.
    """
    if plan.verdict == "no":
        raise PlanError(
            f"the plan does not fit {plan.machine}", action="Take a larger card with --gpu, or smaller settings."
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", job.bucket):
        raise PlanError(
            f"'{job.bucket}' cannot be a bucket's name",
            where="--bucket",
            needed="3 to 63 small letters, digits and hyphens, as every cloud takes them",
        )
    return "\n".join(_lines(plan, job, accelerator=_cloud_name(plan.machine))) + "\n"


def default_bucket(name: str) -> str:
    """Return the name of a bucket for a character's runs."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"duologue-{plain}"[:60].strip("-")


def _cloud_name(machine: str) -> str:
    row = next((row for row in all_gpus() if row.name == machine), None)
    if row is None or not row.cloud_name:
        rented = ", ".join(row.name for row in all_gpus() if row.cloud_name)
        raise PlanError(f"no cloud is known to rent '{machine}'", where="--gpu", needed=f"one of {rented}")
    return row.cloud_name


def _lines(plan: Plan, job: CloudJob, *, accelerator: str) -> list[str]:
    disk_gib = math.ceil(plan.requirements.disk_gib) + _SYSTEM_GIB
    run = _script(job)
    lines = [
        f"# {job.name} on {job.num_gpus} x {plan.machine}: planned {plan.time.total_minutes / 60:.1f} hours, "
        f"{plan.memory.device_gib:.1f} of {plan.memory.available_gib:.1f} GiB{_price(plan, job)}.",
        f"# Start: sky jobs launch {job.name}.yaml     Watch: sky jobs queue, sky jobs logs",
        f"# Fetch the result: copy runs/ of the bucket {job.bucket} into the character's folder.",
        f"name: {_text(job.name)}",
        "resources:",
        f"  accelerators: {_text(f'{accelerator}:{job.num_gpus}')}",
        "  use_spot: true",
        f"  disk_size: {disk_gib}",
        "  job_recovery:",
        f"    recover_on_exit_codes: [{_INTERRUPTED}]",
    ]
    if job.needs_token:
        lines += ["secrets:", f'  HF_TOKEN: ""  # for gated models: sky jobs launch --secret HF_TOKEN {job.name}.yaml']
    lines += ["file_mounts:"]
    lines += [f"  {_text(f'~/character/{name}')}: {_text(str(job.folder / name))}" for name in job.files]
    if job.program is not None:
        lines += [f"  {_text(f'~/duologue/{part}')}: {_text(str(job.program / part))}" for part in _PROGRAM_PARTS]
    lines += ['  "~/kept":', f"    name: {_text(job.bucket)}", "    mode: MOUNT"]
    lines += ["setup: |", *_indented(_setup(job)), "run: |", *_indented(run)]
    return lines


def _price(plan: Plan, job: CloudJob) -> str:
    if plan.cost.rent_usd is None:
        return ""
    return f", about {plan.cost.rent_usd * job.num_gpus:.2f} USD at {plan.cost.rent_source} (on demand; spot is less)"


def _setup(job: CloudJob) -> list[str]:
    if job.program is not None:
        return ["make -C ~/duologue install"]
    return ["python3 -m venv ~/duologue/.venv", f"~/duologue/.venv/bin/pip install duologue=={job.version}"]


def _script(job: CloudJob) -> list[str]:
    """The run: fetch what is in the bucket, train or resume, copy to the bucket all the while and at the end."""
    processes = f" --num-processes {job.num_gpus}" if job.num_gpus > 1 else ""
    overrides = "".join(f" --set {_quoted(line)}" for line in job.overrides)
    return [
        "set -eu",
        f"kept=~/kept/{job.name}/runs",
        "runs=~/character/runs",
        'mkdir -p "$kept" "$runs"',
        'rsync -a "$kept/" "$runs/"',
        'keep() { rsync -a --inplace --delete-after "$runs/" "$kept/"; }',
        # The sleep outlives the loop; without a hold on the output it keeps nobody waiting for the end.
        f"(while sleep {KEPT_EVERY_SECONDS} >/dev/null 2>&1; do keep || echo 'no bucket; trying again'; done) &",
        "keeper=$!",
        "resume=",
        'if ls "$runs"/*/checkpoints/* >/dev/null 2>&1; then resume=--resume; fi',
        "status=0",
        f"~/duologue/.venv/bin/duologue train ~/character $resume{processes}{overrides} || status=$?",
        'kill "$keeper"',
        "keep",
        'exit "$status"',
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _text(value: str) -> str:
    """Return a text as YAML: a JSON string is one."""
    return json.dumps(value, ensure_ascii=False)


def _quoted(value: str) -> str:
    """Return a text as one word of a shell."""
    return "'" + value.replace("'", "'\\''") + "'"
