"""Long-term memory: what was said in earlier sessions, found again by words and meaning, and truly forgotten."""

from duologue.memory.fusion import fuse
from duologue.memory.hosted import HostedMemory, open_hosted
from duologue.memory.learning import Followed
from duologue.memory.measure import measure, read_set
from duologue.memory.passages import passages
from duologue.memory.records import Receipt, Scope, Source, StoredLine, Why
from duologue.memory.store import AlsoForget, MemoryStore

__all__ = [
    "AlsoForget",
    "Followed",
    "HostedMemory",
    "MemoryStore",
    "Receipt",
    "Scope",
    "Source",
    "StoredLine",
    "Why",
    "fuse",
    "measure",
    "open_hosted",
    "passages",
    "read_set",
]
