"""What was seen of one model: scores, dialogues, speeds. Evaluators read nothing else of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from duologue.characters import Character
from duologue.config import Config
from duologue.evaluate.case import Case, CaseKind
from duologue.messages import Conversation, FinishReason

ScoreKind = Literal["held_out", "general", "train", "canary"]


@dataclass(frozen=True, slots=True)
class Score:
    """How surprising one text was to a model.

    Attributes:
        source: `file:row` of the text; the same for every model, so that scores can be paired.
        kind: `held_out` and `train` are the replies of conversations; `general` is running text that has nothing to do
            with the character; `canary` is a made-up secret, or a look-alike that was not in the data.
        nats: Summed negative log-likelihood of the scored tokens.
        num_tokens: How many they are.
        num_bytes: Length of their text in UTF-8; end-of-reply tokens have none.
    """

    source: str
    kind: ScoreKind
    nats: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """One reply of a model.

    Attributes:
        text: As it would be shown.
        finish_reason: Why it ended.
        num_tokens: How many were drawn.
        first_token_seconds: Time to the first one; None when none came.
        seconds: Time to the last one.
        num_prompt_tokens: Length of what was read for it.
    """

    text: str
    finish_reason: FinishReason
    num_tokens: int
    first_token_seconds: float | None
    seconds: float
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One case as one model went through it with one seed; `replies[n]` answers `case.user_turns[n]`."""

    case: Case
    seed: int
    replies: tuple[Spoken, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an engine is at one length of context.

    Attributes:
        engine: Its name.
        context_tokens: Length of the prompt.
        first_token_seconds: Median over the rounds.
        tokens_per_second: Decoding after the first token, median over the rounds.
        peak_memory_bytes: Peak allocated on the GPU, or peak resident memory of the process on a CPU.
    """

    engine: str
    context_tokens: int
    first_token_seconds: float
    tokens_per_second: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen of one model.

    Attributes:
        name: `base`, or the name of a run.
        model: What it was, to repeat it: base, quantisation, adapter digest, engine, versions, sampling.
        scores: In the order of the sources.
        dialogues: In the order of cases and seeds.
        speeds: By engine and length.
        faults: What could not be seen, in words; nothing is left out silently.
    """

    name: str
    model: Mapping[str, Any]
    scores: tuple[Score, ...]
    dialogues: tuple[Dialogue, ...]
    speeds: tuple[Speed, ...] = ()
    faults: tuple[str, ...] = ()

    def scores_of(self, kind: ScoreKind) -> tuple[Score, ...]:
        """Return the scores of one kind."""
        return tuple(score for score in self.scores if score.kind == kind)

    def dialogues_of(self, *kinds: CaseKind) -> tuple[Dialogue, ...]:
        """Return the dialogues of some kinds; of the held-out and the written ones when none is named."""
        wanted = kinds or ("held_out", "written")
        return tuple(dialogue for dialogue in self.dialogues if dialogue.case.kind in wanted)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known without any model: the yardstick of the evaluators.

    Attributes:
        config: Of the character's folder.
        character: The card.
        train: Conversations that were trained on, as they were loaded.
        validation: Those that were held out.
        canaries: Made-up secrets in the training data, by the `source` of their scores: whether it was trained on.
        seed: For whatever an evaluator draws.
        more: For evaluators that need more, such as a judge that was opened; by name.
    """

    config: Config
    character: Character
    train: tuple[Conversation, ...]
    validation: tuple[Conversation, ...]
    canaries: Mapping[str, bool] = field(default_factory=dict)
    seed: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)

    def replies(self, *, held_out: bool = False) -> tuple[str, ...]:
        """Return the character's real replies, of the training conversations or of the held-out ones."""
        conversations = self.validation if held_out else self.train
        return tuple(
            message.content
            for conversation in conversations
            for message in conversation.messages
            if message.role == "assistant"
        )
