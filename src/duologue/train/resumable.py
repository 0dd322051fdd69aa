"""Whether an interrupted run may go on: what was changed since it was started, key by key and file by file."""

from pathlib import Path
from typing import Any

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.data import Account
from duologue.errors import ConfigError
from duologue.messages import Message
from duologue.plan import Plan, plan_from_json
from duologue.train.folder import Run, newest_unfinished

PROMPT_FILE = "prompt.json"
_DECIDING_SECTIONS = ("run", "model", "data", "lora", "training", "character")
_FREE_KEYS = {  # they decide nothing that is trained
    "training": ("num_checkpoints",),
    "character": (
        "companions",
        "speaking_order",
        "lorebooks",
        "lore_scan_messages",
        "lore_fraction",
        "author_note",
        "author_note_depth",
    ),
}
_FREE_WITHOUT_EARLY_STOPPING = ("training", "num_sample_replies")


def load_resumable(
    folder: Path, config: Config, account: Account, character: Character | None = None
) -> tuple[Run, Plan]:
    """Return the interrupted run of a character and the plan it was started with.

    Args:
        folder: The character's folder.
        config: The configuration as it is now.
        account: Of the data as it is now.
        character: As the card is now; None does not look at it.

    Raises:
        ConfigError: There is nothing to resume, or configuration or data are not what the run was started with.
    """
    found = newest_unfinished(folder)
    if found is None:
        raise ConfigError(
            "there is no interrupted run to resume", where=str(folder / "runs"), action="Run: duologue train FOLDER"
        )
    changed = _changed_keys(found.read("resolved.json"), config)
    if character is not None:
        changed += _changed_prompt(found, prompt_of(config, character))
    old_files = {entry["path"]: entry["sha256"] for entry in found.read("data.json")["files"]}
    new_files = {file.path: file.sha256 for file in account.files}
    changed += [
        f"data file {path}" for path in {**old_files, **new_files} if old_files.get(path) != new_files.get(path)
    ]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise ConfigError(
            f"run {found.name} was started with another configuration or other data:\n{listed}",
            where=str(folder),
            action="Restore them to resume, or start a new run with: duologue train FOLDER",
        )
    return found, plan_from_json(found.read("plan.json"))


def prompt_of(config: Config, character: Character) -> dict[str, str]:
    """Return what a card brings into every example, by name."""
    messages = prompt.build(character, (Message("user", ""),), user_name=config.character.user_name)
    system = "\n".join(message.content for message in messages if message.role == "system")
    return {"name": character.display_name, "system": system}


def _changed_keys(before: dict[str, Any], config: Config) -> list[str]:
    """The keys that decide what is trained and differ, with both values; a key of a newer version has its default."""
    now = config.model_dump(mode="json")
    changed = []
    for section in _DECIDING_SECTIONS:
        fields = type(getattr(config, section)).model_fields
        for key, value in now[section].items():
            if key in _FREE_KEYS.get(section, ()):
                continue
            if (section, key) == _FREE_WITHOUT_EARLY_STOPPING and not config.training.early_stopping_patience:
                continue
            default = fields[key].get_default(call_default_factory=True)
            was = before[section].get(key, list(default) if isinstance(default, tuple) else default)
            if was != value:
                changed.append(f"{section}.{key}: {was!r} -> {value!r}")
    return changed


def _changed_prompt(found: Run, now: dict[str, str]) -> list[str]:
    if not (found.folder / PROMPT_FILE).is_file():
        return []  # of a version that did not write it; the engine compares the examples themselves
    before = found.read(PROMPT_FILE)
    return [
        f"character card, {name}: {before.get(name)!r} -> {now[name]!r}"
        for name in now
        if before.get(name) != now[name]
    ]
