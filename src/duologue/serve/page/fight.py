"""A duel while its two replies are being written, one after the other; whose they are is known only here."""

import asyncio
import secrets
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from duologue.chat import Bot, Chain, ReplyStream, duels
from duologue.engine import Sampling
from duologue.errors import DuologueError
from duologue.messages import Message
from duologue.serve.core import Core
from duologue.serve.generation import Generation
from duologue.serve.library import Entry
from duologue.serve.refusal import ApiError, as_api_error

_POLL_SECONDS = 0.5
_STOPPED = ApiError(409, "stopped", code="stopped")


@dataclass
class Fight:
    """A duel on its way.

    Attributes:
        account: Who asked for it.
        runs: Whose reply is left and whose right.
        messages: The turn, and what came before it.
        id: Of the duel.
        replies: What has come so far, the left one first.
        error: Why it failed or was stopped.
        is_kept: Whether both replies are there and kept.
    """

    account: str
    runs: tuple[str, str]
    messages: tuple[Message, ...]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    replies: list[Generation] = field(default_factory=list)
    error: ApiError | None = None
    is_kept: bool = False
    _task: "asyncio.Task[None] | None" = None

    def start(self, core: Core, scope: Scope, entry: Entry) -> None:
        """Have the replies written while the caller goes on."""
        self._task = asyncio.create_task(self._run(core, scope, entry))

    def stop(self) -> None:
        """End the reply that is being written; a finished duel stays what it is."""
        if self.is_kept:
            return
        self.error = self.error or _STOPPED
        for reply in self.replies:
            reply.cancel.set()

    async def wait(self, num_seen_chars: int) -> None:
        """Wait a moment for more text than that, or for the end."""
        deadline = time.monotonic() + _POLL_SECONDS
        while time.monotonic() < deadline:
            if self.error or self.is_kept or sum(len(reply.text) for reply in self.replies) > num_seen_chars:
                return
            writing = next((reply for reply in self.replies if not reply.is_done), None)
            if writing is None:
                await asyncio.sleep(0.02)
            else:
                await writing.more(len(writing.text), timeout_seconds=_POLL_SECONDS)

    def as_json(self) -> dict[str, Any]:
        """Return what may be seen of it."""
        sides = [{"text": reply.text, "is_done": reply.is_done} for reply in self.replies]
        sides += [{"text": "", "is_done": False}] * (2 - len(sides))
        error = self.error.message if self.error else ""
        return {"id": self.id, "left": sides[0], "right": sides[1], "is_done": self.is_kept, "error": error}

    async def _run(self, core: Core, scope: Scope, entry: Entry) -> None:
        seed = secrets.randbelow(2**31)  # the same for both: what differs is the model
        facts: list[dict[str, Any]] = []
        try:
            for run in self.runs:
                bot = await run_in_threadpool(core.library.bot, entry.id, run=run)
                sampling = replace(await run_in_threadpool(bot.sampling), seed=seed)
                facts.append(await self._reply(core, scope, entry, bot=bot, sampling=sampling))
                if self.error:
                    return
            await run_in_threadpool(duels.keep, entry.folder, self._duel(entry, facts, asdict(sampling)))
            self.is_kept = True
        except DuologueError as error:
            self.error = as_api_error(error)

    async def _reply(self, core: Core, scope: Scope, entry: Entry, *, bot: Bot, sampling: Sampling) -> dict[str, Any]:
        def ask(cancel: threading.Event) -> ReplyStream | Chain:
            return bot.completions.of_character(self.messages, sampling, cancel=cancel, user=self.account)

        started = time.monotonic()
        reply = await run_in_threadpool(core.start_reply, scope, entry, ask, bot=bot)
        self.replies.append(reply)
        while not reply.is_done:
            await reply.more(len(reply.text), timeout_seconds=60)
        if reply.error is not None:
            raise reply.error
        assert reply.reply is not None
        return {"finish_reason": reply.reply.finish_reason, "seconds": round(time.monotonic() - started, 3)}

    def _duel(self, entry: Entry, facts: list[dict[str, Any]], sampling: dict[str, Any]) -> duels.Duel:
        return duels.Duel(
            id=self.id,
            account=self.account,
            character=entry.id,
            base=entry.config.model.base if entry.config else "",
            messages=tuple({"role": message.role, "content": message.content} for message in self.messages),
            left_run=self.runs[0],
            right_run=self.runs[1],
            left_reply=self.replies[0].text,
            right_reply=self.replies[1].text,
            left_facts=facts[0],
            right_facts=facts[1],
            sampling=sampling,
        )
