"""What a bot does with its long-term memory: recall for a question, and follow every change of a chat behind it.

A memory follows the chosen path of its session: after a reply, a swipe, an edit, a deletion or an undo the lines of the
session are made equal to what the path says. That never delays a reply, and what a crash left undone is done later.
"""

import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from duologue.chat.cast import Cast, Member
from duologue.chat.sessions import Sessions
from duologue.chat.tree import StoredMessage
from duologue.chat.worker import Worker
from duologue.config import Config
from duologue.errors import DataError, DuologueError
from duologue.memory import HostedMemory, MemoryStore, Scope, Source, StoredLine, fuse
from duologue.messages import RecalledLine

FOLLOWED = "followed"  # the session's state that says which path memory has followed
_MORE_THAN_WANTED = 12  # lines looked at, because some of them may be in the prompt already
_GRACE_SECONDS = 0.25
_LINES_EMBEDDED_AT_ONCE = 200  # lines without a vector of the present embedder; more would delay the end of a chat
_LEAST_ECHO_CHARS = 12  # shorter ones, such as "Yes.", are no echo


class Recollection:
    """The memory of a folder's characters; without a store it remembers nothing.

    Args:
        memory: Where the lines are kept, or None.
        sessions: What is followed.
        config: Says how many lines are recalled.
        cast: Whose memories they are.
        user_name: Returns what a user is called.
        hosted: A second reader beside the store; never waited for long, never a reason to fail.
    """

    def __init__(
        self,
        memory: MemoryStore | None,
        sessions: Sessions,
        config: Config,
        *,
        cast: Cast,
        user_name: Callable[[str], str],
        hosted: HostedMemory | None = None,
    ) -> None:
        """Keep the parts."""
        self._hosted = hosted
        self._shares_user_facts = config.memory.share_user_facts
        self._memory = memory
        self._sessions = sessions
        self._num_recalled = config.memory.num_recalled
        self._user_name = user_name
        self._cast = cast
        self._worker = Worker("duologue-memory")
        self._caught_up: set[str] = set()

    def recall(
        self,
        question: str,
        *,
        scope: Scope,
        session_id: str,
        visible: Collection[int] = (),
        said: Sequence[str] = (),
        cooled: Collection[int] = (),
    ) -> tuple[RecalledLine, ...]:
        """Return lines that bear on a question, best first.

        Args:
            question: What was said last.
            scope: Whose memories.
            session_id: The session that asks.
            visible: Messages of that session that the model has before it anyway, or that were said meanwhile.
            said: Their texts; nothing that is said in them is recalled from another session, such as a branch.
            cooled: Memories recalled a short while ago.
        """
        if self._memory is None or self._num_recalled == 0 or not question.strip():
            return ()
        # What was said a moment ago in another chat: nobody changes chats so fast but programs.
        self._worker.settle(timeout_seconds=_GRACE_SECONDS, but=session_id)
        try:
            found = self._memory.recall(
                question,
                scope=scope,
                limit=self._num_recalled + _MORE_THAN_WANTED,
                exclude_session=session_id,
                visible=visible,
                cooled=cooled,
                shares_user_facts=self._shares_user_facts,
            )
        except DuologueError as error:  # a memory that cannot be read must not end the chat
            self._worker.fault = error
            return ()
        if self._hosted is not None:
            more = self._hosted.recall(question, scope=scope, limit=self._num_recalled, exclude_session=session_id)
            more = tuple(line for line in more if line.memory_id not in cooled)
            found = fuse(found, more, limit=self._num_recalled + _MORE_THAN_WANTED)
        text = "\n".join(said)
        return tuple(line for line in found if line.kind == "fact" or line.text not in text)[: self._num_recalled]

    def known(self, memory_ids: Collection[int]) -> frozenset[int]:
        """Return which of these memories are still there and not private; another reader's, below 0, all are."""
        if self._memory is None:
            return frozenset()
        kept = {memory_id for memory_id in memory_ids if memory_id < 0}
        for memory_id in set(memory_ids) - kept:
            with suppress(DataError):  # it is gone
                if not self._memory.get(memory_id).is_private:
                    kept.add(memory_id)
        return frozenset(kept)

    def scope(self, member: Member, *, user: str) -> Scope:
        """Return whose memories a character's are."""
        return Scope(user, member.model_id)

    def follow(self, session_id: str, *, user: str) -> None:
        """Make memory equal to a chat as it is now, soon."""
        if self._memory is not None:
            self._worker.do(session_id, lambda: self._follow(session_id, user))

    def follow_branch(self, session_id: str, branch_id: str, user: str) -> None:
        """Make memory follow a branch, soon; what the person did to the memories of its session holds there too."""
        if self._memory is None:
            return
        memory = self._memory

        def work() -> None:
            path = self._sessions.path(branch_id)
            origin = self._sessions.path(session_id)
            pairs = [
                ((old.id, old.revision), (new.id, new.revision))
                for old, new in zip(origin, path, strict=False)
                if old.message == new.message
            ]
            memory.copy_marks(session_id, branch_id, pairs)
            self._follow(branch_id, user)

        self._worker.do(branch_id, work)

    def catch_up(self, user: str, *, but: str = "") -> None:
        """Follow the sessions of a user that changed while nobody followed, such as before a crash; once, soon.

        Args:
            user: Whose sessions.
            but: A session that is followed anyway when its reply has ended.
        """
        if self._memory is None or user in self._caught_up:
            return
        self._caught_up.add(user)
        memory = self._memory
        known = self._sessions.list_sessions(character=self._cast.main.model_id, user=user)

        def look() -> None:
            for info in known:
                path = self._sessions.path(info.id) if info.id != but else ()
                if path and self._sessions.state(info.id, FOLLOWED) != _mark(path):
                    self._follow(info.id, user)
            memory.catch_up(max_lines=_LINES_EMBEDDED_AT_ONCE)
            memory.recall(
                self._user_name(user), scope=self.scope(self._cast.main, user=user), limit=1
            )  # into RAM, for later

        if known:
            self._worker.do(f"catch up {user}", look)

    def edit(self, memory_id: int, text: str, *, scope: Scope) -> StoredLine:
        """Change what a memory says, here and where a copy is kept."""
        assert self._memory is not None, "ask bot.memory first"
        line = self._memory.edit(memory_id, text, scope=scope)
        if self._hosted is not None:
            self._hosted.note_turn(line.session_id, scope=scope)
        return line

    def hide(self, memory_id: int, *, is_private: bool, scope: Scope) -> StoredLine:
        """Never recall a memory, or again, here and where a copy is kept."""
        assert self._memory is not None, "ask bot.memory first"
        line = self._memory.set_private(memory_id, is_private, scope=scope)
        if self._hosted is not None and is_private:
            self._hosted.withdraw([line.session_id], scope=scope)
        elif self._hosted is not None:
            self._hosted.note_turn(line.session_id, scope=scope)
        return line

    def forget_session(self, session_id: str) -> None:
        """Forget what came from one session."""
        if self._memory is not None:
            self._worker.settle()  # what is still to be learned of it must not come after
            self._memory.forget_session(session_id)

    def settle(self) -> None:
        """Wait until memory has followed everything."""
        self._worker.settle()

    def notices(self) -> tuple[str, ...]:
        """Return what a person should know, each thing once."""
        fault, self._worker.fault = self._worker.fault, None
        said = [f"memory: {fault}"] if fault else []
        return (*said, *(self._hosted.notices() if self._hosted else ()))

    def end_work(self) -> None:
        """Follow what is left to be followed, and nothing more."""
        self._worker.close()

    def close(self) -> None:
        """Close the store."""
        self._worker.close()
        if self._hosted is not None:
            self._hosted.close()
        if self._memory is not None:
            self._memory.close()

    def _follow(self, session_id: str, user: str) -> None:
        assert self._memory is not None
        path = self._sessions.path(session_id)
        for member in self._cast.members:
            sources = sources_of(path, member=member, cast=self._cast, user_name=self._user_name(user))
            if member is self._cast.main or any(entry.speaker == member.name for entry in path):
                scope = self.scope(member, user=user)
                followed = self._memory.follow(session_id, sources, scope=scope)
                if self._hosted is not None and (followed.num_new or followed.num_gone):
                    self._hosted.note_turn(session_id, scope=scope)
        if self._sessions.has(session_id, character=self._cast.main.model_id, user=user):
            self._sessions.set_state(session_id, FOLLOWED, _mark(path))
        self._memory.catch_up(max_lines=_LINES_EMBEDDED_AT_ONCE)


