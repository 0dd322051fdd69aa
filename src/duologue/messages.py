"""The nouns that travel between rooms: messages, conversations, recalled lines, replies."""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """An ordered list of messages and where it was found.

    Attributes:
        messages: The messages in order; roles alternate between user and assistant after `data` has normalised them.
        source: `file:row`, with rows counted from 1.
        untrained: Positions in `messages` of replies that are context only, because their file says so.
        places: Row and field of each message in its file; empty where message N is `messages[N].content` in the
            source's row. Two conversations that differ in this alone are equal.
    """

    messages: tuple[Message, ...]
    source: str
    untrained: frozenset[int] = frozenset()
    places: tuple[tuple[int, str], ...] = field(default=(), compare=False)

    def place_of(self, number: int) -> tuple[int, str]:
        """Return the row and the field in which message `number` stands in its file."""
        if self.places:
            return self.places[number]
        return int(self.source.rpartition(":")[2]), f"messages[{number}].content"

    @property
    def num_turns(self) -> int:
        """The number of assistant messages."""
        return sum(message.role == "assistant" for message in self.messages)


@dataclass(frozen=True, slots=True)
class RecalledLine:
    """A line from an earlier session that memory found for the present question.

    Attributes:
        text: The stored text, verbatim.
        speaker: Who said it: `user` or `assistant`.
        memory_id: Row of the memory in memory.sqlite.
        session_id: The session the line was said in.
        said_at: ISO-8601 time (UTC) at which it was said.
        score: Relevance, higher is better; only comparable within one recall.
        kind: Said word for word, or a fact drawn from what was said.
        message_id: The message it came from; 0 when no message of this folder did.
        is_pinned: Recalled before all others.
        is_guess: Concluded, not said.
        origin: Which reader found it.
        by_words: What its words and those around it gave to the score.
        by_meaning: What its meaning and that around it gave.
        by_rest: What who said it, when and how gave, or took. The three are of the reader's score, before two readers'
            lists are made one.
    """

    text: str
    speaker: Role
    memory_id: int
    session_id: str
    said_at: str
    score: float
    kind: Literal["turn", "fact"] = "turn"
    message_id: int = 0
    is_pinned: bool = False
    is_guess: bool = False
    origin: Literal["local", "supermemory"] = "local"
    by_words: float = 0.0
    by_meaning: float = 0.0
    by_rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Preference:
    """Two replies to one turn, and which of them a person liked better.

    Attributes:
        context: The conversation up to the turn, the user's message last; without the system text of the card.
        chosen: The reply that was liked better.
        rejected: The other one.
        source: Where it comes from, such as `swipe 41` or `duel 3f2a`.
    """

    context: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str


@dataclass(frozen=True, slots=True)
class Opinion:
    """A reply that a person liked or did not like, without another to compare it with."""

    context: tuple[Message, ...]
    reply: str
    is_liked: bool
    source: str


@dataclass(frozen=True, slots=True)
class Correction:
    """A reply as a person rewrote it; `before` is what the model had said."""

    context: tuple[Message, ...]
    before: str
    reply: str
    source: str


FinishReason = Literal["stop", "length", "cancelled", "content_filter"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished reply of a bot.

    Attributes:
        text: The reply as stored and shown.
        finish_reason: Why generation ended.
        num_prompt_tokens: Tokens of the prompt that was sent.
        num_reply_tokens: Tokens that were generated.
        num_forgotten_messages: Messages of the session that did not fit the short-term buffer.
        first_token_seconds: Time from the request to the first token.
        total_seconds: Time from the request to the last token.
        recalled: Memory lines that were part of the prompt.
        num_cached_tokens: Tokens of the prompt that the engine had kept from before; -1 when it cannot tell.
    """

    text: str
    finish_reason: FinishReason
    num_prompt_tokens: int
    num_reply_tokens: int
    num_forgotten_messages: int
    first_token_seconds: float
    total_seconds: float
    recalled: tuple[RecalledLine, ...] = ()
    num_cached_tokens: int = -1

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed after the first token; 0 when fewer than two tokens came."""
        seconds = self.total_seconds - self.first_token_seconds
        return (self.num_reply_tokens - 1) / seconds if self.num_reply_tokens > 1 and seconds > 0 else 0.0
