"""How long conversations are in tokens, what of them is learned, and what each length of examples would cost."""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, tee
from pathlib import Path
from time import monotonic
from typing import Any

from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import Account
from duologue.data.cut import turns_of
from duologue.data.histogram import Distribution, distribution
from duologue.data.label import Labelled
from duologue.data.language import count_languages
from duologue.data.load import Splits, ignore, load_files, load_settings, split
from duologue.data.pack import packed_fraction
from duologue.data.render import RenderSettings
from duologue.data.tokens import TokenLedger
from duologue.data.trace import Traced, Tracer
from duologue.data.windows import make_windows
from duologue.engine import Event, OnEvent, TextTokenizer
from duologue.errors import DataError
from duologue.messages import Conversation

LENGTHS = (512, 1024, 2048, 4096)
MICRO_BATCH_SIZE = 8  # what padding is reckoned with where the config says `auto`

_EVENT_EVERY = 256  # conversations
_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class LengthChoice:
    """What a `max_length_tokens` would make of the conversations, with `long_conversations = "windows"`.

    Attributes:
        max_length_tokens: The length.
        num_examples: Examples it gives.
        longer_fraction: Share of the conversations that are longer, and are cut into windows.
        trained_fraction: Share of the tokens to be learned that stay; the rest is in turns longer than an example.
        packed_fraction: Share of packed rows of this length that is not padding.
        padded_fraction: Share of length-sorted micro-batches, each padded to its longest, that is not padding.
    """

    max_length_tokens: int
    num_examples: int
    longer_fraction: float
    trained_fraction: float
    packed_fraction: float
    padded_fraction: float


