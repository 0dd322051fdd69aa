"""Rounds of a duel in the terminal: a turn, two replies in an order that is drawn, a pick that is kept at once."""

import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from duologue.chat import Bot, duels
from duologue.cli.duel_turns import Turn, Turns
from duologue.cli.output import Output
from duologue.cli.show_duels import name_of
from duologue.engine import Sampling
from duologue.errors import GuardError
from duologue.messages import Message, Reply

_WIDE = 100  # columns from which two replies stand side by side: 48 for each are enough to read
_LOCAL_ACCOUNT = "local"  # one person at this machine, as on the page without accounts
_PICKS: Mapping[str, duels.Pick] = {"1": "left", "2": "right", "t": "tie", "b": "both_bad"}
_HELP = "1 or 2: this one is better, t: equally good, b: neither is good, s: skip, q: end"


@dataclass(frozen=True, slots=True)
class Contenders:
    """Two runs and who speaks for them.

    Attributes:
        pair: Their names.
        bots: By name.
    """

    pair: tuple[str, str]
    bots: Mapping[str, Bot]


class Rounds:
    """A person at the terminal picking.

    Attributes:
        kept: The duels of this sitting.
        num_skipped: Turns of which nothing was picked.
    """

    def __init__(self, contenders: Contenders, turns: Turns, out: Output, *, folder: Path, base: str) -> None:
        """Begin nothing."""
        self.kept: list[duels.Duel] = []
        self.num_skipped = 0
        self._contenders = contenders
        self._turns = turns
        self._out = out
        self._folder = folder
        self._base = base
        self._last_written = ""

    def run(self, num_rounds: int) -> None:
        """Go on until so many are picked (0: without an end), the person ends, or a file of turns is at its end."""
        self._out.say("Two replies each time, in an order that is drawn. Who they are is said at the end.")
        try:
            while not num_rounds or len(self.kept) < num_rounds:
                turn = self._next_turn()
                if turn is None:
                    return
                try:
                    goes_on = self._round(turn)
                except GuardError as error:
                    self._out.say(str(error), style="yellow")
                    self.num_skipped += 1
                    continue
                if not goes_on:
                    return
        except (KeyboardInterrupt, EOFError):
            self._out.say("\nended; every pick is kept")

    def summary(self) -> str:
        """Return who won how often in this sitting."""
        picks = Counter(_winner(duel) for duel in self.kept)
        won = [f"{name_of(run)} was picked {_times(picks[run])}" for run in self._contenders.pair]
        rest = [f"{picks[kind]} {words}" for kind, words in _UNDECIDED.items() if picks[kind]]
        lines = [
            f"{number}. reply 1: {name_of(duel.left_run)}, reply 2: {name_of(duel.right_run)}; {_PICK_WORDS[duel.pick]}"
            for number, duel in enumerate(self.kept, start=1)
        ]
        return "\n".join([*lines, "; ".join([*won, *rest])])

    def as_json(self) -> dict[str, Any]:
        """Return the sitting."""
        rounds = [
            {"id": duel.id, "left": duel.left_run, "right": duel.right_run, "pick": duel.pick} for duel in self.kept
        ]
        return {"rounds": rounds, "num_skipped": self.num_skipped}

    def _next_turn(self) -> Turn | None:
        typed = ""
        if not self._turns.is_file:
            draws = ", Enter draws a turn" if self._turns.pool else ""
            typed = self._ask(f"\nSay something (q ends{draws}): ")
            while not typed and not self._turns.pool:
                typed = self._ask("There is nothing to draw; say something: ")
            if typed.lower() == "q":
                return None
        return (Message("user", typed),) if typed else self._turns.draw()

    def _round(self, turn: Turn) -> bool:
        """Play one round; return whether to go on."""
        sides = self._contenders.pair if secrets.randbits(1) else self._contenders.pair[::-1]
        replies, sampling = self._replies(turn)
        shown = [replies[run].text for run in sides]
        self._show(turn, *shown)
        if shown[0] == shown[1]:
            self._out.say("Both say the same, word for word: equally good.")
            pick = "t"
        else:
            pick = self._picked()
        if pick in _PICKS:
            self._keep(turn, sides, replies, sampling=sampling, pick=_PICKS[pick])
        else:
            self.num_skipped += 1
        return pick != "q"

    def _replies(self, turn: Turn) -> tuple[dict[str, Reply], Sampling]:
        """Return both replies, and how both were drawn.

        The run that spoke last speaks first, so that its model need not be loaded anew, and nothing is shown before
        both are there: how soon a reply comes says nothing of whose it is.
        """
        order = sorted(self._contenders.pair, key=lambda run: run != self._last_written)
        sampling = replace(self._contenders.bots[order[0]].sampling(), seed=secrets.randbelow(2**31))
        replies = {}
        with self._out.progress_console.status("writing two replies"):
            for run in order:
                replies[run] = _reply(self._contenders.bots[run], turn, sampling)
                self._last_written = run
        return replies, sampling

    def _keep(
        self,
        turn: Turn,
        sides: tuple[str, str],
        replies: Mapping[str, Reply],
        *,
        sampling: Sampling,
        pick: duels.Pick,
    ) -> None:
        left, right = (replies[run] for run in sides)
        duel = duels.Duel(
            id=secrets.token_hex(8),
            account=_LOCAL_ACCOUNT,
            character=self._contenders.bots[sides[0]].model_id,
            base=self._base,
            messages=tuple({"role": message.role, "content": message.content} for message in turn),
            left_run=sides[0],
            right_run=sides[1],
            left_reply=left.text,
            right_reply=right.text,
            left_facts=_facts(left),
            right_facts=_facts(right),
            sampling=asdict(sampling),
            pick=pick,
        )
        duels.keep(self._folder, duel)
        self.kept.append(duel)
        self._out.say(f"kept; picked so far: {len(self.kept)}", style="dim")

    def _picked(self) -> Literal["1", "2", "t", "b", "s", "q"] | str:
        while True:
            self._out.say(f"({_HELP})")
            pick = self._ask("Which is better? ").lower()
            if pick in (*_PICKS, "s", "q"):
                return pick
            self._out.say(f"'{pick}' is none of these")

    def _ask(self, question: str) -> str:
        self._out.console.print(question, end="", markup=False, soft_wrap=True)
        self._out.console.file.flush()
        return input().strip()  # without a text of its own: with --json stdout is the document's

    def _show(self, turn: Turn, left: str, right: str) -> None:
        for message in turn:
            who = "You" if message.role == "user" else "Before"
            self._out.say(Text.assemble((f"\n{who}: ", "bold"), message.content))
        heads = "Reply 1", "Reply 2"
        texts = [Text(text) if text else Text("(empty)", style="dim") for text in (left, right)]
        self._out.say()
        if self._out.console.width >= _WIDE:
            table = Table(*heads, expand=True, show_lines=True)
            for column in table.columns:
                column.ratio = 1
            table.add_row(*texts)
            self._out.say(table)
        else:
            self._out.say(Group(Text(heads[0], "bold"), texts[0], Text(), Text(heads[1], "bold"), texts[1], Text()))


_UNDECIDED = {"tie": "equally good", "both_bad": "of neither"}
_PICK_WORDS = {"left": "1 was picked", "right": "2 was picked", "tie": "equally good", "both_bad": "neither was good"}


def _reply(bot: Bot, turn: Turn, sampling: Sampling) -> Reply:
    cancel = threading.Event()
    stream = bot.completions.of_character(turn, sampling, cancel=cancel, user=_LOCAL_ACCOUNT)
    try:
        return stream.read()
    except KeyboardInterrupt:
        stream.close()
        raise


def _facts(reply: Reply) -> dict[str, Any]:
    return {
        "finish_reason": reply.finish_reason,
        "num_tokens": reply.num_reply_tokens,
        "seconds": round(reply.total_seconds, 3),
    }


def _winner(duel: duels.Duel) -> str:
    return {"left": duel.left_run, "right": duel.right_run}.get(duel.pick, duel.pick)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
