"""Takes the page's pictures for the documents: the shipped character, an engine with scripted replies, a real browser.

Usage: python scripts/make_screenshots.py [NAME …]

With names, only those pictures are taken. A new picture is one more line in SHOTS.
"""

import io
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from duologue.characters import LILA_FOLDER, load_character
from duologue.chat import Bot, Sessions
from duologue.config import Home, make_config
from duologue.engine import Piece, Sampling
from duologue.engine.fake import FakeGenerator
from duologue.memory import MemoryStore
from duologue.serve import Library, build_app

FOLDER = Path(__file__).parents[1] / "docs" / "images"
CARD = LILA_FOLDER / "character.png"
MAX_BYTES = 200_000
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 780},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
EARLIER = (
    (
        "My cat Biscuit gets nervous on trains, so I left him with my sister.",
        "*writes the name on the back of a ticket stub* Biscuit. I shall ask after him. Cats forgive a journey sooner "
        "than they admit, and sisters keep better fires than I do.",
    ),
    (
        "Could you wake me before Thornlee? I have a letter to deliver there.",
        "*marks the window seat in chalk* Two knocks, one stop ahead. If it snows on the pass I knock three times, and "
        "you may have the good blanket until then.",
    ),
)
CHAT = (
    (
        "Good evening! I nearly missed you. The clock at the station is four minutes slow.",
        "*holds her watch up to the lamp* Four minutes and a half. The clock at Ashby Hollow has been slow since the "
        "autumn storms, and nobody mends it, because **everybody has learned to run**.\n\n"
        "You have run, I can hear it. Sit down, breathe, and let the mountain do the climbing.",
    ),
    (
        "Thank you. Do you remember my cat? I had to leave him behind again.",
        "Biscuit, who is nervous on trains and therefore stays with your sister. *turns the wick down until the "
        "window stops being a mirror* Look, there: the signal at Fennimore is green, so we shall be early. That "
        "means tea. Will you tell me how he took it this time?",
    ),
)


class Scripted(FakeGenerator):
    """An engine that says what is written above, in its order."""

    def __init__(self, replies: Sequence[str]) -> None:
        """Keep the replies."""
        super().__init__()
        self._replies = list(replies)

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        """Say the next reply."""
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        yield from FakeGenerator(reply=reply).stream(prompt_ids, sampling, cancel=cancel)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture.

    Attributes:
        name: Its file, without the ending.
        size: Of the window.
        scheme: What the visitor's system prefers.
        place: Where on the page; `{chat}` is the chat above.
        prepare: What is done there first.
    """

    name: str
    size: dict[str, Any]
    scheme: Literal["light", "dark"] = "light"
    place: str = "#/talk/lila-quill/{chat}"
    prepare: Callable[[Page], None] = lambda _: None


def open_recalled(page: Page) -> None:
    """Show what the reply remembered."""
    summary = page.locator(".recalled summary").last
    if summary.count():
        summary.click()
    page.locator("duo-talk .scroller").evaluate("room => { room.scrollTop = room.scrollHeight; }")
    page.mouse.move(640, 2)


def open_menu(page: Page) -> None:
    """Open the menu of the last message."""
    page.locator(".message").last.get_by_role("button", name="More for this message").click()


SHOTS = (
    Shot("page-desktop", DESK, prepare=open_recalled),
    Shot("page-desktop-dark", DESK, "dark", prepare=open_recalled),
    Shot("page-phone", PHONE, prepare=open_recalled),
    Shot("page-phone-dark", PHONE, "dark"),
    Shot("page-new-chat", DESK, "dark", "#/talk/lila-quill/new"),
    Shot("page-message-menu", DESK, prepare=open_menu),
    Shot("page-characters", DESK, place="#/characters"),
    Shot("page-memory", DESK, place="#/memory/lila-quill"),
    Shot("page-context", DESK, place="#/context/lila-quill"),
    Shot("page-train", DESK, "dark", place="#/train/lila-quill"),
    Shot("page-settings-phone", PHONE, place="#/settings/lila-quill"),
)


def main() -> None:
    """Write the pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not installed; on Debian: apt-get install chromium")
    wanted = [shot for shot in SHOTS if not sys.argv[1:] or shot.name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (address, chat), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        for shot in wanted:
            take(browser, shot, address=address, chat=chat)
        browser.close()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the page over the chats above; yield its address and the id of the last chat."""
    tree = {"model": {"base": "fake"}, "data": {"train": ["none.json"]}, "guard": {"requests_per_minute": 10**5}}
    config = make_config({**tree, "character": {"user_name": "Traveller"}}, where="screenshots")
    turns = (*EARLIER, *CHAT)
    bot = Bot(
        Scripted([reply for _, reply in turns]),
        load_character(CARD),
        config=config,
        sessions=Sessions.open(folder / "chats.sqlite"),
        memory=MemoryStore.open(folder / "memory.sqlite"),
    )
    for question, _ in EARLIER:
        bot.reply(bot.new_session(), question, cancel=threading.Event()).read()
        bot.settle()
    chat = bot.new_session()
    for question, _ in CHAT:
        bot.reply(chat, question, cancel=threading.Event()).read()
    bot.sessions.rename(chat, "Four minutes slow")
    home = Home(server=config.server, guard=config.guard, age=config.age)
    app = build_app(Library.of(bot, home=home, folder=folder, card=CARD), home=home)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", proxy_headers=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", chat
    finally:
        server.should_exit = True
        thread.join()
        bot.close()


def take(browser: Browser, shot: Shot, *, address: str, chat: str) -> None:
    """Write one picture, with fewer colours where that keeps it small."""
    context = browser.new_context(**shot.size, color_scheme=shot.scheme, locale="en-GB")
    page = context.new_page()
    page.goto(f"{address}/{shot.place.format(chat=chat)}")
    page.wait_for_selector("#panels h1, #panels h2, #panels .message >> visible=true")
    page.wait_for_load_state("networkidle")
    shot.prepare(page)
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    page.wait_for_timeout(400)  # transitions
    content = page.screenshot()
    context.close()
    file = FOLDER / f"{shot.name}.png"
    num_colors = 256
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    picture.save(file, optimize=True)
    while file.stat().st_size > MAX_BYTES and num_colors >= 32:
        palette = picture.quantize(num_colors)
        picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
        num_colors //= 2
    size = re.sub(r"(?<=\d)(?=(\d{3})+$)", ",", str(file.stat().st_size))
    print(f"{file.name}: {size} bytes")


if __name__ == "__main__":
    main()
