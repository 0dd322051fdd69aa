"""Duels: two replies to the same turn, and which of them somebody liked better, without knowing whose they were."""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from duologue.store import Database, Migration, open_database

Pick = Literal["left", "right", "tie", "both_bad"]
_Z = 1.959964  # the middle 95% of a normal distribution

# All that a later model of strengths may need: the turn, both replies as they were, how they were drawn, and when.
_MIGRATIONS: tuple[Migration, ...] = (
    """
    CREATE TABLE duels (
        id TEXT PRIMARY KEY,
        account TEXT NOT NULL,
        character TEXT NOT NULL,
        base TEXT NOT NULL,
        messages TEXT NOT NULL,
        left_run TEXT NOT NULL,
        right_run TEXT NOT NULL,
        left_reply TEXT NOT NULL,
        right_reply TEXT NOT NULL,
        left_facts TEXT NOT NULL,
        right_facts TEXT NOT NULL,
        sampling TEXT NOT NULL,
        made_at TEXT NOT NULL,
        pick TEXT NOT NULL DEFAULT '' CHECK (pick IN ('', 'left', 'right', 'tie', 'both_bad')),
        picked_at TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX duels_by_account ON duels (character, account, pick);
    """,
)


@dataclass(frozen=True, slots=True)
class Duel:
    """Two replies to one turn.

    Attributes:
        id: Of the duel.
        account: Who picks.
        character: Whose replies they are.
        base: Name of the base model.
        messages: The turn and what came before it, as role and content.
        left_run: Whose the left reply is: the name of a run, or `base`.
        right_run: Whose the right one is.
        left_reply: Its text.
        right_reply: Its text.
        left_facts: What is known of how it came about: tokens, seconds, how it ended.
        right_facts: The same of the right one.
        sampling: How both were drawn, the seed included.
        pick: What was picked; empty until then.
    """

    id: str
    account: str
    character: str
    base: str
    messages: tuple[Mapping[str, str], ...]
    left_run: str
    right_run: str
    left_reply: str
    right_reply: str
    left_facts: Mapping[str, Any]
    right_facts: Mapping[str, Any]
    sampling: Mapping[str, Any]
    pick: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How two runs stand against each other after some picks.

    Attributes:
        first: A run, or `base`.
        second: The other.
        first_wins: Picks of the first's reply.
        second_wins: Picks of the second's.
        ties: Both were equally good.
        both_bad: Neither was good.
        low: Lower end of the 95% interval of the first's share of all decided picks (Wilson).
        high: Its upper end.
    """

    first: str
    second: str
    first_wins: int
    second_wins: int
    ties: int
    both_bad: int
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """Return the standing, with who is ahead where that is more than luck."""
        leader = self.first if self.low > 0.5 else self.second if self.high < 0.5 else ""
        num = self.first_wins + self.second_wins + self.ties + self.both_bad
        return {name: getattr(self, name) for name in self.__slots__} | {"num_picks": num, "leader": leader}


def keep(folder: Path, duel: Duel) -> None:
    """Keep a duel whose replies are there.

    Raises:
        DataError: The disk is full or failed.
    """
    with closing(_open(folder)) as database, database.write() as cursor:
        cursor.execute(
            "INSERT INTO duels (id, account, character, base, messages, left_run, right_run, left_reply, right_reply,"
            " left_facts, right_facts, sampling, made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(duel.id, duel.account, duel.character, duel.base, _json(duel.messages)),
                *(duel.left_run, duel.right_run, duel.left_reply, duel.right_reply),
                *(_json(duel.left_facts), _json(duel.right_facts), _json(duel.sampling), _now()),
            ),
        )


def find(folder: Path, duel_id: str, *, account: str, character: str) -> Duel | None:
    """Return a duel of somebody, or None."""
    if not _path(folder).is_file():
        return None
    with closing(_open(folder)) as database:
        rows = database.read(
            "SELECT * FROM duels WHERE id = ? AND account = ? AND character = ?", (duel_id, account, character)
        )
    if not rows:
        return None
    row = rows[0]
    texts = {name: row[name] for name in Duel.__slots__ if name not in ("messages", *_JSON)}
    return Duel(**texts, messages=tuple(json.loads(row["messages"])), **{name: json.loads(row[name]) for name in _JSON})


def put_pick(folder: Path, duel: Duel, pick: Pick) -> bool:
    """Keep what was picked; return False when something was picked before, which stays."""
    with closing(_open(folder)) as database, database.write() as cursor:
        cursor.execute("UPDATE duels SET pick = ?, picked_at = ? WHERE id = ? AND pick = ''", (pick, _now(), duel.id))
        return cursor.rowcount == 1


def standings(folder: Path, *, character: str, account: str) -> tuple[Standing, ...]:
    """Return how every two runs stand that somebody has compared; of all accounts when `account` is empty."""
    if not _path(folder).is_file():
        return ()
    with closing(_open(folder)) as database:
        rows = database.read(
            "SELECT left_run, right_run, pick, count(*) AS num FROM duels WHERE character = ? AND pick <> ''"
            " AND (account = ? OR ? = '') GROUP BY left_run, right_run, pick",
            (character, account, account),
        )
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        first, second = sorted((row["left_run"], row["right_run"]), reverse=True)  # `base` comes before no date
        winner = {"left": row["left_run"], "right": row["right_run"]}.get(row["pick"], row["pick"])
        pair = counts.setdefault((first, second), {})
        pair[winner] = pair.get(winner, 0) + row["num"]
    return tuple(_standing(pair, counts[pair]) for pair in sorted(counts))


def wilson(num_wins: int, num: int) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927, JASA 22, 209-212); all that can be where nothing was decided."""
    if not num:
        return 0.0, 1.0
    share, square = num_wins / num, _Z * _Z
    middle = (share + square / (2 * num)) / (1 + square / num)
    half = _Z / (1 + square / num) * math.sqrt(share * (1 - share) / num + square / (4 * num * num))
    return max(0.0, middle - half), min(1.0, middle + half)


_JSON = ("left_facts", "right_facts", "sampling")


def _standing(pair: tuple[str, str], counts: Mapping[str, int]) -> Standing:
    first, second = pair if pair[1] == "base" or pair[0] != "base" else (pair[1], pair[0])  # the base comes second
    wins = counts.get(first, 0), counts.get(second, 0)
    low, high = wilson(wins[0], sum(wins))
    return Standing(first, second, *wins, counts.get("tie", 0), counts.get("both_bad", 0), low, high)


def _open(folder: Path) -> Database:
    return open_database(_path(folder), migrations=_MIGRATIONS, name="duels")


def _path(folder: Path) -> Path:
    return folder / "duels.sqlite"


def _json(value: Mapping[str, Any] | Iterable[Mapping[str, str]]) -> str:
    return json.dumps(value if isinstance(value, Mapping) else list(value), ensure_ascii=False, default=str)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
