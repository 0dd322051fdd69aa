"""What a bot does with its long-term memory: recall for a question, remember a turn, forget what is replaced."""

import re

from duologue.config import Config
from duologue.memory import MemoryStore, Scope
from duologue.messages import RecalledLine, Role

PASSAGE_CHARS = 400  # about 100 tokens, so that a long message does not outgrow memory.max_recalled_tokens as a whole
_SENTENCE_END = re.compile(r"(?<=[.!?…\n])\s+")


class Recollection:
    """The memory of one character, with the settings of duologue.toml; without a store it remembers nothing.

    Args:
        memory: Where the lines are kept, or None.
        config: Says how many lines are recalled.
        character: `Bot.model_id`.
    """

    def __init__(self, memory: MemoryStore | None, config: Config, *, character: str) -> None:
        """Keep the parts."""
        self._memory = memory
        self._num_recalled = config.memory.num_recalled
        self._character = character

    def recall(self, question: str, *, session_id: str, user: str) -> tuple[RecalledLine, ...]:
        """Return lines of earlier sessions that bear on a question, best first."""
        if self._memory is None or self._num_recalled == 0:
            return ()
        scope = Scope(user, self._character)
        return self._memory.recall(question, scope=scope, limit=self._num_recalled, exclude_session=session_id)

    def remember(self, text: str, *, speaker: Role, user: str, session_id: str, message_id: int, said_at: str) -> None:
        """Store a message, passage by passage, unless it is stored already."""
        if self._memory is None or self._memory.knows(message_id, session_id=session_id):
            return
        for passage in passages(text):
            self._memory.add(
                passage,
                speaker=speaker,
                scope=Scope(user, self._character),
                session_id=session_id,
                message_id=message_id,
                said_at=said_at,
            )

    def forget_message(self, message_id: int, *, session_id: str) -> None:
        """Forget what came from one message."""
        if self._memory is not None:
            self._memory.forget_message(message_id, session_id=session_id)

    def forget_session(self, session_id: str) -> None:
        """Forget what came from one session."""
        if self._memory is not None:
            self._memory.forget_session(session_id)

    def close(self) -> None:
        """Close the store."""
        if self._memory is not None:
            self._memory.close()


def passages(text: str) -> list[str]:
    """Return a text whole, or, when it is long, in groups of whole sentences of at most `PASSAGE_CHARS` characters.

    A sentence that is longer on its own is cut.
    """
    if len(text) <= PASSAGE_CHARS:
        return [text] if text.strip() else []
    pieces = [
        sentence[at : at + PASSAGE_CHARS]
        for sentence in _SENTENCE_END.split(text)
        for at in range(0, len(sentence), PASSAGE_CHARS)
    ]
    groups = [""]
    for piece in pieces:
        if groups[-1] and len(groups[-1]) + 1 + len(piece) > PASSAGE_CHARS:
            groups.append(piece)
        else:
            groups[-1] = f"{groups[-1]} {piece}".strip()
    return [group for group in groups if group.strip()]
