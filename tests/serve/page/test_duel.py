"""Duels: blind until one is picked, picked once, counted with an interval."""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import date

import pytest

from duologue.chat import duels
from duologue.engine import BaseModel
from duologue.train import new_run
from tests.serve.page.homes import ServedHome, make_character, served

ADA = "characters/ada-bell/duels"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHome]:
    root = tmp_path_factory.mktemp("home")
    folder = make_character(root)
    for _ in range(2):
        run = new_run(folder, today=date(2026, 11, 22))
        (run.folder / "adapter").mkdir()
        base = {name: getattr(BaseModel("fake"), name) for name in BaseModel.__slots__}
        run.write("manifest.json", {"adapter_sha256": {}, "base": base})
    with served(root) as started:
        yield started


@pytest.fixture(autouse=True)
def no_picks(home):
    yield
    (home.root / "ada" / "duels.sqlite").unlink(missing_ok=True)


def fought(home: ServedHome, **asked: str) -> dict:
    """Return a duel whose replies are both there."""
    answer = home.post(ADA, {"message": "Hello there", **asked})
    assert answer.status_code == 202, answer.text
    duel = answer.json()
    deadline = time.monotonic() + 60
    while not duel["is_done"]:
        assert not duel["error"] and time.monotonic() < deadline, duel
        duel = home.get(f"{ADA}/{duel['id']}").json()
    return duel


def test_two_replies_come_and_nothing_tells_whose_is_whose_until_one_is_picked(home):
    duel = fought(home)
    assert "Hello there" in duel["left"]["text"] and "Hello there" in duel["right"]["text"]
    told = json.dumps(duel)
    assert "base" not in told and "2026-11-22" not in told
    picked = home.post(f"{ADA}/{duel['id']}/pick", {"pick": "left"}).json()
    assert {picked["left"], picked["right"]} == {"base", "2026-11-22-2"}, "the newest run against the base"
    [standing] = picked["standings"]
    assert standing["num_picks"] == 1 and standing["leader"] == "", "one pick says nothing yet"
    assert standing["first_wins"] + standing["second_wins"] == 1
    assert standing["second"] == "base"
    assert {each["run"] for each in picked["strengths"]["runs"]} == {"base", "2026-11-22-2"}
    assert picked["strengths"]["references"] == ["base"]


def test_a_pick_stays_what_it_was(home):
    duel = fought(home)
    assert home.post(f"{ADA}/{duel['id']}/pick", {"pick": "tie"}).status_code == 200
    assert home.post(f"{ADA}/{duel['id']}/pick", {"pick": "left"}).status_code == 409
    [standing] = home.get(ADA).json()["standings"]
    assert standing["ties"] == 1 and standing["first_wins"] == 0


def test_the_sides_are_drawn_anew_each_time(home):
    lefts = {home.post(f"{ADA}/{fought(home)['id']}/pick", {"pick": "tie"}).json()["left"] for _ in range(24)}
    assert lefts == {"base", "2026-11-22-2"}, "24 draws of one side have a chance of 1 in 8 million"


def test_a_duel_goes_on_from_the_reply_that_was_picked(home):
    first = fought(home)
    home.post(f"{ADA}/{first['id']}/pick", {"pick": "right"})
    second = fought(home, after=first["id"], message="And then?")
    kept = duels.find(home.root / "ada", second["id"], account="local", character="ada-bell")
    assert [message["role"] for message in kept.messages] == ["user", "assistant", "user"]
    assert kept.messages[1]["content"] == first["right"]["text"]
    assert kept.sampling["seed"] >= 0 and kept.left_facts["finish_reason"]


def test_any_two_runs_can_meet_but_none_itself_and_none_that_is_not_there(home):
    duel = fought(home, first="2026-11-22-1", second="2026-11-22-2")
    picked = home.post(f"{ADA}/{duel['id']}/pick", {"pick": "both_bad"}).json()
    assert {picked["left"], picked["right"]} == {"2026-11-22-1", "2026-11-22-2"}
    assert home.post(ADA, {"message": "Hi", "first": "base"}).json()["error"]["code"] == "same_run"
    assert home.post(ADA, {"message": "Hi", "first": "../x"}).status_code == 404
    assert home.post(ADA, {"message": ""}).status_code == 400
    assert home.post(ADA, {"message": "Hi", "after": "none"}).status_code == 404


def test_nobody_picks_in_a_duel_of_somebody_else(home):
    duel = fought(home)
    assert duels.find(home.root / "ada", duel["id"], account="mira", character="ada-bell") is None
    assert duels.find(home.root / "ada", duel["id"], account="local", character="other") is None
    assert home.post(f"{ADA}/0123456789abcdef/pick", {"pick": "left"}).status_code == 404
    assert home.post(f"{ADA}/{duel['id']}/pick", {"pick": "best"}).status_code == 400


def test_a_character_that_is_not_trained_has_nobody_to_meet(home):
    untrained = make_character(home.root, "bare")
    shutil.copy(home.root / "ada" / "duologue.toml", untrained)
    (untrained / "character.json").write_text(json.dumps({"name": "Bare"}))
    answer = home.post("characters/bare/duels", {"message": "Hello"})
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "not_trained"
