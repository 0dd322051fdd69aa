"""One file to conversations: read, cast, normalise, screen. Every row ends as used or as dropped for a reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from duologue.data.account import FaultList, FileAccount, kind_of
from duologue.data.casting import Casting, cast, count_speakers, find_casting_fault, fold_name
from duologue.data.formats import ROW_LEFT_OUT, read_dialogues
from duologue.data.found import DUPLICATE_DROPPED, FILE_REFUSED, ROW_DROPPED, Dialogue, Note, Row, RowFault, Turn
from duologue.data.normalise import Normalised, NormaliseSettings, trace_normalised
from duologue.data.personal import Kind, find, may_hold, redact
from duologue.data.read import OpenedFile, open_rows
from duologue.data.screen import screen
from duologue.guard import ContentPolicy
from duologue.messages import Conversation, Role

Keep = Callable[[Conversation, int], tuple[str, str]]
"""Takes a conversation and of how many rows it is made; returns what is to be noted about it, reason and action.

Both are empty when there is nothing to note. It is not kept when the action is `DUPLICATE_DROPPED`."""
OnBytes = Callable[[int], None]
"""Told how many bytes of the file were read so far."""

PersonalData = Literal["keep", "redact", "drop"]

_BYTES_EVERY_ROWS = 64
_WHOLE = ("", "messages")  # where the fault of a part of a log lies in which there is no reply


@dataclass(frozen=True, slots=True)
class Sieve:
    """What decides which conversations come out of a file.

    Attributes:
        casting: Who is who in chat logs.
        normalise: How dialogues become conversations.
        policy: What the guard refuses.
        personal_data: What happens to personal data.
    """

    casting: Casting
    normalise: NormaliseSettings
    policy: ContentPolicy
    personal_data: PersonalData


@dataclass(frozen=True, slots=True)
class Sifted:
    """What became of a file.

    Attributes:
        account: Its rows and faults.
        personal_data: Personal data found in what is used, by kind.
    """

    account: FileAccount
    personal_data: Counter[str]


def sift_file(path: Path, sieve: Sieve, *, keep: Keep, on_bytes: OnBytes) -> Sifted:
    """Pass the usable conversations of a file on, and return what became of its rows.

    Args:
        path: The file; nothing is raised for what is in it.
        sieve: What decides.
        keep: Takes the conversations.
        on_bytes: Progress.
    """
    opened = open_rows(path)
    reading = read_dialogues(_counted(opened, on_bytes), container=opened.container)
    ledger = _Ledger(path, sieve, keep)
    parts: list[Dialogue] = []
    for item in reading:
        if isinstance(item, Note):
            ledger.note(item)
        elif any(turn.role is None for turn in item.turns):
            parts.append(item)  # who is who is decided by the whole log: not everybody speaks in every part
        else:
            ledger.take(item, sieve.casting)
    ledger.take_log(parts)
    ledger.end(opened.notes)
    num_dropped = sum(ledger.dropped.values())
    assert reading.num_rows == ledger.num_loaded + num_dropped, "a row is used, or dropped for a reason"
    account = FileAccount(
        path=str(path),
        format=" + ".join(sorted(reading.formats)) or "unknown",
        sha256=opened.sha256,
        num_rows=reading.num_rows,
        num_loaded=ledger.num_loaded,
        num_dropped=num_dropped,
        faults=ledger.faults,
        dropped=dict(ledger.dropped.most_common()),
    )
    return Sifted(account, ledger.personal_data)


def find_speakers(path: Path) -> Counter[str]:
    """Return the speakers of a chat log whose roles are not known, with the number of their messages.

    A file whose first conversation has roles is no such log and is not read any further.
    """
    opened = open_rows(path)
    parts: list[Dialogue] = []
    for item in read_dialogues(opened.rows(), container=opened.container):
        if isinstance(item, Dialogue):
            if all(turn.role is not None for turn in item.turns):
                break
            parts.append(item)
    return count_speakers(parts)


class _Ledger:
    """What happens to the rows of one file."""

    def __init__(self, path: Path, sieve: Sieve, keep: Keep) -> None:
        self.faults = FaultList(str(path))
        self.num_loaded = 0
        self.dropped: Counter[str] = Counter()
        self.personal_data: Counter[str] = Counter()
        self._path = str(path)
        self._sieve = sieve
        self._keep = keep
        self._without_reply: list[tuple[Dialogue, RowFault]] = []
        self._is_any_usable = False

    def note(self, note: Note) -> None:
        """Write down what was noticed; a row that is not used is counted."""
        self.faults.append(note)
        if note.row and note.action in (ROW_DROPPED, ROW_LEFT_OUT):
            self.dropped[kind_of(note.reason)] += 1

    def take_log(self, parts: list[Dialogue]) -> None:
        """Take the parts of a chat log, in which speakers have names but no roles."""
        speakers = count_speakers(parts)
        reason = find_casting_fault(speakers, self._sieve.casting)
        if reason:
            self.faults.append(Note(0, "", reason, FILE_REFUSED))
            self.dropped[kind_of(reason)] += sum(part.rows for part in parts)
        elif parts:
            roles, notes = _roll_call(speakers, self._sieve.casting)
            for note in notes:
                self.faults.append(note)
            for part in parts:
                self.take(part, _casting_of(part, roles), is_part=True)

    def take(self, dialogue: Dialogue, casting: Casting, *, is_part: bool = False) -> None:
        """Pass a dialogue on as a conversation, or write down why not."""
        try:
            cast_dialogue = cast(dialogue, casting)
            normalised = trace_normalised(cast_dialogue, path=self._path, settings=self._sieve.normalise)
        except RowFault as fault:
            if (is_part or dialogue.rows > 1) and fault.field in _WHOLE:
                self._without_reply.append((dialogue, fault))
            else:
                self._drop(dialogue, fault, ROW_DROPPED)
            return
        self._is_any_usable = True
        screened = self._screened(dialogue, normalised)
        if screened is None:
            return
        conversation, personal_notes, kinds = screened
        # The reader has counted the rows that it left out itself; what was left out after it is taken off here.
        own_notes = normalised.notes[len(cast_dialogue.notes) :]
        left_out = [note.reason for note in own_notes if note.action == ROW_LEFT_OUT]
        num_rows = dialogue.rows - len(left_out)
        reason, action = self._keep(conversation, num_rows)
        if action == DUPLICATE_DROPPED:
            self._drop(dialogue, RowFault("", reason), action)
            return
        self.num_loaded += num_rows
        self.dropped.update(map(kind_of, left_out))
        self.personal_data.update(kinds)
        for note in (*normalised.notes, *personal_notes):
            self.faults.append(note)
        if reason:
            self.faults.append(Note(dialogue.row, "", reason, action))

    def end(self, notes: Iterable[Note]) -> None:
        """Write down the parts of a log that hold no reply, and what was noticed about the file.

        A part without a reply is no fault of the log, unless there is none throughout.
        """
        for dialogue, fault in self._without_reply:
            self._drop(dialogue, fault, ROW_LEFT_OUT if self._is_any_usable else ROW_DROPPED)
        for note in notes:
            self.faults.append(note)
        self.faults.sort()

    def _screened(
        self, dialogue: Dialogue, normalised: Normalised
    ) -> tuple[Conversation, tuple[Note, ...], Counter[Kind]] | None:
        """Return a conversation that may be learned with what was found in it; None when it may not."""
        conversation, places = normalised.conversation, normalised.places
        try:
            screen(conversation, self._sieve.policy, places=places)
        except RowFault as fault:
            self._drop(dialogue, fault, ROW_DROPPED)
            return None
        try:
            return _screen_personal_data(normalised, self._sieve.personal_data)
        except RowFault as fault:
            self._drop(dialogue, fault, ROW_LEFT_OUT)  # the person's choice, no fault of the file
            return None

    def _drop(self, dialogue: Dialogue, fault: RowFault, action: str) -> None:
        self.faults.append(Note(dialogue.row, fault.field, fault.reason, action))
        self.dropped[kind_of(fault.reason)] += dialogue.rows


def _screen_personal_data(
    normalised: Normalised, setting: PersonalData
) -> tuple[Conversation, tuple[Note, ...], Counter[Kind]]:
    """Return the conversation with its personal data kept or masked, a note per message, and the counts by kind.

    Raises:
        RowFault: Personal data is there and the setting is `drop`.
    """
    conversation = normalised.conversation
    counts: Counter[Kind] = Counter()
    notes: list[Note] = []
    messages = list(conversation.messages)
    if not may_hold("\n".join([message.content for message in messages])):  # as in most conversations
        return conversation, (), counts
    for place, message in enumerate(messages):
        findings = find(message.content)
        if not findings:
            continue
        found: Counter[Kind] = Counter(finding.kind for finding in findings)
        counts += found
        row, where = normalised.places[place]
        reason = "personal data: " + ", ".join(f"{number} {kind}" for kind, number in sorted(found.items()))
        if setting == "drop":
            raise RowFault(where, reason)
        if setting == "redact":
            messages[place] = replace(message, content=redact(message.content, findings))
        notes.append(Note(row, where, reason, "masked" if setting == "redact" else "kept"))
    if notes and setting == "redact":
        conversation = replace(conversation, messages=tuple(messages))
    return conversation, tuple(notes), counts


def _counted(opened: OpenedFile, on_bytes: OnBytes) -> Iterator[Row]:
    for number, row in enumerate(opened.rows()):
        if number % _BYTES_EVERY_ROWS == 0:
            on_bytes(opened.num_bytes)
        yield row


def _roll_call(speakers: Iterable[str], casting: Casting) -> tuple[dict[str, Role], tuple[Note, ...]]:
    """Return the role of every speaker of a log by folded name, and what is to be noted about the file."""
    calls = tuple(Turn(None, name, "", 0, "") for name in speakers)
    answered = cast(Dialogue(0, calls), casting)
    roles = {fold_name(turn.speaker): turn.role for turn in answered.turns if turn.role is not None}
    return roles, answered.notes


def _casting_of(part: Dialogue, roles: Mapping[str, Role]) -> Casting:
    """Return who is who in a part of a log, by those who speak in it."""
    here = list(count_speakers([part]))
    return Casting(
        user_names=tuple(name for name in here if roles[fold_name(name)] == "user"),
        character_names=tuple(name for name in here if roles[fold_name(name)] == "assistant"),
    )
