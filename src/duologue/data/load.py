"""Files to splits: every row of every file used, or dropped for a reason; no conversation in two splits."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Literal

from duologue.characters import load_character
from duologue.config import Config
from duologue.data.account import Account, DuplicateCounts, FileAccount, SplitCounts
from duologue.data.casting import Casting, find_casting_fault
from duologue.data.duplicates import Duplicates
from duologue.data.files import resolve_files
from duologue.data.found import DUPLICATE_DROPPED
from duologue.data.normalise import NormaliseSettings
from duologue.data.sift import PersonalData, Sieve, find_speakers, sift_file
from duologue.data.splits import Splitter
from duologue.data.store import ConversationWriter, Selection
from duologue.engine import Event, OnEvent
from duologue.errors import DataError
from duologue.guard import ContentPolicy, Rating
from duologue.messages import Conversation

SAME_SPLIT = "kept, in the same split"

_SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What decides which conversations come out of files.

    Attributes:
        user_names: Who is the user in chat logs.
        character_names: Who is the character in chat logs.
        card_name: The name on the character's card.
        train_on_greeting: Whether a greeting alone is something to learn.
        strip_asides: Whether out-of-character asides are taken out.
        personal_data: What happens to personal data.
        near_duplicates: What happens to a conversation that is almost another one.
        rating: What the content policy refuses.
        seed: Of the splits.
        validation_fraction: Share of the conversations that is held out.
    """

    user_names: tuple[str, ...] = ()
    character_names: tuple[str, ...] = ()
    card_name: str = ""
    train_on_greeting: bool = False
    strip_asides: bool = False
    personal_data: PersonalData = "keep"
    near_duplicates: Literal["keep", "drop"] = "keep"
    rating: Rating = "general"
    seed: int = 0
    validation_fraction: float = 0.1

    @property
    def casting(self) -> Casting:
        """Who is who."""
        return Casting(self.user_names, self.character_names, self.card_name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The usable conversations of several files.

    Attributes:
        conversations: In the order of the files and their rows.
        groups: For each conversation the number of the first one it is joined to by near duplicates.
        held_out: For each conversation whether it is for validation.
        num_rows: Rows of conversations that are made of several, by source.
        account: What happened to every row.
    """

    conversations: Sequence[Conversation]
    groups: Sequence[int]
    held_out: Sequence[int]
    num_rows: Mapping[str, int]
    account: Account


@dataclass(frozen=True, slots=True)
class Splits:
    """Conversations for training and for measuring. No conversation, nor one that is almost equal, is in both.

    Attributes:
        train: To learn from, without those that the weights leave out.
        validation: Held out.
        times: How often each conversation of `train` is seen per epoch, by the weights of the files.
        num_rows: Rows of conversations that are made of several, by source.
        account: What happened to every row.
    """

    train: Sequence[Conversation]
    validation: Sequence[Conversation]
    times: Sequence[int]
    num_rows: Mapping[str, int]
    account: Account


def ignore(_event: Event) -> None:
    """Do nothing with an event."""


def load_splits(config: Config, folder: Path, *, on_event: OnEvent = ignore) -> Splits:
    """Return the splits of a character's folder.

    Raises:
        ConfigError: The card is missing or broken.
        DataError: No file is named so, a row or a file has a fault while `data.skip_faulty_rows` is false, or no
            conversation is left.
    """
    paths = resolve_files(config.data.train, folder)
    loaded = load_files(paths, settings=load_settings(config, folder), on_event=on_event)
    refuse_faults(loaded.account, config)
    return split(loaded, weights_of(paths, config.data.weights, folder), seed=config.run.seed)


def load_settings(config: Config, folder: Path) -> LoadSettings:
    """Return what a character's config says about loading.

    Raises:
        ConfigError: The card is missing or broken.
    """
    data = config.data
    card = config.character.card
    return LoadSettings(
        user_names=data.user_names,
        character_names=data.character_names,
        card_name=load_character(folder / card).name if card else "",
        train_on_greeting=data.train_on_greeting,
        strip_asides=data.strip_asides,
        personal_data=data.personal_data,
        near_duplicates=data.near_duplicates,
        rating=config.guard.rating,
        seed=config.run.seed,
        validation_fraction=data.validation_fraction,
    )


def load_files(paths: Sequence[Path], *, settings: LoadSettings, on_event: OnEvent = ignore) -> Loaded:
    """Return the usable conversations of several files; whatever is in the files, nothing is raised for it.

    Args:
        paths: The files, in this order; of equal conversations the first is kept.
        settings: What decides.
        on_event: Receives `preparing` events.

    Raises:
        DataError: The disk is full: many conversations go through a file.
    """
    sieve = Sieve(
        casting=settings.casting,
        normalise=NormaliseSettings(settings.train_on_greeting, settings.strip_asides),
        policy=ContentPolicy(settings.rating),
        personal_data=settings.personal_data,
    )
    collector = _Collector(settings)
    files: list[FileAccount] = []
    personal_data: Counter[str] = Counter()
    on_bytes = _bytes_progress(paths, on_event)
    for place, path in enumerate(paths):
        sifted = sift_file(path, sieve, keep=collector.keep, on_bytes=partial(on_bytes, place))
        files.append(sifted.account)
        personal_data += sifted.personal_data
    return collector.loaded(tuple(files), personal_data)


def find_unknown_speakers(paths: Sequence[Path], settings: LoadSettings) -> Counter[str]:
    """Return who speaks in chat logs of which it is not known who is the character; empty when there are none."""
    unknown: Counter[str] = Counter()
    for path in paths:
        speakers = find_speakers(path)
        if find_casting_fault(speakers, settings.casting):
            unknown += speakers
    return unknown


def refuse_faults(account: Account, config: Config) -> None:
    """Stop at data that cannot be trained on.

    Raises:
        DataError: A row or a file has a fault while `data.skip_faulty_rows` is false, or no conversation is left.
    """
    refused = [str(fault) for fault in islice(filter(lambda f: f.is_refused, account.iter_faults()), _SHOWN_FAULTS)]
    more = account.num_refused - len(refused)
    listed = "".join(f"\n  {line}" for line in refused) + (f"\n  and {more} more" if more else "")
    if refused and not config.data.skip_faulty_rows:
        raise DataError(
            f"{account.num_refused} rows or files have faults:{listed}",
            action="Mend them, or set data.skip_faulty_rows=true to drop and count them.",
        )
    if not account.num_conversations:
        raise DataError(
            f"no usable conversation in {len(account.files)} files{':' if listed else ''}{listed}",
            where=", ".join(file.path for file in account.files),
            needed="at least one conversation with a user message and a reply",
            action="Run: duologue data check FILE",
        )


def weights_of(paths: Sequence[Path], weights: Mapping[str, float], folder: Path) -> dict[str, float]:
    """Return the weight of every file that has one, by path; where several patterns match, the last one counts.

    Raises:
        DataError: A pattern matches no file.
    """
    found: dict[str, float] = {}
    for pattern, weight in weights.items():
        matches = [path for path in paths if _is_named(path, pattern, folder)]
        if not matches:
            raise DataError(
                f"no file of data.train is named '{pattern}'",
                where="data.weights",
                needed=", ".join(path.name for path in paths),
            )
        found |= {str(path): weight for path in matches}
    return found


def split(loaded: Loaded, weights: Mapping[str, float], *, seed: int) -> Splits:
    """Return the splits of loaded conversations.

    A conversation of a file with weight 2.5 is seen twice per epoch, and every second one, chosen by the seed and its
    text, once more. The validation split is not weighted.
    """
    train, validation, times = array("Q"), array("Q"), array("I")
    for place, is_held_out in enumerate(loaded.held_out):
        if is_held_out:
            validation.append(place)
            continue
        number = _times(loaded.conversations[place], weights, seed) if weights else 1
        if number:
            train.append(place)
            times.append(number)
    account = loaded.account
    counts = SplitCounts(len(loaded.held_out) - len(validation), len(validation), sum(times))
    files = tuple(replace(file, weight=weights.get(file.path, 1.0)) for file in account.files)
    return Splits(
        train=Selection(loaded.conversations, train),
        validation=Selection(loaded.conversations, validation),
        times=times,
        num_rows=loaded.num_rows,
        account=replace(account, files=files, splits=counts),
    )


class _Collector:
    """Keeps the conversations of all files, but for duplicates."""

    def __init__(self, settings: LoadSettings) -> None:
        self._keeps_near = settings.near_duplicates == "keep"
        self._duplicates = Duplicates(keeps_near=self._keeps_near)
        self._splitter = Splitter(seed=settings.seed, validation_fraction=settings.validation_fraction)
        self._writer = ConversationWriter()
        self._num_rows: dict[str, int] = {}
        self._num_turns = 0

    def keep(self, conversation: Conversation, num_rows: int) -> tuple[str, str]:
        """Keep a conversation, unless it is a duplicate; return what is to be noted about it."""
        found = self._duplicates.add(conversation)
        if found is not None and (found.kind == "exact" or not self._keeps_near):
            word = "equal" if found.kind == "exact" else "nearly equal"
            return f"{word} to a conversation before: {found.source}", DUPLICATE_DROPPED
        self._splitter.add(conversation)
        self._writer.append(conversation)
        self._num_turns += conversation.num_turns
        if num_rows != 1:
            self._num_rows[conversation.source] = num_rows
        return (f"nearly equal to a conversation before: {found.source}", SAME_SPLIT) if found else ("", "")

    def loaded(self, files: tuple[FileAccount, ...], personal_data: Counter[str]) -> Loaded:
        """Return what was kept."""
        duplicates, groups = self._duplicates, self._duplicates.groups()
        conversations = self._writer.finish()
        held_out = self._splitter.held_out(groups)
        num_groups = sum(size > 1 for size in Counter(groups).values())
        account = Account(
            files=files,
            num_conversations=len(conversations),
            num_turns=self._num_turns,
            num_duplicates=duplicates.num_exact + (0 if self._keeps_near else duplicates.num_near),
            duplicates=DuplicateCounts(duplicates.num_exact, duplicates.num_near, num_groups),
            personal_data=dict(personal_data),
            splits=SplitCounts(held_out.count(0), held_out.count(1), held_out.count(0)),
        )
        return Loaded(conversations, groups, held_out, self._num_rows, account)


def _bytes_progress(paths: Sequence[Path], on_event: OnEvent) -> Callable[[int, int], None]:
    """Return what reports how many bytes of which file were read, as a share of all files."""
    sizes = [_num_bytes(path) for path in paths]
    begin = monotonic()

    def report(place: int, done: int) -> None:
        read = sum(sizes[:place]) + min(done, sizes[place])
        seconds = monotonic() - begin
        on_event(Event("preparing", values={"what": "reading", "done": read, "total": sum(sizes), "seconds": seconds}))

    return report


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it will say why


def _is_named(path: Path, pattern: str, folder: Path) -> bool:
    names = [path.name, str(path)]
    if path.is_relative_to(folder):
        names.append(path.relative_to(folder).as_posix())
    return any(fnmatch(name, pattern) for name in names)


def _times(conversation: Conversation, weights: Mapping[str, float], seed: int) -> int:
    weight = weights.get(conversation.source.rpartition(":")[0], 1.0)
    text = "\x1e".join(message.content for message in conversation.messages)
    digest = hashlib.sha256(f"{seed}/weight\x1e{text}".encode(errors="surrogatepass")).digest()
    return int(weight) + (int.from_bytes(digest[:8]) < (weight % 1) * 2**64)
