"""What every route works with, put together once by `build_app`."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Scope

from duologue.chat import Bot
from duologue.config import Home
from duologue.errors import GuardError
from duologue.guard import RATINGS, SHARED_KEY, Limits, Rating
from duologue.serve.generation import Generation, Generations, OpenStream, Terms
from duologue.serve.library import Entry, Library
from duologue.serve.metrics import Metrics
from duologue.serve.quota_headers import note_grant
from duologue.serve.visitor import Visitor, address_of, visitor_of


class Gate(Protocol):
    """Who may talk to a character that is not for everyone: the door's `AgeGate`, which is built above the core."""

    def require(self, visitor: Visitor, rating: Rating) -> None:
        """Refuse a visitor who has not shown to be an adult.

        Raises:
            GuardError: With reason `age_required`.
        """


@dataclass(frozen=True, slots=True)
class Core:
    """The parts behind API and page.

    Attributes:
        home: What the operator has set.
        library: The characters.
        generations: The replies that run or wait.
        limits: What visitors may ask for.
        age: Who may talk to a character that is not for everyone.
        metrics: What is counted for the operator.
    """

    home: Home
    library: Library
    generations: Generations
    limits: Limits
    age: Gate
    metrics: Metrics = field(default_factory=Metrics)

    def entry(self, scope: Scope, character_id: str) -> Entry:
        """Return a character that this visitor may see and talk to.

        Raises:
            GuardError: With reason `not_found` or `age_required`.
        """
        entry = self.library.entry(character_id)
        self.age.require(visitor_of(scope), entry.rating)
        return entry

    def require_admin(self, scope: Scope) -> Visitor:
        """Return the visitor, who may do what only an admin may.

        Raises:
            GuardError: With reason `forbidden`.
        """
        visitor = visitor_of(scope)
        if visitor.role != "admin":
            raise GuardError("only an admin may do this", reason="forbidden", where=visitor.name)
        return visitor

    def start_reply(
        self,
        scope: Scope,
        entry: Entry,
        open_stream: OpenStream,
        *,
        bot: Bot,
        session_id: str = "",
        is_urgent: bool = False,
    ) -> Generation:
        """Count a request for a reply and start it: the only way to a model. May wait for a database.

        Args:
            scope: The request.
            entry: Who replies.
            open_stream: Asks the bot; gets the event that stops it.
            bot: Who is asked; it stays open until the reply has ended.
            session_id: The chat the reply belongs to; empty when it belongs to none.
            is_urgent: Somebody in a crisis is answered, without a model: it counts as a request of the page and not as
                a reply, and waits for nobody.

        Raises:
            GuardError: Too young, too many requests, too many waiting, or this chat has a reply running.
        """
        visitor = visitor_of(scope)
        self.age.require(visitor, entry.rating)
        names = counted_names(scope, visitor)
        if is_urgent:
            self.limits.take_page_request(names)
        else:
            grant = self.limits.ask(names)
            note_grant(scope, grant)
            if grant.refusal:
                raise grant.refusal
        retiring = self.library.retiring

        def ended(num_tokens: int) -> None:
            try:
                self.limits.spend(names, num_tokens=num_tokens)
            finally:
                retiring.release(bot)

        terms = Terms(
            owner=names[0] if visitor.way != "shared_key" else names[-1],
            # Characters on one model share it, so they also share the way to it.
            lane=entry.config.model.base if entry.config else entry.id,
            session_id=session_id,
            require_allowed=lambda: self._require_still(visitor, entry),
            ended=ended,
            is_urgent=is_urgent,
        )
        retiring.hold(bot)
        try:
            return self.generations.start(self.metrics.watched(open_stream), terms=terms)
        except BaseException:
            retiring.release(bot)
            raise

    def _require_still(self, visitor: Visitor, entry: Entry) -> None:
        """Refuse a reply that goes on although its visitor's proof was revoked or its character is rated anew."""
        rating = entry.rating
        with suppress(GuardError):  # a character that has just been taken away keeps its rating to the end
            rating = max(rating, self.library.entry(entry.id).rating, key=RATINGS.index)
        self.age.require(visitor, rating)


def counted_names(scope: Scope, visitor: Visitor) -> tuple[str, ...]:
    """Return every name a visitor is counted under."""
    names = [f"address:{address_of(scope)}"]
    if visitor.way == "shared_key":
        return (SHARED_KEY, *names)
    if visitor.way != "local":
        names.insert(0, f"account:{visitor.account}")
    if visitor.key_id:
        names.append(f"key:{visitor.key_id}")
    return tuple(names)
