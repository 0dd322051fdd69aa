"""Adapter and character to a `Bot`; a session and a message to a `Reply`."""

from duologue.chat.bot import Bot
from duologue.chat.buffer import Buffer, fit_buffer
from duologue.chat.open import load_folder_character, memory_scope, open_bot
from duologue.chat.sessions import SessionInfo, Sessions, StoredMessage
from duologue.chat.stream import ReplyStream

__all__ = [
    "Bot",
    "Buffer",
    "ReplyStream",
    "SessionInfo",
    "Sessions",
    "StoredMessage",
    "fit_buffer",
    "load_folder_character",
    "memory_scope",
    "open_bot",
]
