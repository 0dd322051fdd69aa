"""Make docs/explanation/faults.md: what can go wrong, what is promised, and the tests that show it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "explanation" / "faults.md"
_HEAD = """# What can go wrong, and what happens then

Each row is a fault that is made on purpose by the tests named beside it: processes are killed, disks filled, bits
turned, clocks moved, and hostile visitors, files and models are played. The tests run without a GPU.

This page is made by `scripts/make_faults_table.py` from `tests/faults/matrix.py`.

| # | what goes wrong | what is promised | shown by |
|--:|---|---|---|
"""


def page() -> str:
    """Return the page."""
    sys.path.insert(0, str(ROOT))
    from tests.faults.matrix import FAULTS

    rows = []
    for fault in FAULTS:
        files = dict.fromkeys(test.partition("::")[0] for test in fault.tests)
        shown = ", ".join(f"`tests/{file}`" for file in files)
        rows.append(f"| {fault.number} | {fault.title} | {fault.promise} | {shown} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
