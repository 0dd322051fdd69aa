"""Where a request of the panel Talk is: the character, its bot, and the chat, which must be the visitor's own."""

from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from duologue.chat import Bot, StoredMessage
from duologue.errors import DataError, GuardError
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.visitor import visitor_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is.

    Attributes:
        entry: The character.
        bot: Its bot.
        account: Whose chats.
        session_id: The chat; empty for a request that is about none.
    """

    entry: Entry
    bot: Bot
    account: str
    session_id: str = ""

    def find(self, message_id: int) -> StoredMessage:
        """Return a message of the chat.

        Raises:
            GuardError: With reason `not_found`.
        """
        try:
            return self.bot.editor.find(self.session_id, message_id)
        except DataError as error:
            raise GuardError("there is no such message in this chat", reason="not_found", where="message") from error


async def place_of(core: Core, request: Request, character_id: str, session_id: str = "") -> Place:
    """Return where a request is.

    Raises:
        GuardError: With reason `age_required`, or `not_found`, the same for a chat of somebody else and for none.
    """
    account = visitor_of(request.scope).account

    def look() -> Place:
        entry = core.entry(request.scope, character_id)
        bot = core.library.bot(entry.id)
        if session_id and not bot.sessions.has(session_id, character=bot.model_id, user=account):
            raise GuardError("there is no such chat", reason="not_found", where="chat")
        return Place(entry, bot, account, session_id)

    return await run_in_threadpool(look)
