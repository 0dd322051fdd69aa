"""What is to be said next: in which session, by whom, after which messages."""

from dataclasses import dataclass
from typing import Literal

from duologue.chat.cast import Member
from duologue.chat.tree import StoredMessage

Trigger = Literal["normal", "swipe", "continue", "impersonate", "view"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A reply that is wanted.

    Attributes:
        session_id: Its session.
        user: Whose session it is.
        member: Who replies.
        speaker: Their name, as stored with the reply; empty in a chat of one.
        after_id: The message it follows; when others have followed that one meanwhile, it comes behind them.
        trigger: A reply to something new, another version of a reply, the rest of one, the user's next message,
            or only a look at the prompt as it would be.
        replaced: The reply beside which another version is wanted, or which is to be gone on with.
    """

    session_id: str
    user: str
    member: Member
    after_id: int
    speaker: str = ""
    trigger: Trigger = "normal"
    replaced: StoredMessage | None = None
