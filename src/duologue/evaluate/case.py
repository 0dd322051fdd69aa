"""A case: what the user says, turn after turn, and what is known beforehand about the answers."""

from dataclasses import dataclass
from typing import Literal

from duologue.messages import Message

CaseKind = Literal["held_out", "written", "long", "prefix", "safety"]


@dataclass(frozen=True, slots=True)
class Case:
    """One dialogue to be had with a model.

    Attributes:
        id: Unique in its suite, such as `data/lila.jsonl:14` or `greeting-1`.
        kind: `held_out`, a conversation of the data that was not trained on; `written`, one of the suite; `long`, many
            turns, to see a character drift; `prefix`, the begin of a training conversation, to see what was learned by
            heart; `safety`, a line of the guard's frozen table.
        user_turns: What the user says. Each is answered before the next is said, and the model hears its own answers.
        opening: Messages before the first turn, such as a greeting or the begin of a conversation.
        references: The real replies to the first turns; empty where there are none.
        source: `file:row`, or the suite.
    """

    id: str
    kind: CaseKind
    user_turns: tuple[str, ...]
    opening: tuple[Message, ...] = ()
    references: tuple[str, ...] = ()
    source: str = ""
