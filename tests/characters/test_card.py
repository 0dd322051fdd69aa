"""Card documents of all three versions, and what survives reading and writing them."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import Asset, Character, DepthPrompt, parse_card
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
        ({"name": "A", "description": 7}, "'description' is a JSON number"),
        ({"name": "A", "tags": "one, two"}, "'tags' is not a list of texts"),
        ({"name": "A", "alternate_greetings": [1]}, "'alternate_greetings' is not a list of texts"),
        ({"name": "A", "nickname": ["B"]}, "'nickname' is a JSON list"),
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


def test_null_lists_and_texts_as_some_editors_write_them_count_as_empty():
    character = parse({"name": "A", "tags": None, "alternate_greetings": None, "nickname": None, "description": None})

    assert character.tags == ()
    assert character.nickname == ""
    assert character.as_v2()["data"]["description"] == ""


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("{{char}} and {{user}}", "Ada and Sam"),
        ("{{CHAR}} and {{User}}", "Ada and Sam"),
        ("<BOT> and <USER>", "Ada and Sam"),
        ("<char> and <Char>", "Ada and Ada"),
        ("{{ char }} {{random:a,b}} {{7*7}}", "{{ char }} {{random:a,b}} {{7*7}}"),
        ("{% for x in y %}", "{% for x in y %}"),
    ],
)
def test_name_macros_are_replaced_and_nothing_else_is_evaluated(text, resolved):
    assert parse(V1).resolve_macros(text, user_name="Sam") == resolved


def test_a_name_is_data_even_when_it_looks_like_a_pattern_or_a_macro():
    character = Character(name=r"A\1\g<0>")

    assert character.resolve_macros("{{char}}/{{user}}", user_name="{{char}}") == r"A\1\g<0>/{{char}}"


# ------------------------------------------------------------------------------------------------------- what V3 adds


SILLYTAVERN = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "name": "Ada",
    "fav": True,
    "create_date": "2025-1-1",
    "chat": "Ada - 1",
    "data": {
        **V2["data"],
        "post_history_instructions": "Stay in the shop.",
        "extensions": {
            "talkativeness": "0.8",
            "fav": True,
            "world": "Clockwork",
            "depth_prompt": {"prompt": "It rains.", "depth": 2, "role": "user"},
            "regex_scripts": [{"findRegex": "/x/g"}],
        },
    },
}


def test_the_extensions_of_sillytavern_are_read_and_kept():
    character = parse(SILLYTAVERN)

    assert character.talkativeness == 0.8
    assert character.world == "Clockwork"
    assert character.depth_prompt == DepthPrompt("It rains.", 2, "user")
    assert character.post_history_instructions == "Stay in the shop."
    assert character.as_v2()["data"] == SILLYTAVERN["data"]
    assert character.as_v2()["chat"] == "Ada - 1"


@pytest.mark.parametrize(
    ("written", "read", "warns"),
    [(0, 0.0, False), ("1", 1.0, False), (None, 0.5, False), ("", 0.5, False), ("often", 0.5, True), (7, 0.5, True)],
)
def test_talkativeness_may_be_a_number_or_a_text(written, read, warns):
    character = parse({"name": "A", "data": {"name": "A", "extensions": {"talkativeness": written}}})

    assert character.talkativeness == read
    assert bool(character.warnings) is warns


def test_what_v3_adds_is_read():
    character = parse(V3)

    assert character.version == "v3"
    assert character.group_only_greetings == ("All of you?",)
    assert character.assets == (Asset("icon", "ccdefault:", "main", "png"),)
    assert character.lorebook is not None and character.lorebook.entries[0].keys == ("watch",)
    assert (character.creator, character.creator_notes, character.character_version) == ("us", "for tests", "3")


@pytest.mark.parametrize(
    ("spec", "version", "said"),
    [
        ("chara_card_v3", "3.1", "of version 3.1, newer than 3.0"),
        ("chara_card_v2", "2.5", "of version 2.5, newer than 2.0"),
        ("chara_card_v3", "three", "not a number"),
        ("chara_card_v9", "9.0", "the specification 'chara_card_v9' is not known"),
    ],
)
def test_a_newer_card_is_read_with_a_warning_and_keeps_its_version(spec, version, said):
    character = parse({"spec": spec, "spec_version": version, "data": {"name": "Ada", "new_field": [1]}})

    assert character.name == "Ada"
    assert said in character.warnings[0]
    if spec == "chara_card_v3":
        assert character.as_v3()["spec_version"] == version
        assert character.as_v3()["data"]["new_field"] == [1]


@pytest.mark.parametrize("version", ["3.0", "2.0", 3, None])
def test_a_card_of_a_known_version_has_no_warning(version):
    assert parse({"spec": "chara_card_v3", "spec_version": version, "data": {"name": "Ada"}}).warnings == ()


def test_v2_leaves_out_what_it_does_not_know_and_says_so():
    lore = {"entries": [{"keys": ["a"], "content": "@@depth 2\n@@role user\n\nIt rains.", "enabled": True}]}
    character = parse({**V3, "data": {**V3["data"], "character_book": lore}})
    written = character.as_v2()["data"]

    assert written["character_book"]["entries"][0]["content"] == "It rains."
    assert character.as_v3()["data"]["character_book"] == lore
    assert character.left_out_of_v2() == (
        *("nickname", "group_only_greetings", "assets", "creation_date"),
        "decorators of the lorebook",
    )
    assert parse(V2).left_out_of_v2() == ()


def test_a_v2_card_keeps_its_decorators():
    lore = {"entries": [{"keys": ["a"], "content": "@@activate\nIt rains.", "enabled": True}]}
    data = {**V2["data"], "character_book": lore}

    assert parse({**V2, "data": data}).as_v2()["data"]["character_book"] == lore


def test_changed_fields_are_written_and_the_others_stay_as_they_were_read():
    changed = replace(
        parse(SILLYTAVERN),
        description="New.",
        talkativeness=0.1,
        depth_prompt=None,
        lorebook=None,
        nickname="Addie",
    )
    data = changed.as_v3()["data"]

    assert (data["description"], data["nickname"]) == ("New.", "Addie")
    assert data["extensions"]["talkativeness"] == 0.1
    assert data["extensions"]["depth_prompt"]["prompt"] == ""
    assert data["extensions"]["regex_scripts"] == [{"findRegex": "/x/g"}]
    assert "character_book" not in data


def test_a_broken_lorebook_or_asset_does_not_make_the_card_unreadable():
    character = parse({"name": "A", "data": {"name": "A", "character_book": [], "assets": [5, {"type": "icon"}]}})

    assert character.lorebook is None
    assert character.assets == ()
    assert len(character.warnings) == 3
    assert character.as_v3()["data"]["character_book"] == []


def test_several_icons_without_one_main_are_told():
    icons = [{"type": "icon", "uri": "https://x/a.png", "name": name, "ext": "png"} for name in ("a", "b")]

    assert "exactly one" in parse({"data": {"name": "A", "assets": icons}}).warnings[0]


def test_notes_for_people_may_be_of_any_type():
    character = parse({"data": {"name": "A", "character_version": 2.1, "creator": None, "creator_notes": ["x"]}})

    assert (character.character_version, character.creator, character.creator_notes) == ("2.1", "", "")
    assert len(character.warnings) == 1
    assert character.as_v3()["data"]["creator_notes"] == ["x"]


def test_a_lorebook_given_as_a_card_is_named_for_what_it_is():
    with pytest.raises(ConfigError, match="this is a lorebook, not a character card"):
        parse({"entries": {}})


def test_tags_that_tell_the_rating_are_found():
    assert parse({"name": "A", "tags": ["Clocks", "NSFW"]}).rating_tags == ("NSFW",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
unknown = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda key: key not in V3["data"]), json_values, max_size=4
)
core = st.fixed_dictionaries(
    {"name": st.text(min_size=1).filter(str.strip)},
    optional={
        **{key: st.text() for key in ("description", "first_mes", "creator_notes", "system_prompt", "nickname")},
        "tags": st.lists(st.text(), max_size=3),
        "alternate_greetings": st.lists(st.text(), max_size=3),
        "group_only_greetings": st.lists(st.text(), max_size=3),
        "extensions": st.dictionaries(st.text(), json_values, max_size=4),
        "character_book": json_values,
        "assets": json_values,
    },
)


@settings(max_examples=60, deadline=None)
@given(core, unknown, unknown)
def test_any_v3_document_with_a_valid_core_is_written_back_with_all_it_had(data, more, top):
    top = {key: value for key, value in top.items() if key not in ("spec", "spec_version", "data", *V1)}
    document = {**top, "spec": "chara_card_v3", "spec_version": "3.0", "data": {**more, **data}}

    written = parse(document).as_v3()

    assert {key: written[key] for key in document if key != "data"} == {
        k: v for k, v in document.items() if k != "data"
    }
    assert {key: written["data"][key] for key in document["data"]} == document["data"]
    assert parse(written).as_v3() == written


@settings(max_examples=60, deadline=None)
@given(core, unknown)
def test_any_v2_document_with_a_valid_core_is_written_back_with_all_v2_knows(data, more):
    data = {key: value for key, value in data.items() if key not in ("nickname", "group_only_greetings", "assets")}
    more = {key: value for key, value in more.items() if key not in ("source", "modification_date")}
    document = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**more, **data}}

    written = parse(document).as_v2()

    assert {key: written["data"][key] for key in document["data"]} == document["data"]
    assert written["name"] == data["name"]


@settings(max_examples=60, deadline=None)
@given(json_values)
def test_any_json_is_a_card_or_refused_in_house_style(document):
    try:
        character = parse({"name": "A", **document} if isinstance(document, dict) else document)
    except ConfigError as error:
        refused = error
    else:
        json.dumps([character.as_v2(), character.as_v3()])
        return
    assert refused.where == "card.json"
