"""Where a request leads: a character's bot, and one of the visitor's own chats with it."""

from dataclasses import dataclass

from starlette.requests import Request

from duologue.chat import Bot
from duologue.errors import DataError, GuardError
from duologue.memory import MemoryStore, Scope, StoredLine
from duologue.serve.core import Core
from duologue.serve.library import Entry
from duologue.serve.visitor import visitor_of


@dataclass(frozen=True, slots=True)
class Place:
    """A character as one visitor has it.

    Attributes:
        entry: The character.
        bot: Opened, perhaps without its model.
        user: Whose chats and memories.
    """

    entry: Entry
    bot: Bot
    user: str

    @property
    def scope(self) -> Scope:
        """Whose memories."""
        return Scope(self.user, self.bot.model_id)

    @property
    def memory(self) -> MemoryStore:
        """The memory.

        Raises:
            GuardError: With reason `memory_off`.
        """
        if self.bot.memory is None:
            raise GuardError(
                f"{self.entry.name} keeps no memory",
                reason="memory_off",
                where="memory.enabled",
                action="An admin can turn it on in the settings.",
            )
        return self.bot.memory

    def line(self, memory_id: int) -> StoredLine:
        """Return a memory of this visitor.

        Raises:
            GuardError: With reason `not_found`, whether there is no such memory or it is somebody else's.
        """
        try:
            if 0 < memory_id < 2**63:
                return self.memory.get(memory_id, scope=self.scope)
        except DataError:
            pass
        raise GuardError("there is no such memory", reason="not_found", where="memory")

    def require_chat(self, session_id: str) -> None:
        """Refuse a chat that is not this visitor's with this character.

        Raises:
            GuardError: With reason `not_found`, whether there is no such chat or it is somebody else's.
        """
        if not self.bot.sessions.has(session_id, character=self.bot.model_id, user=self.user):
            raise GuardError("there is no such chat", reason="not_found", where="chat")


def place_of(core: Core, request: Request, character_id: str) -> Place:
    """Return a character as the visitor of a request has it; blocks while its stores are opened.

    Raises:
        GuardError: With reason `not_found`, `age_required` or `broken`.
    """
    entry = core.entry(request.scope, character_id)
    return Place(entry, core.library.bot(entry.id), visitor_of(request.scope).account)
