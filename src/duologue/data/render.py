"""Conversations to examples: token ids by the model's own chat template, labels on what the character says.

Targets are the assistant's tokens and the end-of-turn token after them. A reply is trained behind exactly the ids that
chat sends for it (`Tokenizer.render(..., add_generation_prompt=True)`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from duologue import prompt
from duologue.characters import Character
from duologue.data.account import Fault
from duologue.data.cut import Cut, LongConversations, cut
from duologue.data.label import Labelled, Labeller, Piece, Script
from duologue.engine import Example, TextTokenizer, count_neutralised, neutralise
from duologue.errors import DataError
from duologue.messages import Conversation, Message

_BATCH_CONVERSATIONS = 256  # encoded together
NOTHING_TO_LEARN = "no reply to learn: there is only a greeting, or its replies are marked as context"
UNFORESEEN = "the chat template changes some messages in a way that earlier ones did not show"
ONLY_AS_LAST = "cannot be learned where something follows them, by the model's chat template"


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """How conversations become examples.

    Attributes:
        user_name: What `{{user}}` stands for.
        max_length_tokens: Longest example.
        long_conversations: What happens to a longer conversation: cut between turns into several examples, only its
            beginning used, or left out.
        train_on_greeting: Whether a reply before the first user message is a target.
    """

    user_name: str
    max_length_tokens: int
    long_conversations: LongConversations = "windows"
    train_on_greeting: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one conversation became.

    Attributes:
        source: `file:row` of the conversation.
        examples: Its examples; none when nothing of it can be trained.
        faults: What was cut, folded, left out or noticed.
    """

    source: str
    examples: tuple[Example, ...]
    faults: tuple[Fault, ...]


def render(
    conversation: Conversation, tokenizer: TextTokenizer, *, character: Character, settings: RenderSettings
) -> Rendered:
    """Return the examples of one conversation.

    Raises:
        DataError: The chat template cannot be labelled.
    """
    [rendered] = render_all([conversation], tokenizer, character=character, settings=settings)
    return rendered


