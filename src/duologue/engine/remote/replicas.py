"""Several servers with the same model: which one is asked, which is left alone, and when a request is made again.

A request goes to the server with the fewest requests of ours, and to the one that has read the same chat before while
that is not much busier, because it still has the chat's state. A server that failed is left alone for a growing time
and must then list its models before it gets a request. A request is made again only while nothing of its reply was
shown; waiting times are random between zero and their bound ("full jitter", Brooker 2015), so that many who failed
together do not come back together.
"""

import hashlib
import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from duologue.engine.remote.client import Chunk, RemoteClient
from duologue.engine.remote.faults import ServerFault
from duologue.errors import EngineError

NUM_RETRIES = 2  # of one request at one server
MAX_SECONDS = 1800.0  # of one reply: 600 tokens at the 0.4 tokens/s of a large model in system memory
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 6.0  # a person is waiting: a server that asks for more is not waited for
_FIRST_REST_SECONDS = 1.0
_LONGEST_REST_SECONDS = 60.0
_STICKY_FRACTION = 0.5  # of the prompt that a server must have read before to be preferred
_STICKY_BOUND = 2  # requests more than the least busy one that it may have
_MAX_KNOWN = 20_000  # beginnings of chats remembered for a server, 2.5 MB

Trail = tuple[tuple[bytes, int], ...]  # of each beginning of a prompt: a digest, and its characters


