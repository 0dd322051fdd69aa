"""Conversations that were there before: the same text, or almost the same.

Exact: roles, texts and excluded replies are equal after normalising. Near: at least three quarters of the three-word
phrases of both together are in both (Jaccard similarity, estimated from a `minhash.Sketch`). The leading system message
is left out of the comparison: it is often one card for a whole file, and would make short conversations alike that
share nothing else.

How likely a pair is found, by its true similarity (8 bands of 5 rows, then the estimate must reach 0.75):

| similarity | 0.5   | 0.6   | 0.7  | 0.75 | 0.8  | 0.85 | 0.9    | 0.95    |
|------------|-------|-------|------|------|------|------|--------|---------|
| found      | <1e-5 | 0.001 | 0.12 | 0.44 | 0.85 | 0.99 | 0.9992 | 0.99999 |

An index of a million conversations takes about 150 MB; no text is kept.
"""

import hashlib
import sys
from array import array
from dataclasses import dataclass
from typing import Literal

from duologue.data.minhash import NUM_BANDS, SIGNATURE_BYTES, Sketch, estimate_similarity, sketch
from duologue.messages import Conversation

NEAR_SIMILARITY = 0.75

_DIGEST_BYTES = 12
_KEPT_BYTES = 8  # four more are the key under which it is listed
_KEYS = 1 + NUM_BANDS  # per conversation: the first four bytes of the digest, then the bands
_MOST_PER_BUCKET = 32
_FIRST_SLOTS = 1 << 16
_FULLEST = 0.75
_GROWTH = 1.4
_REBUILD_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class DuplicateOf:
    """What a conversation is a duplicate of.

    Attributes:
        kind: `exact` or `near`.
        source: `file:row` of the first conversation it equals or resembles.
        similarity: Jaccard similarity of the phrases, 1 for an exact duplicate; estimated for a near one.
    """

    kind: Literal["exact", "near"]
    source: str
    similarity: float


class Duplicates:
    """An index of the conversations so far.

    Exact duplicates are never taken up. Near duplicates are, when they are kept; then `groups` joins them.
    """

    def __init__(self, *, keeps_near: bool = True) -> None:
        """Start empty.

        Args:
            keeps_near: Whether near duplicates are kept (`data.near_duplicates`). When they are dropped, a conversation
                is compared with kept ones only: what resembles a dropped one alone is kept.
        """
        self.num_exact = 0
        self.num_near = 0
        self._keeps_near = keeps_near
        self._sources = _Sources()
        self._digests = bytearray()
        self._signatures = bytearray()
        self._parents = array("I")
        self._buckets = _Buckets()

    def __len__(self) -> int:
        """Return how many conversations were taken up."""
        return len(self._parents)

    def add(self, conversation: Conversation) -> DuplicateOf | None:
        """Take up a conversation; return what it is a duplicate of, or None.

        Conversations that are taken up are numbered from 0: all but exact duplicates, and but near ones unless they are
        kept.
        """
        digest = _digest(conversation)
        first_key = int.from_bytes(digest[:4]) or 1
        for index in self._buckets.find(first_key):
            if self._digests[index * _KEPT_BYTES : (index + 1) * _KEPT_BYTES] == digest[-_KEPT_BYTES:]:
                self.num_exact += 1
                return DuplicateOf("exact", self._sources[index], 1.0)
        found = sketch(_compared_text(conversation))
        near = self._near(found) if found else []
        if near:
            self.num_near += 1
        if not near or self._keeps_near:
            self._take_up(conversation.source, digest, found, near)
        if not near:
            return None
        first, similarity = near[0]
        return DuplicateOf("near", self._sources[first], similarity)

    @property
    def num_bytes(self) -> int:
        """Memory of the index."""
        parts = (self._digests, self._signatures, self._parents, *self._sources.arrays, *self._buckets.arrays)
        return sum(sys.getsizeof(part) for part in parts)

    def groups(self) -> "array[int]":
        """Return for each conversation taken up the number of the first one it is joined to, by whatever chain."""
        return array("I", (self._root(index) for index in range(len(self._parents))))

    def _near(self, found: Sketch) -> list[tuple[int, float]]:
        """Return near duplicates with their similarity, ascending: one of each group, as the group is what counts."""
        candidates = {index for key in found.band_keys for index in self._buckets.find(key)}
        near: list[tuple[int, float]] = []
        roots: set[int] = set()
        for index in sorted(candidates):
            if self._root(index) in roots:
                continue
            place = index * SIGNATURE_BYTES
            other = int.from_bytes(self._signatures[place : place + SIGNATURE_BYTES])
            similarity = estimate_similarity(found.signature, other)
            if similarity >= NEAR_SIMILARITY:
                near.append((index, similarity))
                roots.add(self._root(index))
                if not self._keeps_near:
                    break
        return near

    def _take_up(self, source: str, digest: bytes, found: Sketch | None, near: list[tuple[int, float]]) -> None:
        index = len(self._parents)
        self._sources.append(source)
        self._digests += digest[-_KEPT_BYTES:]
        signature, band_keys = (found.signature, found.band_keys) if found else (0, (0,) * NUM_BANDS)
        self._signatures += signature.to_bytes(SIGNATURE_BYTES)
        self._parents.append(index)
        for other, _ in near:
            one, two = sorted((self._root(other), self._root(index)))
            self._parents[two] = one
        self._buckets.append((int.from_bytes(digest[:4]) or 1, *band_keys))

    def _root(self, index: int) -> int:
        parents = self._parents
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index


