"""Which conversations are held out."""

import hashlib
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from duologue.data.splits import Splitter
from duologue.messages import Conversation, Message


def talk(number):
    return Conversation(
        (Message("user", f"question {number}"), Message("assistant", f"answer {number}")), f"a:{number}"
    )


def split(numbers, *, seed=0, fraction=0.1, groups=None):
    """Return which of the numbered conversations are held out; `groups` gives the group of a number."""
    splitter = Splitter(seed=seed, validation_fraction=fraction)
    for number in numbers:
        splitter.add(talk(number))
    held_out = splitter.held_out([groups(number) for number in numbers] if groups else None)
    return {number for number, is_held_out in zip(numbers, held_out, strict=True) if is_held_out}


def test_the_share_is_about_right_and_the_same_each_time():
    held_out = split(range(2000), fraction=0.2)
    assert 340 <= len(held_out) <= 460
    assert split(range(2000), fraction=0.2) == held_out


def test_another_seed_holds_out_others():
    assert split(range(300), seed=1) != split(range(300), seed=2)


def test_without_near_duplicates_the_split_is_the_one_it_always_was():
    """The first 64 bits of SHA-256 of seed and text, below the share: runs of older versions can be compared."""

    def is_held_out(number):
        text = f"5\x1euser\x1fquestion {number}\x1eassistant\x1fanswer {number}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) < int(0.1 * 2**64)

    assert split(range(400), seed=5) == {number for number in range(400) if is_held_out(number)}


@settings(max_examples=40)
@given(
    st.sets(st.integers(0, 400), min_size=1, max_size=60),
    st.sets(st.integers(401, 800), max_size=60),
    st.randoms(use_true_random=False),
)
def test_rows_that_are_added_in_any_order_move_no_other_row(old, new, rng):
    below = {number for number in old if _place(number) < 0.3}
    assume(below and below != old)  # else a last resort decides
    assert split(sorted(old), fraction=0.3) == below
    together = rng.sample(sorted(old | new), len(old | new))
    assert split(together, fraction=0.3) & old == below


def _place(number, seed=0):
    text = f"{seed}\x1euser\x1fquestion {number}\x1eassistant\x1fanswer {number}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 2**64


def test_a_group_is_never_torn_and_rows_of_other_groups_move_none():
    def group(number):
        return number // 5

    old = list(range(1000))
    before = split(old, fraction=0.2, groups=group)
    assert all(
        ({5 * n, 5 * n + 1, 5 * n + 2, 5 * n + 3, 5 * n + 4} & before) in (set(), set(range(5 * n, 5 * n + 5)))
        for n in range(200)
    )
    assert 100 <= len(before) <= 300
    mixed = random.Random(1).sample(range(2000), 2000)
    after = split(mixed, fraction=0.2, groups=group)
    assert after & set(old) == before


def test_the_share_of_conversations_is_right_for_small_and_large_groups_alike():
    """Groups of 1 to 20: were the lowest member's place taken, the large ones would be held out too often."""
    rng = random.Random(2)
    sizes = [rng.choice((1, 2, 5, 10, 20)) for _ in range(800)]
    owner = [group for group, size in enumerate(sizes) for _ in range(size)]
    held_out = split(range(len(owner)), fraction=0.1, groups=lambda number: owner[number])
    assert 0.06 < len(held_out) / len(owner) < 0.14


def test_a_new_member_of_a_group_moves_its_own_group_at_most():
    before = split(range(500), fraction=0.3)
    joined = split(range(501), fraction=0.3, groups=lambda number: 7 if number == 500 else number)
    assert before - {7} == joined - {7, 500}
    assert (7 in joined) == (500 in joined)


def test_a_group_larger_than_the_whole_share_is_trained_on():
    def group(number):
        return 0 if number < 600 else number

    for seed in range(20):
        held_out = split(range(1000), seed=seed, groups=group)
        assert not held_out & set(range(600))
        assert 0 < len(held_out) <= 100


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.9, 0.999])
@pytest.mark.parametrize("num", [2, 3, 7])
def test_neither_split_is_empty_where_there_are_two_groups(num, fraction):
    for seed in range(30):
        assert 0 < len(split(range(num), seed=seed, fraction=fraction)) < num


def test_one_group_alone_is_trained_on_and_no_share_holds_nothing_out():
    assert split(range(9), groups=lambda number: 3) == set()
    assert split([1]) == set() and split([]) == set()
    assert split(range(50), fraction=0.0) == set()


def test_of_two_large_groups_the_smaller_one_is_held_out():
    assert split(range(10), groups=lambda number: int(number < 3)) == {0, 1, 2}


@given(
    st.lists(st.integers(0, 12), min_size=0, max_size=60),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 5),
)
def test_every_conversation_is_in_one_split_with_its_group(labels, fraction, seed):
    groups = [labels.index(label) for label in labels]
    held_out = split(range(len(groups)), seed=seed, fraction=fraction, groups=lambda number: groups[number])
    by_group = {group: {n for n, other in enumerate(groups) if other == group} for group in groups}
    assert all(members <= held_out or not members & held_out for members in by_group.values())
    if fraction and len(by_group) > 1:
        assert 0 < len(held_out) < len(groups)
    else:
        assert not held_out
