"""Writes the table of docs/explanation/safety.md: how many cases the rules catch, and wrongly catch.

Usage: python scripts/make_safety_table.py [--check]

The cases are those of tests/guard/frozen.json. `--check` writes nothing and exits 1 when the page is out of date.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "safety.md"
BEGIN, END = "<!-- table: scripts/make_safety_table.py -->", "<!-- end of table -->"

sys.path.insert(0, str(ROOT))

from duologue.guard import RATINGS, find_crisis  # noqa: E402
from tests.guard.table import FROZEN, is_refused, look_alike_scene  # noqa: E402


def main() -> None:
    """Write or check."""
    options = sys.argv[1:]
    if options not in ([], ["--check"]):
        sys.exit(__doc__)
    is_current = PAGE.read_text(encoding="utf-8") == page()
    if options and not is_current:
        print(f"{PAGE.relative_to(ROOT)} is out of date")
        sys.exit(1)
    if not is_current:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")


def page() -> str:
    """Return the page with the table as it is now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def table() -> str:
    """Return the counts."""
    caught = [
        (kind, len(scenes), sum(all(is_refused(scene, rating) for rating in RATINGS) for scene in scenes))
        for kind, scenes in FROZEN["caught"].items()
    ]
    caught.append(("messages of someone in a crisis", len(FROZEN["crisis"]), sum(map(find_crisis, FROZEN["crisis"]))))
    wrongly = [
        (kind, len(scenes), [scene[0] for scene in scenes if is_refused(*look_alike_scene(kind, scene))])
        for kind, scenes in FROZEN["look_alikes"].items()
    ]
    phrases = FROZEN["crisis_look_alikes"]
    wrongly.append(("phrases that sound like a crisis", len(phrases), [text for text in phrases if find_crisis(text)]))
    return "\n".join(
        [
            "| must be caught | cases | caught |",
            "|---|---:|---:|",
            *(f"| {kind} | {number} | {found} |" for kind, number, found in caught),
            _sum(caught),
            "",
            "| must not be caught | cases | wrongly caught | which |",
            "|---|---:|---:|---|",
            *(f"| {kind} | {number} | {len(texts)} | {_quoted(texts)} |" for kind, number, texts in wrongly),
            f"| **all** | **{sum(row[1] for row in wrongly)}** | **{sum(len(row[2]) for row in wrongly)}** | |",
        ]
    )


def _sum(rows: Sequence[tuple[str, int, int]]) -> str:
    return f"| **all** | **{sum(row[1] for row in rows)}** | **{sum(row[2] for row in rows)}** |"


def _quoted(texts: Sequence[str]) -> str:
    return "; ".join(f'"{text}"' for text in texts)


if __name__ == "__main__":
    main()
