"""Splits to tokenized examples, in memory or in files; prepared once and kept for the next time."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import tee
from pathlib import Path
from time import monotonic
from typing import Protocol

from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import Account, DataStats, Fault, account_from_json, measure
from duologue.data.cache import (
    CACHE_FOLDER,
    cache_key,
    file_sha256,
    find_entry,
    make_entry,
    read_document,
    write_document,
)
from duologue.data.counts import deciding_parts, keep_counts
from duologue.data.estimate import estimate_tokens
from duologue.data.files import resolve_files
from duologue.data.load import Splits, ignore, load_files, load_settings, load_splits, split
from duologue.data.render import Rendered, RenderSettings, render_all
from duologue.data.store import ExampleSelection, ExampleStore, ExampleWriter
from duologue.data.tokens import TokenLedger
from duologue.engine import Event, Example, OnEvent, TextTokenizer
from duologue.errors import DataError
from duologue.messages import Conversation

_TRAIN, _VALIDATION, _ACCOUNT = "train.examples", "validation.examples", "account.json"
_MOST_TOKENS_IN_MEMORY = 1_000_000  # some 100 MB as Python numbers; more are read from the file when they are needed
_EVENT_EVERY = 256  # conversations


@dataclass(frozen=True, slots=True)
class ExampleSets:
    """Tokenized splits.

    Attributes:
        train: Examples to learn from; one comes as often as the weight of its file says.
        validation: Held-out examples.
        faults: What was cut, folded or left out while tokenizing; part of the account too.
        account: What happened to every row and every token.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    faults: Sequence[Fault]
    account: Account

    @property
    def stats(self) -> DataStats:
        """The token counts that a plan needs."""
        return measure(self.train, self.validation)


class _Sink(Protocol):
    def append(self, example: Example, /) -> None: ...


def make_examples(splits: Splits, tokenizer: TextTokenizer, config: Config, character: Character) -> ExampleSets:
    """Return the tokenized splits, all in memory.

    Raises:
        DataError: The chat template cannot be masked, or no token of the training split is a target.
    """
    train: list[Example] = []
    validation: list[Example] = []
    maker = _Maker(splits, tokenizer, config, character, on_event=ignore)
    places = maker.make(train, validation)
    maker.refuse_untrained()
    return ExampleSets(tuple(train[place] for place in places), tuple(validation), maker.ledger.faults, maker.account)


def prepare_examples(
    config: Config,
    folder: Path,
    *,
    tokenizer: TextTokenizer,
    character: Character,
    on_event: OnEvent = ignore,
) -> ExampleSets:
    """Return the tokenized splits of a character's folder, from the cache when nothing has changed.

    Args:
        config: The folder's.
        folder: The character's folder; the cache is in its `runs/`.
        tokenizer: Of the base model.
        character: Whose card is in front of every conversation.
        on_event: Receives `preparing` events, and a `warning` when prepared data was damaged.

    Raises:
        ConfigError: The card is missing or broken.
        DataError: As `load_splits` and `make_examples`; a file changed while it was read; the disk is full.
    """
    paths = resolve_files(config.data.train, folder)
    hashes = {str(path): file_sha256(path) for path in paths}
    cache = folder / CACHE_FOLDER
    parts = deciding_parts(hashes, config, character)
    key = cache_key({**parts, "tokenizer": tokenizer.fingerprint})
    entry = find_entry(cache, key, say=lambda text: on_event(Event("warning", values={"text": text})))
    if entry is None:
        splits = load_splits(config, folder, on_event=on_event)
        _refuse_changed(splits.account, hashes)
        maker = _Maker(splits, tokenizer, config, character, on_event=on_event)
        entry = make_entry(cache, key, lambda into: _fill(into, maker))
    prepared = _open(entry)
    keep_counts(prepared.stats, folder, parts, is_exact=True)
    return prepared


def check_files(
    paths: Sequence[Path],
    config: Config,
    folder: Path,
    *,
    character: Character,
    open_tokenizer: Callable[[], TextTokenizer | None],
    on_event: OnEvent = ignore,
) -> Account:
    """Return the account of files: what is in them, and what training would make of it. Nothing is written.

    Args:
        paths: The files; whatever is in them, nothing is raised for it.
        config: Settings.
        folder: Where the card lies.
        character: Whose card is in front of every conversation.
        open_tokenizer: Called when there is something to count; None estimates the tokens from the text length.
        on_event: Receives `preparing` events.
    """
    loaded = load_files(paths, settings=load_settings(config, folder), on_event=on_event)
    splits = split(loaded, {}, seed=config.run.seed)
    tokenizer = open_tokenizer() if loaded.conversations else None
    if tokenizer is None:
        return estimate_tokens(splits, config, character)
    maker = _Maker(splits, tokenizer, config, character, on_event=on_event)
    maker.make(_Nowhere(), _Nowhere())
    return maker.account


