"""Which lore fires in a turn, and why: SillyTavern's World Info algorithm, with the decorators of V3.

One pass after the other: the first looks for keys in the newest messages, the next ones in what the lore of the pass
before said, until nothing new fires. In each pass entries are chosen (`lore_scan`), groups keep one of theirs
(`lore_groups`), chances are rolled, and what does not fit the budget is left out, lowest order first.

Nothing here is random by itself and nothing looks at a clock except the guard against slow patterns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duologue.characters.chat_line import ChatLine
from duologue.characters.lore_budget import Budget
from duologue.characters.lore_groups import choose_of_groups
from duologue.characters.lore_scan import Candidate, Scan, candidates_of
from duologue.characters.lore_settings import LoreScene, LoreSettings
from duologue.characters.lore_state import LoreState
from duologue.characters.lorebook import Lorebook, LoreEntry, LorePosition
from duologue.messages import Role

MAX_PASSES = 100  # every pass but those of delayed entries fires something new; this ends a chain made on purpose
MAX_KEY_CHECKS = 500_000  # in all passes of a turn; about a second


@dataclass(frozen=True, slots=True)
class FiredEntry:
    """Lore that goes into the prompt.

    Attributes:
        entry: What fired.
        book: Name of its lorebook.
        position: Where it goes; `outlet` waits for the macro `{{outlet::NAME}}` with `entry.outlet`.
        depth: Messages that stand below it, for `at_depth`.
        role: Who says it, for `at_depth`.
        content: The text, macros not yet expanded.
        num_tokens: What it costs.
        why: Why it fired, for people.
    """

    entry: LoreEntry
    book: str
    position: LorePosition
    depth: int
    role: Role
    content: str
    num_tokens: int
    why: str


@dataclass(frozen=True, slots=True)
class LoreTrace:
    """What happened to an entry that fired or whose key was found.

    Attributes:
        book: Name of its lorebook.
        uid: The entry's number or name in the book.
        name: What its maker calls it.
        is_fired: Whether it is in the prompt.
        why: Why, or why not, for people.
        key: The key that was found; empty when none was needed.
        message: Number of the message it was found in, 0 for the oldest; None when it was found elsewhere.
    """

    book: str
    uid: str
    name: str
    is_fired: bool
    why: str
    key: str = ""
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """The lore of a turn.

    Attributes:
        fired: What goes into the prompt, in the order it stands there: low order first.
        trace: Every entry that fired, then those whose key was found and that did not.
        state: To be kept until the next turn, if this one happens.
        budget_tokens: Most tokens that lore could take.
        num_tokens: Tokens it takes.
        slow_patterns: Patterns that ran out of time and therefore did not match.
        notes: What else was cut short.
    """

    fired: tuple[FiredEntry, ...]
    trace: tuple[LoreTrace, ...]
    state: LoreState
    budget_tokens: int
    num_tokens: int
    slow_patterns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def activate(
    books: Sequence[Lorebook],
    messages: Sequence[ChatLine],
    *,
    settings: LoreSettings,
    state: LoreState,
    count_tokens: Callable[[str], int],
    roll: Callable[[], float],
    context_tokens: int,
    scene: LoreScene | None = None,
    expand: Callable[[str], str] = str,
) -> Activation:
    """Return the lore that fires for the end of a chat.

    Args:
        books: In any order: lore of the chat comes before the persona's, the character's and the rest.
        messages: The chat, oldest first, the newest message included.
        settings: What holds where books and entries say nothing.
        state: Of this chat, as the turn before returned it.
        count_tokens: Of the model that replies.
        roll: Draws a number from 0 up to 1; called for chances and groups only.
        context_tokens: Prompt and reply together.
        scene: Whose turn it is.
        expand: Replaces macros in keys, where lore is counted and where it is searched for other lore; best with
            `MacroContext.without_effects`, as none of it is said yet.
    """
    scene = scene or LoreScene()
    candidates = candidates_of(books)
    now = state.at(len(messages), [candidate.entry for candidate in candidates])
    scan = Scan(candidates, messages, settings=settings, scene=scene, state=now, expand=expand)
    budget = Budget(books, settings=settings, context_tokens=context_tokens, count_tokens=count_tokens, expand=expand)
    run = _Run(scan, budget, roll=roll, settings=settings)
    run.all_passes()
    fired = sorted(run.fired, key=lambda one: -one.entry.order)[::-1]
    said = [one for one in fired if one.entry.content]
    out = tuple(_placed(one, run.num_tokens[one.number], num_messages=len(messages)) for one in said)
    return Activation(
        fired=out,
        trace=(*(_trace(one, is_fired=True) for one in fired), *(_trace(one) for one in scan.losers(run.fired))),
        state=now.after(len(messages), [one.entry for one in run.fired]),
        budget_tokens=budget.shared_tokens,
        num_tokens=sum(entry.num_tokens for entry in out),
        slow_patterns=tuple(sorted(scan.clock.slow)),
        notes=run.notes,
    )


class _Run:
    """The passes of one turn."""

    def __init__(self, scan: Scan, budget: Budget, *, roll: Callable[[], float], settings: LoreSettings) -> None:
        self.fired: list[Candidate] = []
        self.num_tokens: dict[int, int] = {}
        self.notes: tuple[str, ...] = ()
        self._scan = scan
        self._budget = budget
        self._roll = roll
        self._settings = settings

    def all_passes(self) -> None:
        """Run passes until nothing new can fire."""
        affordable = max(2, MAX_KEY_CHECKS // (self._scan.num_keys + 1))
        limit = min(self._settings.max_recursion_steps or MAX_PASSES, MAX_PASSES, affordable)
        for _ in range(limit):
            fresh = self._one_pass()
            if not self._go_on(fresh):
                return
        if limit != self._settings.max_recursion_steps:
            self.notes = (f"lore was searched {limit} times for other lore and could have fired more",)

    def _one_pass(self) -> list[Candidate]:
        chosen = sorted(self._scan.matches(), key=lambda one: (not one.is_sticky, *self._budget.rank(one)))
        kept = choose_of_groups(chosen, self.fired, scan=self._scan, roll=self._roll)
        fresh = []
        for one in kept:
            if not self._passes_chance(one):
                continue
            num_tokens = self._budget.take(one)
            if num_tokens is None:
                one.give_up(f"{one.why}, but lore had used up its {self._budget.limit_of(one):,} tokens")
                continue
            self.num_tokens[one.number] = num_tokens
            fresh.append(one)
        self.fired += fresh
        for one in fresh:
            self._scan.done.add(one.number)
        return fresh

    def _passes_chance(self, one: Candidate) -> bool:
        if one.entry.probability >= 100 or one.is_sticky:
            return True
        rolled = self._roll() * 100
        if rolled <= one.entry.probability:
            one.why += f", rolled {rolled:.0f} of {one.entry.probability:g}%"
            return True
        one.give_up(f"{one.why}, but rolled {rolled:.0f} with a chance of {one.entry.probability:g}%")
        self._scan.done.add(one.number)
        return False

    def _go_on(self, fresh: list[Candidate]) -> bool:
        """Prepare the next pass; false when this was the last."""
        texts = [one.entry.content for one in fresh if not one.entry.prevents_recursion]
        self._scan.add_recursion(texts)
        if self._budget.is_full:
            return False
        if self._scan.is_recursive and (texts or (self._scan.is_looking_back and self._scan.has_recursion)):
            self._scan.begin_recursion()
            return True
        too_few = len(self.fired) < self._settings.min_activations
        if too_few and not self._settings.max_recursion_steps and self._scan.look_further_back():
            return True
        return self._scan.next_delay_level()


def _placed(one: Candidate, num_tokens: int, *, num_messages: int) -> FiredEntry:
    entry, asked = one.entry, one.entry.decorators
    position, depth = entry.position, entry.depth
    if asked.position:
        position = asked.position
    elif asked.depth is not None or asked.reverse_depth is not None:
        position = "at_depth"
        depth = asked.depth if asked.depth is not None else max(0, num_messages - (asked.reverse_depth or 0))
    return FiredEntry(
        entry, one.book.name, position, depth, asked.role or entry.role, entry.content, num_tokens, one.why
    )


def _trace(one: Candidate, *, is_fired: bool = False) -> LoreTrace:
    return LoreTrace(one.book.name, one.entry.uid, one.entry.name, is_fired, one.why, one.key, one.message)