def render_all(
    conversations: Iterable[Conversation], tokenizer: TextTokenizer, *, character: Character, settings: RenderSettings
) -> Iterator[Rendered]:
    """Yield what each conversation becomes, in order.

    A conversation of at most `settings.max_length_tokens` is one example. Nothing is ever cut inside a message, so
    every trained reply has its end-of-turn token. The first conversation also carries what was noticed about the
    template, as faults of the whole file (row 0).

    Raises:
        DataError: The chat template cannot be labelled.
    """
    renderer = Renderer(tokenizer, character, settings)
    notes = list(renderer.template_notes())
    is_short = True
    stream = iter(conversations)
    while batch := list(islice(stream, _BATCH_CONVERSATIONS)):
        for rendered in renderer.render_batch(batch):
            if is_short and not renderer.is_short:
                is_short = False
                notes.append((UNFORESEEN, "conversations rendered in full from here on"))
            if not notes:
                yield rendered
                continue
            path = rendered.source.rpartition(":")[0]
            faults = [Fault(path, 0, "", reason, action) for reason, action in notes]
            yield Rendered(rendered.source, rendered.examples, (*faults, *rendered.faults))
            notes.clear()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A conversation ready to be labelled: its messages, how many were put in front, and what was noticed so far."""

    conversation: Conversation
    script: Script
    num_added: int
    notes: tuple[tuple[str, str, int | None], ...]  # reason, action, the message where it is about one


class Renderer:
    """What every conversation of one call is rendered with."""

    def __init__(self, tokenizer: TextTokenizer, character: Character, settings: RenderSettings) -> None:
        """Learn the template when it is first needed."""
        self._labeller = Labeller(tokenizer, whole_tokens=settings.max_length_tokens)
        self._special_tokens = tokenizer.special_tokens
        self._traits = tokenizer.traits
        self._character = character
        self._settings = settings

    @property
    def is_short(self) -> bool:
        """Whether conversations go the short way of `Labeller`."""
        return self._labeller.is_short

    def template_notes(self) -> tuple[tuple[str, str], ...]:
        """Return what the template does not carry and what is done about it, in training and in chat alike."""
        notes = []
        if not self._traits.carries_system:
            notes.append(("the chat template has no place for a system message", "folded into the first user message"))
        if self._traits.reply_primer:
            notes.append(("the chat template knows thoughts", "an empty thought put before every reply"))
        return tuple(notes)

    def render_batch(self, conversations: Sequence[Conversation]) -> Iterator[Rendered]:
        """Yield what each conversation becomes."""
        prepared = [self._prepare(conversation) for conversation in conversations]
        try:
            labelled: Iterable[Labelled | DataError] = self._labeller.label([item.script for item in prepared])
        except DataError:  # one of them is refused; find out which
            labelled = map(self._label_one, prepared)
        for item, found in zip(prepared, labelled, strict=True):
            yield self._finish(item, found)

    def _prepare(self, conversation: Conversation) -> Prepared:
        built = prompt.build(self._character, conversation.messages, user_name=self._settings.user_name)
        num_added = len(built) - len(conversation.messages)
        messages: list[Message] = []
        notes: list[tuple[str, str, int | None]] = []
        for place, message in enumerate(built):
            text = neutralise(message.content, self._special_tokens)
            messages.append(message if text is message.content else Message(message.role, text))
            if place >= num_added:
                num_neutralised = count_neutralised(message.content, text)
                if num_neutralised:
                    reason = f"special tokens (control tokens) of the model in the text: {num_neutralised}"
                    notes.append((reason, "kept as plain text", place - num_added))
        num_late = sum(message.role == "system" for message in messages[1:])
        if num_late and not self._traits.carries_late_system:
            notes.append((f"{num_late} system messages in the middle", "folded into user messages", None))
        if self._needs_opening(messages):
            notes.append(
                ("it begins with a reply, which the chat template refuses", "an opening line put before it", None)
            )
        trained = _replies(messages, self._settings.train_on_greeting)
        trained -= {place + num_added for place in conversation.untrained}
        return Prepared(conversation, Script(tuple(messages), frozenset(trained)), num_added, tuple(notes))

    def _needs_opening(self, messages: Sequence[Message]) -> bool:
        first = next((message.role for message in messages if message.role != "system"), "user")
        has_user = not self._traits.carries_system and messages[0].role == "system"  # the system text becomes one
        return first == "assistant" and not self._traits.carries_greeting and not has_user

    def _label_one(self, item: Prepared) -> Labelled | DataError:
        try:
            return self._labeller.label([item.script])[0]
        except DataError as error:
            return error

    def _finish(self, item: Prepared, found: Labelled | DataError) -> Rendered:
        source = item.conversation.source
        path, _, row = source.rpartition(":")

        def fault(reason: str, action: str, place: int | None = None) -> Fault:
            at, where = (int(row), "") if place is None else item.conversation.place_of(place)
            return Fault(path, at, where, reason, action)

        faults = [fault(*note) for note in item.notes]
        if isinstance(found, DataError):
            return Rendered(source, (), (*faults, fault(found.found, "left out")))
        if not item.script.trained:
            return Rendered(source, (), (*faults, fault(NOTHING_TO_LEARN, "left out")))
        pieces: Sequence[Piece] = [found.whole, *found.apart]
        if len(found.whole.ids) > self._settings.max_length_tokens:
            try:
                parts = self._cut(item.script, found)
            except DataError as error:
                return Rendered(source, (), (*faults, fault(error.found, "left out")))
            pieces = parts.pieces
            for note in parts.notes:
                place = None if note.place is None else note.place - item.num_added
                faults.append(fault(note.reason, note.action, place))
        elif found.apart:
            faults.append(fault(f"{len(found.apart)} replies {ONLY_AS_LAST}", "made examples of their own"))
        examples = [Example(tuple(p.ids), tuple(p.labels()), source) for p in pieces if p.spans]
        return Rendered(source, tuple(examples), tuple(faults))

    def _cut(self, script: Script, found: Labelled) -> Cut:
        limit, mode = self._settings.max_length_tokens, self._settings.long_conversations
        return cut(script, found, self._labeller, limit_tokens=limit, mode=mode)


def _replies(messages: Sequence[Message], train_on_greeting: bool) -> set[int]:
    """Return the places of the replies to learn."""
    roles = [message.role for message in messages]
    first_user = 0 if train_on_greeting or "user" not in roles else roles.index("user")
    return {place for place, role in enumerate(roles) if role == "assistant" and place >= first_user}
