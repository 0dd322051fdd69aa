"""The pieces that the sections of a page are put together from: headings, legends, tables, what unfolds, drawings."""

from collections.abc import Callable, Sequence

from duologue.evaluate.plots import PageWidth
from duologue.evaluate.words import escape


def section(anchor: str, heading: str, body: str) -> str:
    """Return a titled section that the page's menu can point to."""
    return f"<section id='{anchor}'><h2>{escape(heading)}</h2>{body}</section>"


def drawing(draw: Callable[[PageWidth], str], *, label: str) -> str:
    """Return a drawing for wide and for narrow pages; `label` says in words what it shows."""
    return (
        f"<figure role='img' aria-label='{escape(label)}'>"
        f"<div class='wide'>{draw('wide')}</div><div class='narrow'>{draw('narrow')}</div></figure>"
    )


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return what the colours of a drawing mean: name of the colour and words."""
    items = "".join(f"<li><i class='swatch' style='background:var(--{c})'></i>{escape(w)}</li>" for c, w in entries)
    return f"<ul class='legend'>{items}</ul>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, numeric_from: int | None) -> str:
    """Return a table; columns from `numeric_from` on are set to the right."""

    def cells(row: Sequence[object], tag: str) -> str:
        first = len(row) if numeric_from is None else numeric_from
        kinds = ["" if at < first else " class='number'" for at in range(len(row))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table></div>"


def details(summary: str, body: str) -> str:
    """Return what unfolds below its summary; `body` is markup."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"
