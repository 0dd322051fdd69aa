"""Every fault has its tests, every named test exists, and the page says the same."""

import ast

from scripts.make_faults_table import TARGET, page
from tests.faults.matrix import FAULTS


def test_every_fault_from_one_to_twenty_six_has_a_test():
    assert [fault.number for fault in FAULTS] == list(range(1, 27))
    assert all(fault.tests for fault in FAULTS)


def test_every_named_test_exists(repository):
    missing = []
    for fault in FAULTS:
        for test in fault.tests:
            file, _, name = test.partition("::")
            path = repository / "tests" / file
            source = path.read_text(encoding="utf-8") if path.is_file() else ""
            names = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
            if (name and name not in names) or not any(found.startswith("test_") for found in names):
                missing.append(f"{fault.number}: {test}")
    assert missing == []


def test_the_page_is_made_of_the_table():
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python scripts/make_faults_table.py"
