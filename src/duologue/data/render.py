"""Conversations to examples: token ids by the model's own chat template, labels on what the character says.

Targets are the assistant's tokens and the end-of-turn token after them. Where a reply begins is found by rendering
the conversation up to it with the generation prompt: those ids must be a prefix of the whole conversation's ids, so a
reply is trained behind exactly the ids that chat sends (`Tokenizer.render(..., add_generation_prompt=True)`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import Fault
from duologue.data.load import Splits
from duologue.engine import NOT_TRAINED, Example, Tokenizer
from duologue.errors import DataError
from duologue.messages import Conversation, Message

NOTHING_FITS = "no turn fits data.max_length_tokens, or there is only a greeting"


@dataclass(frozen=True, slots=True)
class ExampleSets:
    """Tokenized splits.

    Attributes:
        train: Examples to learn from.
        validation: Held-out examples.
        faults: Turns that could not be used, and conversations that were cut into several examples.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    faults: tuple[Fault, ...]


def make_examples(splits: Splits, tokenizer: Tokenizer, config: Config, character: Character) -> ExampleSets:
    """Return the tokenized splits.

    Raises:
        DataError: The chat template cannot be masked, or no token of the training split is a target.
    """
    faults: list[Fault] = []

    def rendered(conversations: Sequence[Conversation]) -> tuple[Example, ...]:
        examples: list[Example] = []
        for conversation in conversations:
            parts = render(
                conversation,
                tokenizer,
                character=character,
                user_name=config.character.user_name,
                max_length_tokens=config.data.max_length_tokens,
                train_on_greeting=config.data.train_on_greeting,
            )
            examples += parts
            faults.extend(_notes(conversation, parts))
        return tuple(examples)

    train = rendered(splits.train)
    if not any(example.num_trained_tokens for example in train):
        raise DataError(
            "no token of the training data would be trained",
            needed="assistant messages that fit data.max_length_tokens",
            action="Run: duologue data check FILE, or raise data.max_length_tokens.",
        )
    return ExampleSets(train, rendered(splits.validation), tuple(faults))


def render(
    conversation: Conversation,
    tokenizer: Tokenizer,
    *,
    character: Character,
    user_name: str,
    max_length_tokens: int,
    train_on_greeting: bool = False,
) -> tuple[Example, ...]:
    """Return the examples of one conversation: one, or several when it is longer than `max_length_tokens`.

    A long conversation is cut between turns. Every part keeps the system message; every part but the first repeats
    the last turn of the part before it as context. No turn is trained twice. A turn that does not fit on its own is
    left out.

    Raises:
        DataError: The template refuses the roles or lacks the prefix property.
    """
    messages = prompt.build(character, conversation.messages, user_name=user_name)
    head, turns = messages[:1], _turns(messages[1:])
    labeller = _Labeller(tokenizer, train_on_greeting, conversation.source)
    whole = labeller.example(messages, first_trained=1)
    if whole.num_tokens <= max_length_tokens:
        return (whole,) if whole.num_trained_tokens else ()
    examples: list[Example] = []
    start = 0
    while start < len(turns):
        part, end = None, start
        for context in (turns[start - 1], []) if start else ([],):
            before = [*head, *context]
            for stop in range(start + 1, len(turns) + 1):
                spoken = [message for turn in turns[start:stop] for message in turn]
                longer = labeller.example([*before, *spoken], first_trained=len(before))
                if longer.num_tokens > max_length_tokens:
                    break
                part, end = longer, stop
            if part is not None:
                break
        if part is not None and part.num_trained_tokens:
            examples.append(part)
        start = max(end, start + 1)
    return tuple(examples)


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Group messages into turns: each ends with an assistant message."""
    turns: list[list[Message]] = [[]]
    for message in messages:
        turns[-1].append(message)
        if message.role == "assistant":
            turns.append([])
    return turns[:-1]


@dataclass(frozen=True, slots=True)
class _Labeller:
    tokenizer: Tokenizer
    train_on_greeting: bool
    source: str

    def example(self, messages: Sequence[Message], *, first_trained: int) -> Example:
        """Render `messages`; assistant messages from index `first_trained` on are targets."""
        ids = self.tokenizer.render(messages, add_generation_prompt=False)
        labels = [NOT_TRAINED] * len(ids)
        for index in range(first_trained, len(messages)):
            if messages[index].role != "assistant":
                continue
            is_greeting = all(message.role != "user" for message in messages[:index])
            if is_greeting and not self.train_on_greeting:
                continue
            begin, end = self._span(ids, messages[:index])
            labels[begin:end] = ids[begin:end]
        return Example(ids, tuple(labels), self.source)

    def _span(self, ids: tuple[int, ...], before: Sequence[Message]) -> tuple[int, int]:
        """Return where the reply after `before` begins and where its end-of-turn token ends."""
        prefix = self.tokenizer.render(before, add_generation_prompt=True)
        if ids[: len(prefix)] != prefix:
            raise DataError(
                "the model's chat template renders a conversation differently once a reply is added, so what the "
                "character says cannot be told from its context",
                where=self.source,
                action="Use a base model whose template appends replies unchanged.",
            )
        stops = self.tokenizer.stop_token_ids
        stop = next((at for at in range(len(prefix), len(ids)) if ids[at] in stops), None)
        if stop is None:
            raise DataError(
                "the model's chat template puts no end-of-turn token after a reply, so the character would never stop",
                where=self.source,
            )
        return len(prefix), stop + 1


def _notes(conversation: Conversation, parts: tuple[Example, ...]) -> list[Fault]:
    path, _, row = conversation.source.rpartition(":")
    if not parts:
        return [Fault(path, int(row), "", NOTHING_FITS, "left out")]
    if len(parts) > 1:
        return [Fault(path, int(row), "", "longer than data.max_length_tokens", f"cut into {len(parts)} examples")]
    return []
