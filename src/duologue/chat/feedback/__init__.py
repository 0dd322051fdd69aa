"""What people did with replies, as examples of better and worse ones; only from chats whose people agreed."""

from duologue.chat.feedback.collect import collect_chat, collect_feedback
from duologue.chat.feedback.evidence import KINDS, REASONS, Found, Kind
from duologue.chat.feedback.record import Feedback, FeedbackAccount, remove_found

__all__ = [
    "KINDS",
    "REASONS",
    "Feedback",
    "FeedbackAccount",
    "Found",
    "Kind",
    "collect_chat",
    "collect_feedback",
    "remove_found",
]
