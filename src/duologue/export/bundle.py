"""`write_bundle`: a character whole in one `.charx` file, which any reader of Character Card V3 opens as a card.

The card is as every CharX has it. What is duologue's lies under `assets/x_…`, a private type that others pass over:
the adapter, lorebooks, companions, settings and the numbers of its run. `duologue.json` at the root lists every file
with its size and SHA-256. Conversations, chats, the person's name and persona, paths and keys are never part of it.
"""

import hashlib
import json
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import duologue
from duologue import prompt
from duologue.characters import (
    CARD_NAME,
    Card,
    Character,
    dump_json,
    load_card,
    open_charx,
    read_charx,
    save_card,
    write_charx,
)
from duologue.config import Config
from duologue.engine import BUNDLED_MODELS, Adapter, TextTokenizer
from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.export import bundle_form as form
from duologue.export.adapter_file import CONFIG_NAME, WEIGHTS_NAME, check_adapter
from duologue.export.artifact import Artifact, sha256_of
from duologue.export.ledger import read_document
from duologue.export.model_card import UNNAMED_USER, base_and_licence, model_card
from duologue.export.staging import check_disk, not_written
from duologue.messages import Message
from duologue.plan import known_facts, plan_from_json

_HEADROOM_BYTES = 4 * 2**20
_RUN_NUMBERS = (
    *("num_steps", "final_loss", "num_tokens", "num_trained_tokens", "seconds", "peak_memory_bytes"),
    *("reload_max_difference", "kept_step", "num_loss_spikes", "was_stopped_early", "plan_versus_actual"),
)
_EVALUATION_KEYS = (
    *("base_perplexity", "tuned_perplexity", "base_loss", "tuned_loss", "improvement_fraction"),
    *("num_scored_tokens", "replies"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a bundle's prompts are.

    Attributes:
        fingerprint: Digest of vocabulary and chat template.
        prompts: What the user says, and the token ids of the whole prompt.
    """

    fingerprint: str
    prompts: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, tokenizer: TextTokenizer, character: Character, prompts: Sequence[str]) -> "Said":
        """Return what a tokenizer makes of the evaluation's prompts, for a user without a name or persona."""
        built = [prompt.build(character, (Message("user", text),), user_name=UNNAMED_USER) for text in prompts]
        ids = [tuple(tokenizer.render(messages, add_generation_prompt=True)) for messages in built]
        return cls(tokenizer.fingerprint, tuple(zip(prompts, ids, strict=True)))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        prompts = [{"text": text, "ids": list(ids)} for text, ids in self.prompts]
        return {"fingerprint": self.fingerprint, "prompts": prompts}


def write_bundle(
    folder: Path,
    file: Path,
    *,
    config: Config,
    character: Character,
    adapter: Adapter,
    tokenizer: TextTokenizer,
    memories: Sequence[str] = (),
) -> Artifact:
    """Write a character's folder as one file; it appears whole or not at all.

    Args:
        folder: The character's folder.
        file: Target, ending in `.charx`; an earlier bundle is replaced.
        config: Of the folder.
        character: Its character.
        adapter: The trained adapter, in its run's folder.
        tokenizer: Of the base.
        memories: JSON lines of the operator's own memories, consented to.

    Raises:
        ConfigError: The target is something else, or the card cannot be written.
        EngineError: The adapter is no plain LoRA, is too large for a zip, or the disk is full.
    """
    _check_target(file)
    weights = adapter.folder / WEIGHTS_NAME
    check_adapter(adapter.folder, known_facts(adapter.base.name), base=adapter.base.name)
    size = weights.stat().st_size
    if size > form.MAX_ADAPTER_BYTES:
        raise EngineError(
            f"the adapter has {size / 2**30:.2f} GiB",
            where=str(weights),
            needed=f"at most {form.MAX_ADAPTER_BYTES / 2**30:.2f} GiB in a zip that every card reader opens",
            action="Push it to a hub instead: duologue push",
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        check_disk(file.parent, size + _HEADROOM_BYTES, what="the bundle")
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as staging:
            document, files, notes = _card_files(folder, config, character, Path(staging))
            files |= _own_files(
                folder, config=config, character=character, adapter=adapter, tokenizer=tokenizer, memories=memories
            )
            for number, name in enumerate(config.character.companions):
                ending, content, left_out = _companion(folder / name, Path(staging))
                files[f"assets/x_companion/other/{number}{ending}"] = content
                notes += left_out
            if fault := form.too_much_kept({name: len(content) for name, content in files.items()}):
                raise ConfigError(
                    f"the character is too large for a bundle: {fault}",
                    where=str(folder),
                    action="Take large pictures or lorebooks out of the card.",
                )
            partial = Path(staging, "bundle.charx")
            manifest = _write(partial, document, files, weights, config=config, adapter=adapter)
            if partial.stat().st_size > form.MAX_ADAPTER_BYTES:
                raise EngineError("the bundle has more than 2 GiB", where=str(file), needed="less, for a plain zip")
            os.replace(partial, file)
    except OSError as error:
        raise not_written(file, error) from error
    more = {
        "kind": "bundle",
        "base": manifest.base,
        "bytes": file.stat().st_size,
        "files": len(manifest.files) + 1,
        "memories": len(memories),
        "notes": [*notes, *_left_out(config), *_unmeasured(adapter)],
    }
    return Artifact(file, {file.name: sha256_of(file)}, more=more)


def _check_target(file: Path) -> None:
    if file.suffix.lower() != ".charx":
        raise ConfigError(f"a bundle is a CharX, not '{file.suffix}'", where=str(file), needed="a name with '.charx'")
    if not file.exists():
        return
    try:
        with open_charx(file) as charx:
            is_ours = form.MANIFEST in charx.entries
    except DuologueError:
        is_ours = False
    if not is_ours:
        raise ConfigError(
            "there is a file of this name that no export wrote",
            where=str(file),
            needed="a new name or an earlier bundle",
            action="Choose another name with --to.",
        )


def _card_files(
    folder: Path, config: Config, character: Character, staging: Path
) -> tuple[dict[str, Any], dict[str, bytes], list[str]]:
    """Return the card's document and files as a CharX has them, without what is duologue's or could run code."""
    return _harmless(load_card(folder / config.character.card) if config.character.card else Card(character), staging)


def _harmless(card: Card, staging: Path) -> tuple[dict[str, Any], dict[str, bytes], list[str]]:
    path = staging / "card.charx"
    save_card(card, path)
    text, found, _ = read_charx(path, wants=lambda _: True)
    document: dict[str, Any] = json.loads(text)
    refused = {name: form.name_fault(name) for name in found if not form.is_private(name)}
    kept = {name: content for name, content in found.items() if not refused.get(name, "private")}
    assets = document["data"].get("assets") or []
    dropped = [f"embeded://{name}" for name in found if name not in kept]
    document["data"]["assets"] = [asset for asset in assets if not _names(asset, dropped)]
    notes = [
        f"left out '{form.shown(name)}' of {card.character.name}'s card: it {fault}"
        for name, fault in refused.items()
        if fault
    ]
    return document, kept, notes


def _names(asset: object, uris: Sequence[str]) -> bool:
    uri = asset.get("uri") if isinstance(asset, dict) else None
    return isinstance(uri, str) and uri.replace("embedded://", "embeded://") in uris


def _companion(path: Path, staging: Path) -> tuple[str, bytes, list[str]]:
    """Return the ending and content of a companion's card; of a CharX without what has no place in a bundle."""
    ending = path.suffix.lower() if path.suffix.lower() in (".json", ".png", ".charx") else ".json"
    content = _read(path)
    if not form.card_fault(path):
        return ending, content, []
    document, files, notes = _harmless(load_card(path), staging)
    target = BytesIO()
    write_charx(target, card=dump_json(document, indent=2), files=files)
    return ".charx", target.getvalue(), notes


def _own_files(
    folder: Path,
    *,
    config: Config,
    character: Character,
    adapter: Adapter,
    tokenizer: TextTokenizer,
    memories: Sequence[str],
) -> dict[str, bytes]:
    run = adapter.folder.parent
    said = Said.of(tokenizer, character, config.evaluation.prompts)
    files = {
        form.ADAPTER_CONFIG: _config_without_paths(adapter.folder / CONFIG_NAME),
        form.SETTINGS: dump_json(_settings(config), indent=2),
        form.PROMPTS: dump_json(said.as_json()),
        form.RUN: dump_json(_run(run, adapter, user_name=config.character.user_name), indent=2),
        form.CARD_TEXT: model_card(
            adapter, character=character, folder_name=folder.resolve().name, form="bundle", rating=config.guard.rating
        ).encode("utf-8", "replace"),
    }
    if notice := base_and_licence(adapter.base.name)[1].notice:
        files[form.NOTICE] = f"{notice}\n".encode()
    for number, name in enumerate(config.character.lorebooks):
        files[f"assets/x_lorebook/other/{number}.json"] = _read(folder / name)
    if memories:
        files[form.MEMORIES] = "".join(f"{line}\n" for line in memories).encode()
    return files


def _config_without_paths(path: Path) -> bytes:
    """Return PEFT's settings without the place of the base on the maker's machine; duologue names the base itself."""
    return dump_json({**json.loads(path.read_bytes()), "base_model_name_or_path": None}, indent=2)


def _settings(config: Config) -> dict[str, dict[str, Any]]:
    tree = config.model_dump(mode="json")
    return {section: {key: tree[section][key] for key in keys} for section, keys in form.SETTING_KEYS.items()}


def _run(run: Path, adapter: Adapter, *, user_name: str) -> dict[str, Any]:
    """Return the numbers of a run, without paths, names of files, of the machine and of the user."""
    manifest, evaluation, data = (
        read_document(run / name) for name in ("manifest.json", "evaluation.json", "data.json")
    )
    base = asdict(adapter.base)
    kept_base = {key: value for key, value in base.items() if key not in ("name", "trusted_code")}
    scores = {key: evaluation[key] for key in _EVALUATION_KEYS if key in evaluation}
    if "replies" in scores:
        scores["replies"] = [_unnamed(reply, user_name) for reply in scores["replies"]]
    return {
        "name": run.name,
        "base": kept_base,
        "manifest": {key: manifest[key] for key in _RUN_NUMBERS if key in manifest},
        "evaluation": scores,
        "data": {**_counts(data), "stats": _counts(data.get("stats") or {})} if data else {},
        "plan": _plan(run / "plan.json"),
    }


def _unnamed(reply: dict[str, Any], user_name: str) -> dict[str, Any]:
    """Return a reply of the evaluation in which the character does not call the person by name."""
    if user_name == UNNAMED_USER:
        return reply
    name = _as_word(user_name)
    return {key: name.sub(UNNAMED_USER, text) if isinstance(text, str) else text for key, text in reply.items()}


def _as_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def _plan(path: Path) -> dict[str, Any]:
    """Return the plan of a run without the name of its machine and what was assumed about it.

    Nothing where an older duologue wrote it in a form that this one cannot read.
    """
    document = read_document(path)
    try:
        plan_from_json(document)
    except (DuologueError, TypeError, KeyError, ValueError):
        return {}
    return {**document, "machine": "the maker's machine", "assumptions": []}


def _counts(document: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in document.items() if type(value) is int}


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > form.MAX_CARD_FILE_BYTES:
            raise ConfigError(f"the file has {size / 2**20:.0f} MiB", where=str(path), needed="at most 64 MiB")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the file cannot be read ({error.strerror})", where=str(path)) from error


def _write(
    partial: Path,
    document: dict[str, Any],
    files: dict[str, bytes],
    weights: Path,
    *,
    config: Config,
    adapter: Adapter,
) -> form.Manifest:
    """Write the zip: card and documents first, so that a reader shows the card early; the list of files last."""
    own = sorted(name for name in (*files, form.WEIGHTS) if form.is_private(name))
    document["data"]["assets"] = [*_listed(document), *map(_asset, own)]
    contents = {CARD_NAME: dump_json(document, indent=2), **files}
    listed = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()}
    with zipfile.ZipFile(partial, "w", allowZip64=False) as archive:
        for name, content in contents.items():
            is_text = name.endswith((".json", ".jsonl", ".md"))
            archive.writestr(_entry(name), content, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)
        digest, num_bytes = hashlib.sha256(), 0
        with weights.open("rb") as source, archive.open(_entry(form.WEIGHTS), "w") as target:
            while piece := source.read(2**20):
                digest.update(piece)
                num_bytes += len(piece)
                target.write(piece)
        listed[form.WEIGHTS] = (num_bytes, digest.hexdigest())
        name, sha256, is_local = _base(adapter.base.name)
        manifest = form.Manifest(listed, name, sha256, is_local, config.guard.rating, duologue.__version__)
        archive.writestr(_entry(form.MANIFEST), dump_json(manifest.as_json(), indent=2), zipfile.ZIP_DEFLATED)
    return manifest


def _listed(document: dict[str, Any]) -> list[Any]:
    """Return the card's assets. A card without any has one icon, which must stay when others are named."""
    assets = document["data"].get("assets")
    return assets if assets else [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}]


def _asset(name: str) -> dict[str, str]:
    _, kind, _, file = name.split("/")
    stem, _, ending = file.rpartition(".")
    return {"type": kind, "uri": f"embeded://{name}", "name": stem, "ext": ending}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # dated 1980: equal content makes equal bytes
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_STORED
    return entry


def _base(name: str) -> tuple[str, str, bool]:
    """Return what a base is called elsewhere, the digest of its file where it is one, and whether it is local."""
    if name in BUNDLED_MODELS:
        return name, BUNDLED_MODELS[name].sha256, False
    path = Path(name)
    if path.is_file():
        return path.name, sha256_of(path), True
    return (path.name, "", True) if path.exists() or path.is_absolute() else (name, "", False)


def _unmeasured(adapter: Adapter) -> list[str]:
    run = adapter.folder.parent
    notes = []
    if not (run / "evaluation.json").is_file():
        notes.append("no evaluation is part of it; duologue eval makes one, and others can then compare")
    if not _plan(run / "plan.json"):
        notes.append("no plan is part of it, since none of this version lies in the run; duologue eval needs one")
    return notes


def _left_out(config: Config) -> list[str]:
    """Return what of duologue.toml is the person's own and stays here, where it says something."""
    mine = {
        "character.persona": config.character.persona,
        "character.user_name": config.character.user_name if config.character.user_name != UNNAMED_USER else "",
    }
    notes = [f"{key} is about you and stays here" for key, value in mine.items() if value]
    return [*notes, *_named(config)]


def _named(config: Config) -> list[str]:
    """Return where the person has written their own name into a setting that travels."""
    texts = {
        "evaluation.prompts": "\n".join(config.evaluation.prompts),
        "character.author_note": config.character.author_note,
        "generation.stop": "\n".join(config.generation.stop),
    }
    name = config.character.user_name
    if name == UNNAMED_USER:
        return []
    return [f"your name stands in {key} and goes along" for key, text in texts.items() if _as_word(name).search(text)]
