"""`run`: two models, one after the other, put to the same questions; what comes of it in measures and a verdict."""

import math
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from duologue.characters import Character
from duologue.config import Config
from duologue.data import DataStats
from duologue.engine import Example, OnEvent
from duologue.errors import EngineError
from duologue.evaluate.cases import make_cases
from duologue.evaluate.diary import Diary
from duologue.evaluate.distributions import distributions
from duologue.evaluate.evaluation import Evaluation, Side
from duologue.evaluate.evaluators import load_evaluator
from duologue.evaluate.gate import held_against, make_gate
from duologue.evaluate.intervals import unmeasured
from duologue.evaluate.keep import digest_of, read_observed, write_observed
from duologue.evaluate.material import general_texts
from duologue.evaluate.measure import Measure
from duologue.evaluate.observe import PROMPT_SEED, Begun, Subject, Work, observe
from duologue.evaluate.observed import Known, Observed, ScoreKind
from duologue.evaluate.suite import Suite
from duologue.evaluate.verdict import make_verdict
from duologue.messages import Conversation

_MAX_LOSS_NATS = 700.0  # exp() of more overflows; a working model stays below ln(vocabulary), about 12
_PACKAGES = ("duologue", "torch", "transformers", "peft", "xllamacpp", "numpy")


@dataclass(frozen=True, slots=True)
class Kept:
    """Where what was seen is kept, and looked for first.

    Attributes:
        folder: Of the run; None keeps nothing.
        others: Folders of runs where it may lie already.
        is_fresh: See it again, whatever is kept.
    """

    folder: Path | None = None
    others: tuple[Path, ...] = ()
    is_fresh: bool = False


def make_work(
    suite: Suite,
    config: Config,
    character: Character,
    *,
    train: Sequence[Example],
    validation: Sequence[Example],
    conversations: tuple[Sequence[Conversation], Sequence[Conversation]] = ((), ()),
    canaries: Sequence[Example] = (),
) -> Work:
    """Return what both models are asked for.

    Args:
        suite: Says what.
        config: Of the character's folder; `run.seed` decides every choice.
        character: Who is talked to.
        train: Trained examples, of which some are scored where the suite asks for it.
        validation: Held-out examples; all are scored.
        conversations: Those that were trained on and those that were held out; some are gone through.
        canaries: Made-up secrets and their look-alikes.

    Raises:
        ConfigError: The suite's written cases have faults.
    """
    seed = config.run.seed
    examples: dict[ScoreKind, Sequence[Example]] = {"held_out": tuple(validation)}
    if suite.num_train_samples:
        places = random.Random(f"{seed}/train sample").sample(
            range(len(train)), min(suite.num_train_samples, len(train))
        )
        examples["train"] = tuple(train[place] for place in sorted(places))
    if canaries:
        examples["canary"] = tuple(canaries)
    return Work(
        config=config,
        character=character,
        examples=examples,
        texts=general_texts() if suite.scores_general else (),
        cases=make_cases(suite, character, conversations[1], seed=seed, train=conversations[0]),
        seeds=suite.seeds,
        max_new_tokens=suite.max_new_tokens,
        prompts=config.evaluation.prompts if suite.answers_prompts else (),
        speed_lengths=suite.speed_lengths,
    )


