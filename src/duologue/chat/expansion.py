"""Macros of a chat: what `{{char}}`, `{{lastMessage}}` and the like stand for in the prompt of one reply."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import overload

from duologue.characters import ChatLine, MacroContext, expand
from duologue.chat.cast import Cast, Member
from duologue.chat.tree import StoredMessage
from duologue.config import Config


@dataclass(frozen=True, slots=True)
class Expansion:
    """Replaces the macros of card, lore and notes; never those in messages, which people and the model write.

    Attributes:
        context: What macros may know.
    """

    context: MacroContext

    @classmethod
    def of(
        cls,
        member: Member,
        cast: Cast,
        path: Sequence[StoredMessage],
        *,
        config: Config,
        session_id: str,
        variables: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> "Expansion":
        """Return the expansion for a reply of one character.

        Args:
            member: Who replies.
            cast: Everyone.
            path: The chat so far.
            config: Names.
            session_id: A chat draws the same `{{random}}` each time, so that the prompt stays as it was.
            variables: Of the chat.
            now: The user's local time.
        """
        user_name = config.character.user_name
        lines = _Lines([entry for entry in path if not entry.is_hidden], cast, user_name=user_name)
        seed = zlib.crc32(session_id.encode())
        context = MacroContext(
            char=member.name,
            user=user_name,
            persona=config.character.persona,
            character=member.character,
            messages=lines,
            now=now or datetime.now().astimezone(),
            seed=seed,
            pick_seed=seed,
            variables=dict(variables or {}),
            model=config.model.base,
            max_reply_tokens=config.generation.max_new_tokens,
            group=tuple(other.name for other in cast.members) if cast.is_group else (),
        )
        return cls(context)

    @property
    def lines(self) -> Sequence[ChatLine]:
        """The chat as macros and lore see it."""
        return self.context.messages

    def text(self, text: str) -> str:
        """Return a text of the card, of lore or of a note with its macros replaced."""
        return expand(text, self.context)

    def text_without_effects(self, text: str) -> str:
        """Return the same without a trace: a text that is only looked at sets and counts nothing."""
        return expand(text, self.context.without_effects())

    def with_outlets(self, outlets: Mapping[str, str]) -> "Expansion":
        """Return the same with lore that texts ask for by name."""
        return Expansion(replace(self.context, outlets=outlets)) if outlets else self


class _Lines(Sequence[ChatLine]):
    """A chat as macros and lore see it; a line is made when somebody looks, which is at its end most of the time."""

    def __init__(self, entries: Sequence[StoredMessage], cast: Cast, *, user_name: str) -> None:
        self._entries = entries
        self._cast = cast
        self._user_name = user_name

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, at: int) -> ChatLine: ...
    @overload
    def __getitem__(self, at: slice) -> "_Lines": ...
    def __getitem__(self, at: int | slice) -> "ChatLine | _Lines":
        if isinstance(at, slice):
            return _Lines(self._entries[at], self._cast, user_name=self._user_name)
        return _line(self._entries[at], self._cast, user_name=self._user_name)


def _line(entry: StoredMessage, cast: Cast, *, user_name: str) -> ChatLine:
    member = cast.speaker_of(entry) if entry.message.role == "assistant" else None
    character = (member or cast.main).character
    name = user_name if entry.message.role == "user" else entry.speaker or character.display_name
    text = character.resolve_macros(entry.message.content, user_name=user_name)
    return ChatLine(entry.message.role, name, text, _time(entry.created_at))


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
