"""Reports how large files and functions are: a file past 400 lines or a function past 60 may be missing a noun.

Usage: python scripts/sizes.py [FOLDER]
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
SOURCE = Path(__file__).parents[1] / "src"


def main() -> None:
    """Print the report; it never fails a build."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    texts = {path.relative_to(folder): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    lines = {path: text.count("\n") for path, text in texts.items()}
    functions = [item for path, text in texts.items() for item in function_sizes(path, text)]
    for size, name in sorted(((size, str(path)) for path, size in lines.items()), reverse=True):
        if size > MAX_FILE_LINES:
            print(f"file of {size} lines: {name}")
    for size, name in sorted(functions, reverse=True):
        if size > MAX_FUNCTION_LINES:
            print(f"function of {size} lines: {name}")
    if not texts:
        print(f"no Python files in {folder}")
        return
    print(
        f"{len(texts)} files, {sum(lines.values())} lines: median file {statistics.median(lines.values()):.0f}, "
        f"largest {max(lines.values())}, longest function {max(functions, default=(0, ''))[0]}"
    )


def function_sizes(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield (lines, place) of every function of a file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}"


if __name__ == "__main__":
    main()
