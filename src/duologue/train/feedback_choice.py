"""What of a person's feedback is learned, how, and from which adapter on."""

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from duologue.config import Config
from duologue.data import FeedbackExamples, feedback_stats, pairs_as_likes
from duologue.engine import Adapter, Example, FeedbackExample, LikedExample, PreferenceExample, PreferenceMethod
from duologue.errors import ConfigError, DataError
from duologue.messages import Correction, Opinion, Preference
from duologue.plan import FeedbackWork
from duologue.train.folder import Run, find_adapter, list_runs
from duologue.train.held_out import held_out_before

Piece = Preference | Opinion | Correction
P = TypeVar("P", Preference, Opinion, Correction)
_DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True)
class Pieces:
    """Feedback as it was collected.

    Attributes:
        preferences: Pairs.
        opinions: Single replies, liked or not.
        corrections: Rewritten replies.
    """

    preferences: tuple[Preference, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    corrections: tuple[Correction, ...] = ()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.preferences) + len(self.opinions) + len(self.corrections)

    def digests(self) -> list[dict[str, str]]:
        """Return source and digest of each, so that a run that goes on finds the same ones."""
        every: tuple[Piece, ...] = (*self.preferences, *self.opinions, *self.corrections)
        return [{"source": piece.source, "sha256": _digest(piece)} for piece in every]

    def only(self, digests: Sequence[Mapping[str, str]]) -> "Pieces":
        """Return those that a run was started with, in its order, whatever has come since.

        Raises:
            ConfigError: One of them is gone or was changed.
        """
        wanted = [entry["sha256"] for entry in digests]
        found = Pieces(
            _chosen(self.preferences, wanted), _chosen(self.opinions, wanted), _chosen(self.corrections, wanted)
        )
        there = {entry["sha256"] for entry in found.digests()}
        gone = [entry["source"] for entry in digests if entry["sha256"] not in there]
        if gone:
            raise ConfigError(
                f"feedback that the run was started with is gone or was changed: {', '.join(gone)}",
                action="Start a new run with: duologue train FOLDER --from-feedback",
            )
        return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """What will be learned.

    Attributes:
        method: How what comes after the corrections is learned.
        examples: Corrected replies first, then pairs or single replies.
        replayed: Examples of the character's own data that are learned again beside them.
        rendered: Everything that was tokenized, with its notes.
        unused: Numbers of usable examples that the method does not learn, by kind, and why.
    """

    method: PreferenceMethod
    examples: tuple[FeedbackExample, ...]
    rendered: FeedbackExamples
    unused: tuple[str, ...]
    replayed: tuple[Example, ...] = ()

    @property
    def num_corrected(self) -> int:
        """Corrected replies."""
        return sum(isinstance(example, Example) for example in self.examples)

    def work(self, validation: Sequence[Example], *, replay_fraction: float = 0.0) -> FeedbackWork:
        """Return what a plan needs to know."""
        others = [example for example in self.examples if not isinstance(example, Example)]
        tokens = sum(example.num_tokens for example in others)
        is_kto = self.method == "kto"
        return FeedbackWork(
            stats=feedback_stats((*self.examples, *self.replayed), validation),
            num_corrected=self.num_corrected,
            num_others=len(others),
            num_reference_tokens=2 * tokens if is_kto else tokens,
            num_again_tokens=tokens if is_kto else 0,
            replay_fraction=replay_fraction if self.replayed else 0.0,
        )

    def as_json(self) -> dict[str, Any]:
        """Return numbers by kind and the notes."""
        pairs = sum(isinstance(example, PreferenceExample) for example in self.examples)
        likes = [example for example in self.examples if isinstance(example, LikedExample)]
        return {
            "method": self.method,
            "num_corrected_replies": self.num_corrected,
            "num_pairs": pairs,
            "num_liked": sum(like.is_liked for like in likes),
            "num_disliked": sum(not like.is_liked for like in likes),
            "num_replayed": len(self.replayed),
            "num_cut": self.rendered.num_cut,
            "num_contradictions": self.rendered.num_contradictions,
            "unused": list(self.unused),
            "notes": [asdict(note) for note in self.rendered.notes],
        }