def sources_of(path: Sequence[StoredMessage], *, member: Member, cast: Cast, user_name: str) -> tuple[Source, ...]:
    """Return what a character learns from a chat: what the user says and what it says itself.

    Not learned: the greeting, which is the card's; messages that are hidden; a withheld reply and what it replied to;
    what a reply repeats of recalled lines, because a memory must not confirm itself; what other characters say.

    Args:
        path: The chat.
        member: Who learns.
        cast: Everyone.
        user_name: The user's name.
    """
    first = next((at for at, entry in enumerate(path) if entry.message.role == "user"), len(path))
    sources = []
    for at, entry in enumerate(path):
        is_withheld = entry.finish_reason == "content_filter"
        is_refused = at + 1 < len(path) and path[at + 1].finish_reason == "content_filter"
        if at < first or entry.is_hidden or is_withheld or (is_refused and entry.message.role == "user"):
            continue
        role = entry.message.role
        if role == "system" or (role == "assistant" and cast.speaker_of(entry) is not member):
            continue
        text = entry.message.content if role == "user" else without_echo(entry.message.content, entry.recalled)
        if text.strip():
            name = user_name if role == "user" else member.name
            sources.append(Source(entry.id, entry.revision, role, text, entry.created_at, name))
    return tuple(sources)


def without_echo(text: str, recalled: Sequence[RecalledLine]) -> str:
    """Return a reply without the recalled lines it repeats word for word."""
    for line in recalled:
        if len(line.text) >= _LEAST_ECHO_CHARS:
            text = text.replace(line.text, " ")
    return text if any(char.isalnum() for char in text) else ""


def _mark(path: Sequence[StoredMessage]) -> int:
    return zlib.crc32(repr([(entry.id, entry.revision, entry.is_hidden) for entry in path]).encode())
