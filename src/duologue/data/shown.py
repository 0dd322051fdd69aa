"""What is shown of conversations: tokens, messages, examples, and what is cut."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from duologue.data.account import Account, Fault
from duologue.messages import Role

State = Literal["trained", "context", "cut"]
SplitName = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token, or the few that make one character together.

    Attributes:
        ids: The token ids.
        text: What they read as; control tokens have their names.
        is_control: Whether it is a control token.
        state: Learned, only read, or in no example.
    """

    ids: tuple[int, ...]
    text: str
    is_control: bool
    state: State


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """The tokens of one message, with those that the chat template puts around it.

    Attributes:
        place: Its place in the conversation, from 0; None when it is not from the file: the card's system text.
        role: Who speaks.
        tokens: In order.
        is_repeated: It stands in an earlier example too; here it is context.
    """

    place: int | None
    role: Role
    tokens: tuple[ShownToken, ...]
    is_repeated: bool = False

    @property
    def text(self) -> str:
        """The text of all tokens."""
        return "".join(token.text for token in self.tokens)

    @property
    def num_tokens(self) -> int:
        """All tokens."""
        return sum(len(token.ids) for token in self.tokens)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(len(token.ids) for token in self.tokens if token.state == "trained")


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One example, as it goes into training."""

    messages: tuple[ShownMessage, ...]

    @property
    def num_tokens(self) -> int:
        """All tokens."""
        return sum(message.num_tokens for message in self.messages)

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(message.num_trained_tokens for message in self.messages)


@dataclass(frozen=True, slots=True)
class ShownConversation:
    """What became of one conversation.

    Attributes:
        path: Its file.
        row: Its row, from 1.
        split: Where it belongs.
        examples: What is trained.
        cut: Messages that stand in no example.
        faults: What was merged, folded, kept as plain text, cut or noticed in its rows.
    """

    path: str
    row: int
    split: SplitName
    examples: tuple[ShownExample, ...]
    cut: tuple[ShownMessage, ...]
    faults: tuple[Fault, ...]

    @property
    def num_trained_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(example.num_trained_tokens for example in self.examples)

    @property
    def num_context_tokens(self) -> int:
        """Tokens that are only read; a repeated message counts in every example it stands in."""
        return sum(example.num_tokens for example in self.examples) - self.num_trained_tokens

    @property
    def num_cut_tokens(self) -> int:
        """Tokens that stand in no example."""
        return sum(message.num_tokens for message in self.cut)


@dataclass(frozen=True, slots=True)
class Shown:
    """Some conversations of files, and what there is to know about all of them.

    Attributes:
        conversations: The chosen ones.
        account: Of the files; tokens are not counted in it.
        notes: What concerns whole files, or the chat template.
        tokenizer: Name of the base model whose tokens these are.
        max_length_tokens: Longest example.
        long_conversations: What happens to a longer conversation.
    """

    conversations: tuple[ShownConversation, ...]
    account: Account
    notes: tuple[str, ...]
    tokenizer: str
    max_length_tokens: int
    long_conversations: str

    def as_json(self) -> dict[str, Any]:
        """Return what `duologue data show --json` prints."""
        account = self.account
        return {
            "tokenizer": self.tokenizer,
            "max_length_tokens": self.max_length_tokens,
            "long_conversations": self.long_conversations,
            "notes": list(self.notes),
            "conversations": [_conversation_json(conversation) for conversation in self.conversations],
            "num_conversations": account.num_conversations,
            "num_turns": account.num_turns,
            "num_dropped": account.num_dropped,
            "splits": asdict(account.splits),
            "duplicates": asdict(account.duplicates),
        }


def _conversation_json(conversation: ShownConversation) -> dict[str, Any]:
    return {
        "path": conversation.path,
        "row": conversation.row,
        "split": conversation.split,
        "num_trained_tokens": conversation.num_trained_tokens,
        "num_context_tokens": conversation.num_context_tokens,
        "num_cut_tokens": conversation.num_cut_tokens,
        "examples": [
            {
                "num_tokens": example.num_tokens,
                "num_trained_tokens": example.num_trained_tokens,
                "messages": [_message_json(message) for message in example.messages],
            }
            for example in conversation.examples
        ],
        "cut": [_message_json(message) for message in conversation.cut],
        "faults": [
            {"row": fault.row, "field": fault.field, "reason": fault.reason, "action": fault.action}
            for fault in conversation.faults
        ],
    }


def _message_json(message: ShownMessage) -> dict[str, Any]:
    return {
        "place": message.place,
        "role": message.role,
        "num_tokens": message.num_tokens,
        "num_trained_tokens": message.num_trained_tokens,
        "is_repeated": message.is_repeated,
        "tokens": [
            {"ids": list(token.ids), "text": token.text, "state": token.state, "is_control": token.is_control}
            for token in message.tokens
        ],
    }
