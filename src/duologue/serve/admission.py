"""The line in front of the models: bounded, fair to everyone in it, and with a place that each one can see.

Everyone in line gets a turn before anyone gets a second one; among equals, who came first. Somebody who asks for twenty
replies at once so waits for nineteen of them behind everyone who asks for one. When the line is full, a newcomer who
has less in it than somebody else takes the place of that one's last request.

This is start-time fair queueing (Goyal, Vin and Cheng, 1996) where each reply counts as one round.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from duologue.errors import GuardError

_RETRY_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in line.

    Attributes:
        owner: Who waits.
        lane: The model that is waited for.
        arrival: Number in the order of arrival.
        round: In which round it is its turn; an owner has one turn a round.
        moved: Told the place whenever it changes: 1 is next, 0 is at the model.
        place: As last told.
        is_ready: Whether its holder waits for it; until then others may pass.
        is_running: Whether it is at the model.
        refusal: Why it lost its place, if it did.
        called: Set when it is its turn, or when it lost its place.
    """

    owner: str
    lane: str
    arrival: int
    round: int
    moved: Callable[[int], None]
    place: int = 0
    is_ready: bool = False
    is_running: bool = False
    refusal: GuardError | None = None
    called: threading.Event = field(default_factory=threading.Event)


class Line:
    """The way to the models.

    Args:
        max_waiting: Tickets that may wait; more are refused.
        max_running: Lanes that may be at work at the same time.
        per_lane: Tickets that may be at work in each.
    """

    def __init__(self, max_waiting: int, *, max_running: int = 1, per_lane: int = 1) -> None:
        """Start with nobody in it."""
        self._max_waiting = max_waiting
        self._max_running = max_running
        self._per_lane = per_lane
        self._lock = threading.Lock()
        self._num_arrived = 0
        self._round = 0  # of the ticket that was called last
        self._next_rounds: dict[str, int] = {}  # of owners who have had a turn in this round or wait for a later one
        self._running: list[Ticket] = []
        self._waiting: list[Ticket] = []

    def join(self, owner: str, lane: str, moved: Callable[[int], None]) -> Ticket:
        """Take a place in line.

        Raises:
            GuardError: With reason `busy`: the line is full, and nobody in it has more than the newcomer.
        """
        with self._lock:
            self._num_arrived += 1
            ticket = Ticket(owner, lane, self._num_arrived, self._next_round(owner), moved)
            self._next_rounds[owner] = ticket.round + 1
            self._waiting.append(ticket)
            # Beside those who wait there may be as many newcomers as there are free models.
            num_free = self._max_running * self._per_lane - len(self._running)
            if len(self._waiting) > self._max_waiting + num_free:
                self._drop_last(ticket)
            self._tell()
            return ticket

    def wait(self, ticket: Ticket) -> bool:
        """Wait for the ticket's turn; return False when it lost its place."""
        with self._lock:
            ticket.is_ready = True
            self._admit()
        ticket.called.wait()
        return ticket.is_running

    def leave(self, ticket: Ticket) -> None:
        """Give up a place, at the model or in line; a second time does nothing."""
        with self._lock:
            if ticket in self._running:
                self._running.remove(ticket)
            elif ticket in self._waiting:
                self._withdraw(ticket)
            else:
                return
            ticket.called.set()
            self._admit()

    @property
    def num_waiting(self) -> int:
        """How many are in line, those at the models left out."""
        with self._lock:
            return len(self._waiting)

    def _drop_last(self, newcomer: Ticket) -> None:
        num_waiting = Counter(ticket.owner for ticket in self._waiting)
        fair_share = num_waiting[newcomer.owner]
        with_more = [ticket for ticket in self._ordered() if num_waiting[ticket.owner] > fair_share]
        last = with_more[-1] if with_more else newcomer
        self._withdraw(last)
        error = GuardError(
            f"{self._max_waiting} requests are waiting already",
            reason="busy",
            retry_after_seconds=_RETRY_SECONDS,
            action="Try again in a moment.",
        )
        if last is newcomer:
            raise error
        last.refusal = error
        last.called.set()

    def _admit(self) -> None:
        for ticket in self._ordered():
            lanes = Counter(other.lane for other in self._running)
            has_room = lanes[ticket.lane] < self._per_lane if lanes[ticket.lane] else len(lanes) < self._max_running
            if ticket.is_ready and has_room:
                self._waiting.remove(ticket)
                self._running.append(ticket)
                ticket.is_running = True
                ticket.called.set()
                self._round = max(self._round, ticket.round)
                # Whoever may have a turn in this round needs no note of it: so only those in line are remembered.
                self._next_rounds = {owner: each for owner, each in self._next_rounds.items() if each > self._round}
        self._tell()

    def _next_round(self, owner: str) -> int:
        return max(self._round, self._next_rounds.get(owner, 0))

    def _withdraw(self, ticket: Ticket) -> None:
        """Take a ticket out of the line; its owner's next one may have its round."""
        self._waiting.remove(ticket)
        if self._next_rounds.get(ticket.owner) == ticket.round + 1:
            self._next_rounds[ticket.owner] = ticket.round

    def _ordered(self) -> list[Ticket]:
        """Return those who wait, next one first."""
        return sorted(self._waiting, key=lambda ticket: (ticket.round, ticket.arrival))

    def _tell(self) -> None:
        places = {ticket: place for place, ticket in enumerate(self._ordered(), start=1)}
        for ticket in (*self._running, *places):
            place = places.get(ticket, 0)
            if place != ticket.place:
                ticket.place = place
                ticket.moved(place)
