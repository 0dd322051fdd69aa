"""Writes docs/explanation/claims.md: the claims made for `original` and `optimized`, recomputed by the planner.

Usage: python scripts/make_claims.py [--check]

`--check` writes nothing and exits 1 when the page is out of date. The page depends on the claims file, the tables of
models and cards and the planner's laws only, not on the machine.
"""

import sys
from pathlib import Path

from duologue.plan.audit import audit_file

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "src" / "duologue" / "plan" / "claims.toml"
PAGE = ROOT / "docs" / "explanation" / "claims.md"


def main() -> None:
    """Write or check."""
    options = sys.argv[1:]
    if options not in ([], ["--check"]):
        sys.exit(__doc__)
    text = page()
    is_current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
    if options and not is_current:
        print(f"{PAGE.relative_to(ROOT)} is out of date")
        sys.exit(1)
    if not is_current:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")


def page() -> str:
    """Return the page."""
    return audit_file(CLAIMS).as_markdown()


if __name__ == "__main__":
    main()
