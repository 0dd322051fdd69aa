"""Write the tables of docs/explanation/quality.md from benchmarks/results/quality.json, between its markers.

python scripts/make_quality_page.py            write the page
python scripts/make_quality_page.py --check    fail when the page is not what the results say
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quality.json"
PAGE = ROOT / "docs" / "explanation" / "quality.md"
BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
QUESTIONS = {
    "quantised base": "(a) A quantised base against the 32-bit base, untrained",
    "quantised training": "(a) Trained on a quantised base against trained on the 32-bit base",
    "recipes": "(b) Another recipe's settings against those of `original`, in the same format",
    "as shipped": "(b) `optimized` in its own format (int8) against `original` in its own (NF4)",
    "tuned": "(c) Tuned against its base: what is learned, and what is forgotten",
}


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    before = arguments.page.read_text(encoding="utf-8")
    document = json.loads(arguments.results.read_text(encoding="utf-8"))
    after = with_tables(before, document)
    if arguments.check:
        if after != before:
            sys.exit(f"{arguments.page} is not what {arguments.results} says: run python scripts/make_quality_page.py")
        return
    arguments.page.write_text(after, encoding="utf-8")


def with_tables(page: str, document: dict[str, Any]) -> str:
    """Return the page with the tables of the results between the markers."""
    head, found, rest = page.partition(BEGIN)
    _, found_end, tail = rest.partition(END)
    if not (found and found_end):
        sys.exit(f"the page has no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{tables(document)}\n\n{END}{tail}"


def tables(document: dict[str, Any]) -> str:
    """Return machine, levels, comparisons and measures of the replies as Markdown."""
    sizes, machine = document["sizes"], document["machine"]
    parts = [
        f"{document['base']} on {machine['processor']}, {document['measured_at'][:10]}: trained on {sizes['train']} "
        f"conversations, measured on {sizes['held_out']} others and {sizes['other']} instructions of another kind."
    ]
    if document["is_tiny"]:
        parts.append("**A trial run with `--tiny`: these numbers mean nothing.**")
    if document["missing"]:
        parts.append(f"Not run: {', '.join(f'`{name}`' for name in document['missing'])}.")
    parts.append(level_table(document["cells"]))
    for question, title in QUESTIONS.items():
        rows = [row for row in document["comparisons"] if row["question"] == question]
        if rows:
            parts.append(f"### {title}\n\n{comparison_table(rows)}\n\n{answer(rows)}")
    if document["character"]:
        parts.append(f"### Replies, tuned against its base\n\n{character_table(document['character'])}")
    return "\n\n".join(parts)


def level_table(cells: list[dict[str, Any]]) -> str:
    """Return what each cell reached."""
    lines = [
        "| cell | steps | held-out perplexity | held-out bits per byte | bits per byte of another kind |",
        "|---|--:|--:|--:|--:|",
    ]
    for cell in cells:
        held_out, general = cell["levels"]["held_out"], cell["levels"]["general"]
        lines.append(
            f"| `{cell['name']}` | {cell['training'].get('num_steps', 0)} | {held_out['perplexity']:.2f} "
            f"| {held_out['bits_per_byte']:.4f} | {general['bits_per_byte']:.4f} |"
        )
    return "\n".join(lines)


def comparison_table(rows: list[dict[str, Any]]) -> str:
    """Return relative changes with their intervals; a rise is a loss of quality."""
    lines = [
        "| from | to | held-out perplexity | held-out bits per byte | another kind, bits per byte | loss of quality |",
        "|---|---|--:|--:|--:|---|",
    ]
    for row in rows:
        held_out, general = row["held_out"], row["general"]
        judged = general if row["question"] == "tuned" else held_out
        kind = "forgotten" if row["question"] == "tuned" else "held-out"
        lines.append(
            f"| `{row['first']}` | `{row['second']}` | {share(held_out['perplexity'])} "
            f"| {share(held_out['bits_per_byte'])} | {share(general['bits_per_byte'])} "
            f"| {kind}: {judged['bits_per_byte']['verdict']} |"
        )
    return "\n".join(lines)


def answer(rows: list[dict[str, Any]]) -> str:
    """Return in a sentence for how many of the comparisons the claim of less than 5% holds."""
    kind = "general" if rows[0]["question"] == "tuned" else "held_out"
    count = dict.fromkeys(("below 5%", "above 5%", "open", "not known"), 0)
    for row in rows:
        count[row[kind]["bits_per_byte"]["verdict"]] += 1
    text = "text of another kind" if kind == "general" else "held-out conversations"
    return (
        f"In bits per byte of {text}, the loss is surely below 5% in {count['below 5%']} of {len(rows)}, "
        f"surely above in {count['above 5%']}, open in {count['open'] + count['not known']}."
    )


def character_table(rows: list[dict[str, Any]]) -> str:
    """Return the measures of the replies."""
    lines = ["| cell | measure | base | tuned | difference, 95% | verdict |", "|---|---|--:|--:|--:|---|"]
    for row in rows:
        if row.get("base") is None or row.get("tuned") is None:
            continue
        ends = f"{row['low']:+.3g} to {row['high']:+.3g}" if row["low"] is not None else "no interval"
        lines.append(
            f"| `{row['second']}` | {row['name']} ({row['unit']}) | {row['base']:.3g} | {row['tuned']:.3g} | {ends} "
            f"| {row['verdict']} |"
        )
    return "\n".join(lines)


def share(found: dict[str, Any]) -> str:
    """Return a relative change with its interval."""
    if found["low"] is None:
        return f"{found['change']:+.1%}"
    return f"{found['change']:+.1%} ({found['low']:+.1%} to {found['high']:+.1%})"


if __name__ == "__main__":
    main()
