"""Text of a person or a model as HTML that is safe to put into the page: the one renderer of the server.

Markdown-it is given no rule that makes HTML, images or hidden text; what it makes goes through nh3, which knows only
the few tags and attributes below. The browser's content security policy is a second wall behind both.
"""

import html
import logging
import re
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

log = logging.getLogger("duologue.serve")

MAX_MARKDOWN_CHARS = (
    40_000  # a longer text is shown as it was written: reading it as Markdown would keep the server busy
)
_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_MAX_NESTING = 12
_RULES_OFF = (
    *("html_block", "html_inline", "image", "autolink", "entity"),
    *("reference", "lheading", "code"),  # would hide lines, make headings of dashes and code of indented lines
)
_TAGS = {
    *("p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h4", "hr", "a", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
# Escape sequences of terminals, other control characters, and those that turn the direction of what follows.
_UNSEEN = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|"
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_HALF = re.compile(r"[\ud800-\udfff]")
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_PILED_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")  # languages need no more; more of them climb over other lines


def safe_html(text: str, *, is_growing: bool = False) -> str:
    """Return a text as HTML: paragraphs, line breaks, *actions*, lists, quotes, code, tables, links that say where to.

    It never raises, whatever the text, and takes time in proportion to its length.

    Args:
        text: What was said.
        is_growing: More of it is to come, so an emphasis that is still open is shown as one.
    """
    text = _PILED_MARKS.sub(r"\1", _HALF.sub("\ufffd", _UNSEEN.sub("", text.replace("\r\n", "\n"))))
    if len(text) > MAX_MARKDOWN_CHARS:
        return _as_written(text)
    if is_growing:
        text = _close_emphasis(text)
    try:
        made = _MARKDOWN.render(text)
    except Exception:  # whatever a text does to the parser, the chat can still be read
        log.exception("a text of %d characters cannot be read as Markdown", len(text))
        return _as_written(text)
    return nh3.clean(
        made,
        tags=_TAGS,
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        allowed_classes={"span": {"address"}},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener noreferrer nofollow",
        url_schemes=set(_SCHEMES),
        url_relative="deny",
    )


def _as_written(text: str) -> str:
    paragraphs = re.split(r"\n{2,}", text.strip("\n"))
    return "".join(f"<p>{html.escape(part).replace(chr(10), '<br>')}</p>" for part in paragraphs)


def _close_emphasis(text: str) -> str:
    last = text[text.rfind("\n\n") + 1 :]
    if last.count("*") % 2 == 0 or last.lstrip().startswith("* "):
        return text
    return text.rstrip().removesuffix("*") if text.rstrip().endswith("*") else f"{text.rstrip()}*"


def _is_link(address: str) -> bool:
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return False
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc or parts.path) and "\\" not in address


def _show_addresses(state: StateCore) -> None:
    """Put where a link leads behind its words, unless they say it, and give it as the title in full."""
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = "h4"
        if token.children and any(child.type == "link_open" for child in token.children):
            token.children = _with_addresses(token.children)


def _with_addresses(tokens: list[Token]) -> list[Token]:
    made: list[Token] = []
    address, words = "", ""
    for token in tokens:
        if token.type == "link_open":
            address, words = str(token.attrGet("href") or ""), ""
            token.attrs = {"href": address, "title": address}
        elif token.type == "link_close" and address:
            place = _place(address)
            if place and place not in words.lower():
                made += [
                    Token("address_open", "span", 1, attrs={"class": "address"}),
                    Token("text", "", 0, content=f" ({place})"),
                    Token("address_close", "span", -1),
                ]
            address = ""
        else:
            words += token.content
        made.append(token)
    return made


def _place(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        return parts.netloc.rpartition("@")[2].lower()
    return parts.path


def _make_markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True, "linkify": False, "maxNesting": _MAX_NESTING})
    markdown.enable(["strikethrough", "table"]).disable(list(_RULES_OFF))
    markdown.validateLink = _is_link  # type: ignore[method-assign, assignment]  # its own way
    markdown.core.ruler.push("show_addresses", _show_addresses)
    return markdown


_MARKDOWN = _make_markdown()
