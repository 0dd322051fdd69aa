"""Who takes part in the chats of a folder: its own character, and companions."""

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from duologue.characters import Character, Lorebook
from duologue.chat.group import SpeakingOrder, Voices, mentioned, next_speakers
from duologue.chat.tree import StoredMessage


@dataclass(frozen=True, slots=True)
class Member:
    """A character in a chat.

    Attributes:
        character: The card.
        lorebooks: What may fire when this character replies: the card's own book and those of the configuration.
    """

    character: Character
    lorebooks: tuple[Lorebook, ...] = ()

    @classmethod
    def of(cls, character: Character, *, more: Sequence[Lorebook] = ()) -> "Member":
        """Return a character with the card's own lorebook and further ones."""
        own = (character.lorebook,) if character.lorebook else ()
        return cls(character, (*own, *more))

    @property
    def name(self) -> str:
        """The name, as shown and as stored with a message."""
        return self.character.display_name

    @property
    def model_id(self) -> str:
        """Owner of the memories: `lila-quill`."""
        return slug(self.character.name)

    def is_called(self, name: str) -> bool:
        """Tell whether a name is one of this character's."""
        wanted = name.strip().casefold()
        names = (self.character.name, self.character.display_name, self.model_id)
        return wanted in (known.casefold() for known in names)


@dataclass(frozen=True, slots=True)
class Cast:
    """The characters of a folder's chats; the first one is the folder's own.

    Attributes:
        members: All of them, each with another name.
        order: Who replies when there are several.
    """

    members: tuple[Member, ...]
    order: SpeakingOrder = "natural"

    @property
    def is_group(self) -> bool:
        """Whether there is more than one."""
        return len(self.members) > 1

    @property
    def main(self) -> Member:
        """The folder's own character."""
        return self.members[0]

    def find(self, name: str) -> Member | None:
        """Return who is called so: by the whole name, or by a word of it that only one has; None for nobody."""
        whole = [member for member in self.members if member.is_called(name)]
        if whole:
            return whole[0]
        partly = mentioned(name, self._names())
        return self.members[partly[0]] if len(partly) == 1 else None

    def speaker_of(self, entry: StoredMessage) -> Member | None:
        """Return who said a reply; None for a stranger, such as in an imported chat."""
        return self.find(entry.speaker) if entry.speaker else self.main

    def still_to_speak(self, path: Sequence[StoredMessage], *, session_id: str) -> tuple[Member, ...]:
        """Return who is to reply to the user's last message, in order; nobody once everyone chosen has.

        Asking again about the same chat gives the same answer.
        """
        asked = [at for at, entry in enumerate(path) if entry.message.role == "user" and not entry.is_hidden]
        if not asked:
            return ()
        question = path[asked[-1]]
        spoken = self._replied(path[asked[-1] + 1 :])
        if not self.is_group:
            return () if spoken else self.members
        chosen = self._chosen(question, (), session_id=session_id)
        return tuple(member for member in chosen if member not in spoken)

    def next_to_speak(self, path: Sequence[StoredMessage], *, session_id: str) -> Member:
        """Return who goes on when the user says nothing: as if the last message had been said to all."""
        said = [entry for entry in path if not entry.is_hidden]
        if not self.is_group or not said:
            return self.main
        users = [at for at, entry in enumerate(said) if entry.message.role == "user"]
        spoken = self._replied(said[users[-1] + 1 if users else 0 :])
        chosen = self._chosen(said[-1], spoken, session_id=session_id)
        waiting = [member for member in chosen if member not in spoken[-1:]]
        return (waiting or chosen or self.members)[0]

    def _chosen(self, said: StoredMessage, spoken: Sequence[Member], *, session_id: str) -> tuple[Member, ...]:
        voices = Voices(
            names=self._names(),
            talkativeness=[member.character.talkativeness for member in self.members],
            spoken=[self.members.index(member) for member in spoken],
        )
        seed = zlib.crc32(f"{session_id}/{said.id}".encode())
        # Not for secrets: the same chat must have the same speakers when it is opened again.
        roll = random.Random(seed)
        places = next_speakers(self.order, voices, said.message.content, roll=roll)
        return tuple(self.members[at] for at in places)

    def _replied(self, entries: Sequence[StoredMessage]) -> list[Member]:
        found = (self.speaker_of(entry) for entry in entries if entry.message.role == "assistant")
        return [member for member in found if member is not None]

    def _names(self) -> list[tuple[str, str]]:
        return [(member.character.name, member.character.display_name) for member in self.members]


def slug(name: str) -> str:
    """Return a name as lower-case words joined by hyphens, such as `lila-quill`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "character"
