"""Conversations as they are trained, token by token: what is learned, what is only read, and what is cut."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import Fault
from duologue.data.label import Piece
from duologue.data.load import Loaded, ignore, load_files, load_settings, split
from duologue.data.render import RenderSettings
from duologue.data.shown import Shown, ShownConversation, ShownExample, ShownMessage, ShownToken, SplitName, State
from duologue.data.template import Skeleton, Template, filled
from duologue.data.token_text import TokenText, TokenTexts
from duologue.data.trace import Traced, TracedPiece, Tracer
from duologue.engine import OnEvent, TextTokenizer
from duologue.errors import DataError
from duologue.messages import Conversation, Message, Role

_MOST_FAULTS = 200  # of the files as a whole


@dataclass(frozen=True, slots=True)
class Choice:
    """Which conversations to show.

    Attributes:
        num: At most so many, the first ones.
        row: Only the one that this row of its file belongs to.
        split: Only those of one split.
    """

    num: int = 3
    row: int | None = None
    split: SplitName | None = None


def show_files(
    paths: Sequence[Path],
    config: Config,
    folder: Path,
    *,
    character: Character,
    open_tokenizer: Callable[[], TextTokenizer],
    choice: Choice = Choice(),
    on_event: OnEvent = ignore,
) -> Shown:
    """Return chosen conversations of files as training would see them. Nothing is written.

    Args:
        paths: The files.
        config: Settings.
        folder: Where the card lies.
        character: Whose card is in front of every conversation.
        open_tokenizer: Called when there is something to show.
        choice: Which conversations.
        on_event: Receives `preparing` events.

    Raises:
        ConfigError: The card is missing or broken.
        DataError: There is no such conversation, with the reason where it was dropped; the chat template cannot be
            labelled.
    """
    loaded = load_files(paths, settings=load_settings(config, folder), on_event=on_event)
    splits = split(loaded, {}, seed=config.run.seed)
    places = _chosen(loaded, choice)
    if not places:
        raise _nothing_to_show(loaded, choice)
    tokenizer = open_tokenizer()
    settings = RenderSettings(
        user_name=config.character.user_name,
        max_length_tokens=config.data.max_length_tokens,
        long_conversations=config.data.long_conversations,
        train_on_greeting=config.data.train_on_greeting,
    )
    tracer, reader = Tracer(tokenizer, character, settings), _Reader(tokenizer)
    # Equal messages get objects of their own, so that a message can be found again in the examples.
    chosen = [_distinct(loaded.conversations[place]) for place in places]
    shown = [
        _conversation(traced, reader, loaded, place)
        for place, traced in zip(places, tracer.trace_all(chosen), strict=True)
    ]
    notes = [str(fault) for fault in islice((f for f in loaded.account.iter_faults() if not f.row), _MOST_FAULTS)]
    notes += [f"{reason} ({action})" for reason, action in tracer.template_notes()]
    return Shown(
        conversations=tuple(shown),
        account=splits.account,
        notes=tuple(notes),
        tokenizer=config.model.base,
        max_length_tokens=settings.max_length_tokens,
        long_conversations=settings.long_conversations,
    )


def _chosen(loaded: Loaded, choice: Choice) -> list[int]:
    """Return the places of the conversations to show."""
    held_out = choice.split == "validation"
    places: Iterable[int] = range(len(loaded.conversations))
    if choice.split is not None:
        places = (place for place in places if bool(loaded.held_out[place]) == held_out)
    if choice.row is not None:
        of_row = _with_row(loaded, choice.row)
        places = (place for place in places if place in of_row)
    return list(islice(places, choice.num))


def _with_row(loaded: Loaded, row: int) -> set[int]:
    """Return the conversation of each file that a row belongs to: the one that begins there, or the log it is in."""
    begins: dict[str, tuple[int, int]] = {}
    for place, conversation in enumerate(loaded.conversations):
        path, begin = _source(conversation.source)
        is_it = begin == row or (begin < row and conversation.source in loaded.num_rows)
        if is_it and begin >= begins.get(path, (0, 0))[0]:
            begins[path] = (begin, place)
    return {place for _, place in begins.values()}


def _source(source: str) -> tuple[str, int]:
    path, _, row = source.rpartition(":")
    return path, int(row)


def _nothing_to_show(loaded: Loaded, choice: Choice) -> DataError:
    account = loaded.account
    check = "Run: duologue data check FILE, which lists every fault."
    if choice.row is not None:
        reasons = [str(fault) for fault in account.iter_faults() if fault.row == choice.row and fault.is_dropped]
        if reasons:
            return DataError(f"row {choice.row} is not used:\n  " + "\n  ".join(reasons), action=check)
    if account.num_conversations:
        words = f"row {choice.row}" if choice.row is not None else "conversation"
        split_words = f" in the {choice.split} split" if choice.split else ""
        return DataError(f"no {words}{split_words} to show", action=check)
    reasons = [str(fault) for fault in islice((f for f in account.iter_faults() if f.is_refused), 20)]
    listed = "".join(f"\n  {reason}" for reason in reasons)
    found = f"no usable conversation in {len(account.files)} files"
    return DataError(f"{found}:{listed}" if listed else found, action=check)


def _distinct(conversation: Conversation) -> Conversation:
    return replace(conversation, messages=tuple(Message(m.role, m.content) for m in conversation.messages))


def _conversation(traced: Traced, reader: "_Reader", loaded: Loaded, place: int) -> ShownConversation:
    path, row = _source(traced.rendered.source)
    messages = traced.script.messages
    place_of = {id(message): number for number, message in enumerate(messages)}
    examples: list[ShownExample] = []
    seen: set[int] = set()
    for piece in traced.pieces:
        parts = reader.messages_of(piece)
        numbers = [place_of[id(message)] for message in piece.messages[: len(parts)]]
        examples.append(
            ShownExample(
                tuple(
                    _message(part, messages[number], number, traced.num_added, is_repeated=number in seen)
                    for part, number in zip(parts, numbers, strict=True)
                )
            )
        )
        seen.update(numbers)
    cut = tuple(
        _message([(text, "cut") for text, _ in part], messages[number], number, traced.num_added)
        for number, part in enumerate(reader.whole(traced))
        if number not in seen
    )
    faults = (*_row_faults(loaded, place), *traced.rendered.faults)
    split_name: SplitName = "validation" if loaded.held_out[place] else "train"
    return ShownConversation(path, row, split_name, tuple(examples), cut, faults)


def _message(
    part: Sequence[tuple[TokenText, State]], message: Message, number: int, num_added: int, *, is_repeated: bool = False
) -> ShownMessage:
    tokens = tuple(ShownToken(text.ids, text.text, text.is_control, state) for text, state in part)
    return ShownMessage(number - num_added if number >= num_added else None, message.role, tokens, is_repeated)


def _row_faults(loaded: Loaded, place: int) -> tuple[Fault, ...]:
    """Return what was noticed in the rows of a conversation: its own row, or all rows up to the next part of a log."""
    source = loaded.conversations[place].source
    path, begin = _source(source)
    end = begin + 1
    if source in loaded.num_rows:
        following = (_source(c.source) for c in islice(loaded.conversations, place + 1, place + 2))
        end = next((row for name, row in following if name == path), 2**63)
    faults = next(file.faults for file in loaded.account.files if file.path == path)
    return tuple(fault for fault in faults if begin <= fault.row < end)


class _Reader:
    """Takes token ids apart into the messages they came from."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts = TokenTexts(tokenizer)
        self._template = Template(tokenizer)
        self._skeletons: dict[tuple[Role, ...], Skeleton | None] = {}

    def messages_of(self, traced: TracedPiece) -> list[list[tuple[TokenText, State]]]:
        """Return the tokens of an example by its messages; of the last ones there may be none in it."""
        if not traced.is_apart:
            return self._split(traced.piece, traced.messages)
        text = "".join(group.text for group in self._texts.read(traced.piece.ids))
        for end, message in enumerate(traced.messages, start=1):
            if message.role == "assistant" and self._filled(traced.messages[:end]).startswith(text):
                return self._split(traced.piece, traced.messages[:end])
        return self._split(traced.piece, traced.messages)

    def whole(self, traced: Traced) -> list[list[tuple[TokenText, State]]]:
        """Return the tokens of a whole conversation by its messages, those of no example among them."""
        messages = traced.script.messages
        if traced.labelled is not None:
            return self._split(traced.labelled.whole, messages)
        ids = self._tokenizer.encode_batch([message.content for message in messages])  # the template refuses it
        return [[(group, "cut") for group in self._texts.read(one)] for one in ids]

    def _split(self, piece: Piece, messages: Sequence[Message]) -> list[list[tuple[TokenText, State]]]:
        borders = [border for span in piece.spans for border in span]
        groups = self._texts.read(piece.ids, borders)
        begins = [0, *accumulate(len(group.text) for group in groups)]
        text = "".join(group.text for group in groups)
        controls = {begin: len(group.text) for begin, group in zip(begins, groups, strict=False) if group.is_control}
        edges = self._edges(messages, text, controls) or _found_edges(messages, text, sorted(controls))
        parts: list[list[tuple[TokenText, State]]] = [[] for _ in messages]
        at = 0
        for group, begin in zip(groups, begins, strict=False):
            is_trained = bisect_right(borders, at) % 2 == 1  # past the beginning of a span and not yet past its end
            last = begin + max(0, len(group.text) - 1)  # a word's token brings the space in front of it
            parts[bisect_right(edges, last) - 1].append((group, "trained" if is_trained else "context"))
            at += len(group.ids)
        return parts

    def _edges(self, messages: Sequence[Message], text: str, controls: Mapping[int, int]) -> list[int] | None:
        """Return where each message begins in the text; None where the text is not the filled template.

        Args:
            messages: Of the example.
            text: Of the example.
            controls: Length of each control token's name, by where it begins.
        """
        skeleton = self._skeleton(messages)
        if skeleton is None:
            return None
        contents = [message.content for message in messages]
        chunks = skeleton.fill(contents)
        if not "".join(chunks).startswith(text):
            return None
        begins = [0, *accumulate(map(len, chunks))]
        edges = [0]
        for place in range(1, len(messages)):
            chunk = skeleton.chunk_of[place]
            edge = begins[chunk]
            if chunk == skeleton.chunk_of[place - 1]:
                parts = skeleton.chunks[chunk]
                spot = skeleton.spots.get(place)
                edge += len(filled(spot.context if spot else parts[: parts.index(place)], contents))
            elif messages[place - 1].role == "assistant" and chunk == skeleton.chunk_of[place - 1] + 1:
                edge += controls.get(edge, 0)  # the end of the reply before
            edges.append(edge)
        return edges

    def _filled(self, messages: Sequence[Message]) -> str:
        skeleton = self._skeleton(messages)
        return "".join(skeleton.fill([message.content for message in messages])) if skeleton else ""

    def _skeleton(self, messages: Sequence[Message]) -> Skeleton | None:
        roles = tuple(message.role for message in messages)
        if roles not in self._skeletons:
            try:
                self._skeletons[roles] = self._template.skeleton(roles)
            except DataError:
                self._skeletons[roles] = None
        return self._skeletons[roles]


def _found_edges(messages: Sequence[Message], text: str, controls: Sequence[int]) -> list[int]:
    """Return about where each message begins: at the control token before its content, where there is one."""
    edges = [0]
    done = 0
    for place, message in enumerate(messages):
        content = message.content.strip()
        begin = text.find(content, done)
        begin = done if begin < 0 else begin
        if place:
            number = bisect_right(controls, begin) - 1
            is_after = number >= 0 and controls[number] > done
            edges.append(max(edges[-1], controls[number] if is_after else begin))
        done = begin + len(content)
    return edges
