"""Long-term memory: what was said in earlier sessions, word for word, found again by its words and truly forgotten."""

from duologue.memory.store import MemoryStore, Scope

__all__ = ["MemoryStore", "Scope"]
