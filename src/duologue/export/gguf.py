"""`run_gguf`: base and adapter as GGUF files that llama.cpp, Ollama and LM Studio open."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from duologue import __version__
from duologue.characters import Character
from duologue.config import Config
from duologue.engine import (
    Adapter,
    GgufForm,
    OnEvent,
    Onto,
    Parity,
    Trainer,
    check_gguf_base,
    compare_gguf,
    gguf_size_bytes,
    place_of_base,
    read_turns,
    write_gguf,
    write_lora_gguf,
)
from duologue.errors import ConfigError, DuologueError
from duologue.export.artifact import CARD, Artifact, write_label
from duologue.export.exported import LORA_FOLDER, is_merged_of, origin
from duologue.export.licences import write_notice
from duologue.export.lm_studio import preset
from duologue.export.merged import BYTES, HeldOut, run_merged
from duologue.export.model_card import UNNAMED_USER, base_and_licence, model_card
from duologue.export.ollama import modelfile
from duologue.export.parity import OWN_GGUF, check_parity
from duologue.export.staging import check_disk, check_target, not_written, swap_in
from duologue.plan import num_params

# Bits per weight of llama.cpp's forms, tables of scales and the larger types of some tensors included.
_BITS: dict[GgufForm, float] = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.6,
    "q5_k_m": 5.8,
    "q4_k_m": 4.95,
    "q3_k_m": 4.1,
}
_HEADROOM = 1.15  # blocks that do not fill their row, vocabulary, card
_LICENCES = ("LICENSE*", "NOTICE*", "USE_POLICY*")


@dataclass(frozen=True, slots=True)
class _Written:
    """A finished GGUF file of the export.

    Attributes:
        file: Its name in the export.
        form: How it holds the weights; `lora` for the adapter.
        bar: Key of `BARS` that holds for it.
        parity: None for the adapter, which is compared together with its base.
    """

    file: str
    form: str
    bar: str
    parity: Parity | None = None


def run_gguf(
    adapter: Adapter,
    folder: Path,
    *,
    trainer: Trainer,
    config: Config,
    character: Character,
    held_out: HeldOut,
    forms: Sequence[GgufForm] = (),
    onto: Onto | Literal["closer"] = "closer",
    is_lora: bool = False,
    merged: Path | None = None,
    on_event: OnEvent = lambda _: None,
) -> Artifact:
    """Write what was trained as GGUF files to `folder`, each compared with it in llama.cpp.

    The folder appears whole and compared, or not at all; an earlier export stays until its successor is complete. What
    an interrupted export has written is gone on with.

    Args:
        adapter: What was trained; its run folder supplies the numbers of the model card.
        folder: Target; missing, empty, or an earlier export.
        trainer: The engine that merges.
        config: Forms and types (`export`), sampler settings and names for the files of other programs.
        character: Who speaks.
        held_out: What the results are compared on.
        forms: How the weights are held, one file each; `export.gguf_forms` when empty.
        onto: As in `run_merged`.
        is_lora: Write the base once, in the first form, and the adapter beside it, instead of merged models.
        merged: Where an earlier merged export may lie, which is used if it is of this adapter.
        on_event: Receives `preparing` events with `done` and `total` bytes.

    Raises:
        ConfigError: The target holds files that are no earlier export of ours, or `is_lora` and the adapter is more
            than llama.cpp can apply.
        EngineError: The disk is too full, the run's ledger is damaged, writing failed, or a result is not what was
            trained.
    """
    target = folder.resolve()
    job = _Job(adapter, target, config, character, held_out, tuple(dict.fromkeys(forms)) or config.export.gguf_forms)
    work = target.with_name(f".{target.name}.{_key(adapter, onto=onto, is_lora=is_lora, config=config)}.export")
    try:
        check_target(target)
        check_gguf_base(adapter.base)
        if is_lora:
            _check_lora(adapter)
        rating = config.guard.rating
        card = model_card(adapter, character=character, folder_name=target.name, form="gguf", rating=rating)
        ready = work / "ready"
        (ready / LORA_FOLDER if is_lora else ready).mkdir(parents=True, exist_ok=True)
        _clear_others(work, target)
        if is_lora:
            source = place_of_base(adapter.base)
            written = _write_lora(job, source, ready, on_event)
        else:
            source = _merged(job, work, trainer=trainer, onto=onto, merged=merged, on_event=on_event)
            written = _write_forms(job, source, ready, on_event)
        written = _compared(job, ready, written, on_event)
        names_user = _write_beside(job, source, ready, written, card)
        artifact = _labelled(job, ready, written, names_user=names_user)
        check_target(target)  # the work takes minutes
        swap_in(ready, target)
    except OSError as error:
        raise not_written(folder, error) from error
    except DuologueError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)
    return Artifact(folder, artifact.sha256, artifact.parity, artifact.onto, artifact.more)


@dataclass(frozen=True, slots=True)
class _Job:
    adapter: Adapter
    target: Path
    config: Config
    character: Character
    held_out: HeldOut
    forms: tuple[GgufForm, ...]

    @property
    def name(self) -> str:
        """The character's name as file names have it."""
        return re.sub(r"[^a-z0-9]+", "-", self.character.name.lower()).strip("-")[:60] or "character"


