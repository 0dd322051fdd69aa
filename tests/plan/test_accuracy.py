"""The planner against every published measurement: the bars of its accuracy page, on the rows that are here."""

import importlib.util
import sys

import pytest


@pytest.fixture(scope="module")
def accuracy():
    """The script that makes the page, as a module."""
    from tests.conftest import REPOSITORY

    path = REPOSITORY / "benchmarks" / "planner_accuracy.py"
    spec = importlib.util.spec_from_file_location("planner_accuracy", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["planner_accuracy"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["planner_accuracy"]


@pytest.fixture
def rows(accuracy, shared_data):
    """All published measurements."""
    path = shared_data / "training_measurements.csv"
    if not path.is_file():
        pytest.skip("needs ../shared/data/training_measurements.csv")
    return accuracy.read_rows(path)


@pytest.fixture
def predictions(accuracy, rows):
    """Ours, by quantity."""
    return accuracy.ours(rows)


def test_every_bar_is_met_on_average(accuracy, rows, predictions):
    table = accuracy.summary(accuracy.residuals(rows, predictions))
    assert set(table) == set(accuracy.BARS)
    over = {bar: values for bar, values in table.items() if values["mean_percent"] > accuracy.BARS[bar]}
    assert over == {}


def test_no_allocated_row_is_under_predicted_by_more_than_five_percent(accuracy, rows, predictions):
    allocated = [item for item in accuracy.residuals(rows, predictions) if item.quantity == "allocated"]
    assert len(allocated) > 60
    assert [item for item in allocated if item.percent < -5] == []


def test_no_run_that_went_out_of_memory_is_called_fits_and_no_run_that_worked_is_refused(accuracy, rows, predictions):
    counts = accuracy.verdicts(rows, predictions)
    assert counts["oom"] > 10
    assert counts["oom_called_fits"] == 0
    assert counts["worked_called_no"] <= 0.02 * counts["worked"]


def test_nearly_every_row_is_predicted_and_the_rest_say_why(rows, predictions):
    missing = [guess["why"] for guess in predictions if guess["allocated"] is None]
    assert len(missing) <= 0.06 * len(rows)
    assert all(why.startswith("no prediction: ") for why in missing)


def test_the_interval_of_the_device_holds_nine_of_ten_measurements(accuracy, rows):
    from duologue.plan.points import predict_points

    inside = []
    for row, found in zip(rows, predict_points(rows), strict=True):
        for bar, _, value in accuracy.measured(row):
            if bar == accuracy.DEVICE and found.low_gb is not None:
                inside.append(found.low_gb <= value <= found.high_gb)
    assert len(inside) > 60
    assert sum(inside) >= 0.9 * len(inside)


def test_a_stack_without_its_own_numbers_is_still_predicted_within_twice_the_bars(accuracy, rows):
    held_out = accuracy.summary(accuracy.without_source(rows))
    assert {bar: values for bar, values in held_out.items() if values["mean_percent"] > 2 * accuracy.BARS[bar]} == {}


def test_the_page_and_the_result_are_those_of_the_code(accuracy, rows, repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    kept = accuracy._peers(rows, None)
    assert set(kept) == set(accuracy.PEERS)
    document = accuracy.measure(rows, peers=kept)
    page = (repository / "docs" / "explanation" / "planner-accuracy.md").read_text(encoding="utf-8")
    assert accuracy.page(document) == page, "run: python benchmarks/planner_accuracy.py --write"
