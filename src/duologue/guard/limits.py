"""What a visitor may ask for: replies, generated tokens, requests of the page, counted under every name of theirs."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from duologue.config import GuardSection
from duologue.errors import GuardError
from duologue.guard.rate import MAX_CLIENTS, Allowance, Charge, Counts, MemoryCounts, Quota, too_many

if TYPE_CHECKING:
    from duologue.guard.shared_rate import SharedCounts

# People of one household or office come from one address. Where accounts tell them apart, their address gets more. Of
# a key that several people have, each address gets what one visitor gets, and the key as a whole gets more.
SHARED_ADDRESS_FACTOR = 4
SHARED_KEY = "key:shared"
_NAMES_PER_CLIENT = 3  # key, account, address
_BURST_PART = 4  # of what the page may ask in a minute is granted at once
_SHOWN = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to somebody who asks for a reply.

    Attributes:
        requests: What is left of the requests, under the name with the least.
        tokens: What is left of this minute's tokens, under the name with the least.
        refusal: Why there is no reply now; None when there is.
    """

    requests: Allowance
    tokens: Allowance
    refusal: GuardError | None = None


class Limits:
    """Counts what visitors ask for.

    Args:
        settings: How much is granted.
        redis_url: Address of a Redis server that several replicas share; empty counts in this process.
        max_clients: Visitors remembered at the same time.
    """

    def __init__(self, settings: GuardSection, *, redis_url: str = "", max_clients: int = MAX_CLIENTS) -> None:
        """Start with nobody seen."""
        self._quotas = (
            Quota("requests", settings.burst, 60.0 / settings.requests_per_minute),
            Quota("tokens", settings.reply_tokens_per_minute, 60.0 / settings.reply_tokens_per_minute, may_owe=True),
            Quota("day", settings.reply_tokens_per_day, 86_400.0 / settings.reply_tokens_per_day, may_owe=True),
        )
        self._needed = {
            "requests": f"at most {settings.requests_per_minute} per minute",
            "tokens": f"at most {settings.reply_tokens_per_minute} per minute",
            "day": f"at most {settings.reply_tokens_per_day} per day",
        }
        per_minute = settings.page_requests_per_minute
        self._page = Quota("page", max(1, per_minute // _BURST_PART), 60.0 / per_minute)
        self._needed["page"] = f"at most {per_minute} per minute"
        num_names = max_clients * _NAMES_PER_CLIENT * len(self._needed)
        self._counts, self._shared = open_counts(redis_url, max_clients=num_names)
        self.num_refused = 0

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """What one visitor is granted: requests, tokens of a minute, tokens of a day."""
        return self._quotas

    @property
    def num_failures(self) -> int:
        """How often Redis did not answer; 0 without one."""
        return self._shared.num_failures if self._shared else 0

    @property
    def is_shared(self) -> bool:
        """Whether replicas count together now."""
        return self._shared is not None and not self._shared.is_away

    def ask(self, names: Sequence[str]) -> Grant:
        """Count a request for a reply under every name, or refuse it and count nothing.

        Args:
            names: Every name the visitor is counted under, such as `account:lila` and `address:10.0.0.7`.
        """
        charges = _charges(names, {quota: int(quota.name == "requests") for quota in self._quotas})
        outcome = self._counts.charge(charges)
        left = [
            (charge, Allowance.of(charge.quota, ahead), charge.missing_seconds(ahead))
            for charge, ahead in zip(charges, outcome.ahead_seconds, strict=True)
        ]
        requests, tokens = (_least([each for charge, each, _ in left if charge.quota.name == name]) for name in _SHOWN)
        if not outcome.wait_seconds:
            return Grant(requests, tokens)
        self.num_refused += 1
        name = max(left, key=lambda each: each[2])[0].quota.name
        what = "requests" if name == "requests" else "generated tokens"
        return Grant(requests, tokens, too_many(what, self._needed[name], outcome.wait_seconds))

    def take(self, names: Sequence[str]) -> Allowance:
        """Grant one request for a reply.

        Args:
            names: As for `ask`.

        Raises:
            GuardError: With reason `rate_limit_exceeded` and the seconds until the next request is granted.
        """
        grant = self.ask(names)
        if grant.refusal:
            raise grant.refusal
        return grant.requests

    def take_page_request(self, names: Sequence[str]) -> None:
        """Grant one request of the page, whatever it asks for.

        Args:
            names: As for `ask`.

        Raises:
            GuardError: As `take`.
        """
        outcome = self._counts.charge(_charges(names, {self._page: 1}))
        if outcome.wait_seconds:
            self.num_refused += 1
            raise too_many("requests", self._needed["page"], outcome.wait_seconds)

    def spend(self, names: Sequence[str], *, num_tokens: int) -> None:
        """Count tokens that were generated; more than is left is a debt that the next request waits for."""
        if num_tokens > 0:
            amounts = {quota: num_tokens for quota in self._quotas if quota.may_owe}
            self._counts.charge(_charges(names, amounts), is_used=True)

    def close(self) -> None:
        """Let the connection to Redis go."""
        if self._shared:
            self._shared.close()


def open_counts(redis_url: str, *, max_clients: int) -> tuple[Counts, "SharedCounts | None"]:
    """Return where to count, and the same where it is shared.

    Args:
        redis_url: Address of a Redis server that several replicas share; empty counts in this process.
        max_clients: Names remembered at the same time in this process.
    """
    own = MemoryCounts(max_clients=max_clients)
    if not redis_url:
        return own, None
    from duologue.guard.shared_rate import SharedCounts

    shared = SharedCounts(redis_url, own)
    return shared, shared


def _charges(names: Sequence[str], amounts: Mapping[Quota, int]) -> list[Charge]:
    charges = []
    for name in names:
        is_shared = len(names) > 1 and (name == SHARED_KEY if SHARED_KEY in names else name.startswith("address:"))
        for quota, amount in amounts.items():
            charges.append(Charge(f"{quota.name}:{name}", _widened(quota) if is_shared else quota, amount))
    return charges


@functools.cache
def _widened(quota: Quota) -> Quota:
    """Return what an address is granted whose people are told apart, or a key whose addresses are."""
    factor = SHARED_ADDRESS_FACTOR
    return replace(quota, burst=quota.burst * factor, interval_seconds=quota.interval_seconds / factor)


def _least(allowances: list[Allowance]) -> Allowance:
    return min(allowances, key=lambda allowance: allowance.remaining / allowance.limit)