def _key(adapter: Adapter, *, onto: str, is_lora: bool, config: Config) -> str:
    """Return what must be equal for an interrupted export to be gone on with."""
    parts = [__version__, onto, is_lora, config.export.dtype, origin(adapter)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _clear_others(work: Path, target: Path) -> None:
    """Remove what interrupted exports of other runs or settings to the same target have left."""
    theirs = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.export")  # not those of gguf.small beside gguf
    for path in target.parent.iterdir():
        if path != work and theirs.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _check_lora(adapter: Adapter) -> None:
    path = adapter.folder / "adapter_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # the engine says what is wrong with it
    kinds = {"use_dora": "DoRA", "modules_to_save": "weights that were trained whole (modules_to_save)"}
    found = [words for key, words in kinds.items() if settings.get(key)]
    if found:
        raise ConfigError(
            f"the adapter holds {' and '.join(found)}, which llama.cpp cannot apply to a model",
            where=str(path),
            needed="a plain LoRA for --lora",
            action="Export it merged: the same command without --lora.",
        )


def _merged(
    job: _Job,
    work: Path,
    *,
    trainer: Trainer,
    onto: Onto | Literal["closer"],
    merged: Path | None,
    on_event: OnEvent,
) -> Path:
    """Return a folder with the merged model: an earlier export of it, or one in the work folder."""
    dtype = job.config.export.dtype
    facts = trainer.facts(job.adapter.base)
    num_bytes = _HEADROOM * num_params(facts) * sum(_BITS[form] for form in job.forms) / 8
    num_bytes -= sum(path.stat().st_size for path in work.rglob("*.gguf"))
    own = work / job.name  # llama.cpp calls the model by the folder's name
    candidates: tuple[Path, ...] = (own,) if merged is None else (own, merged)
    for found in candidates:
        if is_merged_of(found, job.adapter, dtype=dtype, onto=onto):
            check_disk(work, num_bytes, what=f"the GGUF files ({', '.join(job.forms)})")
            return found
    num_choices = 2 if onto == "closer" and job.adapter.base.quantization != "none" else 1
    both = num_bytes + num_choices * _HEADROOM * num_params(facts) * BYTES[dtype]
    both -= sum(path.stat().st_size for path in work.rglob("*.safetensors"))
    check_disk(work, both, what=f"the GGUF files ({', '.join(job.forms)}) and the merged model they are made of")
    run_merged(
        job.adapter,
        own,
        trainer=trainer,
        dtype=dtype,
        character=job.character,
        held_out=job.held_out,
        onto=onto,
        rating=job.config.guard.rating,
        on_event=on_event,
    )
    return own


def _write_forms(job: _Job, source: Path, ready: Path, on_event: OnEvent) -> list[_Written]:
    names = {form: f"{job.name}-{form.upper()}.gguf" for form in job.forms}
    for path in ready.rglob("*"):
        if path.is_file() and path.name not in names.values():
            path.unlink()  # a form that an interrupted export wanted and this one does not
    missing = [form for form in job.forms if not (ready / names[form]).is_file()]
    what = f"the GGUF files ({', '.join(missing)})"
    check_disk(ready, sum(gguf_size_bytes(source, form) for form in missing), what=what)
    for form in missing:
        write_gguf(source, ready / names[form], form=form, on_event=on_event)
    return [_Written(names[form], form, bar=form) for form in job.forms]


def _write_lora(job: _Job, source: Path, ready: Path, on_event: OnEvent) -> list[_Written]:
    lora = f"{LORA_FOLDER}/{job.name}-lora.gguf"
    if source.is_file():  # the base is a GGUF file itself
        base = _Written(f"{job.name}-base.gguf", "base", bar=OWN_GGUF)
        check_disk(ready, source.stat().st_size, what="the base model's GGUF file")
        if not (ready / base.file).is_file():
            shutil.copyfile(source, ready / f"{base.file}.partial")
            (ready / f"{base.file}.partial").replace(ready / base.file)
    else:
        form = job.forms[0]
        base = _Written(f"{job.name}-base-{form.upper()}.gguf", form, bar=form)
        if not (ready / base.file).is_file():
            check_disk(ready, gguf_size_bytes(source, form), what=f"the base model as GGUF ({form})")
            write_gguf(source, ready / base.file, form=form, on_event=on_event)
    write_lora_gguf(job.adapter, ready / lora, on_event=on_event)
    for path in ready.rglob("*"):
        if path.is_file() and path.relative_to(ready).as_posix() not in (base.file, lora):
            path.unlink()
    return [base, _Written(lora, LORA_FOLDER, bar="")]


def _compared(job: _Job, ready: Path, written: Sequence[_Written], on_event: OnEvent) -> list[_Written]:
    models = [each for each in written if each.form != LORA_FOLDER]
    loras = [ready / each.file for each in written if each.form == LORA_FOLDER]
    figures = compare_gguf(
        job.adapter,
        [ready / each.file for each in models],
        job.held_out.examples,
        job.held_out.prompts,
        lora=loras[0] if loras else None,
        on_event=on_event,
    )
    compared = []
    for each, parity in zip(models, figures, strict=True):
        check_parity(parity, form=each.bar, where=f"{job.target / each.file}", key="--form")
        compared.append(_Written(each.file, each.form, each.bar, parity))
    return [*compared, *(each for each in written if each.form == LORA_FOLDER)]


def _write_beside(job: _Job, source: Path, ready: Path, written: Sequence[_Written], card: str) -> bool:
    """Write what other programs read beside the weights: licence, Modelfile, preset and card.

    Returns:
        Whether Modelfile and preset call the user by the name that the person has set.
    """
    licences = []
    for pattern in _LICENCES if source.is_dir() else ():
        for path in sorted(source.glob(pattern)):
            shutil.copyfile(path, ready / path.name)
            licences.append(path.read_text(encoding="utf-8", errors="replace"))
    licence = base_and_licence(job.adapter.base.name)[1]
    write_notice(ready, licence)
    if licence.name and not any(ready.glob("LICENSE*")):
        licences.append(f"The base model's licence applies: {licence.name}")
    first = written[0].file
    lora = next((each.file for each in written if each.form == LORA_FOLDER), "")
    turns = read_turns(ready / first)

    def texts(config: Config) -> dict[str, str]:
        text = modelfile(first, character=job.character, config=config, turns=turns, licences=licences, lora=lora)
        return {
            "Modelfile": text,
            f"{job.name}.preset.json": preset(job.name, character=job.character, config=config),
        }

    own = texts(job.config)
    for name, content in {**own, CARD: card}.items():
        (ready / name).write_text(content, encoding="utf-8", errors="replace")
    unnamed = job.config.character.model_copy(update={"user_name": UNNAMED_USER})
    return own != texts(job.config.model_copy(update={"character": unnamed}))


def _labelled(job: _Job, ready: Path, written: Sequence[_Written], *, names_user: bool) -> Artifact:
    rows: list[dict[str, Any]] = [
        {
            "file": each.file,
            "form": each.form,
            "bytes": (ready / each.file).stat().st_size,
            "parity": each.parity.as_json() if each.parity else None,
        }
        for each in written
    ]
    figures = [each.parity for each in written if each.parity]
    furthest = max(figures, key=lambda parity: parity.mean_kl_nats)
    about = {"kind": "gguf", "names_user": names_user, **origin(job.adapter)}
    digests = write_label(ready, parity=furthest, more={**about, "files": rows})
    told = [{**row, "sha256": digests[row["file"]]} for row in rows]
    return Artifact(job.target, digests, furthest, more={**about, "files": told})
