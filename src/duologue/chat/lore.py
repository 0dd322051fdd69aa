"""The lore of a turn: what fires for the end of a chat, and where it goes in the prompt."""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from duologue.characters import ChatLine, FiredEntry, LoreScene, LoreSettings, LoreState, LoreTrace, activate
from duologue.chat.buffer import Placed
from duologue.chat.cast import Member
from duologue.chat.expansion import Expansion
from duologue.prompt import Block


@dataclass(frozen=True, slots=True)
class Lore:
    """What lore says in a turn.

    Attributes:
        constant: Always there, so part of the stable front of the prompt.
        placed: What fired, with its place; lore that stands first in a lorebook first.
        outlets: Texts by the name under which a card asks for them.
        trace: What fired and what did not, and why.
        state: To be kept for the next turn, as JSON.
        notes: What was cut short, such as a pattern that ran out of its time.
    """

    constant: tuple[Block, ...] = ()
    placed: tuple[Placed, ...] = ()
    outlets: dict[str, str] = field(default_factory=dict)
    trace: tuple[LoreTrace, ...] = ()
    state: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoreTurn:
    """The turn for which lore is asked.

    Attributes:
        lines: The chat, oldest first.
        scene: Whose turn it is.
        state: As the turn before left it; None for none.
        seed: The same chat rolls the same chances.
        note_depth: Where the author's note stands, for lore around it.
    """

    lines: Sequence[ChatLine]
    scene: LoreScene
    state: dict[str, Any] | None
    seed: str
    note_depth: int


def fire(
    member: Member,
    turn: LoreTurn,
    *,
    settings: LoreSettings,
    count_tokens: Callable[[str], int],
    context_tokens: int,
    expansion: Expansion,
) -> Lore:
    """Return the lore of a turn.

    Args:
        member: Whose lorebooks are asked.
        turn: The turn.
        settings: What holds where books say nothing.
        count_tokens: Of the model that replies.
        context_tokens: Prompt and reply together.
        expansion: Replaces macros; while entries are looked for, without a trace.
    """
    if not member.lorebooks:
        return Lore()
    roll = random.Random(zlib.crc32(turn.seed.encode()))
    activation = activate(
        member.lorebooks,
        turn.lines,
        settings=settings,
        state=LoreState.from_json(turn.state or {}),
        count_tokens=count_tokens,
        roll=roll.random,
        context_tokens=context_tokens,
        scene=turn.scene,
        expand=expansion.text_without_effects,
    )
    constant: list[Block] = []
    placed: list[Placed] = []
    outlets: dict[str, str] = {}
    for fired in activation.fired:
        text = expansion.text(fired.content).strip()
        if not text:
            continue
        if fired.position == "outlet":
            name = fired.entry.outlet
            outlets[name] = f"{outlets[name]}\n{text}" if name in outlets else text
        elif _is_stable(fired):
            constant.append(_block(fired, text, f"{fired.why}; always there, so at the front"))
        else:
            placed.append(_placed(fired, text, note_depth=turn.note_depth))
    slow = tuple(f"the pattern {pattern} ran out of its time" for pattern in activation.slow_patterns)
    state = activation.state.as_json()
    return Lore(tuple(constant), tuple(placed), outlets, activation.trace, state, (*activation.notes, *slow))


def _is_stable(fired: FiredEntry) -> bool:
    entry = fired.entry
    is_always = entry.is_constant and entry.probability >= 100 and not entry.cooldown and not entry.delay
    return is_always and not entry.groups and fired.position not in ("at_depth", "note_top", "note_bottom")


def _placed(fired: FiredEntry, text: str, *, note_depth: int) -> Placed:
    if fired.position == "at_depth":
        block = _block(fired, text, f"{fired.why}; at depth {fired.depth}", role=fired.role)
        return Placed(block, num_below=fired.depth, stays=fired.depth > 0)
    if fired.position in ("note_top", "note_bottom"):
        return Placed(_block(fired, text, f"{fired.why}; beside the author's note"), num_below=note_depth)
    return Placed(_block(fired, text, f"{fired.why}; near the end, so that what is before it stays cached"))


def _block(fired: FiredEntry, text: str, why: str, *, role: Any = "system") -> Block:  # noqa: ANN401
    name = f"{fired.book} · {fired.entry.name}".strip(" ·")
    return Block("lore", text, role=role, why=f"{name}: {why}" if name else why, key=fired.entry.state_key)
