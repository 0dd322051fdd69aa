"""What comes after learning from feedback works as after any training, and says where the model comes from."""

import pytest

from duologue.train import list_runs
from tests.flows.test_feedback_killed import LEARN, NUM_CORRECTED, NUM_PAIRS, trained

__all__ = ["trained"]
pytestmark = pytest.mark.slow


@pytest.fixture
def learned(duologue, trained):
    """A folder whose newest run learned from feedback."""
    ended = duologue(*LEARN, trained, "--set", "feedback.num_epochs=3", "--json")
    assert ended.exit_code == 0, ended.err
    return trained


def test_it_is_measured_shipped_and_talked_to_and_its_report_names_the_run_it_comes_from(duologue, learned):
    first, second = (run.name for run in list_runs(learned))
    folder = learned / "runs" / second

    measured = duologue("eval", learned, "--suite", "quick", "--json")
    assert measured.exit_code == 0, measured.err
    report = (folder / "report.html").read_text()
    assert f"went on from run {first}" in report and "pairs by DPO" in report
    for words, count in (("corrected replies", NUM_CORRECTED), ("pairs of a better and a worse reply", NUM_PAIRS)):
        assert f"<td>{words}</td><td class='number'>{count}</td>" in report
    assert "Share of examples on the right side" in report and f"Learned by run {first}" in report

    against = duologue("eval", learned, "--suite", "quick", "--against", first, "--json")
    assert against.exit_code == 0, against.err
    assert (folder / f"report-against-{first}.html").is_file()

    for kind, more in (("merged", ()), ("gguf", ("--form", "f16")), ("gguf", ("--lora",)), ("bundle", ())):
        shipped = duologue("export", kind, learned, *more, "--json")
        assert shipped.exit_code == 0, (kind, shipped.err)
    said = duologue("chat", learned, "--engine", "hf", "--message", "Hello.", "--json")
    assert said.exit_code == 0, said.err
