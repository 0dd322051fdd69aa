"""What a session keeps beside its messages: what left the buffer, what stands in the prompt, lore's timers, a note."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from duologue.chat.sessions import Sessions
from duologue.chat.tree import StoredMessage
from duologue.config import Config
from duologue.prompt import Block

PROMPT = "prompt"  # what left and what stands, by character
LORE = "lore"
NOTE = "note"
SUMMARY = "summary"
_MAX_LORE_STATES = 40  # turns one can go back and find sticky and cooling lore as it was


@dataclass(frozen=True, slots=True)
class Standing:
    """What the last prompt of a character left behind, so that the next one begins in the same way.

    Attributes:
        first_id: The first message that was part of it; 0 for the beginning of the chat.
        memories_from: Lines recalled for messages before this one have left the prompt.
        examples_left: Example dialogue that left; it does not come back, or the prompt would begin anew each time.
        blocks: Volatile parts, recalled lines excepted; those are kept with the replies they were recalled for.
    """

    first_id: int = 0
    memories_from: int = 0
    examples_left: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """The author's note of a session.

    Attributes:
        text: What it says; empty for none.
        depth: Messages that stand below it.
    """

    text: str
    depth: int


def read_standing(sessions: Sessions, session_id: str, *, speaker: str) -> Standing:
    """Return what stands in the prompts of a character in a session."""
    kept = (sessions.state(session_id, PROMPT) or {}).get(speaker)
    if not kept:
        return Standing()
    blocks = tuple(Block(**block) for block in kept["blocks"])
    return Standing(kept["first_id"], kept["memories_from"], tuple(kept["examples_left"]), blocks)


def write_standing(sessions: Sessions, session_id: str, standing: Standing, *, speaker: str) -> None:
    """Store what stands in the prompts of a character, unless nothing has changed."""
    state = sessions.state(session_id, PROMPT) or {}
    blocks = [
        {
            "kind": block.kind,
            "text": block.text,
            "role": block.role,
            "why": block.why,
            "key": block.key,
            "message_id": block.message_id,
        }
        for block in standing.blocks
    ]
    kept = {
        "first_id": standing.first_id,
        "memories_from": standing.memories_from,
        "examples_left": list(standing.examples_left),
        "blocks": blocks,
    }
    if state.get(speaker) != kept and (speaker in state or standing != Standing()):
        sessions.set_state(session_id, PROMPT, {**state, speaker: kept})


def read_note(sessions: Sessions, session_id: str, *, config: Config) -> Note:
    """Return the author's note of a session: its own, or that of the configuration."""
    settings = config.character
    own = sessions.state(session_id, NOTE) or {}
    return Note(own.get("text", settings.author_note), own.get("depth", settings.author_note_depth))


def read_lore_state(sessions: Sessions, session_id: str, path: Sequence[StoredMessage], *, speaker: str) -> Any:  # noqa: ANN401  (JSON)
    """Return lore's timers as they were after the newest turn of a path that had any; None for none."""
    states = (sessions.state(session_id, LORE) or {}).get(speaker, {})
    for at in range(len(path) - 1, -1, -1):
        state = states.get(turn_key(path, at))
        if state is not None:
            return state
    return None


def write_lore_state(
    sessions: Sessions,
    session_id: str,
    path: Sequence[StoredMessage],
    state: Any,  # noqa: ANN401  (JSON)
    *,
    speaker: str,
) -> None:
    """Store lore's timers as they are after the last message of a path."""
    all_states = sessions.state(session_id, LORE) or {}
    states = dict(all_states.get(speaker, {}))
    key = turn_key(path, len(path) - 1)
    if states.pop(key, None) == state and key in all_states.get(speaker, {}):
        return
    states[key] = state
    newest = dict(list(states.items())[-_MAX_LORE_STATES:])
    sessions.set_state(session_id, LORE, {**all_states, speaker: newest})


def turn_key(path: Sequence[StoredMessage], at: int) -> str:
    """Name a message by its place and text, so that its name is the same in a branch, which has ids of its own."""
    return f"{at}:{zlib.crc32(path[at].message.content.encode('utf-8', 'replace'))}"
