"""How much lore fits: a share of the context for all books, or a book's own number of tokens for its entries."""

from collections.abc import Callable, Sequence

from duologue.characters.lore_scan import Candidate
from duologue.characters.lore_settings import LoreSettings
from duologue.characters.lorebook import Lorebook, LoreOrigin

_ORIGINS: tuple[LoreOrigin, ...] = ("chat", "persona", "character", "global")


class Budget:
    """Tokens that lore may still take.

    Attributes:
        shared_tokens: What all books without a budget of their own have together.
        is_full: Something did not fit.
    """

    def __init__(
        self,
        books: Sequence[Lorebook],
        *,
        settings: LoreSettings,
        context_tokens: int,
        count_tokens: Callable[[str], int],
        expand: Callable[[str], str],
    ) -> None:
        """Begin with nothing used."""
        share = round(settings.fraction * context_tokens) or 1
        self.shared_tokens = min(share, settings.budget_cap_tokens or share)
        self.is_full = False
        self._count_tokens = count_tokens
        self._expand = expand
        self._own = {number: book.token_budget for number, book in enumerate(books) if book.token_budget is not None}
        self._used = dict.fromkeys([-1, *self._own], 0)
        self._overflowed: set[int] = set()

    def rank(self, one: Candidate) -> tuple[float, ...]:
        """Return the place of an entry in the line for tokens; lower is served first."""
        entry, origin = one.entry, _ORIGINS.index(one.book.origin)
        priority = -(entry.priority or 0.0) if one.book_number in self._own else 0.0
        return (entry.decorators.yields_first, origin, priority, -entry.order, one.number)

    def limit_of(self, one: Candidate) -> int:
        """Return how many tokens the entries of its book, or of all books without a budget, may take."""
        return self._own.get(one.book_number, self.shared_tokens)

    def take(self, one: Candidate) -> int | None:
        """Take the tokens of an entry and return their number; None when they are not there.

        After the first entry that does not fit no other is taken, so that a small one never jumps the line; only those
        that ignore the budget are.
        """
        pool = one.book_number if one.book_number in self._own else -1
        is_exempt = one.entry.ignores_budget
        if pool in self._overflowed and not is_exempt:
            return None
        num_tokens = self._count_tokens(self._expand(one.entry.content)) if one.entry.content else 0
        if not is_exempt and self._used[pool] + num_tokens >= self.limit_of(one):
            self._overflowed.add(pool)
            self.is_full = len(self._overflowed) == len(self._used) or pool == -1
            return None
        self._used[pool] += num_tokens
        return num_tokens
