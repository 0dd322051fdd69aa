"""The short-term buffer: as much of a chat's end as fits the context, never a token more.

What leaves, in this order: what only stands in the chat from earlier turns, example dialogue, the oldest turns,
recalled lines (the least relevant first), the summary, lore, notes. The card and the last turn never leave. Turns leave
in blocks of half the room, so that the prompt keeps its beginning, and with it the engine's prefix cache, for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from duologue.chat.counting import TokenCounter
from duologue.errors import GuardError
from duologue.messages import Message
from duologue.prompt import Block, BlockKind, arrange, stand_before

BLOCK_FRACTION = 0.5  # share of the room that leaves at once; in the long run 94 of 100 prompt tokens stay cached
STANDING_FRACTION = 0.25  # share of the room that parts from earlier turns may take
DRIFT_MESSAGES = 8  # so much deeper than its place a part may have drifted before it is put in again
_MAX_CHARS_PER_TOKEN = 16  # what is more than this times the room away from the end cannot fit
_HARD_ORDER: tuple[BlockKind, ...] = ("memory", "summary", "lore", "note", "depth_prompt", "post_history")


@dataclass(frozen=True, slots=True)
class Placed:
    """A volatile part and its place.

    Attributes:
        block: The part.
        num_below: Messages that stand below it; 0 puts it at the very end.
        stays: It keeps its place when the chat goes on, so that the prompt only grows; else it moves with the end.
    """

    block: Block
    num_below: int = 1
    stays: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a prompt could hold.

    Attributes:
        head: Stable parts, in order.
        lines: The messages, oldest first.
        standing: Volatile parts of earlier turns; each stands before the message with its id.
        placed: Volatile parts of this turn; of one kind the least important last.
        num_left: Messages at the beginning that left the buffer earlier.
        continues: The last message is a reply to go on with.
    """

    head: tuple[Block, ...]
    lines: tuple[Block, ...]
    standing: tuple[Block, ...] = ()
    placed: tuple[Placed, ...] = ()
    num_left: int = 0
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How long a prompt may be.

    Attributes:
        context_tokens: Prompt and reply together.
        max_new_tokens: Kept for the reply.
    """

    context_tokens: int
    max_new_tokens: int

    @property
    def prompt_tokens(self) -> int:
        """Longest prompt."""
        return self.context_tokens - self.max_new_tokens


@dataclass(frozen=True, slots=True)
class Buffer:
    """A prompt that fits.

    Attributes:
        prompt_ids: Token ids to send.
        messages: The messages they were rendered from.
        head: The stable parts that are part of it.
        body: Messages and volatile parts, in order.
        left_out: Parts of the scene that are not part of it, messages excepted.
        num_forgotten_messages: Messages of the session that did not fit.
        was_made_anew: Parts left, so that the prompt shares only its head with the one before.
    """

    prompt_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    head: tuple[Block, ...] = ()
    body: tuple[Block, ...] = ()
    left_out: tuple[Block, ...] = ()
    num_forgotten_messages: int = 0
    was_made_anew: bool = False

    def keys(self, kind: BlockKind) -> tuple[str, ...]:
        """Return the keys of its parts of one kind, in order."""
        return tuple(block.key for block in (*self.head, *self.body) if block.kind == kind)


def fit_buffer(scene: Scene, *, counter: TokenCounter, room: Room) -> Buffer:
    """Return the prompt, leaving out what does not fit beside the reply.

    Args:
        scene: Everything it could hold.
        counter: Of the model that will reply.
        room: How long it may be.

    Raises:
        GuardError: Card and last turn alone are too long (reason `too_long_for_context`).
    """
    draft = _Draft(scene, counter, room.prompt_tokens)
    while True:
        buffer = draft.render()
        excess = len(buffer.prompt_ids) - room.prompt_tokens
        if excess <= 0:
            return buffer
        if not draft.make_room(excess):
            raise GuardError(
                f"the message and the character's card are {len(buffer.prompt_ids)} tokens long",
                reason="too_long_for_context",
                where="message",
                needed=f"at most {max(0, room.prompt_tokens)} tokens"
                f" (context {room.context_tokens} less {room.max_new_tokens} for the reply)",
                action="Shorten the message.",
            )


@dataclass(slots=True)
class _Draft:
    """A scene that loses parts until it fits."""

    scene: Scene
    counter: TokenCounter
    room: int
    head: list[Block] = field(init=False)
    placed: list[Placed] = field(init=False)
    standing: list[Block] = field(init=False)
    num_left: int = field(init=False)
    left_out: list[Block] = field(default_factory=list)
    was_made_anew: bool = False

    def __post_init__(self) -> None:
        scene = self.scene
        self.head, self.placed = list(scene.head), list(scene.placed)
        self.num_left = max(min(scene.num_left, self._last_turn()), self._out_of_reach())
        self.was_made_anew = self.num_left != scene.num_left
        self.standing = self._still_standing()

    def render(self) -> Buffer:
        body = self._body()
        messages = arrange(self.head, body)
        ids = self.counter.render(messages, continues=self.scene.continues)
        return Buffer(
            ids, messages, tuple(self.head), tuple(body), tuple(self.left_out), self.num_left, self.was_made_anew
        )

    def make_room(self, excess: int) -> bool:
        """Leave out parts of at least so many tokens, in order; return False when nothing may leave any more."""
        block = max(1, round(self.room * BLOCK_FRACTION))
        wanted = -(-excess // block) * block
        has_changed = bool(self.standing)
        freed = self._clear_standing()
        while freed < wanted and (example := self._last("examples")) is not None:
            freed += self._drop_from_head(example)
        freed += self._drop_turns(wanted - freed)
        for kind in _HARD_ORDER:
            while freed < excess and (part := self._last_placed(kind)) is not None:
                self.placed.remove(part)
                self.left_out.append(part.block)
                freed += self.counter.message(part.block.text)
            while freed < excess and (at := self._last(kind)) is not None:
                freed += self._drop_from_head(at)
        return has_changed or freed > 0

    def _body(self) -> list[Block]:
        lines = self.scene.lines[self.num_left :]
        before: dict[int, list[Block]] = {}
        for block in self.standing:
            before.setdefault(block.message_id, []).append(block)
        body = [block for line in lines for block in (*before.get(line.message_id, ()), line)]
        for part in sorted(self.placed, key=lambda part: -part.num_below):
            if not self._stands(part, body):
                body = stand_before(body, part.block, num_below=part.num_below)
        return _anchored(body)

    def _stands(self, part: Placed, body: Sequence[Block]) -> bool:
        """Tell whether a part is near enough to its place already."""
        if not part.stays:
            return False
        drifts = part.num_below > 1  # a place that was asked for; the others are as good anywhere in the chat
        below = 0
        for block in reversed(body):
            if (block.kind, block.key, block.text) == (part.block.kind, part.block.key, part.block.text):
                return True
            below += block.kind == "message"
            if drifts and below > part.num_below + DRIFT_MESSAGES:
                return False
        return False

    def _still_standing(self) -> list[Block]:
        ids = {line.message_id for line in self.scene.lines[self.num_left :]}
        standing = [block for block in self.scene.standing if block.message_id in ids]
        taken = sum(self.counter.text(block.text) for block in standing)
        if taken <= STANDING_FRACTION * self.room:
            return standing
        self.was_made_anew = True  # all of it leaves at once, or the prompt would change at every turn
        return []

    def _clear_standing(self) -> int:
        """Take away what stands from earlier turns; what belongs to this turn is put in at its own place again."""
        freed = sum(self.counter.message(block.text) for block in self.standing)
        current = {(part.block.kind, part.block.key) for part in self.placed}
        freed -= sum(self.counter.message(b.text) for b in self.standing if (b.kind, b.key) in current)
        self.standing, self.was_made_anew = [], True
        return max(0, freed)

    def _drop_from_head(self, at: int) -> int:
        block = self.head.pop(at)
        self.left_out.append(block)
        return self.counter.text(block.text)

    def _drop_turns(self, wanted: int) -> int:
        """Leave out the oldest whole turns, at least `wanted` tokens of them, but never the last."""
        lines, end, freed = self.scene.lines, self._last_turn(), 0
        while freed < wanted and self.num_left < end:
            freed += self.counter.message(lines[self.num_left].text)
            self.num_left += 1
            while self.num_left < end and lines[self.num_left].role != "user":
                freed += self.counter.message(lines[self.num_left].text)
                self.num_left += 1
        return freed

    def _last_turn(self) -> int:
        """Return where the last turn begins: at the newest user message."""
        lines = self.scene.lines
        users = [at for at, line in enumerate(lines) if line.role == "user" and line.text.strip()]
        start = users[-1] if users else max(0, len(lines) - 1)
        while start and lines[start - 1].role == "user":  # messages without a reply between them are one
            start -= 1
        return start

    def _out_of_reach(self) -> int:
        """Return how many messages at the beginning cannot fit, however few tokens they take."""
        lines, end = self.scene.lines, self._last_turn()
        num_chars, limit = 0, _MAX_CHARS_PER_TOKEN * max(self.room, 1)
        for at in range(len(lines) - 1, -1, -1):
            num_chars += len(lines[at].text)
            if num_chars > limit:
                starts = (place for place in range(at + 1, end) if lines[place].role == "user")
                return next(starts, end)
        return 0

    def _last(self, kind: BlockKind) -> int | None:
        return next((at for at in range(len(self.head) - 1, -1, -1) if self.head[at].kind == kind), None)

    def _last_placed(self, kind: BlockKind) -> Placed | None:
        return next((part for part in reversed(self.placed) if part.block.kind == kind), None)


def _anchored(body: Sequence[Block]) -> list[Block]:
    """Give every volatile part the id of the message it stands before; 0 where none follows."""
    out, below = [], 0
    for block in reversed(body):
        if block.kind == "message":
            below = block.message_id
            out.append(block)
        else:
            out.append(replace(block, message_id=below))
    return out[::-1]
