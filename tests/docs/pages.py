"""Reads the documents: their fences, links, pictures and anchors, and the command lines in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]+?) -->\s*\Z")
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)
_HEREDOC = re.compile(r"<<'?(\w+)'?[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code.

    Attributes:
        where: Page and line.
        language: What stands behind the three backticks.
        text: What is in it.
        not_run: Why no test runs it; empty where one may.
    """

    where: str
    language: str
    text: str
    not_run: str

    def commands(self) -> list[list[str]]:
        """Return the words of every command, without environment, redirections and comments."""
        text = self.text
        if self.language == "console":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
        text = _HEREDOC.sub("", text).replace("\\\n", " ")
        found, open_line = [], ""
        for line in text.splitlines():
            open_line += line
            try:
                found += list(_split(open_line))
            except ValueError:  # a quotation that goes on in the next line
                open_line += "\n"
            else:
                open_line = ""
        assert not open_line, f"{self.where}: a quotation has no end"
        return found


@dataclass(frozen=True, slots=True)
class Link:
    """A link or a picture in a page."""

    page: Path
    text: str
    target: str
    is_image: bool


def documents() -> list[Path]:
    """Return README, CONTRIBUTING and every page of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def name(page: Path) -> str:
    """Return the page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def fences(page: Path) -> list[Fence]:
    """Return a page's fences in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        reason = _NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        body = match["text"].replace(f"\n{match['indent']}", "\n")
        found.append(Fence(f"{name(page)}:{line}", match["language"], body, reason["reason"] if reason else ""))
    return found


def links(page: Path) -> list[Link]:
    """Return a page's links and pictures, those in code left out."""
    prose = re.sub(r"`[^`\n]*`", "", _prose(page))
    return [Link(page, m["text"], m["target"], bool(m["image"])) for m in _LINK.finditer(prose)]


def anchors(page: Path) -> set[str]:
    """Return the ids of a page's headings, as the site makes them."""
    seen: dict[str, int] = {}
    made = set()
    for match in _HEADING.finditer(_prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["text"]).replace("`", "").replace("*", "")
        slug = slugify(plain, "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        made.add(f"{slug}_{count}" if count else slug)
    return made


def spans(page: Path) -> Iterator[str]:
    """Yield what stands in single backticks outside of fences."""
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _prose(page))


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    skips = False
    for word in lexer:
        if skips:
            skips = False
        elif word in ("|", "&&", "||", ";", "&"):
            yield from [words] if words else []
            words = []
        elif word and set(word) <= set("<>&"):
            skips = True
        elif words or not re.match(r"[A-Z_]+=", word):
            words.append(word)
    yield from [words] if words else []
