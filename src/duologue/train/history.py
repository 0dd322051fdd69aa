"""What a run's `events.jsonl` says about its steps, over all interruptions."""

import json
from dataclasses import dataclass
from typing import Any

from duologue.train.folder import Run


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step.

    Attributes:
        step: Counted from 1.
        loss: Nats per trained token of the global batch; of a step that compares replies, of the pair or the reply.
        learning_rate: Rate used.
        grad_norm: Norm before clipping.
        tokens_per_second: All tokens, padding left out.
        seconds: Wall time.
        num_tokens: Tokens of the global batch.
        memory_gib: Peak memory so far.
        is_spike: Whether the loss stands far above those before it.
        reward_margin: Of a step that compares replies: by how much more than its start the model favours what people
            liked, in nats times beta; None of any other step.
        reward_accuracy: Share of its pairs or replies for which that is more than nothing.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds: float
    num_tokens: int
    memory_gib: float
    is_spike: bool = False
    reward_margin: float | None = None
    reward_accuracy: float | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether replies were compared, so that the loss is no loss per token."""
        return self.reward_margin is not None


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """A reply that was drawn while the run went.

    Attributes:
        step: Steps done.
        prompt: What the user said.
        text: The reply.
        faults: What the checks say against it; empty when nothing.
    """

    step: int
    prompt: str
    text: str
    faults: str


@dataclass(frozen=True, slots=True)
class History:
    """What a run did.

    Attributes:
        steps: In order.
        validation: `(step, loss)` on the validation split.
        replies: Drawn at the evaluations, in order.
        kept_step: Step whose adapter was kept, when evaluations could end the run; 0 when the last was.
        kept_loss: Its held-out loss in nats per trained token; None when it was not measured.
    """

    steps: tuple[StepRecord, ...]
    validation: tuple[tuple[int, float], ...]
    replies: tuple[ReplyRecord, ...] = ()
    kept_step: int = 0
    kept_loss: float | None = None


def read_history(run: Run) -> History:
    """Return the history of a run; a step done twice (before and after an interruption) counts as last done."""
    steps: dict[int, StepRecord] = {}
    validation: dict[int, float] = {}
    replies: dict[tuple[int, str], ReplyRecord] = {}
    best: dict[str, Any] = {}
    path = run.folder / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a line cut short when the process was killed
        if event["name"] == "step":
            names = [name for name in StepRecord.__slots__ if name in event]
            steps[event["step"]] = StepRecord(**{name: event[name] for name in names})
        elif event["name"] == "evaluated" and "validation_loss" in event:
            validation[event["step"]] = event["validation_loss"]
        elif event["name"] == "reply":
            reply = ReplyRecord(event["step"], event["prompt"], event["text"], event["faults"])
            replies[reply.step, reply.prompt] = reply
        elif event["name"] == "best":
            best = event
    return History(
        tuple(steps[at] for at in sorted(steps)),
        tuple(sorted(validation.items())),
        tuple(sorted(replies.values(), key=lambda reply: reply.step)),
        best.get("kept_step", 0),
        best.get("validation_loss"),
    )