class _Sources:
    """`file:row` of many conversations, each file name stored once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._paths: list[str] = []
        self._path_of = array("I")
        self._row_of = array("I")

    def append(self, source: str) -> None:
        path, _, row = source.rpartition(":")
        is_row = row.isascii() and row.isdigit() and len(row) <= 9 and row == str(int(row))
        path, row_plus_1 = (path, int(row) + 1) if is_row else (source, 0)
        if path not in self._numbers:
            self._numbers[path] = len(self._paths)
            self._paths.append(path)
        self._path_of.append(self._numbers[path])
        self._row_of.append(row_plus_1)

    @property
    def arrays(self) -> "tuple[array[int], ...]":
        return self._path_of, self._row_of

    def __getitem__(self, index: int) -> str:
        path, row_plus_1 = self._paths[self._path_of[index]], self._row_of[index]
        return f"{path}:{row_plus_1 - 1}" if row_plus_1 else path


class _Buckets:
    """Which conversations have a key: an open hash table of four bytes per slot.

    A key that is 0 is not listed. A bucket lists its first 32 conversations: more of them with an equal key are either
    near duplicates of one that is listed, or share a phrase as common as a greeting.
    """

    def __init__(self) -> None:
        self._keys = array("I")
        self._table = array("I", bytes(4 * _FIRST_SLOTS))
        self._num_listed = 0

    @property
    def arrays(self) -> "tuple[array[int], ...]":
        return self._keys, self._table

    def find(self, key: int) -> list[int]:
        """Return the conversations that are listed under a key."""
        table, keys = self._table, self._keys
        slot, last = key % len(table), len(table) - 1
        found = []
        while entry := table[slot]:
            if keys[entry - 1] == key:
                found.append((entry - 1) // _KEYS)
            slot = slot + 1 if slot < last else 0
        return found

    def append(self, keys: tuple[int, ...]) -> None:
        """List the next conversation under its keys."""
        if self._num_listed + len(keys) > _FULLEST * len(self._table):
            self._rebuild(int(len(self._table) * _GROWTH) | 1)
        first = len(self._keys)
        self._keys.extend(keys)
        for place, key in enumerate(keys):
            if key:
                self._list(first + place, key)

    def _list(self, entry: int, key: int) -> None:
        table, keys = self._table, self._keys
        slot, last = key % len(table), len(table) - 1
        num_equal = 0
        while other := table[slot]:
            num_equal += keys[other - 1] == key
            slot = slot + 1 if slot < last else 0
        if num_equal < _MOST_PER_BUCKET:
            table[slot] = entry + 1
            self._num_listed += 1
        else:
            keys[entry] = 0

    def _rebuild(self, num_slots: int) -> None:
        """List every entry in a table of another size, many at a time."""
        import numpy as np

        del self._table  # before the new one is made: they would be the largest things in memory
        self._table = array("I", bytes(4 * num_slots))
        table, keys = np.frombuffer(self._table, np.uint32), np.frombuffer(self._keys, np.uint32)
        for start in range(0, len(keys), _REBUILD_ENTRIES):
            entries = start + np.flatnonzero(keys[start : start + _REBUILD_ENTRIES])
            slots = keys[entries].astype(np.int64) % num_slots
            while len(entries):
                free = np.flatnonzero(table[slots] == 0)
                taken, firsts = np.unique(slots[free], return_index=True)
                placed = free[firsts]
                table[taken] = entries[placed] + 1
                left = np.ones(len(entries), bool)
                left[placed] = False
                # The rest found its slot taken, by now at the latest, and tries the next one.
                entries, slots = entries[left], (slots[left] + 1) % num_slots


def _digest(conversation: Conversation) -> bytes:
    """Return 96 bits of roles, texts and excluded replies; normalising has left no control character in a text."""
    parts = [f"{message.role}\x1f{message.content}" for message in conversation.messages]
    parts.append(",".join(map(str, sorted(conversation.untrained))))
    text = "\x1e".join(parts)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _compared_text(conversation: Conversation) -> str:
    messages = conversation.messages
    if messages and messages[0].role == "system":
        messages = messages[1:]
    return "\n".join(message.content for message in messages)
