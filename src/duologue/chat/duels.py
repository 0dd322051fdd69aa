"""Duels: two replies to the same turn, and which of them somebody liked better, without knowing whose they were."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from duologue.chat import strengths
from duologue.chat.strengths import Strengths
from duologue.messages import Message, Preference
from duologue.store import Database, Migration, Row, open_database

Pick = Literal["left", "right", "tie", "both_bad"]
BASE = "base"  # stands for the base model where a run's name is asked for

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
        both_bad: Neither was good; counted and shown, of no weight in who is ahead.
        low: Lower end of the first's share of all decided picks, with 95% certainty however often one looks.
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

    @property
    def num_picks(self) -> int:
        """All picks, the ties and the bad ones too."""
        return self.first_wins + self.second_wins + self.ties + self.both_bad

    @property
    def leader(self) -> str:
        """Who is ahead where that is more than luck; empty where it is not."""
        return self.first if self.low > 0.5 else self.second if self.high < 0.5 else ""

    @property
    def picks_needed(self) -> int | None:
        """About how many more picks until it is more than luck; None when there is no telling."""
        undecided = self.ties + self.both_bad
        return strengths.picks_needed(self.first_wins, self.second_wins, num_undecided=undecided)

    def as_json(self) -> dict[str, Any]:
        """Return the standing, with who is ahead where that is more than luck."""
        more = {"num_picks": self.num_picks, "leader": self.leader, "picks_needed": self.picks_needed}
        return {name: getattr(self, name) for name in self.__slots__} | more


def keep(folder: Path, duel: Duel) -> None:
    """Keep a duel whose replies are there, with its pick if something was picked already.

    Raises:
        DataError: The disk is full or failed.
    """
    picked_at = _now() if duel.pick else ""
    with closing(_open(folder)) as database, database.write() as cursor:
        cursor.execute(
            "INSERT INTO duels (id, account, character, base, messages, left_run, right_run, left_reply, right_reply,"
            " left_facts, right_facts, sampling, made_at, pick, picked_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(duel.id, duel.account, duel.character, duel.base, _json(duel.messages)),
                *(duel.left_run, duel.right_run, duel.left_reply, duel.right_reply),
                *(_json(duel.left_facts), _json(duel.right_facts), _json(duel.sampling), _now(), duel.pick, picked_at),
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
    return _duel(rows[0])


def put_pick(folder: Path, duel: Duel, pick: Pick) -> bool:
    """Keep what was picked; return False when something was picked before, which stays."""
    with closing(_open(folder)) as database, database.write() as cursor:
        cursor.execute("UPDATE duels SET pick = ?, picked_at = ? WHERE id = ? AND pick = ''", (pick, _now(), duel.id))
        return cursor.rowcount == 1


def remove(folder: Path, duel_id: str, *, account: str = "") -> bool:
    """Erase a duel and its pick; return False when there is none of that account (of any, when it is empty).

    Raises:
        DataError: The disk is full or failed, or another program reads the file.
    """
    return _erase(folder, "id = ? AND (account = ? OR ? = '')", (duel_id, account, account)) == 1


def forget_account(folder: Path, account: str) -> int:
    """Erase all duels of an account, with every character; return how many there were.

    Raises:
        DataError: The disk is full or failed, or another program reads the file.
    """
    return _erase(folder, "account = ?", (account,))


def picked(folder: Path, *, character: str, account: str = "") -> tuple[Duel, ...]:
    """Return the duels in which one reply was picked, oldest first.

    A tie says nothing of which reply is better, nor does a pick between two replies that are the same word for word.

    Args:
        folder: The character's folder.
        character: Its id: `slug` of the card's name.
        account: Whose picks; everybody's when empty.
    """
    if not _path(folder).is_file():
        return ()
    with closing(_open(folder)) as database:
        rows = database.read(
            "SELECT * FROM duels WHERE character = ? AND pick IN ('left', 'right') AND left_reply <> right_reply"
            " AND (account = ? OR ? = '') ORDER BY picked_at, made_at, id",
            (character, account, account),
        )
    return tuple(map(_duel, rows))


def preference_of(duel: Duel) -> Preference | None:
    """Return what to learn from a pick; None where the better reply did not end by itself, or the other was stopped.

    A reply that was cut at its greatest length would be learned as one that ends there.
    """
    sides = (duel.left_reply, duel.left_facts), (duel.right_reply, duel.right_facts)
    (chosen, how_chosen), (rejected, how_rejected) = sides if duel.pick == "left" else sides[::-1]
    if how_chosen.get(_REASON, "stop") != "stop" or how_rejected.get(_REASON, "stop") not in _ENDED:
        return None
    context = tuple(
        Message("user" if said["role"] == "user" else "assistant", said["content"])
        for said in duel.messages
        if said["role"] != "system"
    )
    return Preference(context, chosen, rejected, f"duel {duel.id}")


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
        first, second = sorted((row["left_run"], row["right_run"]), key=_order, reverse=True)
        winner = {"left": row["left_run"], "right": row["right_run"]}.get(row["pick"], row["pick"])
        pair = counts.setdefault((first, second), {})
        pair[winner] = pair.get(winner, 0) + row["num"]
    return tuple(_standing(pair, counts[pair]) for pair in sorted(counts, key=lambda pair: tuple(map(_order, pair))))


def strengths_of(standings: Sequence[Standing]) -> Strengths:
    """Return how strong each run is that was compared, the base model being zero."""
    pairs = [
        strengths.Compared(each.first, each.second, each.first_wins, each.second_wins, each.ties, each.both_bad)
        for each in standings
    ]
    return strengths.fit(pairs, reference=BASE)


_REASON, _ENDED = "finish_reason", ("stop", "length")  # of the facts; older duels may not tell
_JSON = ("left_facts", "right_facts", "sampling")


def _order(run: str) -> tuple[str, int]:
    """Sort by date and number; the base before all, so that it stands second in a pair."""
    date, _, number = run.rpartition("-")
    return ("", 0) if run == BASE else (date, int(number)) if number.isdecimal() else (run, 0)


def _standing(pair: tuple[str, str], counts: Mapping[str, int]) -> Standing:
    wins = counts.get(pair[0], 0), counts.get(pair[1], 0)
    low, high = strengths.share_interval(*wins)
    return Standing(*pair, *wins, counts.get("tie", 0), counts.get("both_bad", 0), low, high)


def _duel(row: Row) -> Duel:
    texts = {name: row[name] for name in Duel.__slots__ if name not in ("messages", *_JSON)}
    return Duel(**texts, messages=tuple(json.loads(row["messages"])), **{name: json.loads(row[name]) for name in _JSON})


def _erase(folder: Path, which: str, values: tuple[str, ...]) -> int:
    if not _path(folder).is_file():
        return 0
    with closing(_open(folder)) as database:
        with database.write() as cursor:
            cursor.execute(f"DELETE FROM duels WHERE {which}", values)  # noqa: S608  (two conditions, both ours)
            num_erased = cursor.rowcount
        database.purge()
    return num_erased


def _open(folder: Path) -> Database:
    return open_database(_path(folder), migrations=_MIGRATIONS, name="duels")


def _path(folder: Path) -> Path:
    return folder / "duels.sqlite"


def _json(value: Mapping[str, Any] | Iterable[Mapping[str, str]]) -> str:
    return json.dumps(value if isinstance(value, Mapping) else list(value), ensure_ascii=False, default=str)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
