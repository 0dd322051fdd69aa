"""What a bundle is made of: the names in its zip, the settings that travel, and the manifest."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duologue.characters import open_charx
from duologue.config import PRESET_KEYS
from duologue.errors import ConfigError

FORMAT = 1
MANIFEST = "duologue.json"
OWN = "assets/x_duologue/other"
WEIGHTS = "assets/x_lora/ai/adapter_model.safetensors"
ADAPTER_CONFIG = "assets/x_lora/ai/adapter_config.json"
SETTINGS = f"{OWN}/settings.json"
PROMPTS = f"{OWN}/prompts.json"
RUN = f"{OWN}/run.json"
CARD_TEXT = f"{OWN}/model_card.md"
NOTICE = f"{OWN}/NOTICE"
MEMORIES = f"{OWN}/memories.jsonl"
LOREBOOK = re.compile(r"assets/x_lorebook/other/(\d{1,3})\.json")
COMPANION = re.compile(r"assets/x_companion/other/(\d{1,3})\.(json|png|charx)")
NEEDED = (WEIGHTS, ADAPTER_CONFIG, SETTINGS, PROMPTS, RUN)
MAX_ADAPTER_BYTES = 2**31 - 2**20  # a zip64 is refused by many card readers
MAX_DOCUMENT_BYTES = 16 * 2**20
MAX_MEMORIES_BYTES = 64 * 2**20
MAX_CARD_FILE_BYTES = 64 * 2**20
MAX_KEPT_BYTES = 512 * 2**20  # all files but the weights, which are held in memory while they are checked
MAX_PROMPTS = 1_000
_PRIVATE = re.compile(r"assets/x_(?:duologue|lora|lorebook|companion)/")
_CARD_FILES = frozenset(  # what the files of a card may be; what can run when it is opened is none of these
    (
        *("json", "toml", "txt", "md", "jinja", "safetensors", "gguf"),
        *("png", "apng", "jpg", "jpeg", "webp", "gif", "avif", "bmp"),
        *("mp3", "ogg", "oga", "opus", "wav", "flac", "m4a", "aac"),
        *("mp4", "webm", "ogv", "mov"),
    )
)
_SHA256 = re.compile(r"[0-9a-f]{64}")

# What of duologue.toml travels. What is about the person (name, persona), about the machine (paths, addresses, keys)
# or is the operator's to decide (guard, age, server, trusted code) stays at home, on the way out and on the way in.
SETTING_KEYS: dict[str, tuple[str, ...]] = {
    "run": ("seed",),
    "model": ("quantization", "use_double_quantization", "int8_threshold", "compute_dtype"),
    "data": (
        *("validation_fraction", "max_length_tokens", "long_conversations", "train_on_greeting"),
        *("skip_faulty_rows", "near_duplicates", "personal_data", "strip_asides"),
    ),
    "lora": (
        *("rank", "alpha", "dropout", "target_modules", "num_layers"),
        *("use_rslora", "use_dora", "init_weights", "lr_ratio"),
    ),
    "training": (
        *("num_epochs", "max_steps", "micro_batch_size", "gradient_accumulation_steps", "learning_rate"),
        *("lr_schedule", "warmup_fraction", "weight_decay", "max_grad_norm", "packing", "optimizer", "neftune_alpha"),
        *("adapter_dtype", "compile", "early_stopping_patience", "early_stopping_on", "num_sample_replies"),
        *("gradient_checkpointing", "save_every_steps", "eval_every_steps"),
    ),
    "character": ("speaking_order", "lore_scan_messages", "lore_fraction", "author_note", "author_note_depth"),
    "generation": (*PRESET_KEYS, "context_tokens", "summarise"),
    "memory": ("enabled", "num_recalled", "max_recalled_tokens", "cooldown_turns"),
    "evaluation": ("prompts", "max_new_tokens"),
    "export": ("dtype",),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The list of a bundle's files.

    Attributes:
        files: Size in bytes and SHA-256 by name, the manifest itself left out.
        base: Public name of the base model, or the last part of its path.
        base_sha256: Digest of its file, where it is one file.
        is_local_base: Whether the base is a folder or file of the maker's machine.
        rating: The maker's content rating.
        duologue: Version that wrote it.
    """

    files: Mapping[str, tuple[int, str]]
    base: str
    base_sha256: str = ""
    is_local_base: bool = False
    rating: str = "general"
    duologue: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the document at the root of the zip."""
        return {
            "format": FORMAT,
            "duologue": self.duologue,
            "base": {"name": self.base, "sha256": self.base_sha256, "is_local": self.is_local_base},
            "rating": self.rating,
            "files": {name: {"size": size, "sha256": sha256} for name, (size, sha256) in sorted(self.files.items())},
        }


def parse_manifest(text: bytes, *, where: str) -> Manifest:
    """Return the manifest of a bundle.

    Raises:
        ConfigError: It is of a newer format, or has a fault.
    """
    document = parse_document(text, name=MANIFEST, where=where)
    version = document.get("format")
    if type(version) is int and version > FORMAT:
        raise ConfigError(
            f"the bundle is of format {version}, made by duologue {shown(document.get('duologue'))}",
            where=where,
            needed=f"format {FORMAT}, which this version reads",
            action="Install a newer duologue.",
        )
    try:
        base, files = document["base"], document["files"]
        read = {str(name): (entry["size"], entry["sha256"]) for name, entry in files.items()}
        texts = (base["name"], base["sha256"], document["rating"], document["duologue"])
        is_whole = (
            version == FORMAT
            and all(isinstance(text, str) and len(text) <= 400 and text.isprintable() for text in texts)
            and type(base["is_local"]) is bool
            and document["rating"] in ("general", "mature", "adult")
            and all(type(size) is int and size >= 0 and _SHA256.fullmatch(sha) for size, sha in read.values())
        )
    except (KeyError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise ConfigError(f"the bundle's {MANIFEST} is not as duologue writes it", where=where)
    return Manifest(read, base["name"], base["sha256"], base["is_local"], document["rating"], document["duologue"])


def parse_document(text: bytes, *, name: str, where: str) -> dict[str, Any]:
    """Return a JSON object of a bundle.

    Raises:
        ConfigError: It is something else.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"'{name}' of the bundle is not JSON ({str(error)[:200]})", where=where) from error
    if not isinstance(document, dict):
        raise ConfigError(f"'{name}' of the bundle is no JSON object", where=where)
    return document


