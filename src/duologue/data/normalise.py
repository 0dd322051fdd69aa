"""A cast dialogue to a conversation whose roles alternate; every change is noted, and nothing is lost silently.

System messages stay where they are, in the middle too: rendering knows whether the chat template can carry them there.
Greetings stay in front. `{{char}}` and `{{user}}` stay as they are: the prompt layout resolves them, in training and in
chat alike.
"""

import sys
from dataclasses import dataclass, field
from typing import Final

from duologue.data.asides import strip_asides
from duologue.data.clean import clean, is_visible
from duologue.data.formats.tally import LEFT_OUT, ROW_LEFT_OUT
from duologue.data.found import Dialogue, Note, RowFault, Turn
from duologue.messages import Conversation, Message, Role

MERGED: Final = "merged with the message before"

Place = tuple[int, str]
"""Row and field of a message in its file."""

_PLAIN_FIELDS = tuple(f"messages[{number}].content" for number in range(64))


@dataclass(frozen=True, slots=True)
class NormaliseSettings:
    """What the person chose.

    Attributes:
        train_on_greeting: `data.train_on_greeting`: whether an assistant message before the first user message is a
            target. If not, a conversation in which only the character speaks has nothing to teach.
        strip_asides: `data.strip_asides`: whether out-of-character asides are taken out.
    """

    train_on_greeting: bool = False
    strip_asides: bool = False


@dataclass(frozen=True, slots=True)
class Normalised:
    """A conversation with what was changed and where its messages come from.

    Attributes:
        conversation: Its roles alternate, system messages apart; no message is empty, and the last one is a reply.
        notes: What was merged, removed, left out or noticed, in order.
        places: Row and field of each message; of its first part where several were merged.
    """

    conversation: Conversation
    notes: tuple[Note, ...]
    places: tuple[Place, ...]


def normalise(dialogue: Dialogue, *, path: str, settings: NormaliseSettings) -> tuple[Conversation, tuple[Note, ...]]:
    """Return the conversation of a dialogue and what was changed; see `trace_normalised`.

    Raises:
        RowFault: A message is empty, or there is nothing to learn.
    """
    normalised = trace_normalised(dialogue, path=path, settings=settings)
    return normalised.conversation, normalised.notes


def trace_normalised(dialogue: Dialogue, *, path: str, settings: NormaliseSettings) -> Normalised:
    """Return the conversation of a dialogue, what was changed, and where each message comes from.

    Args:
        dialogue: As cast: every turn has a role.
        path: Its file, for `Conversation.source`.
        settings: What the person chose.

    Raises:
        RowFault: A message is empty (in a log of several rows it is left out instead), or there is nothing to learn.
    """
    builder = _Builder(settings, is_log=dialogue.rows > 1)
    builder.notes += dialogue.notes
    for turn in dialogue.turns:
        text = builder.cleaned(turn)
        if text:
            builder.add(turn, text)
    builder.end(dialogue.row)
    parts = builder.parts
    untrained = frozenset(index for index, part in enumerate(parts) if not part.is_trained)
    messages = tuple(Message(part.role, "\n".join(part.texts)) for part in parts)
    places = tuple([part.places[0] for part in parts])
    kept = () if _are_plain(places, dialogue.row) else tuple([(row, sys.intern(where)) for row, where in places])
    conversation = Conversation(messages, f"{path}:{dialogue.row}", untrained, kept)
    return Normalised(conversation, tuple(builder.notes), places)


def _are_plain(places: tuple[Place, ...], row: int) -> bool:
    """Return whether the messages stand in one row in the order and under the names that every reader expects."""
    return len(places) <= len(_PLAIN_FIELDS) and all(
        at == row and where == plain for (at, where), plain in zip(places, _PLAIN_FIELDS, strict=False)
    )


@dataclass(slots=True)
class _Part:
    """A message in the making: one turn, or several of one role that are merged."""

    role: Role
    texts: list[str]
    places: list[Place]
    is_trained: bool

    def take(self, other: "_Part") -> None:
        self.texts += other.texts
        self.places += other.places
        self.is_trained = self.is_trained and other.is_trained


