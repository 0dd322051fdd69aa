"""`unpack_bundle`: a bundle back to a character's folder. Everything is verified before anything is believed.

Nothing of it is run, no name in it becomes a path, and the folder appears whole or not at all.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from duologue.characters import (
    CARD_NAME,
    MAX_UNPACKED_BYTES,
    Character,
    OpenCharx,
    dump_json,
    load_character,
    load_lorebook,
    open_charx,
    write_charx,
)
from duologue.config import CONFIG_NAME, Config, write_config
from duologue.engine import TextTokenizer
from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.export import bundle_form as form
from duologue.export.adapter_file import AdapterFacts, check_adapter
from duologue.export.artifact import sha256_of
from duologue.export.bundle import Said
from duologue.export.bundle_run import base_settings, read_run, replies_of
from duologue.export.bundle_settings import bundle_config
from duologue.export.staging import check_disk
from duologue.guard import ContentPolicy, check_character
from duologue.plan import known_facts

_RUN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}-\d{1,4}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_ZIP64_FIELD = b"\x01\x00"
_CARD = "character.charx"

OpenTokenizer = Callable[[str], TextTokenizer]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of a bundle.

    Attributes:
        folder: The new folder.
        character: Name of the character.
        base: What `model.base` is.
        rating: The maker's content rating; that of the folder is `general` until the operator says otherwise.
        adapter: What the adapter is.
        num_files: Files of the bundle, all verified.
        num_card_files: Those of the card itself, such as pictures.
        num_memories: Memories brought along.
        prompts_checked: Prompts whose token ids were rendered here as the maker's; -1 where the base is not at hand.
    """

    folder: Path
    character: str
    base: str
    rating: str
    adapter: AdapterFacts
    num_files: int
    num_card_files: int
    num_memories: int
    prompts_checked: int


@dataclass(frozen=True, slots=True)
class _Contents:
    manifest: form.Manifest
    files: Mapping[str, bytes]


def holds_bundle(file: Path) -> bool:
    """Whether a CharX is a bundle of duologue's; any other is a card only.

    Raises:
        ConfigError: It is no CharX.
    """
    with open_charx(file) as charx:
        return form.MANIFEST in charx.entries


