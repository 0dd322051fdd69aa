"""What a run on people's preferences is made of when it crosses the engine's border."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from duologue.engine.base import Trainer
from duologue.engine.job import NOT_TRAINED, Adapter, Example, FitResult, OnEvent, TrainingJob

PreferenceMethod = Literal["sft", "dpo", "kto"]
LEAST_SHARED_TOKENS = 8  # a shorter prompt is not worth a row of its own that both replies stand behind


@dataclass(frozen=True, slots=True)
class PreferenceExample:
    """Two replies to one prompt, tokenized.

    Attributes:
        prompt_ids: What chat sends.
        chosen_ids: The reply that was liked better, with its end-of-turn token.
        rejected_ids: The other one, with its end-of-turn token.
        source: Where it comes from.
    """

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    source: str

    @property
    def num_shared_tokens(self) -> int:
        """Tokens that both replies stand behind; the last one of the prompt predicts another token for each."""
        shared = len(self.prompt_ids) - 1
        return shared if shared >= LEAST_SHARED_TOKENS else 0

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model: both sequences, what they share once."""
        return len(self.input_ids) - self.num_shared_tokens

    @property
    def num_trained_tokens(self) -> int:
        """Tokens of both replies."""
        return len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Both sequences behind each other."""
        return (*self.prompt_ids, *self.chosen_ids, *self.prompt_ids, *self.rejected_ids)

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of `input_ids`."""
        context = (NOT_TRAINED,) * len(self.prompt_ids)
        return (*context, *self.chosen_ids, *context, *self.rejected_ids)


@dataclass(frozen=True, slots=True)
class LikedExample:
    """One reply to a prompt that was liked or not, tokenized.

    Attributes:
        prompt_ids: What chat sends.
        reply_ids: The reply, with its end-of-turn token.
        is_liked: Whether it was liked.
        source: Where it comes from.
    """

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    is_liked: bool
    source: str

    @property
    def num_tokens(self) -> int:
        """All tokens."""
        return len(self.prompt_ids) + len(self.reply_ids)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens of the reply."""
        return len(self.reply_ids)

    @property
    def input_ids(self) -> tuple[int, ...]:
        """The whole sequence."""
        return self.prompt_ids + self.reply_ids

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of `input_ids`; their sign says whether the reply was liked, so that a digest knows it."""
        sign = 1 if self.is_liked else -1
        return (*(NOT_TRAINED,) * len(self.prompt_ids), *(sign * token for token in self.reply_ids))


FeedbackExample = Example | PreferenceExample | LikedExample


@dataclass(frozen=True, slots=True)
class PreferenceJob:
    """Everything an engine needs to know to go on from an adapter with feedback, besides the examples.

    Attributes:
        training: Steps, batches, rate, seed and folder. A step has as many pairs as it would have examples; a pair is
            two sequences. Dropout, noise and packing must be off.
        start: The adapter to go on from; it is also the reference that the result is held to.
        method: What the examples after the corrected ones are.
        beta: How firmly the result is held to the start.
        sft_weight: DPO only: weight of the mean negative log-likelihood of the better reply.
        num_sft_steps: Steps on corrected replies, which come first.
        num_replayed_per_step: Examples of the character's own data that every step learns again.
        replay_weight: Weight of their mean negative log-likelihood beside the mean loss of pairs or liked replies;
            beside corrected replies they count as these do.
        max_loss_rise: Of the loss on held-out examples, as a share of what the start has; what goes beyond is taken
            back. 0 allows any.
    """

    training: TrainingJob
    start: Adapter
    method: PreferenceMethod
    beta: float
    sft_weight: float
    num_sft_steps: int
    num_replayed_per_step: int = 0
    replay_weight: float = 1.0
    max_loss_rise: float = 0.0


class PreferenceTrainer(Trainer, Protocol):
    """An engine that can fit adapters to preferences too."""

    def fit_preferences(
        self,
        job: PreferenceJob,
        examples: Sequence[FeedbackExample],
        validation: Sequence[Example],
        *,
        replayed: Sequence[Example] = (),
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Go on from an adapter, continuing from the newest complete checkpoint in the run folder when there is one.

        Args:
            job: The job.
            examples: Corrected replies, as plain examples, then pairs or liked replies.
            validation: Held-out examples; their loss is measured before the first step too.
            replayed: What is learned again, `num_replayed_per_step` at a time, shuffled anew after the last.
            on_event: Told what happens; `step` events carry `reward_margin` and `reward_accuracy` as well.
            should_stop: When set, the run saves and ends.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: The start adapter does not fit the base; memory ran out, the disk is full, or the loss is not a
                number.
        """
        ...
