"""How a chat template lays out conversations, learned by filling it once for each order of roles.

The filled template is cut into chunks. A chunk begins with a control token of the vocabulary, such as `<|im_start|>`,
and reaches to the next: what the vocabulary makes of it does not depend on its neighbours, so chunks can be encoded
apart, all at once, and the same chunk only once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from duologue.engine import TextTokenizer
from duologue.errors import DataError
from duologue.messages import Message, Role

Parts = tuple[str | int, ...]  # texts of the template, and places of messages whose content stands there

NO_END = "puts no end-of-turn token after a reply, so the character would never stop"
NO_PREFIX = (
    "renders a conversation differently once a reply is added, so what the character says cannot be told from its "
    "context"
)
_OPEN, _CLOSE = "\ue0f3", "\ue0f4"  # private-use characters around a number stand for a content
_PLACE = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_NUM_CHECKED = 8  # replies of a skeleton whose generation prompt is rendered, besides each new kind
_NEIGHBOURS = (("xy", "zw"), ("xy \n", "\n zw"), (" ", " "), (".", "7"), ("é,", "“Z"))


@dataclass(frozen=True, slots=True)
class ReplySpot:
    """Where a reply stands.

    Attributes:
        chunk: The chunk that holds it; the next chunk begins with the end-of-turn token.
        context: The chunk's beginning up to the reply: the end of what chat sends.
        rest: The chunk from the reply on.
    """

    chunk: int
    context: Parts
    rest: Parts


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A filled template without the contents.

    Attributes:
        chunks: The text, cut before every control token.
        spots: Replies that can be trained, by their place among the messages.
        refusals: Why the other replies cannot, by their place.
        chunk_of: For every message, the chunk that holds its content.
    """

    chunks: tuple[Parts, ...]
    spots: dict[int, ReplySpot]
    refusals: dict[int, str]
    chunk_of: tuple[int, ...]

    def fill(self, contents: Sequence[str]) -> list[str]:
        """Return the text of every chunk."""
        return [filled(parts, contents) for parts in self.chunks]


def filled(parts: Parts, contents: Sequence[str]) -> str:
    """Return the text of the parts."""
    num_parts = len(parts)  # nearly all have one or two, and this is called for each of them
    if num_parts == 1 and isinstance(parts[0], str):
        return parts[0]
    if num_parts == 2 and isinstance(parts[0], str) and isinstance(parts[1], int):
        return parts[0] + contents[parts[1]]
    return "".join([part if isinstance(part, str) else contents[part] for part in parts])