@dataclass(slots=True)
class _Builder:
    settings: NormaliseSettings
    is_log: bool
    parts: list[_Part] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    num_carriage_returns: int = 0
    first_return: Place = (0, "")

    def cleaned(self, turn: Turn) -> str:
        """Return the text to use; empty when the turn is left out.

        Raises:
            RowFault: It is empty, or not Unicode text.
        """
        text, changes, num_returns = clean(turn.text, field=turn.field)
        if changes:
            self.notes += [Note(turn.row, turn.field, reason, action) for reason, action in changes]
        if num_returns:
            self.first_return = self.first_return if self.num_carriage_returns else (turn.row, turn.field)
            self.num_carriage_returns += num_returns
        if not is_visible(text):
            self._leave_out_empty(turn)
            return ""
        if self.settings.strip_asides:
            text, num_asides = strip_asides(text)
            if num_asides:
                self._note(turn, f"{num_asides} out-of-character {'aside' if num_asides == 1 else 'asides'}", "removed")
            if not is_visible(text):
                self._note(turn, "nothing but asides is in the message", self._left_out)
                return ""
        return text

    def add(self, turn: Turn, text: str) -> None:
        """Append a message, or merge it with the one before when the same side goes on speaking."""
        role = turn.role
        assert role is not None, "a dialogue is cast before it is normalised"
        part = _Part(role, [text], [(turn.row, turn.field)], turn.is_trained)
        parts = self.parts
        before = parts[-1] if parts else None
        if before is not None and before.role == role:
            self._note_merge(turn, before, f"two {role} messages in a row", MERGED)
            before.take(part)
        elif before is not None and before.role == "system" and len(parts) > 1 and parts[-2].role == role:
            # user, system, user: the speaking roles must alternate, and an instruction stands before what it rules.
            spoken = parts[-2]
            reason = f"two {role} messages with only a system message between them"
            self._note_merge(turn, spoken, reason, "merged, with the system message before them")
            spoken.take(part)
            parts.pop()
            if len(parts) > 1 and parts[-2].role == "system":
                parts[-2].take(before)
                at, where = before.places[0]
                self.notes.append(Note(at, where, "two system messages, as what stood between them moved", MERGED))
            else:
                parts.insert(-1, before)
        else:
            parts.append(part)

    def end(self, row: int) -> None:
        """Leave out what follows the last reply, and see whether there is something to learn.

        Raises:
            RowFault: There is not.
        """
        if self.num_carriage_returns:
            at, where = self.first_return
            reason = f"carriage returns in line breaks: {self.num_carriage_returns}"
            self.notes.append(Note(at or row, where, reason, "turned into plain line breaks"))
        if not any(part.role == "assistant" for part in self.parts):
            raise RowFault("messages", "there is no assistant message to learn from")
        while self.parts[-1].role != "assistant":
            part = self.parts.pop()
            reason = "has no reply" if part.role == "user" else "is followed by no reply"
            reason = f"the last {part.role} message {reason}"
            self.notes += [Note(at, where, reason, self._left_out) for at, where in part.places]
        self._refuse_nothing_to_learn()

    def _refuse_nothing_to_learn(self) -> None:
        first_user = next((index for index, part in enumerate(self.parts) if part.role == "user"), len(self.parts))
        first_target = 0 if self.settings.train_on_greeting else first_user
        replies = [part for part in self.parts[first_target:] if part.role == "assistant"]
        if not replies:
            raise RowFault(
                "messages",
                "there is no user message before a reply, so only a greeting is left; "
                "set data.train_on_greeting=true to learn it",
            )
        if not any(part.is_trained for part in replies):
            raise RowFault("messages", "the file marks every reply as not to be learned")

    def _leave_out_empty(self, turn: Turn) -> None:
        if not self.is_log and turn.role != "system":
            raise RowFault(turn.field, f"the {turn.role} message is empty")
        self._note(turn, f"the {turn.role} message is empty", self._left_out)

    @property
    def _left_out(self) -> str:
        return ROW_LEFT_OUT if self.is_log else LEFT_OUT

    def _note(self, turn: Turn, reason: str, action: str) -> None:
        self.notes.append(Note(turn.row, turn.field, reason, action))

    def _note_merge(self, turn: Turn, before: _Part, reason: str, action: str) -> None:
        # What the file excludes must not be learned, so the exclusion goes for the whole merged reply.
        is_mixed = turn.is_trained != before.is_trained
        self._note(turn, reason, f"{action}; not trained, as one of them is excluded" if is_mixed else action)
