"""Windows over turns: each trained turn once, all within the room, full and few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.windows import Window, make_windows, num_leading


def windows(turn_tokens, room_tokens, is_trained=None):
    return make_windows(turn_tokens, is_trained=is_trained or [True] * len(turn_tokens), room_tokens=room_tokens)


def test_turns_that_all_fit_are_one_window():
    assert windows([10, 20, 30], 60) == ([Window(0, 0, 3)], [])


def test_a_later_window_begins_with_the_turn_before_it_and_is_filled_up_with_earlier_ones():
    found, _ = windows([10] * 10, 40)
    assert found == [Window(0, 0, 4), Window(3, 4, 7), Window(6, 7, 10)]
    found, _ = windows([10] * 8, 60)
    assert found == [Window(0, 0, 6), Window(2, 6, 8)], "the last one has room, so it takes more of what came before"


def test_short_turns_come_as_context_up_to_a_quarter_of_the_room():
    found, _ = windows([5] * 40, 100)
    assert found[1] == Window(15, 20, 35)


def test_a_turn_too_long_for_any_window_is_left_out_and_ends_the_context():
    found, too_long = windows([10, 500, 10, 10], 40)
    assert too_long == [1]
    assert found == [Window(0, 0, 1), Window(2, 2, 4)]


def test_untrained_turns_are_context_and_make_no_window_of_their_own():
    found, _ = windows([10] * 6, 30, [False, False, True, False, False, False])
    assert found == [Window(0, 2, 3)]
    assert windows([10, 10], 30, [False, False]) == ([], [])


def test_a_long_turn_before_is_no_context_when_it_leaves_no_room():
    found, _ = windows([35, 30, 5], 40)
    assert found == [Window(0, 0, 1), Window(1, 1, 3)]


@given(
    turns=st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=60),
    room_tokens=st.integers(1, 120),
)
def test_every_trained_turn_stands_once_in_windows_that_fit(turns, room_tokens):
    lengths, is_trained = [tokens for tokens, _ in turns], [trained for _, trained in turns]
    found, too_long = windows(lengths, room_tokens, is_trained)
    covered = [turn for window in found for turn in range(window.start, window.stop) if is_trained[turn]]
    expected = [turn for turn, trained in enumerate(is_trained) if trained]
    assert sorted([*covered, *too_long]) == expected
    assert too_long == [turn for turn in expected if lengths[turn] > room_tokens]
    for window in found:
        assert 0 <= window.first <= window.start < window.stop <= len(turns)
        used = sum(lengths[window.first : window.stop])
        assert used <= room_tokens
        assert is_trained[window.start] and is_trained[window.stop - 1]
        assert window.first == 0 or used + lengths[window.first - 1] > room_tokens, "no room is wasted"


@given(turns=st.lists(st.integers(1, 25), min_size=1, max_size=80))
def test_the_number_of_windows_is_near_the_fewest(turns):
    found, _ = windows(turns, 100)
    assert len(found) <= 2 * -(-sum(turns) // 100) + 1


@pytest.mark.parametrize(("room_tokens", "expected"), [(9, 0), (10, 1), (29, 1), (30, 2), (1000, 3)])
def test_the_leading_turns_are_those_that_fit_whole(room_tokens, expected):
    assert num_leading([10, 20, 30], room_tokens=room_tokens) == expected
