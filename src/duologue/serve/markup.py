"""Texts made safe to show: message text that can only become Markdown, and the small pieces of HTML around it."""

import html
import re
from collections.abc import Sequence
from datetime import datetime

from duologue.errors import DuologueError
from duologue.messages import RecalledLine

_WORD_JOINER = "\u2060"  # invisible, without width
_TAG_START = re.compile(r"<(?=[A-Za-z/!?])")
_EMPHASIS = re.compile(r"\*([^*]+)\*")
_IMAGE_START = re.compile(r"!(?=\[)")


def as_markdown(text: str) -> str:
    """Return message text in which no HTML tag and no image can start; emphasis, lists and code still work.

    An invisible character is put between the first two characters of a tag or an image, so it shows as it was written,
    inside code as well. A model could otherwise draw over the page or load an address.
    """
    return _IMAGE_START.sub(f"!{_WORD_JOINER}", _TAG_START.sub(f"<{_WORD_JOINER}", text))


def recalled_html(lines: Sequence[RecalledLine], *, character_name: str, user_name: str) -> str:
    """Return the panel with the memory lines of the last reply, each with its date and speaker."""
    if not lines:
        return (
            '<p class="empty">Nothing recalled for the last reply. When a line from an earlier chat helps '
            f"{html.escape(character_name)} answer, it appears here.</p>"
        )
    names = {"user": user_name, "assistant": character_name, "system": "Note"}
    items = (_recalled_item(line, speaker=names[line.speaker]) for line in lines)
    return f"<ol>{''.join(items)}</ol>"


def notice_html(text: str) -> str:
    """Return a message to the person that screen readers announce."""
    return f'<p role="alert">{html.escape(text)}</p>'


def error_html(error: DuologueError) -> str:
    """Return an error as a notice, without the name of the place: the person is looking at it."""
    text = error.sentence().removeprefix(f"{error.where}: ")
    return notice_html(text[:1].upper() + text[1:])


def heading_html(name: str, *, picture: str) -> str:
    """Return the character's head: picture or initial, name, and that this is no human."""
    initial = f'<span class="initial">{html.escape(name[:1].upper())}</span>'
    shown = f'<img src="{html.escape(picture)}" alt="">' if picture else initial
    return f'<div class="head">{shown}<div><h1>{html.escape(name)}</h1><p>An AI character, not a person</p></div></div>'


def _recalled_item(line: RecalledLine, *, speaker: str) -> str:
    when = f'<time datetime="{html.escape(line.said_at)}">{html.escape(_day(line.said_at))}</time>'
    source = f'<p class="source"><b>{html.escape(speaker)}</b> {when}</p>'
    return f"<li><blockquote>{_one_line(line.text)}</blockquote>{source}</li>"


def _one_line(text: str) -> str:
    line = html.escape(" ".join(text.split()))  # a blank line would end the HTML and start Markdown
    return _EMPHASIS.sub(r"<em>\1</em>", line)


def _day(said_at: str) -> str:
    try:
        moment = datetime.fromisoformat(said_at)
    except ValueError:
        return said_at
    return f"{moment.day} {moment:%B %Y}"
