"""Lorebooks of three shapes: one meaning, and written back as they were."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import load_lorebook, parse_lorebook
from duologue.characters.lorebook import CharacterFilter
from duologue.errors import ConfigError

V2 = {
    "name": "Harbour",
    "scan_depth": 6,
    "token_budget": 300,
    "recursive_scanning": True,
    "extensions": {"tool/x": 1},
    "entries": [
        {
            "keys": ["quay", "pier"],
            "content": "The quay is tarred.",
            "extensions": {"position": 4, "depth": 2, "role": 1, "selectiveLogic": 3, "probability": 40, "own": [1]},
            "enabled": True,
            "insertion_order": 10,
            "secondary_keys": ["night"],
            "selective": True,
            "case_sensitive": True,
            "priority": 5,
            "name": "Quay",
            "x_unknown": {"a": 1},
        },
        {"keys": ["gull"], "content": "Gulls steal.", "extensions": {}, "enabled": False, "insertion_order": 3},
    ],
}
WORLD_INFO = {
    "entries": {
        "0": {
            "uid": 0,
            "key": ["mill"],
            "keysecondary": ["wheel"],
            "comment": "Mill",
            "content": "The mill stands still.",
            "constant": False,
            "selective": True,
            "selectiveLogic": 2,
            "order": 90,
            "position": 7,
            "outletName": "places",
            "disable": False,
            "ignoreBudget": True,
            "excludeRecursion": True,
            "preventRecursion": True,
            "delayUntilRecursion": 2,
            "probability": 30,
            "useProbability": False,
            "depth": 4,
            "group": "weather, places",
            "groupOverride": True,
            "groupWeight": 50,
            "scanDepth": 9,
            "caseSensitive": None,
            "matchWholeWords": False,
            "useGroupScoring": True,
            "automationId": "",
            "role": None,
            "sticky": 3,
            "cooldown": 2,
            "delay": 1,
            "matchPersonaDescription": True,
            "triggers": ["swipe"],
            "characterFilter": {"names": ["Ada"], "tags": ["t"], "isExclude": True},
            "vectorized": False,
            "addMemo": True,
            "futureField": {"deep": [1]},
        },
    },
    "name": "Village",
    "unknown": 1,
}


def parse(document):
    return parse_lorebook(copy.deepcopy(document), where="book.json")


def test_a_v2_book_with_the_extensions_of_sillytavern_is_understood():
    book = parse(V2)
    quay, gull = book.entries

    assert (book.name, book.scan_messages, book.token_budget, book.is_recursive) == ("Harbour", 6, 300, True)
    assert quay.keys == ("quay", "pier") and quay.secondary_keys == ("night",)
    assert (quay.position, quay.depth, quay.role, quay.logic) == ("at_depth", 2, "user", "and_all")
    assert (quay.order, quay.priority, quay.probability, quay.case_sensitive) == (10, 5, 40, True)
    assert quay.name == "Quay"
    assert not gull.is_enabled
    assert gull.position == "after_char"  # as SillyTavern reads an entry that names no position
    assert book.warnings == ()


def test_world_info_is_understood_flag_by_flag():
    (mill,) = parse(WORLD_INFO).entries

    assert (mill.uid, mill.name, mill.position, mill.outlet) == ("0", "Mill", "outlet", "places")
    assert (mill.logic, mill.order, mill.depth, mill.role) == ("not_any", 90, 4, "system")
    assert mill.ignores_budget and mill.excludes_recursion and mill.prevents_recursion
    assert (mill.delay_until_recursion, mill.probability) == (2, 100)
    assert mill.groups == ("weather", "places") and mill.overrides_group
    assert (mill.group_weight, mill.use_group_scoring) == (50, True)
    assert (mill.scan_depth, mill.case_sensitive, mill.match_whole_words) == (9, None, False)
    assert (mill.sticky, mill.cooldown, mill.delay) == (3, 2, 1)
    assert mill.scanned_fields == ("persona",) and mill.triggers == ("swipe",)
    assert mill.character_filter == CharacterFilter(("Ada",), ("t",), is_exclude=True)


@pytest.mark.parametrize("number", range(8))
def test_all_positions_of_world_info_are_known(number):
    entry = {**WORLD_INFO["entries"]["0"], "position": number}
    names = ("before_char", "after_char", "note_top", "note_bottom")
    names += ("at_depth", "before_examples", "after_examples", "outlet")

    assert parse({"entries": {"0": entry}}).entries[0].position == names[number]


def test_a_v3_lorebook_file_is_understood_and_its_decorators_are_read():
    entry = {"keys": ["/fog+/i"], "content": "@@depth 1\n@@is_user_icon x\nFog.", "use_regex": True, "constant": True}
    book = parse({"spec": "lorebook_v3", "data": {"entries": [{**entry, "enabled": True, "insertion_order": 1}]}})
    (fog,) = book.entries

    assert fog.content == "Fog." and fog.decorators.depth == 1
    assert fog.takes_keys_as_patterns and not fog.is_constant and not fog.is_selective  # V3: ignored with use_regex
    assert book.warnings == ("entry 0: the decorator '@@is_user_icon x' has no effect",)


def test_use_regex_means_nothing_where_sillytavern_wrote_it():
    entry = {"keys": ["a"], "content": "x", "use_regex": True, "constant": True, "extensions": {"selectiveLogic": 0}}
    (made,) = parse({"entries": [entry]}).entries

    assert made.is_constant and not made.takes_keys_as_patterns


def test_every_form_is_written_back_as_it_was_read():
    v3 = {"spec": "lorebook_v3", "data": V2, "x": 1}

    assert parse(V2).as_document() == V2 == parse(V2).as_character_book()
    assert parse(WORLD_INFO).as_document() == WORLD_INFO == parse(WORLD_INFO).as_world_info()
    assert parse(v3).as_document() == v3 == parse(v3).as_lorebook_v3()
    assert parse(v3).as_character_book() == V2


def test_world_info_survives_being_a_cards_book_and_back():
    book = parse(WORLD_INFO).as_character_book()
    entry = book["entries"][0]

    assert entry["keys"] == ["mill"] and entry["insertion_order"] == 90 and entry["enabled"] is True
    assert entry["extensions"]["position"] == 7 and entry["extensions"]["group_weight"] == 50
    back = parse(book).as_world_info()
    written = {key: value for key, value in back["entries"]["0"].items() if key != "use_regex"}
    assert written == WORLD_INFO["entries"]["0"]
    assert (back["name"], back["unknown"]) == ("Village", 1)


def test_a_cards_book_means_the_same_as_world_info():
    book, world = parse(V2), parse(parse(V2).as_world_info())

    def meaning(entries):
        return [(e.keys, e.content, e.order, e.position, e.depth, e.role, e.logic, e.case_sensitive) for e in entries]

    assert meaning(world.entries) == meaning(book.entries)
    assert world.entries[0].priority == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=12), json_values, max_size=4),
    st.lists(st.dictionaries(st.text(max_size=12), json_values, max_size=4), max_size=3),
)
def test_any_book_is_read_without_a_crash_and_written_back_equal(top, entries):
    document = {**top, "entries": [{"keys": ["a"], "content": "b", **entry} for entry in entries]}
    document.pop("spec", None)

    book = parse(document)

    assert book.as_document() == document
    json.dumps(book.as_world_info()), json.dumps(book.as_character_book()), json.dumps(book.as_lorebook_v3())


@pytest.mark.parametrize("field", ["keys", "content", "insertion_order", "extensions", "enabled", "name", "selective"])
@settings(max_examples=60, deadline=None)
@given(value=json_values)
def test_any_value_in_a_known_field_is_used_or_warned_about(field, value):
    book = parse({"entries": [{"keys": ["a"], "content": "b", field: value}]})

    assert len(book.entries) == 1 or book.warnings


def test_entries_that_cannot_be_used_are_named_and_kept():
    document = {"entries": ["text", {"keys": [1], "content": "x", "name": "Odd"}, {"keys": ["a"], "content": 5}]}
    book = parse(document)

    assert book.entries == ()
    assert "entry 0 is a JSON text and is not used" in book.warnings
    assert "entry 1 (Odd): 'key' is no list of texts" in book.warnings
    assert "entry 2: 'content' is a JSON number, not a text" in book.warnings
    assert book.as_document() == document


def test_patterns_that_never_match_are_named():
    book = parse({"entries": [{"keys": ["/(/", "fine"], "content": "x"}]})

    assert len(book.entries) == 1
    assert book.warnings[0].startswith("entry 0: the key '/(/' never matches")


@pytest.mark.parametrize("document", [[], 5, None, {}, {"entries": 5}, {"spec": "lorebook_v3"}, {"name": "Ada"}])
def test_what_is_no_lorebook_is_refused(document):
    with pytest.raises(ConfigError, match="this is no lorebook"):
        parse(document)


def test_a_lorebook_file_is_loaded_with_its_origin(tmp_path):
    path = tmp_path / "book.json"
    path.write_text(json.dumps(WORLD_INFO), encoding="utf-8")

    assert load_lorebook(path).origin == "global"
    assert load_lorebook(path, origin="chat").origin == "chat"
    with pytest.raises(ConfigError, match="the lorebook cannot be read"):
        load_lorebook(tmp_path / "none.json")


def test_state_keys_change_with_the_text_and_not_with_the_file():
    one, other = parse(WORLD_INFO), parse({"entries": {"5": WORLD_INFO["entries"]["0"]}})
    changed = copy.deepcopy(WORLD_INFO)
    changed["entries"]["0"]["content"] = "The mill turns."

    assert one.entries[0].state_key == other.entries[0].state_key
    assert parse(changed).entries[0].state_key != one.entries[0].state_key