class Template:
    """Skeletons of a tokenizer's chat template."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        """Learn nothing yet."""
        self._tokenizer = tokenizer
        self._splits: dict[str, bool] = {}
        self._first_ids: dict[str, int] = {}

    def skeleton(self, roles: Sequence[Role]) -> Skeleton:
        """Return the skeleton of a conversation with these roles.

        Raises:
            DataError: The template refuses the roles, or does not show every message once and in order.
        """
        messages = [Message(role, f"{_OPEN}{place}{_CLOSE}") for place, role in enumerate(roles)]
        text = self._tokenizer.render_text(messages, add_generation_prompt=False)
        pieces: list[str] = _PLACE.split(text)
        if [int(place) for place in pieces[1::2]] != list(range(len(roles))):
            raise DataError("the model's chat template does not show every message once, in order")
        literals = pieces[0::2]
        chunks = self._chunks(literals)
        chunk_of = tuple(at for at, parts in enumerate(chunks) for part in parts if isinstance(part, int))
        spots: dict[int, ReplySpot] = {}
        refusals: dict[int, str] = {}
        for place, back in self._openings(messages, text, literals).items():
            spot = None if back is None else self._spot(chunks, chunk_of[place], place, back)
            if isinstance(spot, ReplySpot):
                spots[place] = spot
            else:
                refusals[place] = spot or NO_PREFIX
        return Skeleton(chunks, spots, refusals, chunk_of)

    @property
    def control_token(self) -> str | None:
        """A token that splits text, to put in front of a text that must not look like the beginning of one."""
        return next((token for token in self._tokenizer.special_tokens if self._is_splitting(token)), None)

    def _chunks(self, literals: Sequence[str]) -> tuple[Parts, ...]:
        whole = "".join(literals)
        tokens = [t for t in self._tokenizer.special_tokens if t in whole and self._is_splitting(t)]
        longest_first = sorted(tokens, key=len, reverse=True)
        control = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if tokens else None
        chunks: list[list[str | int]] = [[]]
        for place, literal in enumerate(literals):
            if place:
                chunks[-1].append(place - 1)
            for number, piece in enumerate(_cut(literal, control)):
                if number and chunks[-1]:
                    chunks.append([])
                if piece:
                    chunks[-1].append(piece)
        return tuple(map(tuple, chunks))

    def _is_splitting(self, token: str) -> bool:
        """Tell whether the vocabulary reads `token` as one id and what is left and right of it as if it were alone."""
        if token not in self._splits:
            texts = [token]
            for left, right in _NEIGHBOURS:
                texts += [left + token + right, left, token + right]
            alone, *rest = self._tokenizer.encode_batch(texts)
            triples = zip(rest[0::3], rest[1::3], rest[2::3], strict=True)
            self._splits[token] = len(alone) == 1 and all(
                whole == left + right and right[:1] == alone for whole, left, right in triples
            )
        return self._splits[token]

    def _openings(self, messages: list[Message], text: str, literals: Sequence[str]) -> dict[int, int | None]:
        """Return for every reply how many characters before its content it begins; None where that cannot be told.

        A reply begins where the generation prompt ends. That is rendered for some replies and for every new text
        before a reply; the others stand behind the same text as one that was rendered.
        """
        replies = [place for place, message in enumerate(messages) if message.role == "assistant"]
        step = max(1, len(replies) // (_NUM_CHECKED - 2))
        checked = {*replies[:3], *replies[-2:], *replies[::step]}
        known: dict[str, int | None] = {}
        openings: dict[int, int | None] = {}
        for place in replies:
            literal = literals[place]
            if place in checked or literal not in known:
                known[literal] = self._opening(messages[:place], text, literal)
            openings[place] = known[literal]
        return openings

    def _opening(self, before: list[Message], text: str, literal: str) -> int | None:
        try:
            prompt = self._tokenizer.render_text(before, add_generation_prompt=True)
        except DataError:
            return None
        back = text.index(f"{_OPEN}{len(before)}{_CLOSE}") - len(prompt)
        return back if text.startswith(prompt) and 0 <= back <= len(literal) else None

    def _spot(self, chunks: tuple[Parts, ...], chunk: int, place: int, back: int) -> ReplySpot | str:
        parts = chunks[chunk]
        at = parts.index(place)
        before = parts[at - 1] if at and isinstance(parts[at - 1], str) else ""
        assert isinstance(before, str)
        if back > len(before):
            return NO_PREFIX
        head = parts[: at - 1] if before else parts[:at]
        kept, moved = before[: len(before) - back], before[len(before) - back :]
        context = (*head, kept) if kept else head
        rest = (moved, *parts[at:]) if moved else parts[at:]
        if not context:
            return NO_PREFIX  # the header would belong to the reply: there is no generation prompt
        if any(isinstance(part, int) and part != place for part in rest) or chunk + 1 == len(chunks):
            return NO_END
        ending = chunks[chunk + 1][0]
        assert isinstance(ending, str)
        if ending not in self._first_ids:
            self._first_ids[ending] = self._tokenizer.encode_batch([ending])[0][0]
        is_end = self._first_ids[ending] in self._tokenizer.stop_token_ids
        return ReplySpot(chunk, context, rest) if is_end else NO_END


def _cut(literal: str, control: re.Pattern[str] | None) -> list[str]:
    """Return the pieces of a text; all but the first begin with a control token."""
    if control is None:
        return [literal]
    first, *others = control.split(literal)
    return [first, *(token + text for token, text in zip(others[0::2], others[1::2], strict=True))]
