"""The content policy on a conversation: which message it refuses, never what stands there.

An account is a file that people share, so a reason names the place of what was found and does not quote it.
"""

from collections.abc import Sequence

from duologue.data.found import RowFault
from duologue.data.normalise import Place
from duologue.errors import GuardError
from duologue.guard import ContentPolicy, is_surely_harmless
from duologue.messages import Conversation

_STRICTEST = ContentPolicy("general")
_LOOSEST = ContentPolicy("adult")


def screen(conversation: Conversation, policy: ContentPolicy, *, places: Sequence[Place] = ()) -> None:
    """Refuse a conversation that crosses a limit of the content policy.

    Args:
        conversation: As normalised.
        policy: At the operator's rating; the hard limits are part of each.
        places: Row and field of each message, from `trace_normalised`; else its position is named.

    Raises:
        RowFault: At the first message that holds a sexual signal, without quoting it.
    """
    texts = [message.content for message in conversation.messages]
    if is_surely_harmless(texts):  # as nearly every conversation is
        return
    try:
        policy.check(texts, where=conversation.source)
    except GuardError:
        index = next((index for index, text in enumerate(texts) if not _passes(_STRICTEST, [text])), None)
        field = "messages" if index is None else places[index][1] if places else f"messages[{index}].content"
        is_root = not _passes(_LOOSEST, texts)
        limit = "a limit at every rating" if is_root else f"guard.rating is '{policy.rating}'"
        raise RowFault(field, f"refused by the content policy: {limit}") from None


def _passes(policy: ContentPolicy, texts: Sequence[str]) -> bool:
    try:
        policy.check(texts, where="")
    except GuardError:
        return False
    return True
