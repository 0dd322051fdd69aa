"""Adapter and character to a `Bot`; a session and a message to a `Reply`."""

from duologue.chat.bot import Bot
from duologue.chat.buffer import Buffer, Placed, Scene, fit_buffer
from duologue.chat.cast import Cast, Member, slug
from duologue.chat.chain import Chain
from duologue.chat.context import Context, ContextBlock, LeftOut
from duologue.chat.counting import TokenCounter
from duologue.chat.open import load_cast, load_folder_character, memory_scope, open_bot
from duologue.chat.people import DRAWN_KEYS, People, Person, Wish, drawn_config
from duologue.chat.sessions import SearchHit, SessionInfo, Sessions, StoredMessage
from duologue.chat.stream import ReplyStream

__all__ = [
    "DRAWN_KEYS",
    "Bot",
    "Buffer",
    "Cast",
    "Chain",
    "Context",
    "ContextBlock",
    "LeftOut",
    "Member",
    "People",
    "Person",
    "Placed",
    "ReplyStream",
    "Scene",
    "SearchHit",
    "SessionInfo",
    "Sessions",
    "StoredMessage",
    "TokenCounter",
    "Wish",
    "drawn_config",
    "fit_buffer",
    "load_cast",
    "load_folder_character",
    "memory_scope",
    "open_bot",
    "slug",
]
