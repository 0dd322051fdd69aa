"""What macros and lorebooks see of a chat: who said what, and when."""

from dataclasses import dataclass
from datetime import datetime

from duologue.messages import Role


@dataclass(frozen=True, slots=True)
class ChatLine:
    """One message as the people in it see it.

    Attributes:
        role: Who spoke, to the model.
        speaker: Who spoke, by name; in a chat of several each character has its own.
        text: What was said.
        said_at: When; None where nobody knows.
    """

    role: Role
    speaker: str
    text: str
    said_at: datetime | None = None
