"""`duologue duel` between two trained adapters, at a terminal of 60 columns, as a person plays it."""

import json

import pytest

from duologue.chat import duels
from duologue.train import list_runs
from tests.flows.at_terminal import AtTerminal

pytestmark = pytest.mark.slow
ASK, PICK = "Say something", "Which is better? "
COLUMNS = 60


@pytest.fixture
def two_runs(duologue, folder, monkeypatch):
    """A folder with two finished runs that learned differently."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    quick = ("--no-eval", "--json", "--set", "training.eval_every_steps=0")
    assert duologue("train", folder, *quick).exit_code == 0
    assert duologue("train", folder, *quick, "--set", "training.learning_rate=0.01").exit_code == 0
    return folder


def play(terminal, number, pick, words="Is this the night tram?"):
    """Say something as the round of this number, and pick."""
    terminal.wait_for(ASK, times=number)
    terminal.type(f"{words}\n")
    terminal.wait_for(PICK, times=number)
    terminal.type(f"{pick}\n")


def test_a_sitting_is_blind_keeps_every_pick_and_its_standings_add_up(duologue, two_runs):
    names = [run.name for run in list_runs(two_runs)]
    with AtTerminal("duel", two_runs, "--second", names[0], cwd=two_runs, columns=COLUMNS) as terminal:
        for number, pick in enumerate(("1", "2", "t", "s", "b"), start=1):
            play(terminal, number, pick)
        terminal.wait_for(ASK, times=6)
        terminal.type("\n")  # a drawn turn
        terminal.wait_for(PICK, times=6)
        terminal.type("left\n")  # none of the keys
        terminal.wait_for("'left' is none of these")
        before_pick = terminal.wait_for(PICK, times=7)
        terminal.type("2\n")
        terminal.wait_for("picked so far: 5")
        [kept] = duels.standings(two_runs, character="ada-bell", account="local")
        terminal.wait_for(ASK, times=7)
        terminal.type("q\n")
        code = terminal.ended()
        shown = terminal.shown

    assert code == 0
    assert not any(name in before_pick for name in names) and "base" not in before_pick, "nobody knows whose is whose"
    assert "1. reply 1: run" in shown and "Strengths" in shown
    assert (kept.num_picks, kept.ties, kept.both_bad, kept.first_wins + kept.second_wins) == (5, 1, 1, 3)
    told = duologue("duel", two_runs, "--standings", "--json").json
    [standing] = told["standings"]
    assert {standing["first"], standing["second"]} == set(names)
    assert standing["num_picks"] == 5 and standing["picks_needed"] is not None
    assert {row["run"]: row["num_picks"] for row in told["strengths"]["runs"]} == dict.fromkeys(names, 4)
    assert f"{standing['first_wins']} to {standing['second_wins']}" in shown
    lines = [line for line in shown.splitlines() if not line.startswith(ASK)]  # what is typed stands behind it
    assert max(map(len, lines)) <= COLUMNS, "nothing is left to the terminal to cut in the middle of a word"


def test_ctrl_c_in_the_middle_of_a_reply_ends_the_sitting_and_keeps_what_was_picked(two_runs):
    names = [run.name for run in list_runs(two_runs)]
    long = ("--set", "generation.max_new_tokens=400")
    with AtTerminal("duel", two_runs, "--second", names[0], *long, cwd=two_runs, columns=COLUMNS) as terminal:
        play(terminal, 1, "1")
        terminal.wait_for(ASK, times=2)
        before = len(terminal.shown)
        terminal.type("And the next stop?\n")
        terminal.wait_for("writing two replies", since=before)
        terminal.type("\x03")
        code = terminal.ended()

    assert code == 0 and "every pick is kept" in terminal.shown and "Traceback" not in terminal.shown
    [kept] = duels.standings(two_runs, character="ada-bell", account="local")
    assert kept.num_picks == 1


def test_a_sitting_for_a_program_asks_on_stderr_and_tells_the_document_alone(two_runs):
    """What is typed and asked is the terminal's; the JSON document is the last line."""
    names = [run.name for run in list_runs(two_runs)]
    arguments = ("duel", two_runs, "--second", names[0], "--rounds", "1", "--json")
    with AtTerminal(*arguments, cwd=two_runs, columns=COLUMNS) as terminal:
        play(terminal, 1, "t")
        assert terminal.ended() == 0
        document = json.loads(terminal.shown.splitlines()[-1])

    assert [each["pick"] for each in document["rounds"]] == ["tie"] and document["num_skipped"] == 0
