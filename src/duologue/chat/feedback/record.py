"""Feedback as it is handed on, with an account of what was found and what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duologue.chat import duels
from duologue.chat.feedback.evidence import Found
from duologue.chat.sessions import Sessions
from duologue.messages import Correction, Opinion, Preference


@dataclass(frozen=True, slots=True)
class FeedbackAccount:
    """What was found and what became of it.

    Attributes:
        chats: Number of chats with the character by the state of their consent: `given`, `refused`, `asked`, and
            empty for those whose people were never asked. Only those of `given` were read.
        used: Number of pieces by kind, as they come out.
        dropped: Number of pieces that were not taken, by reason (`REASONS` says each in words).
        num_merged: Pieces that said the same as another one.
    """

    chats: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    num_merged: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the account as a JSON document."""
        chats = {state or "never_asked": num for state, num in self.chats.items()}
        return {"chats": chats, "used": dict(self.used), "dropped": dict(self.dropped), "num_merged": self.num_merged}


@dataclass(frozen=True, slots=True)
class Feedback:
    """What people did with a character's replies.

    Attributes:
        preferences: Pairs of replies to one turn, of swipes, edits, likes and duels.
        opinions: Replies that were liked or not, without another to compare them with.
        corrections: Replies as a person rewrote them; each is also a preference over what the model had said.
        account: The numbers.
        found: The same pieces in one list, with the kind and the chat of each; an edit is there once, as correction.
    """

    preferences: tuple[Preference, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    corrections: tuple[Correction, ...] = ()
    account: FeedbackAccount = field(default_factory=FeedbackAccount)
    found: tuple[Found, ...] = ()


def remove_found(sessions: Sessions, found: Found, *, folder: Path | None = None) -> None:
    """Take one piece out of what is collected, for good; a like is also taken back, a duel deleted.

    Nothing else of the chat changes. Where the same was said twice, each has to be removed.

    Args:
        sessions: The chats.
        found: The piece.
        folder: The character's folder, for a duel.
    """
    if not found.session_id:
        assert folder is not None, "a duel is in the folder"
        duels.remove(folder, found.piece.source.rpartition(" ")[2], account="local")
    elif found.kind == "like":
        sessions.marks.set_opinion(found.message_ids[0], None)
    else:
        sessions.marks.leave_out(found.session_id, found.piece.source)
