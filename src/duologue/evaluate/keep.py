"""What was seen of a model, kept beside its run, so that it is not gone through twice for the same questions."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duologue.errors import EngineError
from duologue.evaluate.case import Case
from duologue.evaluate.observe import Work
from duologue.evaluate.observed import Dialogue, Observed, Score, Speed, Spoken
from duologue.files import write_whole
from duologue.messages import Message

FOLDER = "observed"
_FORM = 1  # of these files


def digest_of(work: Work, model: Mapping[str, Any]) -> str:
    """Return a digest of all that decides what is seen: the model, what it is asked, and how replies are drawn."""
    decides = {
        "form": _FORM,
        "model": model,
        "character": prompt_parts(work),
        "generation": work.config.generation.model_dump(mode="json"),
        "evaluation": work.config.evaluation.max_new_tokens,
        "examples": {
            kind: [[item.source, list(item.input_ids), list(item.labels)] for item in items]
            for kind, items in work.examples.items()
        },
        "texts": [asdict(text) for text in work.texts],
        "cases": [asdict(case) for case in work.cases],
        "seeds": list(work.seeds),
        "max_new_tokens": work.max_new_tokens,
        "prompts": list(work.prompts),
        "measures_speed": [*work.speed_lengths] or False,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def prompt_parts(work: Work) -> dict[str, str]:
    """Return what the card and the user bring into every dialogue."""
    from duologue import prompt

    character, settings = work.character, work.config.character
    return {
        "system": prompt.system_text(character, user_name=settings.user_name),
        "name": character.display_name,
        "user": settings.user_name,
        "persona": settings.persona,
    }


def read_observed(folder: Path, digest: str) -> Observed | None:
    """Return what was kept in a run's folder under a digest; None where there is nothing that can be read."""
    path = _path(folder, digest)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _observed(document["observed"]) if document["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing, or of another version: it is seen again


def write_observed(folder: Path, digest: str, observed: Observed) -> Path:
    """Keep what was seen in a run's folder, whole or not at all; return the file.

    Raises:
        EngineError: The disk is full or not writable.
    """
    path = _path(folder, digest)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps({"digest": digest, "observed": asdict(observed)}, ensure_ascii=False))
    except OSError as error:
        raise EngineError(f"what was seen cannot be kept ({error.strerror})", where=str(path)) from error
    return path


def _path(folder: Path, digest: str) -> Path:
    return folder / FOLDER / f"{digest[:16]}.json"


def _observed(document: Mapping[str, Any]) -> Observed:
    return Observed(
        name=document["name"],
        model=document["model"],
        scores=tuple(Score(**item) for item in document["scores"]),
        dialogues=tuple(dialogue_of(item) for item in document["dialogues"]),
        speeds=tuple(Speed(**item) for item in document["speeds"]),
        faults=tuple(document["faults"]),
    )


def dialogue_of(document: Mapping[str, Any]) -> Dialogue:
    """Return a dialogue as it was kept."""
    replies = tuple(Spoken(**reply) for reply in document["replies"])
    return Dialogue(_case(document["case"]), document["seed"], replies)


def _case(document: Mapping[str, Any]) -> Case:
    return Case(
        **{
            **document,
            "user_turns": tuple(document["user_turns"]),
            "opening": tuple(Message(**item) for item in document["opening"]),
            "references": tuple(document["references"]),
        }
    )
