"""Fault 22: whatever a model says, the page runs nothing, asks nobody, and shows no form and no overlay.

A canary server hears of every request that leaves the page. Two walls are tested: the renderer and the browser's rules.
"""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from duologue.chat.tree import SessionTree, TreeMessage
from duologue.engine.fake import FakeGenerator
from duologue.messages import Message
from tests.serve.browser import IN_BROWSER, visiting
from tests.serve.page.hostile_texts import FORMS, HOSTILE_TEXTS, LOADS, MARKDOWN_IMAGES, MUTATIONS, SCRIPTS
from tests.serve.running import make_bot, running

pytestmark = IN_BROWSER
PER_CHAT = 60
FORBIDDEN = (
    "script, iframe, object, embed, form, input, textarea, select, button, img, video, audio, svg, math, link, meta, "
    "base, style, dialog, template, [style], [id], [popover]"
)
# What the browser makes of the messages: things that do not belong there, whatever they are.
LOOK = f"""() => {{
  const bodies = [...document.querySelectorAll("duo-talk .message .body")];
  const sheet = document.querySelector("duo-talk .scroller").getBoundingClientRect();
  return {{
    shown: bodies.length,
    forbidden: bodies.flatMap((body) => [...body.querySelectorAll("{FORBIDDEN}")].map((each) => each.outerHTML)),
    handlers: bodies.flatMap((body) => [...body.querySelectorAll("*")].flatMap((each) =>
      [...each.attributes].filter((one) => one.name.startsWith("on")).map(() => each.outerHTML))),
    links: bodies.flatMap((body) => [...body.querySelectorAll("a")].map((each) => each.protocol)),
    fixed: bodies.flatMap((body) => [body, ...body.querySelectorAll("*")])
      .filter((each) => ["fixed", "absolute", "sticky"].includes(getComputedStyle(each).position)).length,
    wide: bodies.filter((body) => body.getBoundingClientRect().right > sheet.right + 1).length,
    ran: window.ran ?? 0,
    panels: document.querySelectorAll("#panels, duo-talk, duo-frame, #notices").length,
  }};
}}"""


class Canary:
    """A server elsewhere that records what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        canary = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def fill(self, text: str) -> str:
        return text.replace("URLHOST", self.host).replace("URL", f"http://{self.host}")


@pytest.fixture
def canary() -> Iterator[Canary]:
    made = Canary()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def assert_harmless(page: Page, canary: Canary, *, num_shown: int) -> None:
    found = page.evaluate(LOOK)

    assert found["shown"] == num_shown
    assert found["forbidden"] == found["handlers"] == []
    assert set(found["links"]) <= {"http:", "https:", "mailto:", "tel:"}
    assert (found["fixed"], found["wide"], found["ran"]) == (0, 0, 0)
    assert found["panels"] <= 4
    assert canary.asked == []


def test_the_list_is_long_and_says_nothing_twice():
    assert len(set(HOSTILE_TEXTS)) == len(HOSTILE_TEXTS) >= 220


def test_hostile_replies_are_shown_as_text(browser: Browser, canary: Canary, tmp_path):
    bot = make_bot(tmp_path)
    chats = []
    for begin in range(0, len(HOSTILE_TEXTS), PER_CHAT):
        texts = [canary.fill(text) for text in HOSTILE_TEXTS[begin : begin + PER_CHAT]]
        tree = SessionTree(
            tuple(
                TreeMessage(at, at - 1, Message("assistant", text), finish_reason="stop")
                for at, text in enumerate(texts, start=1)
            )
        )
        chats.append(bot.sessions.add_tree(tree, character=bot.model_id))
    with running(bot) as server, visiting(browser, server, f"#/talk/lila-quill/{chats[0]}") as visit:
        for at, chat in enumerate(chats):
            visit.page.evaluate("address => { location.hash = address; }", f"#/talk/lila-quill/{chat}")
            num_shown = min(PER_CHAT, len(HOSTILE_TEXTS) - at * PER_CHAT)
            first = bot.sessions.path(chat)[0].id
            visit.page.wait_for_selector(f'duo-talk .message[data-id="{first}"]', state="attached")
            visit.page.mouse.move(640, 400)
            assert_harmless(visit.page, canary, num_shown=num_shown)
        assert visit.foreign == []
        assert visit.faults == []


@pytest.mark.parametrize("place", ["growing", "mine"])
def test_a_reply_that_grows_and_ones_own_words_are_no_other(browser: Browser, canary: Canary, tmp_path, place: str):
    text = canary.fill("\n\n".join([*SCRIPTS[:6], *MUTATIONS[:8], *LOADS[:8], *MARKDOWN_IMAGES[:6], *FORMS[:2]]))
    bot = make_bot(tmp_path, generator=FakeGenerator(reply=text if place == "growing" else "Quite so."))
    with running(bot) as server, visiting(browser, server) as visit:
        visit.page.get_by_label("Your message").fill("What did you see?" if place == "growing" else text)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector(".message.theirs:not(.growing) .versions >> nth=1")
        assert_harmless(visit.page, canary, num_shown=3)
        assert visit.foreign == []


def test_the_browsers_policy_is_a_second_wall(browser: Browser, canary: Canary, tmp_path):
    with running(make_bot(tmp_path)) as server, visiting(browser, server) as visit:
        visit.page.evaluate(
            """address => {
              const place = document.createElement("div");
              place.innerHTML = `<img src="${address}/img"><img src=x onerror="window.ran=1">
                <iframe src="${address}/frame"></iframe><video src="${address}/video"></video>
                <form action="${address}/form" id="leak"><input name="a" value="b"></form>
                <link rel="stylesheet" href="${address}/sheet"><object data="${address}/object"></object>`;
              document.body.append(place);
              const [inline, remote] = [document.createElement("script"), document.createElement("script")];
              inline.textContent = "window.ran=1";
              remote.src = `${address}/script`;
              document.body.append(inline, remote);
              document.querySelector("#leak").submit();
              fetch(`${address}/fetch`).catch(() => {});
              navigator.sendBeacon(`${address}/beacon`, "x");
            }""",
            f"http://{canary.host}",
        )
        with contextlib.suppress(Exception):
            visit.page.wait_for_load_state("networkidle", timeout=3000)

        assert visit.page.evaluate("window.ran ?? 0") == 0
        assert canary.asked == []
        assert any("Content Security Policy" in fault for fault in visit.faults)
