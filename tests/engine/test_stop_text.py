"""Stop texts across piece borders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.engine.stop_text import StopText


def stream(pieces, stops):
    stop_text, shown = StopText(stops), ""
    for piece in pieces:
        text, is_met = stop_text.feed(piece)
        shown += text
        if is_met:
            return shown, True
    return shown + stop_text.rest(), False


@pytest.mark.parametrize("pieces", [["a END b"], ["a E", "ND b"], list("a END b"), ["a ", "END", " b"]])
def test_a_stop_text_is_found_however_it_is_cut(pieces):
    assert stream(pieces, ("END",)) == ("a ", True)


def test_what_only_begins_like_a_stop_text_is_shown_in_the_end():
    assert stream(["a EN", "D"], ("ENDE",)) == ("a END", False)


def test_the_earliest_of_several_stop_texts_counts():
    assert stream(["one two three"], ("three", "two")) == ("one ", True)


@given(
    st.lists(st.text(alphabet="abE", max_size=4)), st.lists(st.text(alphabet="abE", min_size=1, max_size=3), max_size=3)
)
def test_any_cutting_gives_the_same_as_one_character_after_another(pieces, stops):
    whole = "".join(pieces)
    ends = [end for end in range(len(whole) + 1) if any(whole[:end].endswith(stop) for stop in stops)]
    if not ends:
        assert stream(pieces, stops) == (whole, False)
        return
    longest = max(len(stop) for stop in stops if whole[: ends[0]].endswith(stop))
    assert stream(pieces, stops) == (whole[: ends[0] - longest], True)


@given(st.lists(st.text(alphabet="abE🎈", max_size=3), max_size=6), st.text(alphabet="abE🎈", min_size=1, max_size=4))
def test_nothing_is_held_back_that_cannot_begin_a_stop_text(pieces, stop):
    stop_text, fed, shown = StopText([stop]), "", ""
    for piece in pieces:
        text, is_met = stop_text.feed(piece)
        fed, shown = fed + piece, shown + text
        if is_met:
            break
        held = fed[len(shown) :]
        assert stop.startswith(held)
        assert not any(stop.startswith(fed[-size:]) for size in range(len(held) + 1, min(len(fed), len(stop) - 1) + 1))
