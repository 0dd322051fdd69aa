"""`run_docker`: a character as a folder that `docker compose up` builds and starts, with this very version of duologue.

The image holds the program alone. The character lies beside it in `home/` and is mounted, the bundled models in
`bundled/`; chats, memories, training data and keys do not go along.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duologue.config import CONFIG_NAME, HOME_NAME, Config, Home, load_config, load_home, with_key
from duologue.engine import BUNDLED_MODELS, BUNDLED_PREFIX, Adapter, bundled_file
from duologue.errors import ConfigError, EngineError
from duologue.export.artifact import Artifact, sha256_of, write_label
from duologue.export.exported import GGUF_FOLDER, find_gguf
from duologue.export.hosted import changed, check_judge, copy_issuers, embedder_files, file_within, toml_lines
from duologue.export.staging import check_disk, staged
from duologue.export.wheel import image_files, write_wheel

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_SMALL_BYTES = 50 * 2**20  # the wheel, the card and the texts
_NOT_IN_EXPORT = ("deploy/compose.yaml", "deploy/env.example")  # they lie at the top, as docker compose wants them
_MOUNTED = "/data"  # where `home/` is in the container
_BY_COMPOSE = ("host", "port")  # keys of [server] that compose.yaml sets
_README = """# {name} in Docker

Made by `duologue export docker`. The image holds duologue {version} and no weights;
{name} lies in `home/` and is mounted.

1. `cp .env.example .env && chmod 600 .env`, and set the two secrets in `.env`.
2. `sudo chown -R 1000:1000 home`, or set `DUOLOGUE_USER` in `.env` to the owner of `home/`.
3. `docker compose up --detach --build`
4. Open http://127.0.0.1:7860 and log in with `DUOLOGUE_API_KEY`.

| here | what |
|---|---|
| `home/home.toml` | the operator's settings: `[server]`, `[guard]` and `[age]` as they were for {name} here |
| `home/{name}/` | settings, card, adapter and the exported GGUF if there was one; mounted at `/data`, and written to |
| `bundled/` | models that arrive with duologue; mounted read-only |
| `deploy/`, `requirements/`, `duologue-….whl` | what the image is built from |
| volume `postgres` | chats, memories, accounts |
| volume `models` | what is fetched from the Hub |

With an NVIDIA card: `docker compose -f compose.yaml -f deploy/compose.cuda.yaml up --detach --build`.
Chats, memories and the conversations it learned from stayed where they were.
"""


def run_docker(folder: Path, target: Path, *, config: Config, adapter: Adapter | None, version: str) -> Artifact:
    """Write the folder to `target`; it appears whole or not at all.

    Args:
        folder: The character's folder.
        target: Where to; missing, empty or an earlier export that nobody has added to.
        config: The folder's configuration.
        adapter: What was trained; None lets the base reply.
        version: What the README says of duologue.

    Raises:
        ConfigError: A file is missing or outside the folder, the base is a folder of this machine, or this
            installation lacks what an image is built with.
        EngineError: The disk is full or cannot be written.
    """
    base = adapter.base.name if adapter else config.model.base
    sources = _sources()
    bundled = dict(_bundled(base, config))
    _check_base(base)
    operator = _operator(folder, config)
    check_judge(
        operator.guard.judge, needed="a model on the Hub, or the address of a server that the container reaches"
    )
    target.resolve().parent.mkdir(parents=True, exist_ok=True)
    found = find_gguf(folder, adapter) if adapter else None
    gguf = found if found and not found.fault else None
    weights = [*bundled.values(), *([adapter.folder / _ADAPTER_FILES[1]] if adapter else [])]
    weights += gguf.folder.rglob("*") if gguf else ()
    num_bytes = _SMALL_BYTES + sum(file.stat().st_size for file in weights if file.is_file())
    check_disk(target.resolve().parent, num_bytes, what="the folder with its models")
    name = folder.resolve().name
    with staged(target) as staging:
        for where, source in sources.items():
            _copy(source, staging / where)
        for where, source in bundled.items():
            _copy(source, staging / "bundled" / where)
        write_wheel(staging)
        home = staging / "home" / name
        home.mkdir(parents=True)
        for where, source in _character_files(folder, config).items():
            _copy(source, home / where)
        (home / CONFIG_NAME).write_text(_config_text(folder, config), encoding="utf-8")
        (home.parent / HOME_NAME).write_text(_home_text(operator, home.parent), encoding="utf-8")
        if adapter:
            _copy_adapter(adapter, home / "runs" / adapter.folder.parent.name)
        if gguf:
            shutil.copytree(gguf.folder, home / GGUF_FOLDER)
        (staging / "README.md").write_text(_README.format(name=name, version=version), encoding="utf-8")
        more = {"kind": "docker", "base": base, "has_adapter": adapter is not None, "has_gguf": gguf is not None}
        digests = write_label(staging, more=more)
    return Artifact(target, digests, more=more)


def _sources() -> dict[str, Path]:
    """Return what the image is built from, by its name in the exported folder."""
    files = image_files()
    wanted = {name: path for name, path in files.items() if name.startswith("deploy/") and _is_for_docker(name)}
    try:
        return wanted | {
            "compose.yaml": files["deploy/compose.yaml"],
            ".env.example": files["deploy/env.example"],
            "requirements/runtime.txt": files["requirements/runtime.txt"],
        }
    except KeyError as error:
        raise ConfigError(
            f"this installation of duologue lacks {error.args[0]}, which an image is built with",
            action="Run the export from the source tree (make install), or from a wheel that duologue wrote itself.",
        ) from error


def _is_for_docker(name: str) -> bool:
    is_named = name.rsplit("/", 1)[-1].startswith(("Dockerfile", "compose", "install"))
    return is_named and name not in _NOT_IN_EXPORT


def _check_base(base: str) -> None:
    if not base.startswith(BUNDLED_PREFIX) and (
        Path(base).is_absolute() or base.startswith((".", "~")) or Path(base).exists()
    ):
        raise ConfigError(
            f"the base '{base}' is a file or folder of this machine",
            where="model.base",
            needed="a base that the container can load: one on the Hub, or a bundled one",
        )


def _bundled(base: str, config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the weights that arrive as packages, at the place where the program finds them."""
    if base in BUNDLED_MODELS:
        file = bundled_file(base)
        yield f"{BUNDLED_MODELS[base].module}/{file.name}", file
    yield from embedder_files(config)


