"""What every route works with, put together once by `build_app`."""

from dataclasses import dataclass

from starlette.types import Scope

from duologue.config import Home
from duologue.guard import Limits
from duologue.serve.age import AgeGate
from duologue.serve.generation import Generation, Generations, OpenStream
from duologue.serve.library import Entry, Library
from duologue.serve.visitor import Visitor, address_of, visitor_of


@dataclass(frozen=True, slots=True)
class Core:
    """The parts behind API and page.

    Attributes:
        home: What the operator has set.
        library: The characters.
        generations: The replies that run or wait.
        limits: What visitors may ask for.
        age: Who may talk to a character that is not for everyone.
    """

    home: Home
    library: Library
    generations: Generations
    limits: Limits
    age: AgeGate

    def entry(self, scope: Scope, character_id: str) -> Entry:
        """Return a character that this visitor may see and talk to.

        Raises:
            GuardError: With reason `not_found` or `age_required`.
        """
        entry = self.library.entry(character_id)
        self.age.require(visitor_of(scope), entry.rating)
        return entry

    def start_reply(self, scope: Scope, entry: Entry, open_stream: OpenStream, *, session_id: str = "") -> Generation:
        """Count a request for a reply and start it: the only way to a model.

        Args:
            scope: The request.
            entry: Who replies.
            open_stream: Asks the bot; gets the event that stops it.
            session_id: The chat the reply belongs to; empty when it belongs to none.

        Raises:
            GuardError: Too young, too many requests, too many waiting, or this chat has a reply running.
        """
        visitor = visitor_of(scope)
        self.age.require(visitor, entry.rating)
        self.limits.take(counted_names(scope, visitor))
        return self.generations.start(open_stream, session_id=session_id)


def counted_names(scope: Scope, visitor: Visitor) -> tuple[str, ...]:
    """Return every name a visitor is counted under."""
    names = [f"address:{address_of(scope)}"]
    if visitor.way == "shared_key":
        return ("key:shared",)
    if visitor.way != "local":
        names.insert(0, f"account:{visitor.account}")
    if visitor.key_id:
        names.insert(0, f"key:{visitor.key_id}")
    return tuple(names)
