"""Tokens of texts, each counted once: what leaves a full buffer is chosen without rendering the whole chat again."""

from collections import OrderedDict
from collections.abc import Sequence

from duologue.config import GuardSection
from duologue.engine import Tokenizer
from duologue.guard import check_tokens
from duologue.messages import Message

_NUM_KEPT = 20_000  # texts; a count takes about 100 bytes beside the text, which the session holds anyway
_PLAIN = "a"


class TokenCounter:
    """Counts with the tokenizer of the model that replies.

    Args:
        tokenizer: Renders; a text's tokens are those it adds to a message.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Start with nothing counted."""
        self._tokenizer = tokenizer
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._plain = 0
        self._frame = 0

    def render(self, messages: Sequence[Message], *, continues: bool = False) -> tuple[int, ...]:
        """Return the ids of a prompt, ready for a reply or for the rest of one."""
        return self._tokenizer.render(messages, add_generation_prompt=not continues, continues=continues)

    def text(self, text: str) -> int:
        """Return the tokens of a text inside a message."""
        if not text:
            return 0
        if text in self._counts:
            self._counts.move_to_end(text)
            return self._counts[text]
        if not self._plain:
            self._plain = self._length([Message("user", _PLAIN)])
        count = max(1, self._length([Message("user", text)]) - self._plain + 1)
        self._counts[text] = count
        if len(self._counts) > _NUM_KEPT:
            self._counts.popitem(last=False)
        return count

    def check(self, text: str, *, guard: GuardSection, context_tokens: int) -> None:
        """Refuse a person's message that is longer than the guard allows; `auto` allows half of the context.

        Raises:
            GuardError: With reason `too_long`.
        """
        max_tokens = context_tokens // 2 if guard.max_input_tokens == "auto" else guard.max_input_tokens
        if len(text.encode()) > max_tokens:  # a token has a byte at least
            check_tokens(self.text(text), max_tokens)

    def message(self, text: str) -> int:
        """Return the tokens of a text as a message of its own, the template's marks around it included."""
        return self.text(text) + self.frame

    @property
    def frame(self) -> int:
        """The tokens a template puts around a message, rounded up."""
        if not self._frame:
            question, answer = Message("user", _PLAIN), Message("assistant", _PLAIN)
            four_more = self._length([question, answer, question, answer, question]) - self._length([question])
            self._frame = max(1, -(-(four_more - 4) // 4))
        return self._frame

    def _length(self, messages: Sequence[Message]) -> int:
        return len(self._tokenizer.render(messages, add_generation_prompt=False))
