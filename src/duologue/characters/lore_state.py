"""What lore remembers between turns: which entries stay, which stay away, which have fired before."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from duologue.characters.lorebook import LoreEntry
from duologue.errors import DataError


@dataclass(frozen=True, slots=True)
class Effect:
    """An entry that stays, or stays away, for a number of messages.

    Attributes:
        start: Messages of the chat when it began.
        end: Messages of the chat at which it is over.
        is_protected: It began when another effect ended, and so does not go when the chat is wound back.
    """

    start: int
    end: int
    is_protected: bool = False


@dataclass(frozen=True, slots=True)
class LoreState:
    """The state of one chat. A new one for every turn: going back to an earlier message is taking an earlier state.

    Attributes:
        sticky: Entries that stay.
        cooldown: Entries that stay away.
        fired: Entries that fired before; only those whose decorators ask.
    """

    sticky: Mapping[str, Effect] = field(default_factory=dict)
    cooldown: Mapping[str, Effect] = field(default_factory=dict)
    fired: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        effects = {
            name: {key: [effect.start, effect.end, effect.is_protected] for key, effect in sorted(group.items())}
            for name, group in (("sticky", self.sticky), ("cooldown", self.cooldown))
        }
        return {**effects, "fired": sorted(self.fired)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "LoreState":
        """Return the state that `as_json` wrote; an empty document is an empty state.

        Raises:
            DataError: The document is something else.
        """
        try:
            groups = [
                {str(key): Effect(int(start), int(end), bool(guard)) for key, (start, end, guard) in group.items()}
                for group in (document.get("sticky", {}), document.get("cooldown", {}))
            ]
            return cls(groups[0], groups[1], frozenset(str(key) for key in document.get("fired", ())))
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError("the saved state of the lore is damaged", where="chat") from error

    def at(self, num_messages: int, entries: Iterable[LoreEntry]) -> "LoreState":
        """Return the state as it is at the beginning of a turn: what is over, or was never said, is gone.

        Args:
            num_messages: Messages of the chat, the newest included.
            entries: Of all books.
        """
        by_key = {entry.state_key: entry for entry in entries}
        sticky, cooldown = {}, dict(self.cooldown)
        for key, effect in self.sticky.items():
            entry = by_key.get(key)
            if _holds(effect, num_messages) and (entry is None or entry.sticky):
                sticky[key] = effect
            elif entry and entry.sticky and entry.cooldown and num_messages >= effect.end:
                cooldown[key] = Effect(num_messages, num_messages + entry.cooldown, is_protected=True)
        kept = {
            key: effect
            for key, effect in cooldown.items()
            if _holds(effect, num_messages) and (key not in by_key or by_key[key].cooldown)
        }
        return replace(self, sticky=sticky, cooldown=kept)

    def after(self, num_messages: int, fired: Iterable[LoreEntry]) -> "LoreState":
        """Return the state at the end of a turn in which these entries fired."""
        sticky, cooldown, seen = dict(self.sticky), dict(self.cooldown), set(self.fired)
        for entry in fired:
            key = entry.state_key
            if entry.sticky and key not in sticky:
                sticky[key] = Effect(num_messages, num_messages + entry.sticky)
            if entry.cooldown and key not in cooldown:
                cooldown[key] = Effect(num_messages, num_messages + entry.cooldown)
            if entry.decorators.keeps_after_match or entry.decorators.stops_after_match:
                seen.add(key)
        return LoreState(sticky, cooldown, frozenset(seen))


def _holds(effect: Effect, num_messages: int) -> bool:
    is_wound_back = num_messages <= effect.start and not effect.is_protected
    return num_messages < effect.end and not is_wound_back
