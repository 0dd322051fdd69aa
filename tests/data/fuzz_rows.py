"""A fuzz target: whatever bytes a file has, reading it gives rows, faults and notes, and never raises.

The tests feed it through hypothesis. With atheris installed it also runs by itself, for as long as one likes:
`python -m tests.data.fuzz_rows CORPUS_FOLDER`.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from duologue.data.found import FILE_REFUSED, RowFault
from duologue.data.read import open_rows

NAMES = ("x.json", "x.jsonl", "x.csv", "x.txt", "x.parquet", "x.gz", "x")


def fuzz_rows(content: bytes) -> None:
    """Read bytes as a file under the name that their number picks, and check what must hold for every file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / NAMES[len(content) % len(NAMES)]
        path.write_bytes(content)
        file = open_rows(path)
        numbers = []
        for row in file.rows():
            numbers.append(row.number)
            if isinstance(row.value, RowFault):
                assert row.value.reason
                (row.value.reason + row.value.field).encode()  # can be printed
            else:
                assert_is_json(row.value)
    assert numbers == sorted(set(numbers)), "rows are numbered upwards"
    assert not numbers or numbers[0] >= 1
    refusals = [note for note in file.notes if note.action == FILE_REFUSED]
    assert numbers or refusals, "a file gives rows or says why not"
    for note in file.notes:
        assert note.reason and note.action and note.row >= 0
        note.reason.encode()


def assert_is_json(value: object) -> None:
    """Check that a value is one of JSON's and that its text can be written as UTF-8."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            item.encode()
        else:
            assert item is None or isinstance(item, bool | int | float)


def main() -> None:
    """Run under atheris."""
    import atheris  # not among the tests' dependencies

    atheris.Setup(sys.argv, fuzz_rows)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
