"""Adapter and character to a `Bot`; a session and a message to a `Reply`."""

from duologue.chat.bot import Bot
from duologue.chat.buffer import Buffer, Placed, Room, Scene, fit_buffer
from duologue.chat.care import is_urgent, last_turn
from duologue.chat.cast import Cast, Member, slug
from duologue.chat.chain import Chain
from duologue.chat.context import Context, ContextBlock, LeftOut
from duologue.chat.counting import TokenCounter
from duologue.chat.drawing import MAX_CONTEXT_TOKENS, make_sampling
from duologue.chat.feedback import (
    Feedback,
    FeedbackAccount,
    Found,
    collect_chat,
    collect_feedback,
    remove_found,
)
from duologue.chat.marks import Consent
from duologue.chat.open import load_cast, load_folder_character, memory_scope, open_bot
from duologue.chat.people import DRAWN_KEYS, People, Person, Wish, drawn_config
from duologue.chat.sessions import SearchHit, SessionInfo, Sessions, StoredMessage
from duologue.chat.stream import ReplyStream
from duologue.chat.strengths import Strengths
from duologue.chat.tree import SessionTree

__all__ = [
    "DRAWN_KEYS",
    "MAX_CONTEXT_TOKENS",
    "Bot",
    "Buffer",
    "Cast",
    "Chain",
    "Consent",
    "Context",
    "ContextBlock",
    "Feedback",
    "FeedbackAccount",
    "Found",
    "LeftOut",
    "Member",
    "People",
    "Person",
    "Placed",
    "ReplyStream",
    "Room",
    "Scene",
    "SearchHit",
    "SessionInfo",
    "SessionTree",
    "Sessions",
    "StoredMessage",
    "Strengths",
    "TokenCounter",
    "Wish",
    "collect_chat",
    "collect_feedback",
    "drawn_config",
    "fit_buffer",
    "is_urgent",
    "last_turn",
    "load_cast",
    "load_folder_character",
    "make_sampling",
    "memory_scope",
    "open_bot",
    "remove_found",
    "slug",
]
