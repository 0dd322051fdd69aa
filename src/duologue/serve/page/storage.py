"""How much text an account may keep: looked at before anything is brought in, so that nobody fills the disk."""

from duologue.chat import Bot
from duologue.errors import GuardError
from duologue.memory import Scope
from duologue.serve.core import Core


def require_room(core: Core, bot: Bot, account: str, *, num_more_chars: int) -> None:
    """Refuse what would be more than an account may keep with a character.

    Args:
        core: What every route works with.
        bot: The character.
        account: Whose chats and memories.
        num_more_chars: Characters that are about to be stored.

    Raises:
        GuardError: With reason `storage_full`.
    """
    highest = core.home.server.max_account_chars
    num_kept = bot.sessions.num_chars(character=bot.model_id, user=account)
    if bot.memory is not None:
        num_kept += bot.memory.num_chars(scope=Scope(account, bot.model_id))
    if num_kept + num_more_chars > highest:
        raise GuardError(
            f"your chats and memories with {bot.name} hold {num_kept:,} characters; {num_more_chars:,} more do not fit",
            reason="storage_full",
            where="server.max_account_chars",
            needed=f"at most {highest:,}",
            action="Delete chats that you no longer need, or ask an admin to raise the limit.",
        )
