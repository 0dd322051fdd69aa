"""What tokenizing adds to the account: what was cut, which rows are left without an example, and every token."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from duologue.data.account import Account, Fault, FaultList, FileAccount, SplitCounts, TokenCounts, kind_of
from duologue.data.found import Note
from duologue.data.render import Rendered
from duologue.messages import Conversation

_NO_EXAMPLE = "nothing of it can be learned"


class TokenLedger:
    """Collects what became of the conversations of both splits."""

    def __init__(self, account: Account, num_rows: Mapping[str, int]) -> None:
        """Begin with the account of loading.

        Args:
            account: Of the files.
            num_rows: Rows of conversations that are made of several, by source.
        """
        self._account = account
        self._num_rows = num_rows
        self._notes: dict[str, list[Note]] = {}
        self._left_out: dict[str, Counter[str]] = {}
        self._num_conversations_left_out: Counter[bool] = Counter()
        self._num_seen_left_out = 0
        self._num_turns_left_out = 0
        self._num_trained = 0
        self._num_context = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What was noticed while tokenizing."""
        return tuple(fault for path, notes in self._notes.items() for fault in FaultList(path, notes))

    def add(self, conversation: Conversation, rendered: Rendered, *, is_train: bool, times: int = 1) -> None:
        """Take up what a conversation became.

        Args:
            conversation: As loaded.
            rendered: Its examples.
            is_train: Whether it is in the training split.
            times: How often it is seen per epoch.
        """
        for fault in rendered.faults:
            note = Note(fault.row, fault.field, fault.reason, fault.action)
            self._notes.setdefault(fault.path, []).append(note)
        for example in rendered.examples:
            num_trained = example.num_trained_tokens
            self._num_trained += times * num_trained
            self._num_context += times * (example.num_tokens - num_trained)
        if not rendered.examples:
            reason = rendered.faults[-1].reason if rendered.faults else _NO_EXAMPLE
            path = conversation.source.rpartition(":")[0]
            num_rows = self._num_rows.get(conversation.source, 1)
            self._left_out.setdefault(path, Counter())[kind_of(reason)] += num_rows
            self._num_conversations_left_out[is_train] += 1
            self._num_seen_left_out += times * is_train
            self._num_turns_left_out += conversation.num_turns

    def account(self, *, tokenizer: str) -> Account:
        """Return the account of files and tokens.

        Args:
            tokenizer: Name of the base model whose tokens were counted.
        """
        account, left_out = self._account, self._num_conversations_left_out
        counts = account.splits
        return replace(
            account,
            files=tuple(self._file(file) for file in account.files),
            num_conversations=account.num_conversations - left_out.total(),
            num_turns=account.num_turns - self._num_turns_left_out,
            splits=SplitCounts(
                train=counts.train - left_out[True],
                validation=counts.validation - left_out[False],
                train_per_epoch=counts.train_per_epoch - self._num_seen_left_out,
            ),
            tokens=TokenCounts(trained=self._num_trained, context=self._num_context, tokenizer=tokenizer),
        )

    def _file(self, file: FileAccount) -> FileAccount:
        notes, left_out = self._notes.get(file.path), self._left_out.get(file.path, Counter())
        if not notes:
            return file
        num_left_out = left_out.total()
        return replace(
            file,
            num_loaded=file.num_loaded - num_left_out,
            num_dropped=file.num_dropped + num_left_out,
            dropped=dict((Counter(file.dropped) + left_out).most_common()),
            faults=_with_notes(file.path, file.faults, notes),
        )


def _with_notes(path: str, faults: Sequence[Fault], notes: Sequence[Note]) -> FaultList:
    merged = FaultList(path, (Note(fault.row, fault.field, fault.reason, fault.action) for fault in faults))
    for note in notes:
        merged.append(note)
    merged.sort()
    return merged
