"""What a run is measured on: the engine that scores texts, the one that talks, and those that are only timed."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from duologue.cli.engines import MeasuringEngine
from duologue.cli.workflow import Prepared
from duologue.engine import (
    BUNDLED_PREFIX,
    Adapter,
    BaseModel,
    EngineName,
    bundled_file,
    detect_hardware,
    open_generator,
    write_lora_gguf,
)
from duologue.errors import ConfigError, EngineError
from duologue.evaluate import Opener, Subject
from duologue.export import ExportedGguf, find_gguf
from duologue.train import Run


def find_subjects(
    prepared: Prepared, run: Run, against: Run | None, *, engine: MeasuringEngine, work: Path
) -> tuple[Subject, Subject, str]:
    """Return what is compared, the base or a rival first, and a sentence about the engine that talks, or nothing.

    Args:
        prepared: The character's folder.
        run: Its run.
        against: The run in the place of the base model.
        engine: `hf` and `gguf` (the folder's export) score and talk. `auto` scores with `hf`; where the base lies in a
            GGUF file and there is no GPU, llama.cpp draws the replies of both models, several times as fast.
        work: Adapters in llama.cpp's form are written here; it must outlive the subjects.

    Raises:
        ConfigError: The engine cannot open the run here.
    """
    runs = (against, run)
    adapters = [_adapter(prepared, one) if one else None for one in runs]
    tuned = adapters[1]
    assert tuned is not None
    base = tuned.base
    talkers: Sequence[Opener | None] = (None, None)
    reason = ""
    if (
        engine == "auto"
        and (file := _gguf_file(base)) is not None
        and not detect_hardware(work, measure_cpu=False).gpus
    ):
        try:
            talkers = [_talker(BaseModel(str(file)), adapter, work / f"{at}") for at, adapter in enumerate(adapters)]
            reason = "llama.cpp draws the replies, which is quicker here; --engine hf draws them as they were trained"
        except EngineError as error:
            reason = f"transformers draws the replies, which takes longer: {error}"
    exported = None if engine == "gguf" else find_gguf(_home(run), tuned)
    subjects = [
        _subject(one, adapter or base, talker, engine="hf", exported=exported if one is run else None)
        for one, adapter, talker in zip(runs, adapters, talkers, strict=True)
    ]
    if engine == "gguf":
        subjects[1] = _exported_subject(run, tuned)
    return subjects[0], subjects[1], reason


def _subject(
    run: Run | None,
    opened: Adapter | BaseModel,
    talker: Opener | None,
    *,
    engine: EngineName,
    exported: ExportedGguf | None,
) -> Subject:
    """Return a run, or the base, on an engine that trains; an export beside it is timed."""
    base, adapter = (opened.base, opened) if isinstance(opened, Adapter) else (opened, None)
    model = _model_document(base, run, engine)
    timed: tuple[Opener, ...] = ()
    if talker is not None:
        model["talks_with"] = talker.engine
    if exported is not None and not exported.fault:
        model["timed_export"] = exported.file.name
        file, lora = exported.model()
        timed = (Opener(f"export {exported.form}", lambda: open_generator("gguf", file, adapter=lora)),)
    scorer = Opener(engine, lambda: open_generator(engine, base, adapter=adapter))
    return Subject(run.name if run else "base", model, scorer, talker, timed)


def _exported_subject(run: Run, adapter: Adapter) -> Subject:
    found = find_gguf(_home(run), adapter)
    if found is None or found.fault:
        raise ConfigError(
            found.fault if found else "there is no GGUF export of this run",
            where=str(run.folder),
            action=f"Run: duologue export gguf {_home(run)}",
        )
    base, lora = found.model()
    opener = Opener("gguf", lambda: open_generator("gguf", base, adapter=lora))
    return Subject(run.name, _model_document(base, run, "gguf"), opener)


def _talker(base: BaseModel, adapter: Adapter | None, folder: Path) -> Opener:
    """Return llama.cpp with base and adapter.

    Raises:
        EngineError: It cannot apply the adapter.
    """
    lora = None
    if adapter is not None:
        folder.mkdir()
        write_lora_gguf(adapter, folder / "adapter.gguf", on_event=lambda _event: None)
        lora = Adapter(folder, base)
    return Opener("gguf", lambda: open_generator("gguf", base, adapter=lora))


def _gguf_file(base: BaseModel) -> Path | None:
    """Return the file of a base that llama.cpp opens as it was trained on."""
    if base.quantization != "none":
        return None
    if base.name.startswith(BUNDLED_PREFIX):
        return bundled_file(base.name)
    return Path(base.name) if base.name.endswith(".gguf") else None


def _adapter(prepared: Prepared, run: Run) -> Adapter:
    adapter = run.adapter()
    return replace(adapter, base=replace(adapter.base, trusted_code=prepared.config.model.trusted_code))


def _home(run: Run) -> Path:
    return run.folder.resolve().parent.parent


def _model_document(base: BaseModel, run: Run | None, engine: EngineName) -> dict[str, Any]:
    model = {name: value for name, value in asdict(base).items() if name != "trusted_code"}
    digests = run.read("manifest.json")["adapter_sha256"] if run else None
    return {**model, "adapter_sha256": digests, "engine": engine}
