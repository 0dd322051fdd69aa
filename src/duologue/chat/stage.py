"""A chat to the prompt of its next reply: card, persona, lore, memories, notes, summary and messages, as they fit."""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duologue import prompt
from duologue.characters import LoreScene, LoreSettings
from duologue.chat import chat_state
from duologue.chat.buffer import Buffer, Placed, Room, Scene, fit_buffer
from duologue.chat.cast import Cast, Member
from duologue.chat.completion import NOTHING_OWN, CallersOwn
from duologue.chat.context import LeftOut, Prepared
from duologue.chat.counting import TokenCounter
from duologue.chat.expansion import Expansion
from duologue.chat.front import front_blocks
from duologue.chat.lore import Lore, LoreTurn, fire
from duologue.chat.recollection import Recollection
from duologue.chat.sessions import Sessions
from duologue.chat.summary import valid_summary
from duologue.chat.tree import StoredMessage
from duologue.chat.turn import Turn
from duologue.config import Config
from duologue.errors import GuardError
from duologue.guard import ContentPolicy
from duologue.messages import RecalledLine
from duologue.prompt import Block, raw_system_text

_LASTING = ("lore", "summary", "note", "depth_prompt")  # kinds whose standing copies the session keeps


@dataclass(frozen=True, slots=True)
class Ready:
    """A prompt, and what is to be kept once it is sent.

    Attributes:
        prepared: The prompt and what the context view says about it.
        recalled: Lines that were put in for this reply.
        standing: What the next prompt begins with.
        lore_state: Lore's timers after this turn; None when no lore was asked.
    """

    prepared: Prepared
    recalled: tuple[RecalledLine, ...]
    standing: chat_state.Standing
    lore_state: dict[str, Any] | None


