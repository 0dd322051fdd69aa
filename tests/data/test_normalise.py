"""Cast dialogues become conversations; whatever changes is noted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.clean import clean, is_visible
from duologue.data.found import Dialogue, Note, RowFault, Turn
from duologue.data.normalise import MERGED, NormaliseSettings, normalise, trace_normalised
from duologue.messages import Message

PLAIN = NormaliseSettings()
LETTERS = {"s": "system", "u": "user", "a": "assistant"}


def row_of(*messages, untrained=(), notes=()):
    """A row of messages, as a format with roles gives it; `("u", "text")` or a Turn."""
    turns = tuple(
        Turn(LETTERS[letter], "", text, 7, f"messages[{index}].content", is_trained=index not in untrained)
        for index, (letter, text) in enumerate(messages)
    )
    return Dialogue(7, turns, tuple(notes))


def log_of(*messages):
    """A chat log: one row per message."""
    turns = tuple(Turn(LETTERS[letter], "", text, row, "mes") for row, (letter, text) in enumerate(messages, start=2))
    return Dialogue(2, turns, (), len(turns))


def done(dialogue, settings=PLAIN):
    conversation, notes = normalise(dialogue, path="a.json", settings=settings)
    return "".join(m.role[0] for m in conversation.messages), [m.content for m in conversation.messages], list(notes)


def refused(dialogue, settings=PLAIN):
    with pytest.raises(RowFault) as caught:
        normalise(dialogue, path="a.json", settings=settings)
    return caught.value.field, caught.value.reason


def test_a_plain_conversation_stays_as_it_is_but_for_outer_space():
    dialogue = row_of(("s", "Be kind."), ("u", " Is the train late?\n"), ("a", "\tFour minutes early.  "))
    conversation, notes = normalise(dialogue, path="a.json", settings=PLAIN)
    assert conversation.messages == (
        Message("system", "Be kind."),
        Message("user", "Is the train late?"),
        Message("assistant", "Four minutes early."),
    )
    assert (conversation.source, conversation.untrained, notes) == ("a.json:7", frozenset(), ())


def test_neighbours_of_one_role_are_merged_and_each_merge_names_the_second_message():
    roles, texts, notes = done(row_of(("u", "a"), ("u", "b"), ("u", "c"), ("a", "d"), ("a", "e")))
    assert (roles, texts) == ("ua", ["a\nb\nc", "d\ne"])
    assert notes == [
        Note(7, f"messages[{index}].content", f"two {role} messages in a row", MERGED)
        for index, role in [(1, "user"), (2, "user"), (4, "assistant")]
    ]


def test_merges_in_a_log_name_the_row_of_the_second_message():
    _, _, notes = done(log_of(("u", "a"), ("u", "b"), ("a", "c")))
    assert notes == [Note(3, "mes", "two user messages in a row", MERGED)]


def test_leading_system_messages_are_merged_and_those_in_the_middle_stay_in_their_place():
    roles, texts, notes = done(
        row_of(("s", "x"), ("s", "y"), ("u", "a"), ("a", "b"), ("s", "z"), ("u", "c"), ("a", "d"))
    )
    assert (roles, texts[0], texts[3]) == ("suasua", "x\ny", "z")
    assert [(note.field, note.action) for note in notes] == [("messages[1].content", MERGED)]


@pytest.mark.parametrize(
    "letters, roles, texts",
    [
        ("usua", "sua", ["1", "0\n2", "3"]),
        ("uasa", "usa", ["0", "2", "1\n3"]),
        ("susua", "sua", ["0\n2", "1\n3", "4"]),
        ("usususa", "susa", ["1\n3", "0\n2\n4", "5", "6"]),
    ],
)
def test_speaking_roles_alternate_across_a_system_message_and_the_change_is_noted(letters, roles, texts):
    found_roles, found_texts, notes = done(row_of(*[(letter, str(n)) for n, letter in enumerate(letters)]))
    assert (found_roles, found_texts) == (roles, texts)
    assert any(note.action == "merged, with the system message before them" for note in notes)


def test_a_greeting_stays_in_front():
    assert done(row_of(("a", "Come in."), ("u", "Thanks."), ("a", "Tea?")))[0] == "aua"
    assert done(row_of(("s", "x"), ("a", "Come in."), ("u", "Thanks."), ("a", "Tea?")))[0] == "saua"


def test_what_follows_the_last_reply_is_left_out_and_noted():
    roles, _, notes = done(row_of(("u", "a"), ("a", "b"), ("u", "c"), ("s", "d"), ("u", "e")))
    assert roles == "ua"
    left_out = [(note.field, note.reason) for note in notes if note.action == "left out"]
    assert left_out == [
        ("messages[2].content", "the last user message has no reply"),
        ("messages[4].content", "the last user message has no reply"),
        ("messages[3].content", "the last system message is followed by no reply"),
    ]


def test_in_a_log_each_row_that_is_left_out_is_named():
    _, texts, notes = done(log_of(("u", "a"), ("a", "b"), ("u", " "), ("u", "c"), ("u", "d")))
    assert texts == ["a", "b"]
    assert [(note.row, note.reason) for note in notes if note.action == "row left out"] == [
        (4, "the user message is empty"),
        (5, "the last user message has no reply"),
        (6, "the last user message has no reply"),
    ]


@pytest.mark.parametrize(
    "text", ["", "  \n\t", "\u200b", "\ufeff \u2060", "\u3164\u2800\ufe0f", "\x00\x07", "\u200d\u200c"]
)
def test_an_empty_message_of_a_row_is_a_fault_at_its_field(text):
    field, reason = refused(row_of(("u", "a"), ("a", text)))
    assert (field, reason) == ("messages[1].content", "the assistant message is empty")


def test_an_empty_system_message_is_left_out_and_noted():
    roles, _, notes = done(row_of(("s", " "), ("u", "a"), ("a", "b")))
    assert roles == "ua"
    assert notes == [Note(7, "messages[0].content", "the system message is empty", "left out")]


@pytest.mark.parametrize(
    "letters, reason",
    [
        ("", "no assistant message"),
        ("u", "no assistant message"),
        ("su", "no assistant message"),
        ("a", "no user message before a reply"),
        ("sau", "no user message before a reply"),
    ],
)
def test_a_row_without_a_reply_to_learn_is_a_fault_of_its_messages(letters, reason):
    field, found = refused(row_of(*[(letter, "x") for letter in letters]))
    assert field == "messages" and reason in found


def test_a_greeting_alone_is_kept_where_greetings_are_learned():
    roles, _, _ = done(row_of(("s", "x"), ("a", "Come in.")), NormaliseSettings(train_on_greeting=True))
    assert roles == "sa"
    assert "data.train_on_greeting=true" in refused(row_of(("a", "Come in.")))[1]


def test_untrained_replies_keep_their_place_and_a_mixed_merge_is_not_trained():
    dialogue = row_of(
        ("u", "a"), ("a", "b"), ("u", "c"), ("a", "d"), ("a", "e"), ("u", "f"), ("a", "g"), untrained=(4,)
    )
    conversation, notes = normalise(dialogue, path="a.json", settings=PLAIN)
    assert conversation.untrained == {3}
    assert [note.action for note in notes] == [f"{MERGED}; not trained, as one of them is excluded"]
    both = row_of(("u", "a"), ("a", "b"), ("a", "c"), ("u", "d"), ("a", "e"), untrained=(1, 2))
    assert [note.action for note in normalise(both, path="a", settings=PLAIN)[1]] == [MERGED]


def test_a_row_whose_replies_are_all_excluded_has_nothing_to_learn():
    reason = "the file marks every reply as not to be learned"
    assert refused(row_of(("u", "a"), ("a", "b"), untrained=(1,))) == ("messages", reason)
    greeted = row_of(("a", "hi"), ("u", "a"), ("a", "b"), untrained=(2,))
    assert refused(greeted) == ("messages", reason)
    assert done(greeted, NormaliseSettings(train_on_greeting=True))[0] == "aua"


def test_asides_go_where_the_person_wants_it_and_a_message_of_asides_alone_is_left_out():
    dialogue = row_of(("u", "((brb))"), ("u", "Rain? ((typo))"), ("a", "Sun. ((ok a)) ((ok b))"))
    settings = NormaliseSettings(strip_asides=True)
    roles, texts, notes = done(dialogue, settings)
    assert (roles, texts) == ("ua", ["Rain?", "Sun."])
    assert [(note.field, note.reason, note.action) for note in notes] == [
        ("messages[0].content", "1 out-of-character aside", "removed"),
        ("messages[0].content", "nothing but asides is in the message", "left out"),
        ("messages[1].content", "1 out-of-character aside", "removed"),
        ("messages[2].content", "2 out-of-character asides", "removed"),
    ]
    assert done(dialogue)[1] == ["((brb))\nRain? ((typo))", "Sun. ((ok a)) ((ok b))"]
    assert "no assistant message" in refused(row_of(("u", "a"), ("a", "((brb))")), settings)[1]


def test_macros_of_names_stay_and_unknown_ones_are_named_without_their_arguments():
    _, texts, notes = done(row_of(("u", "Hi {{char}}, {{User}} {{random::red,blue}} {{roll:2}}"), ("a", "{ok} {{}}")))
    assert texts == ["Hi {{char}}, {{User}} {{random::red,blue}} {{roll:2}}", "{ok} {{}}"]
    reason = "macros that are not resolved ({{random}}, {{roll}}): 2"
    names = "macros of names ({{User}}, {{char}}): 2"
    assert [(note.reason, note.action) for note in notes] == [(names, "resolved"), (reason, "kept as text")]


def test_control_characters_are_removed_and_noted():
    _, texts, notes = done(row_of(("u", "a\x00b\x07\x1b[0m"), ("a", "keep\ttab\nand line")))
    assert texts == ["ab[0m", "keep\ttab\nand line"]
    reason = "control characters (U+0000, U+0007, U+001B): 3"
    assert notes == [Note(7, "messages[0].content", reason, "removed")]


def test_line_breaks_become_plain_and_are_counted_once_per_conversation():
    _, texts, notes = done(row_of(("u", "a\r\nb"), ("a", "c\rd\r\n\r\ne")))
    assert texts == ["a\nb", "c\nd\n\ne"]
    reason = "carriage returns in line breaks: 4"
    assert notes == [Note(7, "messages[0].content", reason, "turned into plain line breaks")]


@pytest.mark.parametrize(
    "text, cleaned, changes",
    [
        ("don\x92t", "don\u2019t", [("Windows-1252 characters (U+0092): 1", "turned into Unicode")]),
        ("a\x81b", "ab", [("control characters (U+0081): 1", "removed")]),
        ("a\ufeffb", "ab", [("control characters (U+FEFF): 1", "removed")]),
        ("a\u2028b", "a\nb", [("Unicode line separators: 1", "turned into plain line breaks")]),
        ("a\u200bb", "a\u200bb", [("invisible characters (U+200B): 1", "kept")]),
        ("\u202eabc", "\u202eabc", [("invisible characters (U+202E): 1", "kept")]),
        ("\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c", "\U0001f469\u200d\U0001f680 \u0645\u06cc\u200c", []),
        ("{a} {{char}}", "{a} {{char}}", [("macros of names ({{char}}): 1", "resolved")]),
        ("a <b> <BOT>", "a <b> <BOT>", [("macros of names (<BOT>): 1", "resolved")]),
        ("plain", "plain", []),
    ],
)
def test_a_text_is_made_safe_and_each_change_is_said(text, cleaned, changes):
    assert clean(text, field="f") == (cleaned, tuple(changes), 0)


def test_half_of_a_surrogate_pair_is_a_fault():
    assert refused(row_of(("u", "a\ud800"), ("a", "b"))) == ("messages[0].content", "contains half of a surrogate pair")


def test_notes_of_the_reader_come_first():
    noted = Note(7, "messages[0].content", "2 text parts", "joined")
    _, _, notes = done(row_of(("u", "a"), ("u", "b"), ("a", "c"), notes=[noted]))
    assert notes[0] == noted and len(notes) == 2


def test_places_say_where_each_message_begins():
    traced = trace_normalised(log_of(("u", "a"), ("u", "b"), ("a", "c")), path="a.jsonl", settings=PLAIN)
    assert traced.places == ((2, "mes"), (4, "mes"))


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from("sua"),
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(["", " ", "\x00", "((brb))", "OOC: x", "a\r\nb", "{{x}}", "hi ((yo a))", "\u200b"]),
        ),
    ),
    max_size=12,
)
SETTINGS = st.builds(NormaliseSettings, train_on_greeting=st.booleans(), strip_asides=st.booleans())


def attempt(dialogue, settings):
    try:
        return trace_normalised(dialogue, path="p", settings=settings), None
    except RowFault as fault:
        return None, fault


@given(MESSAGES, SETTINGS, st.booleans(), st.sets(st.integers(0, 11)))
def test_roles_alternate_and_no_message_is_lost_without_a_note(messages, settings, is_log, untrained):
    dialogue = log_of(*messages) if is_log else row_of(*messages, untrained=untrained)
    traced, fault = attempt(dialogue, settings)
    if fault:
        assert fault.reason and fault.field in {"messages", *(turn.field for turn in dialogue.turns)}
        return
    conversation, notes = traced.conversation, traced.notes
    spoken = [m.role for m in conversation.messages if m.role != "system"]
    assert all(one != other for one, other in pairwise(spoken)), "roles alternate apart from system"
    assert all(is_visible(m.content) and m.content == m.content.strip() for m in conversation.messages)
    assert conversation.messages[-1].role == "assistant"
    assert len(traced.places) == len(conversation.messages)
    # Each turn begins a message, or a note at its place says that it was merged or left out.
    begun = set(traced.places)
    for turn in dialogue.turns:
        said = {n.action for n in notes if (n.row, n.field) == (turn.row, turn.field)}
        gone = any(action.startswith("merged") or "left out" in action for action in said)
        assert ((turn.row, turn.field) in begun) != gone
    # Every text is still there unless a note says what was changed.
    if not any(n.action not in {MERGED, "kept", "kept as text"} for n in notes):
        joined = "\n".join(m.content for m in conversation.messages)
        assert all(turn.text.strip() in joined for turn in dialogue.turns)


@given(MESSAGES, st.booleans())
def test_normalising_twice_changes_nothing_more(messages, train_on_greeting):
    settings = NormaliseSettings(train_on_greeting=train_on_greeting)
    first, fault = attempt(row_of(*messages), settings)
    if fault:
        return
    again = row_of(*[(m.role[0], m.content) for m in first.conversation.messages])
    second, notes = normalise(again, path="p", settings=settings)
    assert second.messages == first.conversation.messages
    assert {note.action for note in notes} <= {"kept", "kept as text"}