def unpack_bundle(
    file: Path,
    folder: Path,
    *,
    base: str = "",
    open_tokenizer: OpenTokenizer | None = None,
    remember: Callable[[Path, Config, tuple[str, ...]], None] = lambda *_: None,
) -> Unpacked:
    """Make a character's folder of a bundle.

    Args:
        file: The bundle.
        folder: What to make.
        base: Where the base model is on this machine; needed where it has no public name.
        open_tokenizer: Returns the tokenizer of a base that lies on this machine, to prove that prompts are the same.
        remember: Stores memories (JSON lines) of the folder; called before it gets its name.

    Raises:
        ConfigError: The folder exists, or the bundle breaks a rule.
        EngineError: The adapter is not what it should be, or the disk is full.
        GuardError: Something in it may not be in any chat.
    """
    if folder.exists():
        raise ConfigError("this folder exists already", where=str(folder), action="Choose another name.")
    staging = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        unpacked = _unpack(file, staging, folder=folder, base=base, open_tokenizer=open_tokenizer, remember=remember)
        staging.rename(folder)
    except OSError as error:
        found = f"the folder cannot be made ({error.strerror or error})"
        raise ConfigError(found, where=str(folder), action="Choose another place or free some disk space.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return unpacked


def _unpack(
    file: Path,
    staging: Path,
    *,
    folder: Path,
    base: str,
    open_tokenizer: OpenTokenizer | None,
    remember: Callable[[Path, Config, tuple[str, ...]], None],
) -> Unpacked:
    where = str(file)
    adapter_folder = staging / "adapter"
    adapter_folder.mkdir()
    contents = _verified(file, adapter_folder / "adapter_model.safetensors")
    files, manifest = contents.files, contents.manifest
    (adapter_folder / "adapter_config.json").write_bytes(files[form.ADAPTER_CONFIG])
    name = _base_name(manifest, base, where=where)
    facts = _checked_adapter(adapter_folder, name, where=where)
    lorebooks, companions = _write_cards(files, staging, where=where)
    settings = form.parse_document(files[form.SETTINGS], name=form.SETTINGS, where=where)
    text, config = bundle_config(
        settings, base=name, card=_CARD, lorebooks=lorebooks, companions=companions, where=where
    )
    character = _checked_texts(staging, config, where=where)
    (staging / CONFIG_NAME).write_text(text, encoding="utf-8")
    _write_run(files[form.RUN], staging, config=config, config_text=text, base=name, where=where)
    num_checked = _check_prompts(
        files[form.PROMPTS], character, name, open_tokenizer if _is_here(name, base) else None, where=where
    )
    memories = _memories(files.get(form.MEMORIES, b""), where=where)
    if memories:
        remember(staging, config, memories)
    card_files = [found for found in files if not form.is_private(found) and found != CARD_NAME]
    return Unpacked(
        folder=folder,
        character=form.shown(character.name),
        base=name,
        rating=manifest.rating,
        adapter=facts,
        num_files=len(manifest.files) + 1,
        num_card_files=len(card_files),
        num_memories=len(memories),
        prompts_checked=num_checked,
    )


def _verified(file: Path, weights: Path) -> _Contents:
    """Return the files of a bundle, each of the size and digest that its list says; the weights go to the disk."""
    where = str(file)
    with open_charx(file) as charx:
        if form.MANIFEST not in charx.entries:
            raise ConfigError(f"there is no {form.MANIFEST} in it", where=where, needed="a bundle of duologue's")
        text = charx.read(form.MANIFEST, limit=form.MAX_DOCUMENT_BYTES)
        manifest = form.parse_manifest(text, where=where)
        _check_names(charx, manifest, where=where)
        if fault := form.too_much_kept({name: size for name, (size, _) in manifest.files.items()}):
            raise ConfigError(
                f"the bundle was refused: {fault}", where=where, action="Take the card alone with --card."
            )
        check_disk(weights.parent, 2 * sum(size for size, _ in manifest.files.values()), what="the bundle's files")
        files: dict[str, bytes] = {}
        for name, (size, sha256) in manifest.files.items():
            digest, num_bytes, kept = hashlib.sha256(), 0, bytearray()
            limit = _limit(name, charx)
            if name != form.WEIGHTS:  # whatever the list says, no more than this is ever held
                limit = min(limit, form.MAX_KEPT_BYTES - sum(map(len, files.values())))
            with weights.open("wb") if name == form.WEIGHTS else _Kept(kept) as target:
                for piece in charx.pieces(name, limit=limit):
                    digest.update(piece)
                    num_bytes += len(piece)
                    target.write(piece)
            if num_bytes != size or digest.hexdigest() != sha256:
                raise ConfigError(
                    f"'{name}' of the bundle is not the file that was put in (its SHA-256 or size differs)",
                    where=where,
                    action="It was damaged or changed on the way: get it again from its maker.",
                )
            if name != form.WEIGHTS:
                files[name] = bytes(kept)
    return _Contents(manifest, files)


class _Kept:
    """A target that keeps what is written, for the small files."""

    def __init__(self, into: bytearray) -> None:
        self._into = into

    def __enter__(self) -> "_Kept":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, piece: bytes) -> None:
        self._into += piece


