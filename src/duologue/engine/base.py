"""What every engine is: the Protocols of training and generating, and what goes in and out of a generator.

Nothing here imports a model library. An engine implements `Trainer`, `Generator` or both.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from duologue.engine.facts import ModelFacts
from duologue.engine.job import Adapter, BaseModel, Example, FitResult, OnEvent, Precision, TrainingJob
from duologue.engine.merging import Onto, Parity
from duologue.messages import FinishReason, Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        max_new_tokens: Upper bound of the reply.
        temperature: 0 means the most likely token every time.
        top_p: Keep the smallest set of tokens with this probability mass; 1 keeps all.
        top_k: Keep this many tokens; 0 keeps all.
        min_p: Drop tokens below this share of the best token's probability; 0 keeps all.
        repetition_penalty: Above 1 makes tokens that were already said less likely.
        stop: Texts that end the reply; they are not part of it.
        seed: Draws are repeatable for the same seed; -1 draws differently each time.
        typical_p: Locally typical sampling (Meister 2022): probability mass kept; 1 keeps all.
        presence_penalty: Taken from the logit of every token that was said.
        frequency_penalty: Taken from the logit of a token for each time it was said.
        dry_multiplier: DRY, penalty for going on with a sequence that was said before; 0 is off.
        dry_base: DRY, growth of the penalty per token of the sequence.
        dry_allowed_length_tokens: DRY, sequences up to this length cost nothing.
        dry_window_tokens: DRY, how far back is looked; -1 is the whole context.
        dry_sequence_breakers: DRY, texts that no sequence reaches across.
        xtc_probability: XTC, chance per token that the most likely choices are taken away; 0 is off.
        xtc_threshold: XTC, choices above this probability are taken away, all but the least likely of them.
        mirostat: Version 1 or 2 (Basu 2021), in place of top-k, top-p, min-p and typical; 0 is off.
        mirostat_tau: Surprise aimed at, in bits.
        mirostat_eta: How fast it corrects.
        logit_bias: Token id and what is added to its logit.
        grammar: GBNF, llama.cpp's form of grammar, that the whole reply follows; empty lets it say anything.
        json_schema: JSON Schema, as JSON text, that the whole reply follows; empty lets it say anything.
    """

    max_new_tokens: int = 128
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.05
    repetition_penalty: float = 1.05
    stop: tuple[str, ...] = ()
    seed: int = -1
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length_tokens: int = 2
    dry_window_tokens: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    json_schema: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of streamed text; the last piece of a stream carries a finish reason.

    Attributes:
        text: New text, possibly empty.
        num_tokens: Tokens generated so far.
        finish_reason: None until the last piece.
        num_cached_tokens: On the last piece: tokens of the prompt whose state was still there from an earlier request;
            -1 where the engine cannot tell.
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = -1


class Tokenizer(Protocol):
    """Chat template and vocabulary of one model."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        ...

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the vocabulary reads as control tokens; in a person's text they are neutralised."""
        ...

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the token ids of the chat template filled with `messages`.

        Args:
            messages: The conversation.
            add_generation_prompt: End with the header of a reply.
            continues: The last message, an assistant's, stays open: the ids end with its content, so that a reply
                goes on from there. There is no other header then, whatever `add_generation_prompt` says.

        Raises:
            DataError: The template refuses these messages, or the message to go on from is not an assistant's.
        """
        ...

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of a text as it stands inside a message, without anything added.

        Raises:
            DataError: The vocabulary is not known here (a remote server's).
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        ...


@dataclass(frozen=True, slots=True)
class TemplateTraits:
    """What a chat template carries as it is; the rest is folded, alike for training and for chat.

    Attributes:
        carries_system: A system message at the front.
        carries_late_system: System messages after the first user message.
        carries_greeting: A reply before the first user message.
        reply_primer: Text that stands between the header and a reply, in history as in the generation prompt; an empty
            think block in templates that know one, else nothing.
        watched_texts: Texts that the template looks for inside messages.
    """

    carries_system: bool = True
    carries_late_system: bool = True
    carries_greeting: bool = True
    reply_primer: str = ""
    watched_texts: tuple[str, ...] = ()


class TextTokenizer(Tokenizer, Protocol):
    """A tokenizer whose two steps, text and ids, can be taken apart: what data is rendered with."""

    @property
    def traits(self) -> TemplateTraits:
        """What the chat template carries."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of vocabulary and chat template: equal when the same messages always give the same ids."""
        ...

    def render_text(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the text of the filled template; `encode_batch` makes of it the ids that `render` returns.

        Raises:
            DataError: The template refuses these messages.
        """
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; control tokens in it are read as such, and nothing is added."""
        ...


class Trainer(Protocol):
    """An engine that can fit adapters."""

    def facts(self, base: BaseModel) -> ModelFacts:
        """Return the shape of a base model."""
        ...

    def tokenizer(self, base: BaseModel) -> TextTokenizer:
        """Return the tokenizer of a base model without loading its weights."""
        ...

    def fit(
        self,
        job: TrainingJob,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        on_event: OnEvent,
        should_stop: threading.Event,
    ) -> FitResult:
        """Train an adapter, continuing from the newest complete checkpoint in the run folder when there is one.

        Raises:
            InterruptedRun: `should_stop` was set; a checkpoint of the last finished step is on disk.
            EngineError: The model cannot be loaded, memory ran out, the disk is full, or the loss is not a number.
        """
        ...

    def merge(self, adapter: Adapter, folder: Path, *, dtype: Precision, onto: Onto, on_event: OnEvent) -> None:
        """Write base and adapter as one model to `folder`; what an interrupted call has left there is gone on with.

        Args:
            adapter: What is folded in.
            folder: Where to.
            dtype: Type of the written weights.
            onto: The base's own weights, or those its quantised form multiplied with in training.
            on_event: Receives `preparing` events with `done` and `total` bytes.

        Raises:
            EngineError: The adapter does not belong to the base, or the disk is full.
        """
        ...

    def compare(
        self,
        adapter: Adapter,
        folders: Sequence[Path],
        examples: Sequence[Example],
        prompts: Sequence[Sequence[Message]],
    ) -> tuple[Parity, ...]:
        """Return how near each merged folder is to the adapter on the base it was trained on.

        Args:
            adapter: The reference.
            folders: Merged models.
            examples: Conversations whose replies are compared token by token.
            prompts: Messages whose rendered ids are compared.

        Raises:
            EngineError: A model cannot be loaded, or there is nothing to compare.
        """
        ...


class Generator(Protocol):
    """A loaded model that yields tokens."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer prompts are rendered with."""
        ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus reply."""
        ...

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Yield the reply piece by piece; ends within one token after `cancel` is set.

        Raises:
            EngineError: Prompt and reply do not fit the context, or generation failed.
        """
        ...

    def unsupported(self, sampling: Sampling) -> tuple[str, ...]:
        """Return the names of the settings in `sampling` that would do something but that this engine cannot honour.

        Names are those of the fields of `Sampling`, and `continues` where a reply cannot be gone on with.
        """
        ...

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        """Return how surprising each example is, in their order.

        Returns:
            The negative log-likelihood in nats, summed over the trained tokens of the example, and their number. The
            first token of an example follows nothing and is not counted.

        Raises:
            EngineError: An example is longer than the context, memory ran out, or this engine cannot score.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...
