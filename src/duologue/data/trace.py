"""Rendering that remembers how each example came about: which messages it was made of, and the uncut whole."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from duologue.characters import Character
from duologue.data.cut import Cut
from duologue.data.label import Labelled, Labeller, Piece, Script
from duologue.data.render import Prepared, Rendered, Renderer, RenderSettings
from duologue.engine import TextTokenizer
from duologue.errors import DataError
from duologue.messages import Conversation, Message

_BATCH_CONVERSATIONS = 256


@dataclass(frozen=True, slots=True)
class TracedPiece:
    """An example and its messages.

    Attributes:
        piece: Ids and trained spans.
        messages: The messages it was made of, the very objects of the conversation's script.
        is_apart: It holds only the beginning of `messages`, up to the one reply it trains.
    """

    piece: Piece
    messages: tuple[Message, ...]
    is_apart: bool


@dataclass(frozen=True, slots=True)
class Traced:
    """What one conversation became, and how.

    Attributes:
        rendered: Its examples and what was noticed.
        script: All of its messages as the template gets them, and which are to be learned.
        num_added: How many of them were put in front.
        labelled: The whole conversation, however long; None when the template refuses it.
        pieces: One for each example, in order.
    """

    rendered: Rendered
    script: Script
    num_added: int
    labelled: Labelled | None
    pieces: tuple[TracedPiece, ...]


class Tracer(Renderer):
    """Renders exactly as training does, and remembers."""

    def __init__(self, tokenizer: TextTokenizer, character: Character, settings: RenderSettings) -> None:
        """Try the template out.

        Raises:
            DataError: It cannot be labelled.
        """
        super().__init__(tokenizer, character, settings)
        self._log = self._labeller = _LoggingLabeller(tokenizer)
        self._pieces: Sequence[Piece] = ()
        self._traced: list[Traced] = []

    def trace_all(self, conversations: Iterable[Conversation]) -> Iterator[Traced]:
        """Yield what each conversation becomes, in order."""
        stream = iter(conversations)
        while batch := list(islice(stream, _BATCH_CONVERSATIONS)):
            for _ in self.render_batch(batch):
                yield self._traced.pop()

    def starts(self, script: Script) -> Sequence[int]:
        """Return where each message begins among the ids of the whole script, and where the last one ends."""
        return self._labeller.starts(script)

    def _finish(self, item: Prepared, found: Labelled | DataError) -> Rendered:
        labelled = found if isinstance(found, Labelled) else None
        self._pieces = [labelled.whole, *labelled.apart] if labelled else ()
        self._log.entries = [(item.script, labelled)] if labelled else []
        rendered = super()._finish(item, found)
        pieces = [piece for piece in self._pieces if piece.spans] if rendered.examples else []
        of_piece = {
            id(piece): TracedPiece(piece, script.messages, is_apart=number > 0)
            for script, result in self._log.entries
            for number, piece in enumerate((result.whole, *result.apart))
        }
        traced = tuple(of_piece[id(piece)] for piece in pieces)
        assert [len(piece.ids) for piece in pieces] == [e.num_tokens for e in rendered.examples], "one piece each"
        self._traced.append(Traced(rendered, item.script, item.num_added, labelled, traced))
        return rendered

    def _cut(self, script: Script, found: Labelled) -> Cut:
        parts = super()._cut(script, found)
        self._pieces = parts.pieces
        return parts


class _LoggingLabeller(Labeller):
    """Writes down which script each result belongs to."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.entries: list[tuple[Script, Labelled]] = []
        super().__init__(tokenizer)

    def label(self, scripts: Sequence[Script]) -> list[Labelled]:
        """Return the labelled scripts, in order."""
        results = super().label(scripts)
        self.entries += zip(scripts, results, strict=True)
        return results