def _limit(name: str, charx: OpenCharx) -> int:
    if name == form.WEIGHTS:
        return form.MAX_ADAPTER_BYTES
    if name == form.MEMORIES:
        return form.MAX_MEMORIES_BYTES
    if form.COMPANION.fullmatch(name):
        return form.MAX_CARD_FILE_BYTES
    return form.MAX_DOCUMENT_BYTES if form.is_private(name) else max(0, MAX_UNPACKED_BYTES // 4 - charx.num_bytes)


def _check_names(charx: OpenCharx, manifest: form.Manifest, *, where: str) -> None:
    listed, present = set(manifest.files), set(charx.entries) - {form.MANIFEST}
    faults = [f"'{form.shown(name)}' {fault}" for name in sorted(present) if (fault := form.name_fault(name))]
    faults += [f"'{form.shown(name)}' is not in its list" for name in sorted(present - listed)]
    faults += [f"'{form.shown(name)}' is in its list but missing" for name in sorted(listed - present)]
    faults += [f"'{name}' is missing" for name in (CARD_NAME, *form.NEEDED) if name not in present | listed]
    faults += [
        f"'{form.shown(name)}' has a zip64 entry"
        for name, entry in charx.entries.items()
        if entry.extra.startswith(_ZIP64_FIELD)
        or b"\x01\x00" in (entry.extra[at : at + 2] for at in _fields(entry.extra))
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ConfigError(
            f"the bundle was refused: {'; '.join(faults[:5])}{more}",
            where=where,
            needed="the files that duologue put in, and no others",
            action="Get it again from its maker, or take the card alone with --card.",
        )


def _fields(extra: bytes) -> list[int]:
    """Return where the extra fields of a zip's entry begin."""
    found, at = [], 0
    while at + 4 <= len(extra):
        found.append(at)
        at += 4 + int.from_bytes(extra[at + 2 : at + 4], "little")
    return found


def _base_name(manifest: form.Manifest, base: str, *, where: str) -> str:
    """Return what `model.base` becomes: what the operator says, or a public name; never a path out of the bundle."""
    if base:
        return str(Path(base).resolve()) if Path(base).exists() else base
    is_public = manifest.base.startswith("bundled:") or _HUB_NAME.fullmatch(manifest.base)
    if manifest.is_local_base or not is_public or ".." in manifest.base or Path(manifest.base).exists():
        raise ConfigError(
            f"the base model '{form.shown(manifest.base)}' has no public name",
            where=where,
            needed="the place of that model on this machine",
            action="Get the base model from the bundle's maker and name it with --base.",
        )
    return manifest.base


def _is_here(name: str, base: str) -> bool:
    return name.startswith("bundled:") or (bool(base) and Path(base).exists())


def _checked_adapter(folder: Path, base: str, *, where: str) -> AdapterFacts:
    try:
        facts = known_facts(base) if not base.endswith(".gguf") else None
        return check_adapter(folder, facts, base=base)
    except EngineError as error:
        inside = form.WEIGHTS if error.where.endswith(".safetensors") else form.ADAPTER_CONFIG
        place = f"{where}: {inside}"
        raise EngineError(error.found, where=place, needed=error.needed, action=error.action) from error


def _write_cards(files: Mapping[str, bytes], staging: Path, *, where: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the card without what is duologue's, its lorebooks and its companions; return the names of the latter."""
    document = form.parse_document(files[CARD_NAME], name=CARD_NAME, where=where)
    data = document.get("data")
    if isinstance(data, dict) and isinstance(data.get("assets"), list):
        data["assets"] = [asset for asset in data["assets"] if not _is_own_asset(asset)]
    own = {name: content for name, content in files.items() if not form.is_private(name) and name != CARD_NAME}
    with (staging / _CARD).open("wb") as target:
        write_charx(target, card=dump_json(document, indent=2), files=own)
    lorebooks: list[str] = []
    companions: list[str] = []
    for name in sorted(files):
        if match := form.LOREBOOK.fullmatch(name):
            lorebooks.append(f"lorebooks/{int(match[1])}.json")
            _put(staging / lorebooks[-1], files[name])
        elif match := form.COMPANION.fullmatch(name):
            companions.append(f"companions/{int(match[1])}.{match[2]}")
            _put(staging / companions[-1], files[name])
            form.check_companion(staging / companions[-1])
    return tuple(sorted(lorebooks, key=_number)), tuple(sorted(companions, key=_number))


def _number(name: str) -> int:
    return int(Path(name).stem)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _is_own_asset(asset: object) -> bool:
    uri = asset.get("uri") if isinstance(asset, dict) else None
    return isinstance(uri, str) and form.is_private(uri.rpartition("://")[2])


def _checked_texts(staging: Path, config: Config, *, where: str) -> Character:
    """Return the character; refuse any text that no chat may hold at any rating."""
    settings = config.character
    try:
        characters = [load_character(staging / name) for name in (settings.card, *settings.companions)]
        books = [load_lorebook(staging / name) for name in settings.lorebooks]
    except ConfigError as error:
        raise ConfigError(f"a card or lorebook in it: {error.found}", where=where, needed=error.needed) from error
    for character in characters:
        own = [character.lorebook] if character.lorebook else []
        check_character(character, rating="adult", where=where, lorebooks=[*own, *books])
    ContentPolicy("adult").check([settings.author_note, *config.evaluation.prompts], where=where)
    return characters[0]


def _write_run(text: bytes, staging: Path, *, config: Config, config_text: str, base: str, where: str) -> None:
    document = form.parse_document(text, name=form.RUN, where=where)
    name = document.get("name")
    is_name = isinstance(name, str) and _RUN_NAME.fullmatch(name)
    into = staging / "runs" / (str(name) if is_name else f"{date.today()}-1")
    into.mkdir(parents=True)
    (staging / "adapter").rename(into / "adapter")
    run = read_run(document, where=where)
    replies = replies_of(run.evaluation)
    ContentPolicy("adult").check([said for reply in replies for said in reply], where=where)
    lora = config.lora.model_dump(mode="json")
    lora["num_layers"] = 0 if lora["num_layers"] == "all" else lora["num_layers"]
    manifest = {
        "base": {"name": base, **base_settings(document, where=where)},
        "lora": lora,
        "adapter_sha256": {path.name: sha256_of(path) for path in sorted((into / "adapter").iterdir())},
        **run.numbers,
    }
    written = {"plan.json": run.plan, "evaluation.json": run.evaluation, "data.json": run.data}
    for file, content in {**written, "manifest.json": manifest}.items():  # the manifest makes it a finished run
        if content:
            (into / file).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (into / CONFIG_NAME).write_text(config_text, encoding="utf-8")
    write_config(config, into / "resolved.json")
    (staging / "data").mkdir()
    rows = [
        {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": tuned}]}
        for said, _, tuned in replies
        if said and tuned
    ]
    if rows:
        said_text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        (staging / "data" / "replies.json").write_text(said_text, encoding="utf-8")


def _memories(text: bytes, *, where: str) -> tuple[str, ...]:
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{form.MEMORIES}' of the bundle is not UTF-8", where=where) from error
    return tuple(line for line in lines if line.strip())


def _check_prompts(
    text: bytes, character: Character, base: str, open_tokenizer: OpenTokenizer | None, *, where: str
) -> int:
    """Return how many prompts render here as they did for the maker; -1 where the base is not at hand."""
    document = form.parse_document(text, name=form.PROMPTS, where=where)
    try:
        theirs = Said(
            str(document["fingerprint"]),
            tuple((str(entry["text"]), tuple(map(int, entry["ids"]))) for entry in document["prompts"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"'{form.PROMPTS}' of the bundle is not as duologue writes it", where=where) from error
    if len(theirs.prompts) > form.MAX_PROMPTS:
        raise ConfigError(
            f"'{form.PROMPTS}' of the bundle holds {len(theirs.prompts):,} prompts",
            where=where,
            needed=f"at most {form.MAX_PROMPTS:,}",
        )
    if open_tokenizer is None:
        return -1
    try:
        ours = Said.of(open_tokenizer(base), character, [said for said, _ in theirs.prompts])
    except DuologueError as error:
        raise EngineError(
            f"the bundle's prompts cannot be compared ({error.found})", where=where, needed=error.needed
        ) from error
    if ours != theirs:
        part = "vocabulary or chat template" if ours.fingerprint != theirs.fingerprint else "prompts"
        raise EngineError(
            f"the base model's {part} differ from those the adapter was trained with",
            where=where,
            needed=f"the very base it was trained on ('{base}' here)",
            action="Name that base with --base.",
        )
    return len(theirs.prompts)
