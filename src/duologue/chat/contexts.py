"""The last prompt of each session, kept for the context view together with what the engine said of its cache."""

from duologue.chat.context import Context, Prepared, make_context, with_cache
from duologue.chat.counting import TokenCounter

MAX_KEPT = 64  # sessions; the prompt of an older one is made again when somebody asks


class Contexts:
    """What was sent last, by session.

    Args:
        counter: Counts the tokens of each part.
    """

    def __init__(self, counter: TokenCounter) -> None:
        """Start with nothing sent."""
        self._counter = counter
        self._kept: dict[str, Context] = {}
        self._outdated: set[str] = set()

    def view(self, prepared: Prepared, *, session_id: str, context_tokens: int) -> Context:
        """Return the view of a prompt."""
        return make_context(
            prepared, session_id=session_id, count_tokens=self._counter.text, context_tokens=context_tokens
        )

    def sent(self, prepared: Prepared, num_cached_tokens: int, *, session_id: str, context_tokens: int) -> None:
        """Keep the view of a prompt that was sent."""
        view = self.view(prepared, session_id=session_id, context_tokens=context_tokens)
        before = self._kept.pop(session_id, None)
        self._kept[session_id] = with_cache(view, num_cached_tokens, before=before)
        self._outdated.discard(session_id)
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def find(self, session_id: str) -> Context | None:
        """Return the last prompt of a session, when it was sent and still holds."""
        return None if session_id in self._outdated else self._kept.get(session_id)

    def drop(self, session_id: str) -> None:
        """Show the last prompt of a session no more, because the session has changed; its sums go on."""
        self._outdated.add(session_id)

    def clear(self) -> None:
        """Let go of all of them."""
        self._kept.clear()
        self._outdated.clear()
