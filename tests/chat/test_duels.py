"""Duels as they are kept: what was picked, what can be learned from it, and taking it away again."""

from dataclasses import replace
from pathlib import Path

import pytest

from duologue.chat import duels
from duologue.chat.duels import Duel
from duologue.messages import Message

DUEL = Duel(
    id="d0",
    account="local",
    character="ada",
    base="fake",
    messages=(
        {"role": "system", "content": "You are Ada."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Evening."},
        {"role": "user", "content": "Up, please."},
    ),
    left_run="2026-11-22-1",
    right_run="base",
    left_reply="Going up.",
    right_reply="Up.",
    left_facts={"seconds": 1.5},
    right_facts={},
    sampling={"seed": 7},
)


def pick(folder: Path, number: int, picked: str, **changes: str) -> None:
    duels.keep(folder, replace(DUEL, id=f"d{number}", pick=picked, **changes))


def test_a_duel_comes_back_as_it_was_kept(tmp_path):
    assert duels.find(tmp_path, "d0", account="local", character="ada") is None
    duels.keep(tmp_path, DUEL)
    assert duels.find(tmp_path, "d0", account="local", character="ada") == DUEL
    assert duels.put_pick(tmp_path, DUEL, "left")
    assert not duels.put_pick(tmp_path, DUEL, "right"), "what was picked stays"
    assert duels.find(tmp_path, "d0", account="local", character="ada").pick == "left"


def test_a_duel_that_is_kept_with_its_pick_cannot_be_picked_again(tmp_path):
    pick(tmp_path, 1, "tie")
    assert not duels.put_pick(tmp_path, replace(DUEL, id="d1"), "left")
    [standing] = duels.standings(tmp_path, character="ada", account="local")
    assert (standing.ties, standing.num_picks) == (1, 1)


def test_picks_become_preferences_and_ties_do_not(tmp_path):
    assert duels.picked(tmp_path, character="ada") == ()
    for number, how in enumerate(("left", "right", "tie", "both_bad", "")):
        pick(tmp_path, number, how)
    pick(tmp_path, 8, "left", right_reply="Going up.")
    pick(tmp_path, 9, "left", account="mira")
    pick(tmp_path, 10, "left", character="other")
    found = [duels.preference_of(each) for each in duels.picked(tmp_path, character="ada", account="local")]
    assert [(each.chosen, each.rejected, each.source) for each in found] == [
        ("Going up.", "Up.", "duel d0"),
        ("Up.", "Going up.", "duel d1"),
    ]
    expected = (Message("user", "Hello"), Message("assistant", "Evening."), Message("user", "Up, please."))
    assert found[0].context == expected, "without the system text"
    assert len(duels.picked(tmp_path, character="ada")) == 3, "everybody's"


@pytest.mark.parametrize(
    ("chosen", "rejected", "is_learned"),
    [
        ("stop", "stop", True),
        ("stop", "length", True),
        ("length", "stop", False),
        ("content_filter", "stop", False),
        ("stop", "content_filter", False),
        ("stop", "cancelled", False),
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_reply_that_was_cut_is_not_learned_as_one_that_ends_there(chosen, rejected, is_learned, side):
    facts = {f"{side}_facts": {"finish_reason": chosen}}
    other = "right" if side == "left" else "left"
    duel = replace(DUEL, pick=side, **facts, **{f"{other}_facts": {"finish_reason": rejected}})
    found = duels.preference_of(duel)
    assert (found is not None) == is_learned
    assert found is None or found.chosen == getattr(duel, f"{side}_reply")


def test_a_removed_duel_is_nowhere_any_more(tmp_path):
    assert not duels.remove(tmp_path, "d0")
    assert not (tmp_path / "duels.sqlite").exists(), "looking for one makes no file"
    pick(tmp_path, 0, "left")
    assert not duels.remove(tmp_path, "d0", account="mira"), "nobody removes another's"
    assert b"Going up." in b"".join(path.read_bytes() for path in tmp_path.glob("duels.sqlite*"))
    assert duels.remove(tmp_path, "d0", account="local")
    assert b"Going up." not in b"".join(path.read_bytes() for path in tmp_path.glob("duels.sqlite*"))
    assert not duels.remove(tmp_path, "d0")
    assert duels.standings(tmp_path, character="ada", account="") == ()
    assert duels.picked(tmp_path, character="ada") == ()


def test_a_pair_is_one_standing_whichever_side_who_was_on_and_the_newer_run_is_first(tmp_path):
    pick(tmp_path, 1, "left")
    pick(tmp_path, 2, "left", left_run="base", right_run="2026-11-22-1")
    pick(tmp_path, 3, "right", left_run="2026-11-22-9", right_run="2026-11-22-10")
    pick(tmp_path, 4, "both_bad")
    first, second = duels.standings(tmp_path, character="ada", account="")
    assert (first.first, first.second, first.first_wins, first.second_wins) == ("2026-11-22-1", "base", 1, 1)
    assert (first.both_bad, first.num_picks) == (1, 3)
    assert (second.first, second.first_wins) == ("2026-11-22-10", 1)
    strengths = duels.strengths_of((first, second))
    assert strengths.references == ("base", "2026-11-22-9")
    assert not strengths.is_connected


@pytest.mark.parametrize(("num_left", "leader"), [(8, ""), (9, "2026-11-22-1")])
def test_nine_in_a_row_are_more_than_luck(tmp_path, num_left, leader):
    for number in range(num_left):
        pick(tmp_path, number, "left")
    [standing] = duels.standings(tmp_path, character="ada", account="local")
    assert standing.leader == leader
    assert standing.as_json()["leader"] == leader
    assert (standing.picks_needed == 0) == bool(leader)