@dataclass(frozen=True, slots=True)
class DataLook:
    """The figures of conversation files; both splits, every conversation once.

    Attributes:
        account: Of rows and tokens, with the settings as they are.
        conversation_tokens: Lengths of whole conversations in tokens, before anything is cut.
        example_tokens: Lengths of the examples that training would see.
        turns: Replies of the character per conversation.
        num_messages: Messages of all conversations.
        num_chars: Characters of their contents.
        languages: Sampled conversations by language.
        lengths: What each length of examples would cost.
        micro_batch_size: Examples that are padded together.
        max_length_tokens: Longest example, by the settings.
    """

    account: Account
    conversation_tokens: Distribution
    example_tokens: Distribution
    turns: Distribution
    num_messages: int
    num_chars: int
    languages: Mapping[str, int]
    lengths: tuple[LengthChoice, ...]
    micro_batch_size: int
    max_length_tokens: int

    @property
    def trained_fraction(self) -> float:
        """Share of the tokens of examples that is learned."""
        tokens = self.account.tokens
        return tokens.trained / tokens.total if tokens is not None and tokens.total else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return what `duologue data stats --json` prints."""
        account = self.account.as_json()
        kept = ("num_conversations", "num_turns", "num_tokens", "num_trained_tokens", "num_context_tokens", "tokenizer")
        return {
            **{key: account[key] for key in kept},
            "trained_fraction": self.trained_fraction,
            "num_messages": self.num_messages,
            "num_chars": self.num_chars,
            "conversation_tokens": _distribution_json(self.conversation_tokens),
            "example_tokens": _distribution_json(self.example_tokens),
            "turns": _distribution_json(self.turns),
            "languages": dict(self.languages),
            "max_length_tokens": self.max_length_tokens,
            "micro_batch_size": self.micro_batch_size,
            "lengths": [asdict(choice) for choice in self.lengths],
            "splits": account["splits"],
            "duplicates": account["duplicates"],
            "num_dropped": account["num_dropped"],
            "files": [{k: v for k, v in file.items() if k != "faults"} for file in account["files"]],
        }


def look_at_files(
    paths: Sequence[Path],
    config: Config,
    folder: Path,
    *,
    character: Character,
    open_tokenizer: Callable[[], TextTokenizer],
    on_event: OnEvent = ignore,
) -> DataLook:
    """Return the figures of conversation files. Nothing is written, and only lengths are kept in memory.

    Args:
        paths: The files.
        config: Settings.
        folder: Where the card lies.
        character: Whose card is in front of every conversation.
        open_tokenizer: Called when there is something to count.
        on_event: Receives `preparing` events.

    Raises:
        ConfigError: The card is missing or broken.
        DataError: There is no usable conversation, or the chat template cannot be labelled.
    """
    loaded = load_files(paths, settings=load_settings(config, folder), on_event=on_event)
    splits = split(loaded, {}, seed=config.run.seed)
    if not loaded.conversations:
        faults = [str(fault) for fault in loaded.account.iter_faults() if fault.is_refused]
        listed = "".join(f"\n  {fault}" for fault in faults[:_SHOWN_FAULTS])
        found = f"no usable conversation in {len(paths)} files"
        raise DataError(f"{found}:{listed}" if listed else found, action="Run: duologue data check FILE")
    settings = RenderSettings(
        user_name=config.character.user_name,
        max_length_tokens=config.data.max_length_tokens,
        long_conversations=config.data.long_conversations,
        train_on_greeting=config.data.train_on_greeting,
    )
    tracer = Tracer(open_tokenizer(), character, settings)
    counter = _Counter(config, splits, tracer)
    for conversation, traced, is_train in _traced(splits, tracer, on_event):
        counter.add(conversation, traced, is_train=is_train)
    return counter.look(count_languages(loaded.conversations, seed=config.run.seed))


def _traced(splits: Splits, tracer: Tracer, on_event: OnEvent) -> Iterator[tuple[Conversation, Traced, bool]]:
    total = len(splits.train) + len(splits.validation)
    begin, done = monotonic(), 0
    for conversations, is_train in ((splits.train, True), (splits.validation, False)):
        first, second = tee(conversations)  # the second is at most a batch behind
        for conversation, traced in zip(first, tracer.trace_all(second), strict=True):
            if done % _EVENT_EVERY == 0:
                seconds = monotonic() - begin
                on_event(
                    Event("preparing", values={"what": "tokenizing", "done": done, "total": total, "seconds": seconds})
                )
            done += 1
            yield conversation, traced, is_train


class _Counter:
    """Collects lengths."""

    def __init__(self, config: Config, splits: Splits, tracer: Tracer) -> None:
        self._config = config
        self._tracer = tracer
        self._ledger = TokenLedger(splits.account, splits.num_rows)
        self._conversations, self._examples, self._turns = array("I"), array("I"), array("I")
        self._num_messages = 0
        self._num_chars = 0
        self._num_trained = 0
        lengths = sorted({*LENGTHS, config.data.max_length_tokens})
        self._by_length = {length: _Fitted(length) for length in lengths}

    def add(self, conversation: Conversation, traced: Traced, *, is_train: bool) -> None:
        self._ledger.add(conversation, traced.rendered, is_train=is_train)
        self._turns.append(conversation.num_turns)
        self._num_messages += len(conversation.messages)
        self._num_chars += sum(len(message.content) for message in conversation.messages)
        self._examples.extend(example.num_tokens for example in traced.rendered.examples)
        labelled = traced.labelled
        if labelled is None:
            return
        self._conversations.append(len(labelled.whole.ids))
        self._num_trained += sum(_num_trained(piece.spans) for piece in (labelled.whole, *labelled.apart))
        is_long = len(labelled.whole.ids) > min(self._by_length)
        turns = _measured_turns(traced, labelled, self._tracer) if is_long else None
        for fitted in self._by_length.values():
            fitted.add(labelled, turns)

    def look(self, languages: Counter[str]) -> DataLook:
        config = self._config
        size = config.training.micro_batch_size
        micro_batch_size = size if isinstance(size, int) else MICRO_BATCH_SIZE
        num_conversations = len(self._conversations)

        def choice(fitted: _Fitted) -> LengthChoice:
            return LengthChoice(
                max_length_tokens=fitted.limit_tokens,
                num_examples=len(fitted.lengths),
                longer_fraction=fitted.num_longer / max(1, num_conversations),
                trained_fraction=fitted.num_trained / max(1, self._num_trained),
                packed_fraction=packed_fraction(fitted.lengths, fitted.limit_tokens, seed=config.run.seed),
                padded_fraction=padded_fraction(fitted.lengths, micro_batch_size),
            )

        return DataLook(
            account=self._ledger.account(tokenizer=config.model.base),
            conversation_tokens=distribution(self._conversations),
            example_tokens=distribution(self._examples),
            turns=distribution(self._turns),
            num_messages=self._num_messages,
            num_chars=self._num_chars,
            languages=dict(languages.most_common()),
            lengths=tuple(map(choice, self._by_length.values())),
            micro_batch_size=micro_batch_size,
            max_length_tokens=config.data.max_length_tokens,
        )


@dataclass(frozen=True, slots=True)
class _Turns:
    """The turns of a conversation: all tokens of each, those to be learned, and the tokens in front of the first."""

    head_tokens: int
    tokens: tuple[int, ...]
    trained_tokens: tuple[int, ...]


def _measured_turns(traced: Traced, labelled: Labelled, tracer: Tracer) -> _Turns:
    turns = turns_of(traced.script.messages)
    if not turns:
        return _Turns(len(labelled.whole.ids), (), ())
    starts = tracer.starts(traced.script)
    edges = [*(starts[turn.start] for turn in turns), starts[-1]]
    trained_tokens = [0] * len(turns)
    for begin, end in labelled.whole.spans:
        trained_tokens[max(0, bisect_right(edges, begin, hi=len(turns)) - 1)] += end - begin
    tokens = tuple(after - before for before, after in pairwise(edges))
    return _Turns(edges[0], tokens, tuple(trained_tokens))


class _Fitted:
    """The windows that one length would give, by the lengths of the turns."""

    def __init__(self, limit_tokens: int) -> None:
        self.limit_tokens = limit_tokens
        self.lengths = array("I")
        self.num_longer = 0
        self.num_trained = 0

    def add(self, labelled: Labelled, turns: _Turns | None) -> None:
        """Add a conversation; its turns are needed when it is longer than the length."""
        limit, whole = self.limit_tokens, labelled.whole
        apart = [piece for piece in labelled.apart if len(piece.ids) <= limit]
        self.lengths.extend(len(piece.ids) for piece in apart)
        self.num_trained += sum(_num_trained(piece.spans) for piece in apart)
        if len(whole.ids) <= limit:
            if whole.spans:
                self.lengths.append(len(whole.ids))
                self.num_trained += _num_trained(whole.spans)
            return
        assert turns is not None, "measured for the shortest length already"
        self.num_longer += 1
        is_trained = [number > 0 for number in turns.trained_tokens]
        room_tokens = limit - turns.head_tokens
        windows, _ = make_windows(turns.tokens, is_trained=is_trained, room_tokens=room_tokens)
        for window in windows:
            self.lengths.append(turns.head_tokens + sum(turns.tokens[window.first : window.stop]))
            self.num_trained += sum(turns.trained_tokens[window.start : window.stop])


def padded_fraction(lengths: Sequence[int], micro_batch_size: int) -> float:
    """Return the share of length-sorted micro-batches that is not padding; 1.0 without examples."""
    ordered = sorted(lengths)
    batches = (ordered[at : at + micro_batch_size] for at in range(0, len(ordered), micro_batch_size))
    num_places = sum(len(batch) * batch[-1] for batch in batches)
    return sum(ordered) / num_places if num_places else 1.0


def _num_trained(spans: Sequence[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in spans)


def _distribution_json(numbers: Distribution) -> dict[str, Any]:
    return {**asdict(numbers), "mean": numbers.mean}
