"""What can be changed in a chat: its beginning, versions, texts, branches, notes and the summary."""

from collections.abc import Callable, Sequence

from duologue.chat import chat_state
from duologue.chat.cast import Cast
from duologue.chat.sessions import Sessions
from duologue.chat.summary import Summary, keep_summary, valid_summary
from duologue.chat.tree import NO_MESSAGE, SessionTree, StoredMessage, TreeMessage
from duologue.config import Config
from duologue.errors import DataError, GuardError
from duologue.guard import ContentPolicy, InputValidator, find_crisis
from duologue.messages import Message


class Editor:
    """Changes chats, and tells what follows them that they have changed.

    Args:
        cast: Whose greetings.
        config: Names and limits.
        sessions: The chats.
        policy: What no chat may hold.
        changed: Hears of the session and the user of each change.
        branched: Hears of a session, its branch and the user.
        user_name: Returns what a user is called.
        model_id: Owner of the sessions.
    """

    def __init__(
        self,
        cast: Cast,
        config: Config,
        *,
        sessions: Sessions,
        policy: ContentPolicy,
        changed: Callable[[str, str], None],
        branched: Callable[[str, str, str], None],
        user_name: Callable[[str], str],
        model_id: str,
    ) -> None:
        """Keep the parts."""
        self._cast = cast
        self._config = config
        self._sessions = sessions
        self._policy = policy
        self._changed = changed
        self._branched = branched
        self._user_name = user_name
        self._model_id = model_id
        self._validator = InputValidator(config.guard.max_input_chars)

    @property
    def greetings(self) -> tuple[str, ...]:
        """The card's greetings with the names put in; in a chat of several those for groups come first."""
        return self.greetings_for("local")

    def greetings_for(self, user: str) -> tuple[str, ...]:
        """Return the card's greetings as a user gets them."""
        character = self._cast.main.character
        texts = (character.greeting, *character.alternate_greetings)
        if self._cast.is_group:
            texts = (*character.group_only_greetings, *texts)
        user_name = self._user_name(user)
        return tuple(character.resolve_macros(text, user_name=user_name) for text in texts if text.strip())

    def greeting_as_said(self, user: str = "local") -> tuple[StoredMessage, ...]:
        """Return the first greeting as a message that is not stored yet; its id is 0."""
        return tuple(
            StoredMessage(0, Message("assistant", text), "", (), "stop") for text in self.greetings_for(user)[:1]
        )

    def new_session(self, *, user: str = "local", greeting: int = 0) -> str:
        """Make a session that begins with a greeting, with the other greetings as versions beside it.

        Raises:
            DataError: There is no greeting of this number, counted from 0.
        """
        greetings = self.greetings_for(user)
        if not greetings and not greeting:
            return self._sessions.create(character=self._model_id, user=user)
        if not 0 <= greeting < len(greetings):
            raise DataError(
                f"there is no greeting {greeting + 1}", where="greeting", needed=f"a number from 1 to {len(greetings)}"
            )
        messages = tuple(
            TreeMessage(number, NO_MESSAGE, Message("assistant", text), finish_reason="stop")
            for number, text in enumerate(greetings, start=1)
        )
        tree = SessionTree(messages, chosen={NO_MESSAGE: greeting + 1})
        return self._sessions.add_tree(tree, character=self._model_id, user=user)

    def find(self, session_id: str, message_id: int) -> StoredMessage:
        """Return a message of a session, shown or not.

        Raises:
            DataError: There is no such message in this session.
        """
        found = self._sessions.path_to(message_id)
        if not found or found[-1].session_id != session_id:
            raise DataError(f"there is no message {message_id} in this session", where="message")
        return found[-1]

    def swipe(
        self, session_id: str, *, by: int, message_id: int | None = None, user: str = "local"
    ) -> StoredMessage | None:
        """Show another version of a message.

        Args:
            session_id: The session.
            by: 1 for the next version, -1 for the one before.
            message_id: Which message; None for the last.
            user: Whose session it is.

        Returns:
            The version that is shown now, or None when there is none in that direction.

        Raises:
            DataError: There is no such message.
        """
        path = self._sessions.path(session_id)
        if message_id is None and not path:
            return None
        versions = self._sessions.swipes(path[-1].id if message_id is None else self.find(session_id, message_id).id)
        shown = path[-1].id if message_id is None else message_id
        at = next(place for place, entry in enumerate(versions) if entry.id == shown) + by
        if not 0 <= at < len(versions):
            return None
        self.choose(session_id, versions[at].id, user=user)
        self._sessions.marks.pick(versions[at].id)
        return self.find(session_id, versions[at].id)

    def choose(self, session_id: str, message_id: int, *, user: str = "local") -> None:
        """Make the chat go through a message.

        Raises:
            DataError: There is no such message in this session.
        """
        self.find(session_id, message_id)
        self._sessions.choose(message_id)
        self._changed(session_id, user)

    def edit(self, session_id: str, message_id: int, text: str, *, user: str = "local") -> None:
        """Replace the text of a message; what follows it stays.

        Raises:
            GuardError: The text is refused; nothing is changed.
            DataError: There is no such message in this session.
        """
        text = self._checked(session_id, message_id, text)
        self._sessions.edit(message_id, text)
        self._changed(session_id, user)

    def edit_beside(self, session_id: str, message_id: int, text: str, *, user: str = "local") -> int:
        """Add a version of a message with another text, show it and return its id.

        Raises:
            GuardError: The text is refused; nothing is changed.
            DataError: There is no such message in this session.
        """
        text = self._checked(session_id, message_id, text)
        new_id = self._sessions.edit_beside(message_id, text)
        self._changed(session_id, user)
        return new_id

    def delete_message(self, session_id: str, message_id: int, *, user: str = "local") -> int:
        """Delete a message and everything below it; return how many messages that were.

        Raises:
            DataError: There is no such message in this session.
        """
        self.find(session_id, message_id)
        gone = self._sessions.delete_message(message_id)
        self._changed(session_id, user)
        return len(gone)

    def hide(self, session_id: str, message_id: int, *, is_hidden: bool = True, user: str = "local") -> None:
        """Keep a message out of the prompt and out of memory, or let it in again; it stays in the chat.

        Raises:
            DataError: There is no such message in this session.
        """
        self.find(session_id, message_id)
        self._sessions.hide(message_id, is_hidden=is_hidden)
        self._changed(session_id, user)

    def undo(self, session_id: str, *, user: str = "local") -> str | None:
        """Undo the last change; return what it was, or None when there was none."""
        kind = self._sessions.undo(session_id)
        if kind:
            self._changed(session_id, user)
        return kind

    def branch(self, session_id: str, message_id: int, *, user: str = "local") -> str:
        """Copy a chat up to a message into a new session and return its id.

        Raises:
            DataError: There is no such message in this session.
        """
        new_id = self._sessions.branch(session_id, message_id)
        self._branched(session_id, new_id, user)
        return new_id

    def note(self, session_id: str) -> chat_state.Note:
        """Return the author's note of a session: its own, or that of the configuration."""
        return chat_state.read_note(self._sessions, session_id, config=self._config)

    def set_note(self, session_id: str, text: str, *, depth: int | None = None, user: str = "local") -> None:
        """Give a session an author's note of its own; an empty text leaves it without one.

        Raises:
            GuardError: The note is refused.
        """
        if text.strip():
            text = self._validator.validate(text)
            self._check_scene(self._sessions.path(session_id), text, where="note")
        depth = self.note(session_id).depth if depth is None else max(0, depth)
        self._sessions.set_state(session_id, chat_state.NOTE, {"text": text, "depth": depth})
        self._changed(session_id, user)

    def summary(self, session_id: str) -> Summary | None:
        """Return the summary of what fell out of a chat's buffer; None when there is none that is true."""
        state = self._sessions.state(session_id, chat_state.SUMMARY)
        return valid_summary(state, self._sessions.path(session_id))

    def set_summary(self, session_id: str, text: str) -> None:
        """Replace the summary by the person's own; an empty text removes it.

        Raises:
            GuardError: The text is refused, or nothing has fallen out of the buffer yet.
        """
        path, old = self._sessions.path(session_id), self.summary(session_id)
        if text.strip():
            text = self._validator.validate(text)
            self._check_scene(path, text, where="summary")
        num_covered = old.num_messages if old else self._num_left(session_id, path)
        if not num_covered:
            raise GuardError("nothing has fallen out of the context yet", reason="empty", where="summary")
        keep_summary(self._sessions, session_id, path[:num_covered], text, is_edited=True)

    def _num_left(self, session_id: str, path: Sequence[StoredMessage]) -> int:
        standing = chat_state.read_standing(self._sessions, session_id, speaker=self._cast.main.model_id)
        return next((at for at, entry in enumerate(path) if entry.id == standing.first_id), 0)

    def _checked(self, session_id: str, message_id: int, text: str) -> str:
        entry = self.find(session_id, message_id)
        if entry.message.role == "user" and find_crisis(text):
            return self._validator.salvage(text)  # it is answered, never refused
        text = self._validator.validate(text)
        path = self._sessions.path(entry.session_id)
        self._check_scene([other for other in path if other.id != entry.id], text, where="message")
        return text

    def _check_scene(self, path: Sequence[StoredMessage], text: str, *, where: str) -> None:
        around = [other.message.content for other in path if not other.is_hidden]
        self._policy.check([*around[-_SCENE_MESSAGES:], text], where=where)


_SCENE_MESSAGES = 40  # of a chat are looked at together with a changed text; a prompt is checked as a whole anyway
