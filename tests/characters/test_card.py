"""Card documents of all three versions, and what survives reading and writing them."""

import copy

import pytest

from duologue.characters import Character, parse_card
from duologue.errors import ConfigError

V1 = {
    "name": "Ada",
    "description": "{{char}} mends clocks.",
    "personality": "patient",
    "scenario": "{{user}} brings a watch.",
    "first_mes": "Put it on the bench.",
    "mes_example": "<START>\n{{user}}: hi\n{{char}}: hello",
}
V2 = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        **V1,
        "creator_notes": "for tests",
        "system_prompt": "Be {{char}}. {{original}}",
        "post_history_instructions": "",
        "alternate_greetings": ["Again?", "Late tonight."],
        "tags": ["clocks"],
        "creator": "us",
        "character_version": "3",
        "extensions": {"tavern/depth": {"prompt": "x", "depth": 4}},
        "character_book": {"entries": [{"keys": ["watch"], "content": "Watches tick.", "extensions": {"a": 1}}]},
    },
}
V3 = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        **V2["data"],
        "nickname": "The Mender",
        "group_only_greetings": ["All of you?"],
        "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
        "creation_date": 1700000000,
        "x_future_field": {"nested": [1, 2]},
    },
}


def parse(document: object) -> Character:
    return parse_card(copy.deepcopy(document), where="card.json")


@pytest.mark.parametrize("document", [V1, V2, V3], ids=["V1", "V2", "V3"])
def test_every_version_gives_the_same_character_fields(document):
    character = parse(document)

    assert character.name == "Ada"
    assert character.description == "{{char}} mends clocks."
    assert character.greeting == "Put it on the bench."
    assert character.example_dialogue == V1["mes_example"]


def test_a_v1_card_has_no_v2_fields():
    character = parse(V1)

    assert character.system_prompt == ""
    assert character.alternate_greetings == ()
    assert character.tags == ()


def test_a_v2_card_without_its_spec_line_is_still_read():
    character = parse({"data": V2["data"]})

    assert character.alternate_greetings == ("Again?", "Late tonight.")


def test_the_nickname_of_a_v3_card_is_what_the_character_is_called():
    assert parse(V3).display_name == "The Mender"
    assert parse(V2).display_name == "Ada"


def test_a_v2_document_mirrors_the_v1_fields_at_the_top_for_old_readers():
    written = parse(V2).as_v2()

    assert written["spec"] == "chara_card_v2"
    assert written["spec_version"] == "2.0"
    assert {key: written[key] for key in V1} == V1


def test_unknown_fields_extensions_and_lorebooks_survive_a_round_trip():
    assert parse(V2).as_v2()["data"] == V2["data"]
    assert parse(V3).as_v3()["data"] == V3["data"]


def test_a_v1_card_becomes_complete_v2_and_v3_cards():
    v2, v3 = parse(V1).as_v2()["data"], parse(V1).as_v3()["data"]

    for key in ("creator_notes", "system_prompt", "alternate_greetings", "tags", "creator", "extensions"):
        assert key in v2
        assert key in v3
    assert v3["group_only_greetings"] == []


def test_a_v1_card_keeps_fields_the_specification_does_not_know():
    assert parse({**V1, "metadata": {"tool": "editor"}}).as_v2()["data"]["metadata"] == {"tool": "editor"}


def test_a_v2_document_leaves_v3_fields_out():
    data = parse(V3).as_v2()["data"]

    assert "nickname" not in data
    assert "assets" not in data
    assert data["x_future_field"] == {"nested": [1, 2]}


def test_writing_a_card_twice_does_not_change_it():
    once = parse(V3).as_v3()

    assert parse(once).as_v3() == once


def test_a_written_document_shares_nothing_with_the_character():
    character = parse(V2)

    character.as_v2()["data"]["extensions"]["tavern/depth"]["depth"] = 99

    assert character.as_v2()["data"]["extensions"]["tavern/depth"]["depth"] == 4


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "the card is a JSON list"),
        ("Ada", "the card is a JSON text"),
        (None, "the card is a JSON null"),
        (7, "the card is a JSON number"),
        ({}, "'name' is missing"),
        ({"name": "   "}, "'name' is missing or empty"),
        ({"name": 7}, "'name' is missing"),
        ({"spec": "chara_card_v2", "data": []}, "'data' of the card is a JSON list"),
        ({"spec": "chara_card_v2"}, "'data' of the card is a JSON null"),
        ({"name": "A", "description": None}, "'description' is a JSON null"),
        ({"name": "A", "tags": "one, two"}, "'tags' is not a list of texts"),
        ({"name": "A", "alternate_greetings": [1]}, "'alternate_greetings' is not a list of texts"),
        ({"name": "A", "nickname": ["B"]}, "'nickname' is not a text"),
    ],
)
def test_what_is_not_a_card_is_refused_with_the_field_and_what_it_is(document, said):
    with pytest.raises(ConfigError) as caught:
        parse(document)

    assert said in caught.value.found
    assert caught.value.where == "card.json"


def test_all_wrong_fields_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        parse({"name": "", "description": 1, "scenario": [], "tags": 5})

    for field in ("name", "description", "scenario", "tags"):
        assert f"'{field}'" in caught.value.found


def test_null_lists_and_nicknames_as_some_editors_write_them_count_as_empty():
    character = parse({"name": "A", "tags": None, "alternate_greetings": None, "nickname": None})

    assert character.tags == ()
    assert character.nickname == ""


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("{{char}} and {{user}}", "Ada and Sam"),
        ("{{CHAR}} and {{User}}", "Ada and Sam"),
        ("<BOT> and <USER>", "Ada and Sam"),
        ("{{ char }} {{random:a,b}} {{7*7}}", "{{ char }} {{random:a,b}} {{7*7}}"),
        ("{% for x in y %}", "{% for x in y %}"),
    ],
)
def test_name_macros_are_replaced_and_nothing_else_is_evaluated(text, resolved):
    assert parse(V1).resolve_macros(text, user_name="Sam") == resolved


def test_a_name_is_data_even_when_it_looks_like_a_pattern_or_a_macro():
    character = Character(name=r"A\1\g<0>")

    assert character.resolve_macros("{{char}}/{{user}}", user_name="{{char}}") == r"A\1\g<0>/{{char}}"
