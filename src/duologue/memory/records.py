"""The nouns of memory: whose it is, what was said, what was found, and the receipt of a forgetting."""

from dataclasses import dataclass, field

from duologue.messages import RecalledLine, Role


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memories: nothing said in one scope is ever found in another.

    Attributes:
        user: Who talks, such as `local` or an account's name.
        character: Whom they talk to.
    """

    user: str
    character: str


@dataclass(frozen=True, slots=True)
class Source:
    """A message of a session's chosen path, as memory learns from it.

    Attributes:
        message_id: The message; unique in its session.
        revision: Changes with every edit of the message.
        speaker: `user` or `assistant`.
        text: What it says.
        said_at: ISO-8601 time in UTC.
        name: The speaker's name, so that a question that names them finds their lines; empty when there is none.
    """

    message_id: int
    revision: int
    speaker: Role
    text: str
    said_at: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A memory with everything that is kept about it, as people see it.

    Attributes:
        memory_id: Its number.
        scope: Whose memory it is.
        kind: `turn` for what was said word for word, `fact` for a statement drawn from it.
        text: What is recalled: the words of the source, or what the person made of them.
        original: The words of the source.
        speaker: `user` or `assistant`.
        name: The speaker's name; may be empty.
        session_id: Where it was said.
        message_id: The message it came from.
        revision: The message's revision.
        part: Which passage, or which fact, of the message; counted from 0.
        position: The message's place in its session.
        said_at: ISO-8601 time in UTC.
        slot: What a fact tells about, such as `user.home`; empty for turns.
        value: What it says about it.
        is_pinned: Recalled before all others.
        is_private: Never recalled.
        used_until: When a newer statement took its place; empty for what is still so.
    """

    memory_id: int
    scope: Scope
    kind: str
    text: str
    original: str
    speaker: Role
    name: str
    session_id: str
    message_id: int
    revision: int
    part: int
    position: int
    said_at: str
    slot: str = ""
    value: str = ""
    is_pinned: bool = False
    is_private: bool = False
    used_until: str = ""

    @property
    def is_edited(self) -> bool:
        """Whether the person changed its text."""
        return self.text != self.original


@dataclass(frozen=True, slots=True)
class Why:
    """Where a memory comes from.

    Attributes:
        line: The memory.
        around: The turns of its session from before to after it, itself included, in order.
        versions: For a fact: every statement about the same thing, oldest first.
    """

    line: StoredLine
    around: tuple[StoredLine, ...]
    versions: tuple[StoredLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of a forgetting, without anything of its content.

    Attributes:
        receipt_id: Its number.
        at: ISO-8601 time in UTC.
        num_lines: Turns that were forgotten.
        num_facts: Facts that were forgotten.
        num_files: Files that were read byte by byte afterwards.
        num_bytes: Their size together.
        num_traces: Places in them where a text that was forgotten could still be read; 0 is the proof.
        num_found: Lines a search for the forgotten texts still found; 0 is the proof.
        hosted: What became of the copy on another server: `none`, `done`, `queued` or a sentence.
        notes: What could not be proved, and why.
        ids: Numbers the lines had.
    """

    receipt_id: int
    at: str
    num_lines: int
    num_facts: int
    num_files: int = 0
    num_bytes: int = 0
    num_traces: int = 0
    num_found: int = 0
    hosted: str = "none"
    notes: tuple[str, ...] = field(default=())
    ids: tuple[int, ...] = field(default=())

    @property
    def is_proved(self) -> bool:
        """Whether nothing of the forgotten texts was left anywhere this machine can look."""
        return self.num_traces == 0 and self.num_found == 0


def to_recalled(line: StoredLine, *, score: float = 0.0, parts: tuple[float, float] = (0.0, 0.0)) -> RecalledLine:
    """Return a stored line as it goes into a prompt or onto a page; what is no longer so says until when it was.

    Args:
        line: The line.
        score: How well it answers.
        parts: What of the score its words and its meaning are.
    """
    text = f"(used to be so, until {line.used_until[:10]}) {line.text}" if line.used_until else line.text
    return RecalledLine(
        text=text,
        speaker=line.speaker,
        memory_id=line.memory_id,
        session_id=line.session_id,
        said_at=line.said_at,
        score=score,
        kind="fact" if line.kind == "fact" else "turn",
        message_id=line.message_id,
        is_pinned=line.is_pinned,
        by_words=parts[0],
        by_meaning=parts[1],
        by_rest=score - sum(parts),
    )