class Stage:
    """Makes the prompts of a folder's chats.

    Args:
        cast: Who takes part.
        config: Names, notes, lore and budgets.
        sessions: Where a session's note, summary and standing parts are kept.
        recollection: What is recalled.
        counter: Of the model that replies.
        policy: What no prompt may hold.
        is_trained: The model was trained on this character, so that it gets the prompt it was trained with, without the
            card's example dialogue.
    """

    def __init__(
        self,
        cast: Cast,
        config: Config,
        *,
        sessions: Sessions,
        recollection: Recollection,
        counter: TokenCounter,
        policy: ContentPolicy,
        is_trained: bool = False,
    ) -> None:
        """Keep the parts."""
        self._cast = cast
        self._config = config
        self._sessions = sessions
        self._recollection = recollection
        self._counter = counter
        self._policy = policy
        self._is_trained = is_trained
        settings = config.character
        self._lore = LoreSettings(scan_messages=settings.lore_scan_messages, fraction=settings.lore_fraction)

    def for_config(self, config: Config) -> "Stage":
        """Return the same with another name and persona of the user."""
        stage = copy.copy(self)
        stage._config = config
        return stage

    def told(self, member: Member) -> tuple[str, ...]:
        """Return what card and persona tell of a character and of the user, whether or not a prompt holds it."""
        character = member.character
        texts = (raw_system_text(character), character.example_dialogue, self._config.character.persona)
        return tuple(text for text in texts if text.strip())

    def check(self, turn: Turn, path: Sequence[StoredMessage], *, room: Room) -> None:
        """Make sure that a reply to a chat is possible at all: that it fits and that nothing in it is refused.

        Raises:
            GuardError: It is not.
        """
        expansion = self._expansion(turn, path)
        scene = Scene(self._front(turn, expansion, Lore()), self._lines(path, turn.member))
        standing = chat_state.read_standing(self._sessions, turn.session_id, speaker=turn.member.model_id)
        scene = replace(scene, num_left=_place(path, standing.first_id))
        self._policy_check(fit_buffer(scene, counter=self._counter, room=room))

    def ready(
        self,
        turn: Turn,
        path: Sequence[StoredMessage],
        *,
        room: Room,
        later: Collection[int] = (),
        asked_for: str = "",
        caller: CallersOwn = NOTHING_OWN,
    ) -> Ready:
        """Return the prompt of a turn.

        Args:
            turn: Who replies.
            path: The chat up to the message that is replied to, or gone on with.
            room: How long the prompt may be.
            later: Messages of the chat behind that path.
            asked_for: Words that the user wants to be remembered now, whatever was recalled a short while ago.
            caller: What a caller who keeps the chat has decided.

        Raises:
            GuardError: It does not fit or is refused.
        """
        expansion = self._expansion(turn, path)
        before = chat_state.read_standing(self._sessions, turn.session_id, speaker=turn.member.model_id)
        lines = (*self._lines(path, turn.member), *caller.opening_lines(len(path)))
        num_left = _place(path, before.first_id)
        lore = Lore() if turn.trigger == "continue" else self._fire(turn, path, expansion, room.context_tokens)
        expansion = expansion.with_outlets(lore.outlets)
        standing_memories = self._standing_memories(turn, path, since=before.memories_from)
        visible = {*later, *(line.message_id for line in lines[num_left:])}
        recalled = self._recall(turn, path, standing_memories, visible, asked_for) if caller.has_memory else []
        fixed = self._fixed(turn, path, expansion)
        whole_front = caller.front(lore, expansion) or self._front(turn, expansion, lore)
        gone = set(before.examples_left) if num_left or not before.first_id else set()
        front = tuple(block for block in whole_front if block.kind != "examples" or block.key not in gone)
        standing = self._standing(before, fixed, turn.member)
        scene = Scene(
            head=front,
            lines=lines,
            standing=(*standing_memories, *standing),
            placed=(*fixed, *lore.placed),
            num_left=num_left,
            continues=turn.trigger == "continue" or bool(caller.opening),
        )

        def fit(memories: Sequence[RecalledLine], *, with_lore: bool) -> Buffer:
            placed = scene.placed if with_lore else tuple(fixed)
            rows = [self._memory_block(line, turn.member) for line in memories]
            whole = replace(scene, placed=caller.above_opening([*placed, *(Placed(row) for row in rows)]))
            if not with_lore:
                whole = replace(whole, standing=())
            return fit_buffer(whole, counter=self._counter, room=room)

        buffer, left_out = self._allowed(fit, recalled)
        kept = self._kept(buffer, path, before, examples_left=gone)
        newest = path[-1].id if path else 0
        keys = {block.key for block in buffer.body if block.kind == "memory" and block.message_id == newest}
        left_out += tuple(LeftOut("examples", 1, _LEFT, b.text) for b in whole_front if b not in front)
        left_out += tuple(LeftOut("lore", 0, note) for note in lore.notes)
        prepared = Prepared(buffer, turn.member.name, left_out, lore.trace, room.prompt_tokens)
        if self._is_trained and turn.member.character.example_dialogue.strip():
            prepared = replace(prepared, left_out=(*left_out, LeftOut("examples", 1, _TRAINED)))
        new = tuple(line for line in recalled if str(line.memory_id) in keys)
        return Ready(prepared, new, kept, lore.state)

    def keep(self, turn: Turn, path: Sequence[StoredMessage], ready: Ready) -> None:
        """Keep what a sent prompt leaves behind."""
        speaker = turn.member.model_id
        chat_state.write_standing(self._sessions, turn.session_id, ready.standing, speaker=speaker)
        if ready.lore_state is not None and turn.member.lorebooks:
            chat_state.write_lore_state(self._sessions, turn.session_id, path, ready.lore_state, speaker=speaker)

    def _front(self, turn: Turn, expansion: Expansion, lore: Lore) -> tuple[Block, ...]:
        return front_blocks(
            turn.member,
            self._cast,
            persona=self._config.character.persona,
            user_name=self._config.character.user_name,
            constant=lore.constant,
            expand=expansion.text,
            with_examples=not self._is_trained,
        )

    def _lines(self, path: Sequence[StoredMessage], member: Member) -> tuple[Block, ...]:
        """Return the messages with the names put in; in a group everyone else's are the user's, with their names."""
        user_name = self._config.character.user_name
        blocks = []
        for entry in path:
            character = (self._cast.speaker_of(entry) or member).character
            text = character.resolve_macros(entry.message.content, user_name=user_name)
            role = entry.message.role
            is_own = role == "assistant" and self._cast.speaker_of(entry) is member
            if entry.is_hidden:
                text = ""
            elif self._cast.is_group and role != "system" and not is_own:
                name = user_name if role == "user" else entry.speaker or self._cast.main.name
                role, text = "user", f"{name}: {text}" if text.strip() else ""
            blocks.append(Block("message", text, role=role, message_id=entry.id))
        return tuple(blocks)

    def _fire(self, turn: Turn, path: Sequence[StoredMessage], expansion: Expansion, context_tokens: int) -> Lore:
        character, seen = turn.member.character, path[:-1]
        speaker = turn.member.model_id
        depth_prompt = character.depth_prompt.text if character.depth_prompt else ""
        fields = {
            "persona": self._config.character.persona,
            "description": character.description,
            "personality": character.personality,
            "scenario": character.scenario,
            "depth_prompt": depth_prompt,
            "creator_notes": character.creator_notes,
        }
        scene = LoreScene(
            names=(character.name, character.display_name),
            tags=character.tags,
            trigger="normal" if turn.trigger == "view" else turn.trigger,
            greeting=path[0].swipe - 1 if path and path[0].message.role == "assistant" else None,
            fields=fields,
        )
        asked = LoreTurn(
            lines=expansion.lines,
            scene=scene,
            state=chat_state.read_lore_state(self._sessions, turn.session_id, seen, speaker=speaker),
            seed=f"{turn.session_id}/{path[-1].id if path else 0}",
            note_depth=self._note(turn.session_id).depth,
        )
        return fire(
            turn.member,
            asked,
            settings=self._lore,
            count_tokens=self._counter.text,
            context_tokens=context_tokens,
            expansion=expansion,
        )

    def _fixed(self, turn: Turn, path: Sequence[StoredMessage], expansion: Expansion) -> tuple[Placed, ...]:
        """Return notes and summary: what is there whatever is said."""
        character, placed = turn.member.character, []
        summary = valid_summary(self._sessions.state(turn.session_id, chat_state.SUMMARY), path)
        if summary:
            text = f"[What happened before, in short: {prompt.quotable(summary.text)}]"
            why = f"sums up {summary.num_messages} earlier messages"
            placed.append(Placed(Block("summary", text, why=why, key="summary")))
        note = self._note(turn.session_id)
        if text := expansion.text(note.text).strip():
            why = f"the author's note, put in at depth {note.depth}"
            placed.append(Placed(Block("note", text, why=why, key="note"), num_below=note.depth, stays=note.depth > 0))
        depth_prompt = character.depth_prompt
        if depth_prompt and (text := expansion.text(depth_prompt.text).strip()):
            why = f"the card's own note, put in at depth {depth_prompt.depth}"
            block = Block("depth_prompt", text, role=depth_prompt.role, why=why, key="card")
            placed.append(Placed(block, num_below=depth_prompt.depth, stays=depth_prompt.depth > 0))
        last_words = character.post_history_instructions.replace("{{original}}", "")
        if text := expansion.text(last_words).strip():
            num_below = 1 if turn.trigger == "continue" else 0
            block = Block("post_history", text, why="the card wants it after everything", key="card")
            placed.append(Placed(block, num_below=num_below, stays=False))
        if text := self._request(turn, path):
            placed.append(Placed(Block("request", text, role="user", why="what is asked of the model"), 0, stays=False))
        return tuple(placed)

    def _request(self, turn: Turn, path: Sequence[StoredMessage]) -> str:
        """Return what the model is asked to do where no message of the user asks it."""
        user_name = self._config.character.user_name
        if turn.trigger == "impersonate":
            return f"[Now write what {user_name} says next, in {user_name}'s own voice, and nothing else.]"
        is_answered = bool(path) and path[-1].message.role == "assistant"
        if turn.trigger in ("normal", "swipe") and is_answered and self._cast.speaker_of(path[-1]) is turn.member:
            return f"[{user_name} says nothing. Go on.]"
        return ""

    def _standing(self, before: chat_state.Standing, fixed: Sequence[Placed], member: Member) -> tuple[Block, ...]:
        """Return what stands from earlier turns and is still as it was; a note or lore that was changed does not."""
        now = {(part.block.kind, part.block.text): part.block for part in fixed}
        entries = {entry.state_key for book in member.lorebooks for entry in book.entries}
        standing = []
        for block in before.blocks:
            if block.kind == "lore" and block.key in entries:
                standing.append(block)
            elif same := now.get((block.kind, block.text)):
                standing.append(replace(same, message_id=block.message_id))
        return tuple(standing)

    def _standing_memories(self, turn: Turn, path: Sequence[StoredMessage], *, since: int) -> tuple[Block, ...]:
        """Return what was recalled for earlier replies of this character, before the messages it was recalled for.

        What memory no longer has, because its source was edited, swiped away or deleted, does not stand any more.
        """
        member = turn.member
        start = next((at for at, entry in enumerate(path) if entry.id == since), 0)
        blocks: dict[str, Block] = {}
        for at in range(max(1, start), len(path)):
            entry = path[at]
            if entry.message.role == "assistant" and self._cast.speaker_of(entry) is member:
                for line in entry.recalled:
                    block = replace(self._memory_block(line, member), message_id=path[at - 1].id)
                    blocks.setdefault(block.key, block)
        known = self._recollection.known({int(key) for key in blocks})
        return tuple(block for block in blocks.values() if int(block.key) in known)

    def _recall(
        self,
        turn: Turn,
        path: Sequence[StoredMessage],
        standing: Sequence[Block],
        visible: Collection[int],
        asked_for: str,
    ) -> list[RecalledLine]:
        """Return the best lines that cost at most `memory.max_recalled_tokens`, their frame in the prompt included."""
        if turn.trigger in ("continue", "impersonate", "view") or not path:
            return []
        there = {block.key for block in standing}
        cooled = set() if asked_for else self._cooling(path, turn.member)
        cooled |= {int(key) for key in there}
        question = f"{path[-1].message.content} {asked_for}".strip()
        scope = self._recollection.scope(turn.member, user=turn.user)
        found = self._recollection.recall(
            question,
            scope=scope,
            session_id=turn.session_id,
            visible=visible,
            said=[entry.message.content for entry in path if entry.id in visible],
            cooled=cooled,
        )
        kept: list[RecalledLine] = []
        rows: list[str] = []
        for line in found:
            row = self._memory_block(line, turn.member).text
            cost = self._counter.text(prompt.framed([*rows, row])) + self._counter.text("\n\n")
            if str(line.memory_id) not in there and cost <= self._config.memory.max_recalled_tokens:
                kept.append(line)
                rows.append(row)
        return kept

    def _cooling(self, path: Sequence[StoredMessage], member: Member) -> set[int]:
        turns = self._config.memory.cooldown_turns
        own = [entry for entry in path if entry.message.role == "assistant" and self._cast.speaker_of(entry) is member]
        return {line.memory_id for entry in own[len(own) - min(turns, len(own)) :] for line in entry.recalled}

    def _memory_block(self, line: RecalledLine, member: Member) -> Block:
        row = prompt.quote_row(line, char_name=member.name, user_name=self._config.character.user_name)
        source = f"message {line.message_id}" if line.message_id else line.origin
        why = f"recalled: said {line.said_at[:10]} in session {line.session_id[:8]}, {source}"
        if line.is_pinned:
            why += ", pinned"
        return Block("memory", row, role="user", why=why, key=str(line.memory_id))

    def _allowed(
        self, fit: Callable[..., Buffer], recalled: Sequence[RecalledLine]
    ) -> tuple[Buffer, tuple[LeftOut, ...]]:
        """Return the prompt; what was recalled or fired must not make an innocent message refused."""
        buffer = fit(recalled, with_lore=True)
        if self._is_allowed(buffer):
            return buffer, ()
        if recalled:
            buffer = fit((), with_lore=True)
            if self._is_allowed(buffer):
                return buffer, (LeftOut("memory", len(recalled), "the content policy"),)
        buffer = fit((), with_lore=False)
        self._policy_check(buffer)
        return buffer, tuple(LeftOut(kind, 1, "the content policy") for kind in ("lore", "memory"))

    def _kept(
        self,
        buffer: Buffer,
        path: Sequence[StoredMessage],
        before: chat_state.Standing,
        *,
        examples_left: set[str],
    ) -> chat_state.Standing:
        first_id = path[buffer.num_forgotten_messages].id if buffer.num_forgotten_messages else 0
        since = path[-1].id if buffer.was_made_anew and path else before.memories_from
        blocks = tuple(block for block in buffer.body if block.kind in _LASTING and block.message_id)
        left = sorted(examples_left | {block.key for block in buffer.left_out if block.kind == "examples"})
        return chat_state.Standing(first_id, since, tuple(left), blocks)

    def _note(self, session_id: str) -> chat_state.Note:
        return chat_state.read_note(self._sessions, session_id, config=self._config)

    def _expansion(self, turn: Turn, path: Sequence[StoredMessage]) -> Expansion:
        return Expansion.of(turn.member, self._cast, path, config=self._config, session_id=turn.session_id)

    def _is_allowed(self, buffer: Buffer) -> bool:
        try:
            self._policy_check(buffer)
        except GuardError:
            return False
        return True

    def _policy_check(self, buffer: Buffer) -> None:
        self._policy.check([message.content for message in buffer.messages], where="message")


_LEFT = "no room, some turns ago; it does not come back, so that the prompt keeps its beginning"
_TRAINED = "the model was trained on this character, and gets the prompt it was trained with"


def _place(path: Sequence[StoredMessage], message_id: int) -> int:
    return next((at for at, entry in enumerate(path) if entry.id == message_id), 0) if message_id else 0
