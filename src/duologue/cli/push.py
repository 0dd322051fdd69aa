"""`duologue push`: an export to the Hugging Face Hub."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from duologue.chat import load_folder_character
from duologue.cli.output import JsonFlag, Output
from duologue.cli.workflow import open_folder, trained_adapter
from duologue.config import CONFIG_NAME
from duologue.errors import ConfigError

if TYPE_CHECKING:
    from duologue.export.hub import Parcel, Remote

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105  (its name, not its value)


def push(
    folder: Annotated[Path, typer.Argument(help="An export's folder, or the character's.")],
    *,
    to: Annotated[str, typer.Option(help="OWNER/NAME of the repository.")],
    what: Annotated[Literal["adapter", "merged", "gguf", "space"], typer.Option(help="What is pushed.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; private by default.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would happen; the Hub is not asked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Send an export to the Hugging Face Hub; what is there already is not sent again."""
    from duologue.export import hub

    out = Output(is_json=is_json)
    parcel = hub.make_parcel(_export(folder, what), to, kind=what, is_public=public)
    if dry_run:
        _show(out, parcel, None)
        out.say("this was a dry run: nothing was sent, and the Hub was not asked")
        out.result({**_document(parcel), "dry_run": True})
        return
    token = os.environ.get(TOKEN_VARIABLE, "") or hub.saved_token()
    if not token:
        raise ConfigError(
            "nobody is logged in to the Hub",
            where=TOKEN_VARIABLE,
            needed="a token with the role 'write'",
            action="Make one at https://huggingface.co/settings/tokens, and set HF_TOKEN or run: hf auth login",
        )
    if not yes and not sys.stdin.isatty():
        raise ConfigError("nobody is there to be asked", where="--yes", action="Look at --dry-run, then add --yes.")
    remote = hub.look(parcel, token=token)
    removed = hub.stale_files(parcel, remote)
    _show(out, parcel, remote)
    for name in removed:
        out.say(f"  {name}: of an earlier push; will be removed")
    if not yes and not typer.confirm("Send this?", err=True):
        out.say("nothing was sent")
        out.result({**_document(parcel), "account": remote.account, "num_sent": 0})
        return
    done = hub.push(
        parcel,
        remote,
        token=token,
        on_file=lambda file, is_there: out.say(f"  {file.name}: {'there already' if is_there else 'sent'}"),
    )
    out.say(f"{done.url}: {done.num_sent} files sent ({_size(done.num_bytes_sent)})")
    if what == "space":
        out.say(f"next: set the secret DUOLOGUE_API_KEY at {done.url}/settings")
    sent = {"url": done.url, "commit": done.commit, "num_sent": done.num_sent, "num_bytes_sent": done.num_bytes_sent}
    out.result({**_document(parcel), "account": remote.account, **sent, "removed": list(done.removed)})


def _export(folder: Path, what: Literal["adapter", "merged", "gguf", "space"]) -> Path:
    """Return the export itself, where the character's folder was given."""
    from duologue.export import run_adapter
    from duologue.export.hub import places

    if not (folder / CONFIG_NAME).is_file():
        return folder
    if what == "adapter":  # small: made anew for each push
        config = open_folder(folder)
        character = load_folder_character(folder, config)
        target = places(folder, what)
        run_adapter(trained_adapter(folder), target, character=character, rating=config.guard.rating)
    return places(folder, what)


def _show(out: Output, parcel: "Parcel", remote: "Remote | None") -> None:
    """Say what goes where, and who will see it."""
    if remote is not None:
        out.say(f"account: {remote.account}")
    state = "" if remote is None else (", which exists" if remote.exists else ", which will be made")
    kind = "Space" if parcel.kind == "space" else "model"
    is_private = not parcel.is_public if remote is None else remote.is_private
    out.say(f"repository: {parcel.repo} ({kind}{state})")
    out.say(f"visibility: {'private, seen by its owner only' if is_private else 'PUBLIC, seen by everybody'}")
    if parcel.licence:
        out.say(f"licence: {parcel.licence}")
    for note in parcel.notes:
        out.say(f"note: {note}")
    out.say(f"{len(parcel.files)} files, {_size(parcel.num_bytes)}:")
    for file in parcel.files:
        there = remote is not None and remote.has(file)
        out.say(f"  {file.name}  {_size(file.num_bytes)}{'  there already' if there else ''}")


def _document(parcel: "Parcel") -> dict[str, object]:
    files = [{"name": file.name, "num_bytes": file.num_bytes, "sha256": file.sha256} for file in parcel.files]
    about = {"repo": parcel.repo, "kind": parcel.kind, "is_public": parcel.is_public, "licence": parcel.licence}
    return {**about, "num_bytes": parcel.num_bytes, "files": files, "notes": list(parcel.notes)}


def _size(num_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"