def run(
    suite: Suite,
    work: Work,
    known: Known,
    *,
    base: Subject,
    tuned: Subject,
    stats: DataStats,
    on_event: OnEvent,
    kept: Kept | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """See the base model, close it, see the tuned one, and measure what was seen.

    Args:
        suite: What is looked at.
        work: What both models are asked for, as `make_work` returns it.
        known: The yardstick of the evaluators.
        base: What the tuned model is compared with.
        tuned: The tuned model.
        stats: Tells why nothing could be measured.
        on_event: Receives `evaluating` events.
        kept: Where what was seen is kept; None keeps nothing.
        clock: Seconds, for the speed of the replies.

    Raises:
        EngineError: Loading or scoring failed, or a loss is not a usable number.
    """
    kept = kept or Kept()
    seen_base = _see(work, base, which="base", kept=kept, on_event=on_event, clock=clock)
    seen_tuned = _see(work, tuned, which="tuned", kept=kept, on_event=on_event, clock=clock)
    sides = _side(seen_base, which="base"), _side(seen_tuned, which="tuned")
    measures, notes = measure_all(suite, known, seen_base, seen_tuned)
    measures = held_against(measures, known.config.evaluation)
    evaluation = Evaluation(*sides, prompts=tuple(work.prompts), measures=measures, facts={"compared_with": base.name})
    verdict = make_verdict(evaluation, stats, name=known.character.name)
    facts = {
        "verdict": verdict.as_json(),
        "gate": make_gate(measures, known.config.evaluation).as_json(),
        "suite": suite.as_json(),
        "evaluators": dict(suite.evaluators),
        "seeds": list(suite.seeds),
        "seed": known.seed,
        "run": tuned.name,
        "compared_with": base.name,
        "models": {"base": dict(seen_base.model), "tuned": dict(seen_tuned.model)},
        "dialogues": _paired_dialogues(seen_base, seen_tuned),
        "distributions": distributions(known, seen_base, seen_tuned),
        "speeds": {
            side: [{name: getattr(speed, name) for name in speed.__slots__} for speed in seen.speeds]
            for side, seen in (("base", seen_base), ("tuned", seen_tuned))
        },
        "faults": [
            *notes,
            *(
                f"{side}: {fault}"
                for side, seen in (("base", seen_base), ("tuned", seen_tuned))
                for fault in seen.faults
            ),
        ],
        "generation": known.config.generation.model_dump(mode="json"),
        "versions": {name: _version(name) for name in _PACKAGES},
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
    }
    return replace(evaluation, facts=facts)


def measure_all(
    suite: Suite, known: Known, base: Observed, tuned: Observed
) -> tuple[tuple[Measure, ...], tuple[str, ...]]:
    """Return the measures of all evaluators of a suite, and notes about evaluators of another version.

    What an evaluator raises becomes a measure with a fault; the others go on.
    """
    measures: list[Measure] = []
    notes: list[str] = []
    for name, wanted in suite.evaluators.items():
        try:
            evaluator = load_evaluator(name)
            if evaluator.version != wanted:
                notes.append(
                    f"evaluator {name} has version {evaluator.version}, suite {suite.name} was written for {wanted}"
                )
            measures += evaluator.measure(known, base, tuned)
        except Exception as error:  # noqa: BLE001  one evaluator must not take the others with it
            reason = str(error) if str(error) else type(error).__name__
            measures.append(unmeasured(f"evaluator.{name}", unit="", better="neither", definition="", reason=reason))
    return tuple(measures), tuple(notes)


def _see(
    work: Work,
    subject: Subject,
    *,
    which: Literal["base", "tuned"],
    kept: Kept,
    on_event: OnEvent,
    clock: Callable[[], float],
) -> Observed:
    digest = digest_of(work, subject.model)
    if not kept.is_fresh:
        for folder in dict.fromkeys((*([kept.folder] if kept.folder else []), *kept.others)):
            if (found := read_observed(folder, digest)) is not None:
                return replace(found, name=subject.name)
    diary = Diary(kept.folder, digest)
    begun = Begun({} if kept.is_fresh else diary.read(), diary.add)
    diary.start(begun.dialogues)
    seen = observe(work, subject, which=which, on_event=on_event, begun=begun, clock=clock)
    if kept.folder is not None:
        write_observed(kept.folder, digest, seen)
    diary.close()
    return seen


def _side(seen: Observed, *, which: Literal["base", "tuned"]) -> Side:
    scores = seen.scores_of("held_out")
    num_tokens = sum(score.num_tokens for score in scores)
    loss = sum(score.nats for score in scores) / num_tokens if num_tokens else None
    answers = [dialogue.replies[0] for dialogue in seen.dialogues if dialogue.seed == PROMPT_SEED]
    speeds = [
        (reply.num_tokens - 1) / (reply.seconds - reply.first_token_seconds)
        for reply in answers
        if reply.first_token_seconds is not None and reply.seconds > reply.first_token_seconds
    ]
    first = [reply.first_token_seconds for reply in answers if reply.first_token_seconds is not None]
    return Side(
        loss=loss,
        perplexity=None if loss is None else _perplexity(loss, which=which),
        num_scored_tokens=num_tokens,
        tokens_per_second=statistics.median(speeds) if speeds else None,
        first_token_seconds=statistics.median(first) if first else None,
        replies=tuple(reply.text for reply in answers),
    )


def _perplexity(loss: float, *, which: str) -> float:
    if not loss < _MAX_LOSS_NATS:  # true for "not a number" too
        raise EngineError(
            f"the held-out loss of the {which} model is {loss:g} nats per token",
            needed=f"less than {_MAX_LOSS_NATS:g}",
            action="Train again with a lower training.learning_rate." if which == "tuned" else "Check model.base.",
        )
    return math.exp(loss)


def _paired_dialogues(base: Observed, tuned: Observed) -> list[dict[str, Any]]:
    """Return the dialogues side by side; what only one model got through has no answers of the other."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for side, seen in (("base", base), ("tuned", tuned)):
        for dialogue in seen.dialogues:
            if dialogue.seed == PROMPT_SEED:
                continue
            case = dialogue.case
            row = found.setdefault(
                (case.id, dialogue.seed),
                {
                    "case": case.id,
                    "kind": case.kind,
                    "seed": dialogue.seed,
                    "turns": [
                        {
                            "user": text,
                            "base": None,
                            "tuned": None,
                            "reference": case.references[at] if at < len(case.references) else "",
                        }
                        for at, text in enumerate(case.user_turns)
                    ],
                },
            )
            for turn, reply in zip(row["turns"], dialogue.replies, strict=True):
                turn[side] = reply.text
    return list(found.values())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
