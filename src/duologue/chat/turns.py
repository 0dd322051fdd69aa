"""What a person asks for, as the turn it means: who is to reply, after which message, beside or on from which reply."""

from dataclasses import replace

from duologue.chat.cast import Cast, Member
from duologue.chat.editor import Editor
from duologue.chat.sessions import Sessions, last_reply
from duologue.chat.turn import Turn
from duologue.errors import DataError, GuardError


class Turns:
    """Finds the turn of every wish. Each method raises `DataError` where there is no such session or character.

    Args:
        cast: Who may reply.
        sessions: The chats.
        editor: Finds messages.
        model_id: Owner of the sessions.
    """

    def __init__(self, cast: Cast, sessions: Sessions, editor: Editor, *, model_id: str) -> None:
        """Keep the parts."""
        self._cast = cast
        self._sessions = sessions
        self._editor = editor
        self._model_id = model_id

    def require(self, session_id: str, user: str) -> None:
        """Refuse sessions that are not this user's."""
        if not self._sessions.has(session_id, character=self._model_id, user=user):
            raise DataError(f"there is no session '{session_id}'", where="session", action="Start a new one.")

    def member(self, name: str) -> Member | None:
        """Return who is called so; None for an empty name."""
        if not name:
            return None
        member = self._cast.find(name)
        if member is None:
            names = " or ".join(f"'{known.name}'" for known in self._cast.members)
            raise DataError(f"nobody here is called '{name}'", where="speaker", needed=names)
        return member

    def of(self, session_id: str, user: str, member: Member | None = None, *, after_id: int = 0) -> Turn:
        """Return the turn of a character after a message."""
        member = member or self._cast.main
        return Turn(session_id, user, member, after_id, speaker=member.name if self._cast.is_group else "")

    def reply_to(self, session_id: str, user: str, message_id: int, *, wanted: Member | None = None) -> Turn:
        """Return the first reply to a message of the user."""
        waiting: tuple[Member, ...] = ()
        if wanted is None and self._cast.is_group:
            waiting = self._cast.still_to_speak(self._sessions.path(session_id), session_id=session_id)
        return self.of(session_id, user, wanted or next(iter(waiting), None), after_id=message_id)

    def next(self, session_id: str, user: str, *, speaker: str) -> Turn | None:
        """Return the reply of whoever is asked for or still to speak; None for nobody."""
        self.require(session_id, user)
        path = self._sessions.path(session_id)
        waiting = self._cast.still_to_speak(path, session_id=session_id)
        member = self.member(speaker) or next(iter(waiting), None)
        return self.of(session_id, user, member, after_id=path[-1].id) if member and path else None

    def unasked(self, session_id: str, user: str) -> Turn:
        """Return a reply although the user says nothing.

        Raises:
            GuardError: Nothing was said yet.
        """
        self.require(session_id, user)
        path = self._sessions.path(session_id)
        if not path:
            raise nothing_said("there is no message to go on from")
        return self.of(session_id, user, self._cast.next_to_speak(path, session_id=session_id), after_id=path[-1].id)

    def again(self, session_id: str, user: str, message_id: int | None) -> Turn:
        """Return another version of a reply, or the reply that is missing.

        Raises:
            GuardError: There is no user message yet, or the message is no reply.
        """
        self.require(session_id, user)
        path = self._sessions.path(session_id)
        if not any(entry.message.role == "user" for entry in path):
            raise nothing_said("there is no message to reply to")
        replaced = last_reply(path) if message_id is None else self._editor.find(session_id, message_id)
        if replaced is None:
            return self.reply_to(session_id, user, path[-1].id)
        if replaced.message.role != "assistant" or not replaced.parent_id:
            raise nothing_said("this message is no reply")
        turn = self.of(session_id, user, self._cast.speaker_of(replaced), after_id=replaced.parent_id)
        return replace(turn, trigger="swipe", replaced=replaced)

    def rest(self, session_id: str, user: str) -> Turn:
        """Return the rest of the last reply.

        Raises:
            GuardError: The last message is no reply.
        """
        self.require(session_id, user)
        path = self._sessions.path(session_id)
        if not path or path[-1].message.role != "assistant" or not path[-1].message.content.strip():
            raise nothing_said("the last message is no reply that could be gone on with")
        turn = self.of(session_id, user, self._cast.speaker_of(path[-1]), after_id=path[-1].id)
        return replace(turn, trigger="continue", replaced=path[-1])

    def users_own(self, session_id: str, user: str) -> Turn:
        """Return the user's next message.

        Raises:
            GuardError: Nothing was said yet.
        """
        self.require(session_id, user)
        if not self._sessions.path(session_id):
            raise nothing_said("there is no message to go on from")
        return replace(self.of(session_id, user), trigger="impersonate")


def nothing_said(found: str) -> GuardError:
    """Return the error for a wish that what was said does not allow."""
    return GuardError(found, reason="empty", where="session", action="Say something first.")
