"""Chats of other programs: read into sessions, and written from them."""

from duologue.chat.exchange.files import FORMATS, ChatFormat, Imported, read_chats, write_chats
from duologue.chat.exchange.found import ImportedChat, Names

__all__ = ["FORMATS", "ChatFormat", "Imported", "ImportedChat", "Names", "read_chats", "write_chats"]