@dataclass(slots=True, eq=False)
class Replica:
    """A server and what is known of it.

    Attributes:
        client: The way to it.
        num_running: Requests of ours that it is answering.
        num_failures: Failures since it last replied.
        failed_at: When it failed last, monotonic.
        rests_until: Until when it is left alone, monotonic.
        num_trials: Requests that are finding out whether it is back after a failure.
        known: Digests of the beginnings of prompts it has read, the latest at the end.
    """

    client: RemoteClient
    num_running: int = 0
    num_failures: int = 0
    failed_at: float = float("-inf")
    rests_until: float = float("-inf")
    num_trials: int = 0
    known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def share_known(self, trail: Trail) -> float:
        """Return the share of a prompt whose beginning it has read before."""
        total = max(trail[-1][1], 1) if trail else 1
        return next((size / total for digest, size in reversed(trail) if digest in self.known), 0.0)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A request's place at a server; a trial must see the server's list of models before it asks."""

    replica: Replica
    is_trial: bool


class Replicas:
    """The servers behind one model. Any thread may stream."""

    def __init__(
        self,
        clients: Sequence[RemoteClient],
        *,
        model: str,
        max_seconds: float = MAX_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the servers.

        Args:
            clients: The ways to them.
            model: The model's name on each.
            max_seconds: Longest time of one reply.
            clock: Monotonic time.
        """
        self._replicas = tuple(Replica(client) for client in clients)
        self._model = model
        self._max_seconds = max_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._random = random.Random()
        self._salt = os.urandom(16)  # what is remembered of a chat says nothing about it

    def stream(self, body: Chunk, *, cancel: threading.Event) -> Generator[Chunk, None, None]:
        """Yield the chunks of a chat completion from the server that suits best.

        Raises:
            EngineError: No server gave a reply, or one broke off in the middle of it.
        """
        trail = self._trail(body)
        faults: dict[Replica, ServerFault] = {}
        num_tries = dict.fromkeys(self._replicas, 0)
        while True:
            turn = self._borrow(trail, faults, num_tries)
            if turn is None:
                raise summed_up(tuple(faults.values()), num_replicas=len(self._replicas))
            replica = turn.replica
            if replica in faults and cancel.wait(self._pause(faults[replica], num_tries[replica])):
                self._give_back(turn)
                return
            num_tries[replica] += 1
            fault = yield from self._asked(turn, body, trail, cancel)
            if fault is None:
                return
            faults[replica] = fault

    def note_failure(self, client: RemoteClient, fault: ServerFault) -> None:
        """Leave a server alone for a while that failed before any request."""
        replica = next(each for each in self._replicas if each.client is client)
        self._failed(replica, fault, began_at=self._clock())

    def _asked(
        self, turn: _Turn, body: Chunk, trail: Trail, cancel: threading.Event
    ) -> Generator[Chunk, None, ServerFault | None]:
        """Yield one server's reply; return its fault where the request may be made again."""
        replica, began_at = turn.replica, self._clock()
        has_begun = False
        try:
            chunks = replica.client.stream(
                body,
                cancel=cancel,
                looks_for=self._model if turn.is_trial else "",
                max_seconds=self._max_seconds,
            )
            with closing(chunks):
                for chunk in chunks:
                    if not has_begun and _says_something(chunk):
                        has_begun = True
                        self._replied(replica, trail)
                    yield chunk
            if not has_begun and not cancel.is_set():
                raise ServerFault(
                    "the server ended the reply without a finish reason",
                    replica.client.url,
                    action="Try again.",
                    again="anywhere",
                    is_down=True,
                )
        except ServerFault as fault:
            self._failed(replica, fault, began_at=began_at)
            if has_begun or cancel.is_set() or fault.again == "nowhere":
                raise
            return fault
        finally:
            self._give_back(turn)
        return None

    def _borrow(self, trail: Trail, faults: dict[Replica, ServerFault], num_tries: dict[Replica, int]) -> _Turn | None:
        """Return the server to ask next, counted as busier by one; None when there is none left."""
        with self._lock:
            now = self._clock()
            left = [each for each in self._replicas if each not in faults]
            left = left or [each for each, fault in faults.items() if _may_ask_again(fault, num_tries[each])]
            if not left:
                return None
            ready = [each for each in left if each.rests_until <= now and not each.num_trials]
            # Where all are left alone, somebody still waits: the one that may be back soonest is asked all the same.
            chosen = self._least_busy(ready, trail) if ready else min(left, key=lambda each: each.rests_until)
            chosen.num_running += 1
            chosen.num_trials += chosen.num_failures > 0
            return _Turn(chosen, is_trial=chosen.num_failures > 0)

    def _least_busy(self, ready: list[Replica], trail: Trail) -> Replica:
        least = min(each.num_running for each in ready)
        shares = {each: each.share_known(trail) for each in ready if each.num_running <= least + _STICKY_BOUND}
        best = max(shares.values())
        if best >= _STICKY_FRACTION:
            ready = [each for each, share in shares.items() if share == best]
            least = min(each.num_running for each in ready)
        return self._random.choice([each for each in ready if each.num_running == least])

    def _pause(self, fault: ServerFault, num_tries: int) -> float:
        """Return the seconds until a server is asked a second time for the same reply."""
        drawn = self._random.uniform(0, _FIRST_WAIT_SECONDS * 2**num_tries)
        return max(fault.retry_after_seconds, 0.0) + drawn

    def _replied(self, replica: Replica, trail: Trail) -> None:
        with self._lock:
            replica.num_failures = 0
            for digest, _ in trail:
                replica.known[digest] = None
                replica.known.move_to_end(digest)
            while len(replica.known) > _MAX_KNOWN:
                replica.known.popitem(last=False)

    def _failed(self, replica: Replica, fault: ServerFault, *, began_at: float) -> None:
        if not fault.is_down:
            return
        with self._lock:
            if began_at < replica.failed_at:
                return  # one of several requests that a failure ended together
            replica.failed_at = self._clock()
            replica.num_failures += 1
            longest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2.0 ** min(replica.num_failures - 1, 10))
            asked_for = min(max(fault.retry_after_seconds, 0.0), _LONGEST_REST_SECONDS)
            replica.rests_until = replica.failed_at + max(self._random.uniform(longest / 2, longest), asked_for)

    def _give_back(self, turn: _Turn) -> None:
        with self._lock:
            turn.replica.num_running -= 1
            turn.replica.num_trials -= turn.is_trial

    def _trail(self, body: Chunk) -> Trail:
        """Return a digest of each beginning of the prompt that ends with a message."""
        digest = hashlib.blake2b(self._salt, digest_size=16)
        trail, size = [], 0
        for message in body["messages"]:
            text = f"{message['role']}\x00{message['content']}\x00"
            digest.update(text.encode("utf-8", "surrogatepass"))
            size += len(text)
            trail.append((digest.digest(), size))
        return tuple(trail)


def _may_ask_again(fault: ServerFault, num_tries: int) -> bool:
    is_patient = fault.retry_after_seconds <= _LONGEST_WAIT_SECONDS
    return fault.again == "anywhere" and num_tries <= NUM_RETRIES and is_patient


def _says_something(chunk: Chunk) -> bool:
    """Return whether a chunk carries text or the end of the reply; what follows is judged by who reads it."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else choices
    if not choice:
        return "choices" not in chunk  # an account of tokens has an empty list
    if not isinstance(choice, dict):
        return True
    delta = choice.get("delta")
    return bool(choice.get("finish_reason") or (delta.get("content") if isinstance(delta, dict) else delta))


def summed_up(faults: Sequence[ServerFault], *, num_replicas: int) -> EngineError:
    """Return one error for what all servers have said."""
    if num_replicas == 1:
        return faults[0]
    told = "; ".join(f"{fault.where}: {fault.found}" for fault in faults)
    return EngineError(
        f"none of the {num_replicas} servers gave a reply ({told})",
        where="model.base",
        action="Check that they run and that their addresses are right.",
    )