def is_private(name: str) -> bool:
    """Whether a file of a zip is one of duologue's, not one of the card's."""
    return name == MANIFEST or _PRIVATE.match(name) is not None


def name_fault(name: str) -> str:
    """Return why a file of this name has no place in a bundle, or an empty string."""
    if not name.isascii() or not name.isprintable():
        return "has a name that is not plain ASCII"
    known = (MANIFEST, "card.json", *NEEDED, CARD_TEXT, NOTICE, MEMORIES)
    if name in known or LOREBOOK.fullmatch(name) or COMPANION.fullmatch(name):
        return ""
    if is_private(name):
        return "is none that duologue knows"
    return card_file_fault(name)


def card_file_fault(name: str) -> str:
    """Return why a file of this name has no place beside a card, or an empty string."""
    stem, dot, suffix = name.rsplit("/", 1)[-1].rpartition(".")
    if stem and suffix.lower() in _CARD_FILES:
        return ""
    found = f"ends in '{dot}{shown(suffix)}'" if dot else "has no ending"
    return f"{found}; a bundle holds pictures, sound, video, text, JSON and weights only"


def check_companion(file: Path) -> None:
    """Refuse a companion's CharX in which a file has no place in a bundle; any other card is one file.

    Raises:
        ConfigError: It is no CharX, or holds such a file.
    """
    if file.suffix.lower() != ".charx":
        return
    with open_charx(file) as charx:
        faults = [f"'{shown(name)}' {fault}" for name in sorted(charx.entries) if (fault := card_file_fault(name))]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ConfigError(
            f"the companion's CharX was refused: {'; '.join(faults[:5])}{more}",
            where=str(file),
            action="Take these files out of the CharX.",
        )


def too_much_kept(sizes: Mapping[str, int]) -> str:
    """Return why so much beside the weights has no place in a bundle, or an empty string."""
    kept = sum(size for name, size in sizes.items() if name != WEIGHTS)
    if kept <= MAX_KEPT_BYTES:
        return ""
    return f"its card, lorebooks and companions have {kept / 2**20:,.0f} MiB (at most {MAX_KEPT_BYTES / 2**20:.0f})"


def shown(text: object) -> str:
    """Return a text of a stranger for one line of a terminal: nothing in it moves the cursor or colours."""
    plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in str(text))
    return plain if len(plain) <= 120 else plain[:117] + "..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