def choose(rendered: FeedbackExamples, config: Config, *, train: Sequence[Example] = ()) -> Chosen:
    """Return what is learned of tokenized feedback.

    Args:
        rendered: The feedback.
        config: `[feedback]` says how; `run.seed` which examples are learned again.
        train: Examples of the character's own data.

    Raises:
        DataError: There is nothing that can be learned.
    """
    corrections, pairs, likes = rendered.corrections, rendered.pairs, rendered.likes
    fewest = config.feedback.num_pairs_needed
    wanted = config.feedback.method
    singles = (*likes, *pairs_as_likes(pairs))
    method: PreferenceMethod
    if wanted == "auto":
        method = "dpo" if len(pairs) >= fewest else "kto" if len(likes) and len(singles) >= fewest else "sft"
    else:
        method = wanted
    kinds: dict[PreferenceMethod, tuple[FeedbackExample, ...]] = {"dpo": pairs, "kto": singles, "sft": ()}
    others = kinds[method]
    unused: list[str] = []
    if method != "kto" and likes:
        unused.append(f"{len(likes)} single replies that were liked or not: feedback.method = {method} has no use")
    if method == "sft" and pairs:
        why = (
            f"fewer than feedback.num_pairs_needed = {fewest}"
            if wanted == "auto"
            else "feedback.method = sft has no use"
        )
        unused.append(f"{len(pairs)} pairs: {why}")
    examples = (*corrections, *others)
    if not examples:
        raise _nothing(rendered, unused)
    if method != "sft" and not others:
        raise DataError(
            f"feedback.method is {method}, and there is nothing of that kind",
            where="feedback.method",
            needed="pairs" if method == "dpo" else "replies that were liked or not",
            action='Set feedback.method to "auto".',
        )
    settings = config.feedback
    num_replayed = min(len(train), math.ceil(settings.replay_fraction * settings.num_epochs * len(examples)))
    places = sorted(random.Random(f"{config.run.seed}/replay").sample(range(len(train)), num_replayed))
    return Chosen(method, examples, rendered, tuple(unused), tuple(train[place] for place in places))


def find_start(folder: Path, name: str = "") -> tuple[Run, Adapter]:
    """Return the run to go on from: the one of that name, else the newest finished one.

    Raises:
        ConfigError: There is none.
        EngineError: Its adapter is missing or was changed.
    """
    if not name:
        found = find_adapter(folder)
        if found is None:
            raise ConfigError(
                "nothing is trained yet that feedback could improve",
                where=str(folder),
                action=f"Run: duologue train {folder}",
            )
        return found
    finished = [run for run in list_runs(folder) if run.is_finished]
    for run in finished:
        if run.name == name:
            return run, run.adapter()
    raise ConfigError(
        f"there is no finished run '{name}'",
        where="--start",
        needed=f"one of {', '.join(run.name for run in finished)}" if finished else "a finished run",
    )


def feedback_config(config: Config, start: Run) -> Config:
    """Return the configuration that plan and job of a run on feedback are made of.

    Base, weight format and adapter are those of the start; rate and passes those of `[feedback]`. What would make the
    result and its reference differ by chance (dropout, noise) and what suits no pairs (packing) is off.

    Raises:
        ConfigError: The start has another base model, was trained on what is held out now, or has an adapter that
            cannot be gone on with.
    """
    manifest = start.read("manifest.json")
    base, lora = manifest["base"], dict(manifest["lora"])
    if base["name"] != config.model.base:
        raise ConfigError(
            f"run {start.name} was trained on '{base['name']}', and model.base is '{config.model.base}'",
            where="--start",
            action="Start from a run on the same base model.",
        )
    if before := held_out_before(start, config):
        listed = ", ".join(f"{key} = {value}" for key, value in before.items())
        raise ConfigError(
            f"run {start.name} was trained on conversations that are held out now; it had {listed}",
            where="--start",
            needed="held-out conversations that the start never saw: by them a run on feedback is limited and judged",
            action="Restore these settings, or train anew first.",
        )
    if lora["init_weights"] == "pissa":  # on disk it is a plain adapter of twice the rank
        if lora["use_rslora"]:
            raise ConfigError(
                f"the adapter of run {start.name} began with PiSSA and rsLoRA together, and cannot be gone on with",
                where="--start",
            )
        lora |= {"rank": 2 * lora["rank"], "alpha": 2 * lora["alpha"]}
    targets = lora["target_modules"]
    lora |= {
        "init_weights": "default",
        "dropout": 0.0,
        "num_layers": lora["num_layers"] or "all",
        "target_modules": targets if isinstance(targets, str) else tuple(targets),
    }
    model = {
        name: base[name] for name in ("quantization", "use_double_quantization", "int8_threshold", "compute_dtype")
    }
    training = {
        "learning_rate": config.feedback.learning_rate,
        "num_epochs": config.feedback.num_epochs,
        "max_steps": "auto",
        "packing": False,
        "neftune_alpha": 0.0,
        "compile": False,
        "early_stopping_patience": 0,
    }
    return config.model_copy(
        update={
            "model": config.model.model_copy(update=model),
            "lora": config.lora.model_copy(update=lora),
            "training": config.training.model_copy(update=training),
        }
    )


def _nothing(rendered: FeedbackExamples, unused: Sequence[str]) -> DataError:
    left_out = [f"{note.source}: {note.reason}" for note in rendered.notes if note.action == "left out"]
    reasons = [*unused, *left_out[:5], *([f"{len(left_out) - 5} more"] if len(left_out) > 5 else [])]
    return DataError(
        "there is no feedback to learn from" + (f" ({'; '.join(reasons)})" if reasons else ""),
        needed="corrected replies, pairs of replies, or likes, in chats whose use for training is allowed",
        action="Run: duologue feedback list FOLDER",
    )


def _chosen(pieces: Sequence[P], wanted: Sequence[str]) -> tuple[P, ...]:
    by_digest = {_digest(piece): piece for piece in pieces}
    return tuple(by_digest[digest] for digest in dict.fromkeys(wanted) if digest in by_digest)


def _digest(piece: Piece) -> str:
    text = json.dumps({"kind": type(piece).__name__, **asdict(piece)}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