def _character_files(folder: Path, config: Config) -> dict[str, Path]:
    """Return the files that the settings name, without data, chats and memories."""
    about = config.character
    named = [name for name in (about.card, *about.companions, *about.lorebooks, _preset_file(config)) if name]
    return {file_within(folder, name).relative_to(folder.resolve()).as_posix(): folder / name for name in named}


def _preset_file(config: Config) -> str:
    """Return the file of a preset of one's own, as a whole path; empty for one that is shipped."""
    return config.generation.preset if "/" in config.generation.preset else ""


def _config_text(folder: Path, config: Config) -> str:
    """Return duologue.toml as it is in the folder, with what was set on the command line, and files as they arrive."""
    path = folder / CONFIG_NAME
    text = path.read_text(encoding="utf-8")
    there, wanted = (each.model_dump(mode="json") for each in (load_config(path), config))
    character, root = wanted["character"], folder.resolve()
    for key in ("card", "companions", "lorebooks"):
        character[key] = _within(character[key], folder, root)
    if preset := _preset_file(config):
        wanted["generation"]["preset"] = _within(preset, folder, root)
    for section, values in wanted.items():
        for key, value in values.items():
            if value != there[section][key]:
                text = with_key(
                    text, f"{section}.{key}", tuple(value) if isinstance(value, list) else value, where=str(path)
                )
    return text


def _within(named: Any, folder: Path, root: Path) -> Any:  # noqa: ANN401  (a text or a list of them)
    if isinstance(named, list):
        return [_within(name, folder, root) for name in named]
    return (folder / named).resolve().relative_to(root).as_posix() if named else named


def _operator(folder: Path, config: Config) -> Home:
    """Return what holds for visitors: home.toml beside the character, or what the character's own settings say."""
    beside = folder.resolve().parent
    if (beside / HOME_NAME).is_file():
        return load_home(beside)
    return Home(server=config.server, guard=config.guard, age=config.age)


def _home_text(operator: Home, home: Path) -> str:
    """Return home.toml: what the operator has set for all visitors. No key and no password is in these sections."""
    defaults, values = (each.model_dump(mode="json") for each in (Home(), operator))
    sections = {name: changed(values[name], defaults[name]) for name in defaults}
    for key in _BY_COMPOSE:
        sections["server"].pop(key, None)
    if operator.age.trusted_issuers:
        sections["age"]["trusted_issuers"] = copy_issuers(operator.age.trusted_issuers, home, seen_at=_MOUNTED)
    lines = ["# What holds for every character of this server, as it held where it was exported."]
    for name, values in sections.items():
        if values:
            lines += ["", f"[{name}]", *toml_lines(values)]
    return "\n".join(lines) + "\n"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _copy_adapter(adapter: Adapter, run: Path) -> None:
    """Copy the weights and, of the run's ledger, only what says which files and which base they are."""
    for name in _ADAPTER_FILES:
        if not (adapter.folder / name).is_file():
            raise EngineError(f"the adapter has no {name}", where=str(adapter.folder))
        _copy(adapter.folder / name, run / "adapter" / name)
    ledger = json.loads((adapter.folder.parent / "manifest.json").read_text(encoding="utf-8"))
    digests = {name: sha256_of(run / "adapter" / name) for name in _ADAPTER_FILES}
    manifest = {"base": ledger["base"], "adapter_sha256": digests}
    (run / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
