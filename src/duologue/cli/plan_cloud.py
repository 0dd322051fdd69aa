"""`duologue plan FOLDER --cloud FILE`: a task for a rented machine."""

from collections.abc import Sequence
from pathlib import Path

import duologue
from duologue.cli.output import Output
from duologue.cli.plan_subject import Subject, hardware_of
from duologue.cli.show_plan import show_notes, show_plan
from duologue.config import Config
from duologue.data import resolve_files
from duologue.errors import ConfigError
from duologue.plan import CloudJob, cloud_task, default_bucket, make_plan


def write_cloud_task(
    out: Output,
    subject: Subject,
    path: Path,
    *,
    gpu: str,
    bucket: str,
    num_gpus: int,
    overrides: Sequence[str] | None,
) -> None:
    """Plan a folder for a rented card and write the SkyPilot task beside it. Nothing is sent anywhere.

    Raises:
        ConfigError: It is a recipe, the file exists, or the base model lies on this machine only.
        PlanError: The run does not fit the card, or no cloud rents it.
    """
    folder, config = subject.folder, subject.config
    if folder is None:
        raise ConfigError("a recipe has no data to send", where="--cloud", needed="a character's folder")
    if path.exists():
        raise ConfigError("this file exists already", where=str(path), action="Choose another name, or remove it.")
    if Path(config.model.base).exists():
        raise ConfigError(
            f"the base model '{config.model.base}' is on this machine only",
            where="model.base",
            needed="a bundled name or a Hugging Face id, which the rented machine can fetch",
        )
    made = make_plan(config, subject.stats, subject.facts(), hardware_of(gpu, folder))
    job = CloudJob(
        name=default_bucket(folder.resolve().name).removeprefix("duologue-"),
        folder=folder.resolve(),
        files=_sent(folder, config),
        bucket=bucket or default_bucket(folder.resolve().name),
        program=_clone(),
        version=duologue.__version__,
        num_gpus=num_gpus,
        overrides=tuple(overrides or ()),
        needs_token=not config.model.base.startswith("bundled:"),
    )
    task = cloud_task(made, job)
    try:
        path.write_text(task, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the task cannot be written ({error.strerror})", where=str(path)) from error
    show_plan(out, made)
    show_notes(out, subject.notes)
    out.say(f"wrote {path}; the run reads, and the cloud gets: {', '.join(job.files)}")
    out.say_to_paste(f"next: sky jobs launch {path}")
    out.result(
        {"path": str(path), "bucket": job.bucket, "files": list(job.files), "plan": made.as_json(), "task": task}
    )


def _sent(folder: Path, config: Config) -> tuple[str, ...]:
    """The files a run reads. Chats and memories stay where they are."""
    character = config.character
    named = (character.card, *character.companions, *character.lorebooks)
    files = [folder / "duologue.toml", *(folder / name for name in named if name)]
    files += resolve_files(config.data.train, folder)
    outside = [str(file) for file in files if not file.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise ConfigError(
            f"outside of the character's folder: {', '.join(outside)}",
            where="data.train",
            needed="files inside it, so that they lie at the same place on the rented machine",
        )
    return tuple(dict.fromkeys(str(file.resolve().relative_to(folder.resolve())) for file in files))


def _clone() -> Path | None:
    """The clone this program runs from, or None when it was installed as a package."""
    root = Path(duologue.__file__).parents[2]
    return root if (root / "Makefile").is_file() and (root / "scripts" / "setup.sh").is_file() else None
