"""Who is who in a chat log."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.casting import Casting, cast, count_speakers, find_casting_fault, fold_name
from duologue.data.found import Dialogue, RowFault, Turn
from duologue.errors import ConfigError


def log(*lines, roles=None):
    """A dialogue of `speaker: text` pairs; roles by speaker where the format has them."""
    turns = tuple(
        Turn((roles or {}).get(speaker), speaker, text, row, "text")
        for row, (speaker, text) in enumerate(lines, start=1)
    )
    return Dialogue(1, turns, (), len(turns))


def roles_of(dialogue):
    return [turn.role for turn in dialogue.turns]


def texts_of(dialogue):
    return [turn.text for turn in dialogue.turns]


TWO = (("Anna", "Is the kettle on?"), ("Lila", "It sings already."), ("Anna", "Good."))
THREE = (*TWO, ("Carl", "Any left for me?"))


@pytest.mark.parametrize(
    "casting",
    [
        Casting(character_names=("Lila",)),
        Casting(user_names=("Anna",)),
        Casting(card_name="Lila"),
        Casting(user_names=("Anna",), character_names=("Lila",)),
        Casting(character_names=("  lila ",)),
        Casting(character_names=("\uff2c\uff29\uff2c\uff21",)),
        Casting(user_names=("Anna",), card_name="Somebody else"),
    ],
)
def test_with_one_side_known_the_other_follows(casting):
    done = cast(log(*TWO), casting)
    assert roles_of(done) == ["user", "assistant", "user"]
    assert texts_of(done) == [text for _, text in TWO], "one name on each side needs no prefix"
    assert done.notes == ()


def test_everybody_but_the_character_is_the_user_and_keeps_the_name():
    done = cast(log(*THREE), Casting(character_names=("Lila",)))
    assert roles_of(done) == ["user", "assistant", "user", "user"]
    assert texts_of(done) == ["Anna: Is the kettle on?", "It sings already.", "Anna: Good.", "Carl: Any left for me?"]
    [note] = done.notes
    assert (note.reason, note.action) == ("2 users speak: Anna, Carl", "names put before the messages")


def test_several_characters_keep_their_names():
    done = cast(log(*THREE), Casting(character_names=("Lila", "Carl")))
    assert roles_of(done) == ["user", "assistant", "user", "assistant"]
    assert texts_of(done) == ["Is the kettle on?", "Lila: It sings already.", "Good.", "Carl: Any left for me?"]


def test_a_name_that_already_stands_there_is_not_put_twice_and_no_name_is_put_before_nothing():
    lines = [("Lila", "Lila: Here."), ("Carl", " \n"), ("Carl", "There."), ("Anna", "Where?")]
    done = cast(log(*lines), Casting(user_names=("Anna",), character_names=("Lila", "Carl")))
    assert texts_of(done) == ["Lila: Here.", " \n", "Carl: There.", "Where?"]


def test_a_speaker_spelled_in_two_ways_is_one_speaker():
    done = cast(log(("anna", "a"), ("Lila", "b"), ("ANNA", "c")), Casting(character_names=("Lila",)))
    assert texts_of(done) == ["a", "b", "c"]


def test_somebody_who_is_named_on_neither_side_is_taken_as_the_user_and_said():
    done = cast(log(*THREE), Casting(user_names=("Anna",), character_names=("Lila",)))
    assert roles_of(done)[-1] == "user"
    assert ("neither the user nor the character by name: Carl", "taken as the user") in [
        (note.reason, note.action) for note in done.notes
    ]


def test_a_given_name_without_a_message_is_said():
    done = cast(log(*TWO), Casting(character_names=("Lila", "Mira")))
    assert [(note.row, note.reason) for note in done.notes] == [(1, "no message is by 'Mira'")]


@pytest.mark.parametrize(
    "lines, casting, parts",
    [
        (TWO, Casting(), ["who is the character is not said", "speakers: Anna (2 messages), Lila (1)", "--as", "--me"]),
        (TWO, Casting(card_name="Mira"), ["no speaker has the card's name 'Mira'", "Anna (2 messages)"]),
        (TWO, Casting(character_names=("Mira",)), ["no speaker is called 'Mira'", "Anna (2 messages)", "--as"]),
        (TWO, Casting(character_names=("Mira", "Ines")), ["no speaker is called 'Mira' nor 'Ines'"]),
        (TWO, Casting(user_names=("Otto",)), ["no speaker is called 'Otto'", "Anna (2 messages)"]),
        (THREE, Casting(user_names=("Anna",)), ["2 speakers are not the user", "Carl (1)", "pass --as NAME"]),
        (TWO[:1], Casting(user_names=("Anna",)), ["only the user speaks"]),
        ([("", "a"), ("Bo", "b")], Casting(), ["(no name) (1 message), Bo (1)"]),
        ([(f"n{n:02}", "a") for n in range(12)], Casting(), ["n07 (1) and 4 more"]),
        ([("x" * 90 + "\a", "a")], Casting(), ["x" * 39 + "… (1 message)"]),
    ],
)
def test_what_cannot_be_known_is_a_fault_that_names_the_speakers_and_what_to_pass(lines, casting, parts):
    with pytest.raises(RowFault) as caught:
        cast(log(*lines), casting)
    assert caught.value.field == ""
    for part in parts:
        assert part in caught.value.reason
    assert find_casting_fault(count_speakers([log(*lines)]), casting) == caught.value.reason


def test_a_whole_file_can_be_asked_once():
    speakers = count_speakers([log(*TWO), log(*THREE), log(("LILA", "again"))])
    assert speakers == {"Anna": 4, "Lila": 3, "Carl": 1}
    assert find_casting_fault(speakers, Casting(character_names=("Lila",))) == ""
    assert find_casting_fault({}, Casting()) == ""


def test_roles_of_the_file_stay_and_one_character_needs_no_prefix():
    dialogue = log(("Anna", "a"), ("Lila", "b"), roles={"Anna": "user", "Lila": "assistant"})
    assert cast(dialogue, Casting(card_name="Anna")) == dialogue


def test_a_group_chat_with_roles_keeps_the_names_of_its_characters():
    dialogue = log(*THREE, roles={"Anna": "user", "Lila": "assistant", "Carl": "assistant"})
    assert texts_of(cast(dialogue, Casting()))[1] == "Lila: It sings already."


def test_a_name_the_person_gives_goes_before_the_role_of_the_file():
    dialogue = log(*THREE, roles={"Anna": "user", "Lila": "assistant", "Carl": "assistant"})
    done = cast(dialogue, Casting(user_names=("Carl",)))
    assert roles_of(done) == ["user", "assistant", "user", "user"]


def test_dialogues_without_speakers_and_system_messages_are_left_alone():
    turns = (Turn("system", "Lila", "s", 1, "a"), Turn("user", "", "u", 1, "b"), Turn("assistant", "", "x", 1, "c"))
    dialogue = Dialogue(1, turns)
    assert cast(dialogue, Casting(user_names=("Lila",))) == dialogue


def test_one_name_on_both_sides_is_refused():
    with pytest.raises(ConfigError, match="'LILA' is named as the user and as the character"):
        Casting(user_names=("LILA",), character_names=("Lila",))


def test_names_compare_without_case_width_or_outer_space():
    assert fold_name(" Straße ") == fold_name("STRASSE")
    assert fold_name("\uff2c\uff49\uff4c\uff41") == fold_name("lila")
    assert fold_name("e\u0301va") == fold_name("Éva")
    assert fold_name("Lila") != fold_name("Lilo")


def test_a_hostile_name_takes_no_long_time():
    name = "a" + "\u0301\u0323" * 50_000
    started = time.perf_counter()
    assert fold_name(name) == fold_name(f" {name.upper()} ")
    assert time.perf_counter() - started < 2


@given(st.lists(st.sampled_from(["Anna", "Lila", "Carl", "anna"]), min_size=1, max_size=30))
def test_after_casting_every_turn_has_a_role_and_no_text_is_lost(speakers):
    dialogue = log(*[(speaker, f"text {row}") for row, speaker in enumerate(speakers)])
    casting = Casting(character_names=("Lila",))
    if "Lila" not in speakers:
        with pytest.raises(RowFault):
            cast(dialogue, casting)
        return
    done = cast(dialogue, casting)
    assert [turn.role == "assistant" for turn in done.turns] == [name == "Lila" for name in speakers]
    assert all(f"text {row}" in turn.text for row, turn in enumerate(done.turns))
    assert [(turn.row, turn.field) for turn in done.turns] == [(turn.row, turn.field) for turn in dialogue.turns]
