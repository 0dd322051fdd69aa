"""Character cards on the command line: shown, converted, and the beginning of a character's folder."""

import json

import pytest

from duologue.characters import load_character

CARD = {
    "spec": "chara_card_v3",
    "spec_version": "3.1",
    "data": {
        "name": "Ada",
        "nickname": "The Mender",
        "description": "{{char}} mends clocks. {{strange}}",
        "first_mes": "Put it down.\x1b[2J",
        "alternate_greetings": ["Again?"],
        "group_only_greetings": [],
        "extensions": {},
        "character_book": {
            "name": "Shop",
            "entries": [{"keys": ["/(/"], "content": "x", "enabled": False, "constant": True}, "no entry"],
        },
    },
}


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "ada.json"
    path.write_text(json.dumps(CARD), encoding="utf-8")
    return path


def test_a_card_is_shown_with_its_lore_and_with_what_has_no_effect(duologue, card):
    shown = duologue("card", "show", card)

    assert shown.exit_code == 0
    for text in (
        "JSON, card V3",
        "nickname: The Mender",
        "greeting 2: Again?",
        "lorebook: Shop, 1 entry, 1 always in the prompt, 1 turned off",
        "macros without effect: {{strange}}",
        "newer than 3.0",
        "'/(/' never matches",
        "entry 1 is a JSON text and is not used",
    ):
        assert text in " ".join(shown.out.split())


def test_text_of_a_card_cannot_steer_the_terminal(duologue, card):
    shown = duologue("card", "show", card)

    assert "\x1b" not in shown.out
    assert "Put it down.\ufffd[2J" in shown.out


def test_a_card_is_shown_as_json(duologue, card):
    shown = duologue("card", "show", card, "--json").json

    assert shown["data"] == {**shown["data"], **CARD["data"]}
    assert (shown["form"], shown["version"], shown["num_lore_entries"]) == ("json", "v3", 1)
    assert shown["unknown_macros"] == ["{{strange}}"]
    assert len(shown["warnings"]) == 3


def test_a_card_is_converted_there_and_back(duologue, card, tmp_path):
    for before, after in (("ada.json", "a.png"), ("a.png", "b.charx"), ("b.charx", "c.png"), ("c.png", "d.json")):
        assert duologue("card", "convert", tmp_path / before, tmp_path / after).exit_code == 0

    data = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["data"]
    assert {key: data[key] for key in CARD["data"]} == CARD["data"]


def test_what_a_form_has_no_place_for_is_said(duologue, card, tmp_path):
    converted = duologue("card", "convert", card, tmp_path / "v2.json", "--v2", "--json")

    assert converted.json["left_out"] == ["nickname"]
    assert json.loads((tmp_path / "v2.json").read_text(encoding="utf-8"))["spec"] == "chara_card_v2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["v.json", "--v2", "--v3"], "--v2 and --v3 are both given"),
        (["v.png", "--v2"], "a png card is not written as V2 alone"),
        (["v.webp"], "expected '.json', '.png' or '.charx'"),
        (["none/v.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is_left(duologue, card, tmp_path, arguments, said):
    ended = duologue("card", "convert", card, tmp_path / arguments[0], *arguments[1:])

    assert ended.exit_code == 2
    assert said in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["ada.json"]


@pytest.mark.parametrize("form", ["json", "png", "charx"])
def test_a_folder_is_made_of_a_card_in_every_form(duologue, card, tmp_path, form):
    source = tmp_path / f"Some Name.{form}"
    duologue("card", "convert", card, source)
    other_name = source.rename(tmp_path / "card.of.ada")

    made = duologue("new", tmp_path / "ada", "--card", other_name, "--json")

    assert made.json["files"] == [f"character.{form}", "duologue.toml"]
    assert f'card = "character.{form}"' in (tmp_path / "ada" / "duologue.toml").read_text(encoding="utf-8")
    assert load_character(tmp_path / "ada" / f"character.{form}").lorebook is not None
