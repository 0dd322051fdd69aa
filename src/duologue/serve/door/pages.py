"""The door's own pages: plain HTML without a script, for any size of screen, light or dark."""

import html
import re
import time
from collections.abc import Sequence
from importlib import resources

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response

from duologue.serve.door.wording import LANGUAGES, Language, say

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def language_of(headers: Headers) -> Language:
    """Return the language of ours that a browser likes best; English when it likes none."""
    best: tuple[float, Language] = (0.0, "en")
    for part in headers.get("accept-language", "")[:200].split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            liked = float(weight or 1.0)
        except ValueError:
            continue
        for language in LANGUAGES:
            if name.lower().split("-")[0] == language and liked > best[0]:
                best = (liked, language)
    return best[1]


def date_of(seconds: float, language: Language) -> str:
    """Return the day of a time as people write it."""
    return time.strftime("%d.%m.%Y" if language == "de" else "%Y-%m-%d", time.gmtime(seconds))


def login_page(title: str, language: Language, notice: str, *, asks_name: bool, asks_key: bool) -> Response:
    """Return the page that asks for a name and a password, for the key, or for either."""
    name = _field(
        "name", say("login.name", language), 'autocomplete="username" autocapitalize="none" spellcheck="false"'
    )
    password = _field("password", say("login.password", language), 'type="password" autocomplete="current-password"')
    key = _field("key", say("login.key", language), 'type="password" autocomplete="current-password"')
    parts = []
    if asks_name:
        parts.append(form("/login", name + password, say("login.enter", language)))
    if asks_key:
        by_key = form("/login", key, say("login.enter", language))
        parts.append(
            f"<details><summary>{say('login.use_key', language)}</summary>{by_key}</details>" if asks_name else by_key
        )
    about = say("login.with_name" if asks_name else "login.with_key", language)
    return page(title, language, [paragraph(about), alert(notice), *parts], status=401)


def page(
    title: str, language: Language, parts: Sequence[str], *, status: int = 200, seconds_to_reload: int = 0
) -> Response:
    """Return a page of the door.

    Args:
        title: Its heading, as plain text.
        language: Its language.
        parts: HTML, made by the functions of this module.
        status: HTTP status.
        seconds_to_reload: When the browser looks again; 0 for never.
    """
    frame = resources.files(__package__).joinpath("frame.html").read_text(encoding="utf-8")
    reload = f'<meta http-equiv="refresh" content="{seconds_to_reload}">' if seconds_to_reload else ""
    values = {"language": language, "title": html.escape(title), "reload": reload, "body": "\n".join(parts)}
    filled = _PLACE.sub(lambda place: values[place[1]], frame)  # all at once: a title may look like a place
    return HTMLResponse(filled, status_code=status, headers={"Cache-Control": "no-store"})


def paragraph(text: str) -> str:
    """Return a text as a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def alert(text: str) -> str:
    """Return a text that a screen reader says at once; nothing when it is empty."""
    return f'<p role="alert">{html.escape(text)}</p>' if text else ""


def link(address: str, text: str) -> str:
    """Return a link that looks like a button."""
    return f'<a class="button" href="{html.escape(address)}">{html.escape(text)}</a>'


def quiet_link(address: str, text: str) -> str:
    """Return a plain link."""
    return f'<p><a href="{html.escape(address)}">{html.escape(text)}</a></p>'


def code(text: str) -> str:
    """Return a short code to be read and typed elsewhere."""
    return f'<p class="code">{html.escape(text)}</p>'


def form(action: str, fields: str, button: str, *, is_quiet: bool = False) -> str:
    """Return a form that posts to an address of ours."""
    kind = ' class="quiet"' if is_quiet else ""
    return (
        f'<form method="post" action="{html.escape(action)}">{fields}'
        f'<button type="submit"{kind}>{html.escape(button)}</button></form>'
    )


def hidden(name: str, value: str) -> str:
    """Return a field that nobody sees."""
    return f'<input type="hidden" name="{name}" value="{html.escape(value)}">'


def checkbox(name: str, label: str) -> str:
    """Return a box that must be ticked."""
    return (
        f'<label class="tick"><input type="checkbox" name="{name}" value="yes" required> {html.escape(label)}</label>'
    )


def code_field(label: str) -> str:
    """Return the field for a short code."""
    return _field("code", label, 'autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"')


def _field(name: str, label: str, attributes: str) -> str:
    return f'<label for="{name}">{html.escape(label)}</label><input id="{name}" name="{name}" {attributes} required>'
