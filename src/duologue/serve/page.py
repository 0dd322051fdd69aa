"""The web page: Gradio Blocks over the bot's sessions. What it shows comes from the server, never from the browser."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from duologue.chat import Bot, StoredMessage
from duologue.config import Config
from duologue.errors import GuardError
from duologue.guard import InputValidator, RateLimiter
from duologue.messages import RecalledLine
from duologue.serve.access import client_of
from duologue.serve.generation import Generation, Generations
from duologue.serve.markup import as_markdown, error_html, heading_html, notice_html, recalled_html
from duologue.serve.theme import make_theme

FRAMES_PER_SECOND = 12.0
_QUEUE_POLL_SECONDS = 0.02
MAX_SHOWN_MESSAGES = 200
_USER = "local"  # one person, or several who share the key

_LOOK_AROUND_SECONDS = 0.1  # a page that turned to another chat is noticed within this time

Bubble = dict[str, str]
Updates = dict[Any, Any]


@dataclass(slots=True)
class View:
    """What one open page shows; kept on the server and changed in place, so that its events see each other.

    Attributes:
        session_id: The chat; empty for a new one that has no message yet.
        turn: Counts the times the page turned to a chat.
    """

    session_id: str = ""
    turn: int = 0

    def turn_to(self, session_id: str) -> int:
        """Show another chat, or the same one anew, and return the new count."""
        self.session_id = session_id
        self.turn += 1
        return self.turn


@dataclass(frozen=True, slots=True)
class _Following:
    turn: int
    generation: Generation
    history: list[Bubble]
    first: Updates = field(default_factory=dict)
    asked: str = ""


class Page:
    """The page's parts and what they do.

    Args:
        bot: Who answers.
        config: Names and limits.
        generations: The replies that run; a reloaded page finds its reply here.
        limiter: Counts requests for replies; shared with the API.
        has_pictures: Whether `/avatar.webp` and `/portrait.webp` are there.
    """

    def __init__(
        self, bot: Bot, *, config: Config, generations: Generations, limiter: RateLimiter, has_pictures: bool
    ) -> None:
        """Lay out the page and connect its events."""
        self._bot = bot
        self._user_name = config.character.user_name
        self._validator = InputValidator(config.guard.max_input_chars)
        self._generations = generations
        self._limiter = limiter
        with gr.Blocks(title=bot.name, analytics_enabled=False, fill_height=True, fill_width=True) as self._blocks:
            self._lay_out(has_pictures=has_pictures)
            self._connect()
        self._blocks.queue(api_open=False, max_size=64, default_concurrency_limit=None)
        # Gradio looks into an empty queue 1,000 times a second, which took 8% of a core from the model.
        self._blocks._queue.sleep_when_free = _QUEUE_POLL_SECONDS

    def mount(self, app: FastAPI) -> None:
        """Put the page at `/`, behind the routes the app has already."""
        gr.mount_gradio_app(
            app,
            self._blocks,
            path="/",
            run_history=False,
            footer_links=[],
            show_error=False,
            max_file_size=1,  # nothing is uploaded here
            mcp_server=False,
            ssr_mode=False,
            theme=make_theme(),
            css=resources.files("duologue.serve").joinpath("page.css").read_text(encoding="utf-8"),
        )

    def _lay_out(self, *, has_pictures: bool) -> None:
        name = self._bot.name
        self._view = gr.State(View())
        with gr.Row(elem_id="room"):
            with gr.Column(min_width=0, elem_id="chats"):
                gr.Markdown(heading_html(name, picture="portrait.webp" if has_pictures else ""), elem_id="heading")
                self._new = gr.Button("New chat", elem_id="new-chat", variant="primary")
                self._chats = gr.Radio([], label="Earlier chats", elem_id="chat-list", visible=False)
                self._delete = gr.Button("Delete this chat", elem_id="delete-chat", size="sm", visible=False)
            with gr.Column(min_width=0, elem_id="conversation"):
                with gr.Row(elem_id="top-bar"):
                    gr.Markdown(heading_html(name, picture="avatar.webp" if has_pictures else ""))
                    self._menu = gr.Checkbox(label="Chats", interactive=True, elem_id="menu")
                self._chat = gr.Chatbot(
                    label=name,
                    show_label=False,
                    container=False,
                    elem_id="messages",
                    avatar_images=(None, _avatar() if has_pictures else None),
                    buttons=["copy"],
                    feedback_options=None,
                    height="100%",
                    latex_delimiters=[],
                    sanitize_html=True,
                    placeholder=f"Say hello to {name}.",
                )
                self._notice = gr.Markdown("", elem_id="notice")
                self._text = gr.Textbox(
                    show_label=False,
                    label="Your message",
                    placeholder=f"Write to {name}",
                    max_lines=8,
                    submit_btn="Send",
                    autofocus=True,
                    elem_id="message",
                )
                self._again = gr.Button("Regenerate", elem_id="regenerate", size="sm", visible=False)
            with gr.Column(min_width=0, elem_id="memory"):
                gr.Markdown("## Recalled from memory")
                self._recalled = gr.Markdown(self._recalled_html(()), elem_id="recalled")

    def _connect(self) -> None:
        everything = [self._chats, self._chat, self._notice, self._text, self._again, self._delete]
        everything += [self._recalled, self._menu]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
        # Leaving a chat whose reply is being written must work: these may start while another event runs.
        leaving: dict[str, Any] = {**quiet, "trigger_mode": "multiple"}
        self._blocks.load(self._open_newest, [self._view], everything, **quiet)
        self._chats.input(self._open, [self._view, self._chats], everything, **leaving)
        self._new.click(self._start_new, [self._view], everything, **leaving)
        self._delete.click(self._delete_chat, [self._view, self._chats], everything, **leaving)
        self._text.submit(self._send, [self._view, self._text], everything, **quiet)
        self._again.click(self._regenerate, [self._view], everything, **quiet)
        self._text.stop(self._stop, [self._view], None, **quiet)

    async def _open_newest(self, view: View) -> AsyncIterator[Updates]:
        chats = await run_in_threadpool(self._list_chats)
        async for updates in self._show(view, chats[0][1] if chats else ""):
            yield updates

    async def _open(self, view: View, session_id: str) -> AsyncIterator[Updates]:
        async for updates in self._show(view, session_id):
            yield updates

    async def _start_new(self, view: View) -> AsyncIterator[Updates]:
        async for updates in self._show(view, ""):
            yield updates

    async def _delete_chat(self, view: View, chosen: str | None) -> AsyncIterator[Updates]:
        """Delete the chat that is marked in the list: what the person sees, not what the server showed last."""
        if chosen and self._generations.find(chosen):
            yield {self._notice: notice_html("Stop the reply before you delete its chat.")}
            return
        if chosen:
            await run_in_threadpool(self._bot.delete_session, chosen)
        async for updates in self._open_newest(view):
            yield updates

    async def _send(self, view: View, text: str, request: gr.Request) -> AsyncIterator[Updates]:
        try:
            text = self._validator.validate(text)
            self._count(request)
            session_id = view.session_id or await run_in_threadpool(self._create_session)
            history = await run_in_threadpool(self._history, session_id)
            generation = self._generations.start(
                lambda cancel: self._bot.replies(session_id, text, cancel=cancel, user=_USER), session_id=session_id
            )
        except GuardError as error:
            yield {self._notice: error_html(error)}
            return
        following = _Following(view.turn_to(session_id), generation, [*history, _bubble("user", text)], asked=text)
        async for updates in self._follow(view, following):
            yield updates

    async def _regenerate(self, view: View, request: gr.Request) -> AsyncIterator[Updates]:
        session_id = view.session_id
        try:
            self._count(request)
            history = await run_in_threadpool(self._history, session_id)
            generation = self._generations.start(
                lambda cancel: self._bot.regenerate(session_id, cancel=cancel, user=_USER), session_id=session_id
            )
        except GuardError as error:
            yield {self._notice: error_html(error)}
            return
        following = _Following(view.turn_to(session_id), generation, _without_last_reply(history))
        async for updates in self._follow(view, following):
            yield updates

    async def _stop(self, view: View) -> None:
        generation = self._generations.find(view.session_id)
        if generation:
            generation.cancel.set()

    def _count(self, request: gr.Request) -> None:
        assert request.request is not None, "Gradio gives every event its request"
        self._limiter.take(client_of(request.request.scope))

    async def _show(self, view: View, session_id: str) -> AsyncIterator[Updates]:
        """Show a chat as it is stored, and go on with its reply when one is being written."""
        turn = view.turn_to(session_id)
        generation = self._generations.find(session_id) if session_id else None
        updates = await run_in_threadpool(self._stored, session_id)
        if not generation:
            yield updates
            return
        # Two updates in quick succession would reach the browser as one, the first lost: it travels with the text.
        following = _Following(turn, generation, _without_last_reply(updates[self._chat]), first=updates)
        async for later in self._follow(view, following):
            yield later

    async def _follow(self, view: View, following: _Following) -> AsyncIterator[Updates]:
        """Show a reply while it grows, then the chat as stored; end early when the page turned to another chat."""
        generation, session_id = following.generation, view.session_id
        updates: Updates = {
            **following.first,
            self._text: gr.update(value="", submit_btn=False, stop_btn="Stop"),
            self._again: gr.update(visible=False),
            self._notice: "",
        }
        is_done = False
        while not is_done:
            is_done = generation.is_done  # before the text, so that its end is not missed
            text = generation.text
            yield {**updates, self._chat: [*following.history, _bubble("assistant", text or "…")]}
            updates = {}
            await generation.more(len(text), timeout_seconds=_LOOK_AROUND_SECONDS)
            await asyncio.sleep(1 / FRAMES_PER_SECOND)
            if view.turn != following.turn:
                yield {self._notice: gr.skip()}  # Gradio repeats an event's last update at its end: let it be nothing
                return
        updates = await run_in_threadpool(self._stored, session_id)
        if generation.error:
            is_kept = await run_in_threadpool(self._keep_if_said, session_id)
            view.session_id = session_id if is_kept else ""
            updates[self._notice] = error_html(generation.error)
            text = "" if is_kept else following.asked
            updates[self._text] = gr.update(value=text, submit_btn="Send", stop_btn=False)
        yield updates

    def _create_session(self) -> str:
        return self._bot.new_session(user=_USER)

    def _keep_if_said(self, session_id: str) -> bool:
        """Delete a session whose first message was refused; return whether the last message was kept."""
        stored = self._bot.sessions.messages(session_id)
        if not any(entry.message.role == "user" for entry in stored):
            self._bot.delete_session(session_id)
        return bool(stored) and stored[-1].message.role == "user"

    def _stored(self, session_id: str) -> Updates:
        """Return everything as it stands in the store."""
        stored = self._bot.sessions.messages(session_id) if session_id else ()
        last = stored[-1] if stored else None
        has_question = any(entry.message.role == "user" for entry in stored)
        chats = self._list_chats()
        is_listed = any(session_id == value for _, value in chats)
        return {
            self._chats: gr.update(choices=chats, value=session_id if is_listed else None, visible=bool(chats)),
            self._chat: self._bubbles(stored),
            self._notice: "",
            self._text: gr.update(submit_btn="Send", stop_btn=False),
            self._again: gr.update(visible=has_question),
            self._delete: gr.update(visible=is_listed),
            self._recalled: self._recalled_html(last.recalled if last else ()),
            self._menu: False,
        }

    def _history(self, session_id: str) -> list[Bubble]:
        return self._bubbles(self._bot.sessions.messages(session_id))

    def _bubbles(self, stored: tuple[StoredMessage, ...]) -> list[Bubble]:
        bubbles = [
            _bubble(
                entry.message.role,
                f"{entry.speaker}: {entry.message.content}" if entry.speaker else entry.message.content,
            )
            for entry in stored[-MAX_SHOWN_MESSAGES:]
        ]
        return bubbles or self._greeting()

    def _greeting(self) -> list[Bubble]:
        return [_bubble("assistant", text) for text in self._bot.editor.greetings[:1]]

    def _list_chats(self) -> list[tuple[str, str]]:
        chats = self._bot.sessions.list_sessions(character=self._bot.model_id, user=_USER)
        return [(chat.title, chat.id) for chat in chats if chat.num_messages > 1]  # one: the greeting

    def _recalled_html(self, lines: tuple[RecalledLine, ...]) -> str:
        return recalled_html(lines, character_name=self._bot.name, user_name=self._user_name)


def _avatar() -> Any:  # noqa: ANN401  (Gradio takes its own file document here, though it does not say so)
    return {"path": "avatar.webp", "url": "/avatar.webp", "meta": {"_type": "gradio.FileData"}}


def _bubble(role: str, text: str) -> Bubble:
    return {"role": role, "content": as_markdown(text)}


def _without_last_reply(bubbles: list[Bubble]) -> list[Bubble]:
    return bubbles[:-1] if bubbles and bubbles[-1]["role"] == "assistant" else bubbles