class _Maker:
    """Tokenizes both splits and writes down what became of them."""

    def __init__(
        self, splits: Splits, tokenizer: TextTokenizer, config: Config, character: Character, *, on_event: OnEvent
    ) -> None:
        self._splits = splits
        self._tokenizer = tokenizer
        self._character = character
        self._settings = RenderSettings(
            user_name=config.character.user_name,
            max_length_tokens=config.data.max_length_tokens,
            long_conversations=config.data.long_conversations,
            train_on_greeting=config.data.train_on_greeting,
        )
        self._on_event = on_event
        self._base = config.model.base
        self._begin = monotonic()
        self._num_done = 0
        self._num_trained = 0
        self.ledger = TokenLedger(splits.account, splits.num_rows)

    @property
    def account(self) -> Account:
        """The account of files and tokens."""
        return self.ledger.account(tokenizer=self._base)

    def refuse_untrained(self) -> None:
        """Stop when there is nothing to learn.

        Raises:
            DataError: No token of the training split is a target.
        """
        if not self._num_trained:
            raise DataError(
                "no token of the training data would be trained",
                needed="assistant messages that fit data.max_length_tokens",
                action="Run: duologue data check FILE, or raise data.max_length_tokens.",
            )

    def make(self, train: _Sink, validation: _Sink) -> "array[int]":
        """Put the examples into two sinks; return the places of the training examples in the order of an epoch.

        Raises:
            DataError: The chat template cannot be masked, or the disk is full.
        """
        places = array("Q")
        num_examples = 0
        for rendered, times in self._rendered(self._splits.train, self._splits.times):
            for example in rendered.examples:
                train.append(example)
                self._num_trained += example.num_trained_tokens
                places.extend([num_examples] * times)
                num_examples += 1
        for rendered, _ in self._rendered(self._splits.validation, None):
            for example in rendered.examples:
                validation.append(example)
        return places

    def _rendered(
        self, conversations: Sequence[Conversation], times: Sequence[int] | None
    ) -> Iterator[tuple[Rendered, int]]:
        whole, copies = tee(conversations)  # the second is at most a batch behind
        rendered = render_all(whole, self._tokenizer, character=self._character, settings=self._settings)
        for place, (conversation, found) in enumerate(zip(copies, rendered, strict=True)):
            number = times[place] if times is not None else 1
            self.ledger.add(conversation, found, is_train=times is not None, times=number)
            if self._num_done % _EVENT_EVERY == 0:
                self._report()
            self._num_done += 1
            yield found, number

    def _report(self) -> None:
        total = len(self._splits.train) + len(self._splits.validation)
        seconds = monotonic() - self._begin
        self._on_event(
            Event(
                "preparing", values={"what": "tokenizing", "done": self._num_done, "total": total, "seconds": seconds}
            )
        )


class _Nowhere:
    """Counts are enough."""

    def append(self, example: Example, /) -> None:
        """Forget it."""


def _fill(into: Path, maker: _Maker) -> None:
    """Write a cache entry."""
    writers = ExampleWriter(into / _TRAIN), ExampleWriter(into / _VALIDATION)
    try:
        places = maker.make(*writers)
        maker.refuse_untrained()
        num_examples, _ = [len(writer.finish()) for writer in writers]
    finally:
        for writer in writers:
            writer.discard()
    document = {
        "account": maker.account.as_json(),
        "faults": [asdict(fault) for fault in maker.ledger.faults],
        # Every example comes at least once: as many places as examples means each once, in order.
        "places": None if len(places) == num_examples else list(places),
    }
    write_document(into / _ACCOUNT, document)


def _open(entry: Path) -> ExampleSets:
    """Return what a cache entry holds; small splits are read into memory."""
    document = read_document(entry / _ACCOUNT)
    store, validation = ExampleStore(entry / _TRAIN), ExampleStore(entry / _VALIDATION)
    places = document["places"]
    train = store if places is None else ExampleSelection(store, array("Q", places))
    return ExampleSets(
        train=_in_memory(train),
        validation=_in_memory(validation),
        faults=tuple(Fault(**fault) for fault in document["faults"]),
        account=account_from_json(document["account"]),
    )


def _in_memory(examples: ExampleStore | ExampleSelection) -> Sequence[Example]:
    return tuple(examples) if sum(examples.lengths) <= _MOST_TOKENS_IN_MEMORY else examples


def _refuse_changed(account: Account, hashes: Mapping[str, str]) -> None:
    changed = [file.path for file in account.files if file.sha256 and file.sha256 != hashes[file.path]]
    if changed:
        raise DataError(
            "the file changed while it was read",
            where=", ".join(changed),
            action="Wait until it is whole and try again.",
        )
