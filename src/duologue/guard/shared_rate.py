"""Counts that several replicas of the server share, in Redis; while Redis is away, each replica counts by itself."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from duologue.guard.rate import Charge, MemoryCounts, Outcome

log = logging.getLogger("duologue.guard")

_PREFIX = "duologue:used:"
_ANSWER_SECONDS = 0.25  # a reply is not held up longer than this by a Redis that does not answer
_AWAY_SECONDS = 5.0  # then it is not asked for this time
# One clock for all replicas: that of Redis, which is the wall clock of its machine. A clock that is set back by an hour
# would lock clients out for an hour, so a time that lies further ahead than its quota allows is drawn back to that.
_SCRIPT = """
local time = redis.call('TIME')
local now = (time[1] - 1735689600) + time[2] / 1000000
local is_used = ARGV[1] == '1'
local ahead, wait = {}, 0
for at, key in ipairs(KEYS) do
    local interval, window, longest, amount = unpack(ARGV, at * 4 - 2, at * 4 + 1)
    local whole_at = tonumber(redis.call('GET', key) or now)
    ahead[at] = math.min(math.max(0, whole_at - now), tonumber(longest))
    wait = math.max(wait, ahead[at] + math.max(amount, 1) * interval - window)
end
local is_granted = wait <= 0.000001 or is_used
for at, key in ipairs(KEYS) do
    local interval, window, longest, amount = unpack(ARGV, at * 4 - 2, at * 4 + 1)
    if is_granted and tonumber(amount) > 0 then
        ahead[at] = math.min(ahead[at] + amount * interval, tonumber(longest))
        redis.call('SET', key, string.format('%.6f', now + ahead[at]), 'PX', math.ceil(ahead[at] * 1000))
    end
    ahead[at] = string.format('%.6f', ahead[at])
end
return {is_granted and '0' or string.format('%.6f', wait), ahead}
"""


class SharedCounts:
    """Counts in Redis, and in this process as well: what this replica has granted holds when Redis goes away.

    Args:
        url: Such as `redis://127.0.0.1:6379/0`.
        own: This process's counts.
    """

    def __init__(self, url: str, own: MemoryCounts) -> None:
        """Connect to nothing yet."""
        import redis  # 0.1 s that only replicas need
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._own = own
        self._errors = redis.RedisError
        client: Any = redis.Redis.from_url(
            url,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._lock = threading.Lock()
        self._away_until = 0.0  # monotonic
        self._is_away = False
        self.num_failures = 0

    @property
    def is_away(self) -> bool:
        """Whether Redis did not answer when it was last asked."""
        return self._is_away

    def charge(self, charges: Sequence[Charge], *, is_used: bool = False) -> Outcome:
        """Grant all charges or none; what is used already is charged whatever it is."""
        if time.monotonic() >= self._away_until:
            try:
                outcome = self._ask(charges, is_used=is_used)
            except self._errors as error:
                self._note_away(error)
            else:
                self._note_back()
                if not outcome.wait_seconds:
                    self._own.charge(charges, is_used=True)
                return outcome
        return self._own.charge(charges, is_used=is_used)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _ask(self, charges: Sequence[Charge], *, is_used: bool) -> Outcome:
        arguments: list[Any] = ["1" if is_used else "0"]
        for charge in charges:
            quota = charge.quota
            arguments += [quota.interval_seconds, quota.window_seconds, quota.longest_seconds, charge.amount]
        wait, ahead = self._script(keys=[_PREFIX + charge.key for charge in charges], args=arguments)
        return Outcome(float(wait), tuple(float(seconds) for seconds in ahead))

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            self.num_failures += 1
            self._away_until = time.monotonic() + _AWAY_SECONDS
            was_away, self._is_away = self._is_away, True
        if not was_away:
            log.warning("Redis does not answer (%s): this replica counts by itself until it does", error)

    def _note_back(self) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, False
        if was_away:
            log.warning("Redis answers again: limits are shared")
