"""Writes the tables of docs/guide/recipes.md: what each recipe costs on each card, as `duologue plan` predicts it.

Usage: python scripts/make_guide_costs.py [--check]

`--check` writes nothing and exits 1 when the page is out of date. Nothing of this machine is used: neither what earlier
runs taught, nor a GPU.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "recipes.md"
BEGIN, END = "<!-- table: scripts/make_guide_costs.py -->", "<!-- end of table -->"
RECIPES = ("original", "optimized", "best-24gb", "best-16gb", "best-12gb", "best-8gb")
CARDS = ("RTX 3060 12GB", "RTX 4080 16GB", "RTX 3090 24GB", "RTX 4090 24GB", "A100 PCIe 80GB")
NONE = "\N{EN DASH}"
VERDICTS = {"fits": "fits", "tight": "tight", "no": "does not fit"}


def main() -> None:
    """Write or check."""
    options = sys.argv[1:]
    if options not in ([], ["--check"]):
        sys.exit(__doc__)
    wanted = page()
    if PAGE.read_text(encoding="utf-8") == wanted:
        return
    if options:
        print(f"{PAGE.relative_to(ROOT)} is out of date")
        sys.exit(1)
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def page() -> str:
    """Return the page with the tables as they are now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n\n".join(table(compared(card)) for card in CARDS)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def compared(card: str) -> Mapping[str, Any]:
    """Return what `duologue plan --compare` says of all recipes on a card."""
    with tempfile.TemporaryDirectory() as state:
        done = subprocess.run(
            [sys.executable, "-m", "duologue", "plan", "--compare", *RECIPES, "--gpu", card, "--json"],
            cwd=state,
            env={**os.environ, "XDG_STATE_HOME": state},
            capture_output=True,
            text=True,
            check=True,
        )
    document: Mapping[str, Any] = json.loads(done.stdout)
    return document


def table(document: Mapping[str, Any]) -> str:
    """Return one card's table."""
    head = f"### {document['machine']}"
    columns = "| recipe | GPU memory, GiB | verdict | time of the run | electricity | rent |\n|---|---|---|---|---|---|"
    return "\n".join((head, "", columns, *(row(name, document["plans"][name]) for name in document["recipes"])))


def row(recipe: str, plan: Mapping[str, Any]) -> str:
    """Return one recipe's line."""
    memory, time, cost = plan["memory"], plan["time"], plan["cost"]
    gib = f"{memory['device_gib']:.1f} ({memory['low_gib']:.1f} to {memory['high_gib']:.1f})"
    minutes = f"{_span(time['total_minutes'])} ({_span(time['low_minutes'])} to {_span(time['high_minutes'])})"
    if plan["verdict"] == "no":
        minutes = NONE
    money = (_usd(cost[name]) if plan["verdict"] != "no" else NONE for name in ("electricity_usd", "rent_usd"))
    return f"| `{recipe}` | {gib} | {VERDICTS[plan['verdict']]} | {minutes} | {' | '.join(money)} |"


def _span(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _usd(amount: float | None) -> str:
    return "no price" if amount is None else f"${amount:.2f}"


if __name__ == "__main__":
    main()
