"""Keys: words as SillyTavern matches them, patterns of JavaScript, and patterns made to hang a chat."""

import time

import pytest

from duologue.characters.lore_keys import MAX_PATTERN_CHARS, TURN_SECONDS, Clock, ScanText, find_key, key_fault


def find(key, *parts, case_sensitive=False, whole=True, is_pattern=False, clock=None):
    return find_key(
        key,
        ScanText(parts),
        case_sensitive=case_sensitive,
        match_whole_words=whole,
        is_pattern=is_pattern,
        clock=clock or Clock(),
    )


@pytest.mark.parametrize(
    ("key", "text", "whole", "is_found"),
    [
        ("lamp", "The lamp, lit.", True, True),
        ("lamp", "The lamps are lit.", True, False),
        ("lamp", "The lamps are lit.", False, True),
        ("lamp", "lamp_post", True, False),
        ("lamp", "lamps and a lamp", True, True),
        ("LAMP", "a lamp", True, True),
        ("old mill", "the old mills", True, True),
        ("lamp", "lamp", True, True),
        ("Straße", "in der STRAßE", True, True),
        ("c++", "I write c++ here", True, True),
        ("", "anything", True, False),
    ],
)
def test_words_match_as_in_sillytavern(key, text, whole, is_found):
    assert (find(key, text, whole=whole) is not None) is is_found


def test_capitals_count_only_when_asked():
    assert find("Iris", "the iris of an eye", case_sensitive=True) is None
    assert find("Iris", "then Iris came", case_sensitive=True) == 0


def test_the_part_is_that_of_the_newest_message_that_has_the_key():
    assert find("mill", "Ada: no", "Sam: the mill", "Ada: a mill") == 1


def test_letters_that_grow_in_lower_case_do_not_shift_the_part():
    assert find("mill", "İ" * 50, "the mill") == 1


@pytest.mark.parametrize(
    ("key", "text", "is_found"),
    [
        (r"/lamps?/", "two lamps", True),
        (r"/LAMP/", "a lamp", False),
        (r"/LAMP/i", "a lamp", True),
        (r"/^Sam: .*mill$/m", "Sam: the mill", False),
        (r"/\x01Sam: .*mill/", "Sam: the mill", True),
        (r"/a.b/s", "a\nb", True),
        (r"/either\/or/", "either/or", True),
        (r"/(?<word>ha)\k<word>/", "haha", True),
        (r"/[^]x/", "\nx", True),
        (r"/шум/i", "ШУМ", True),
        (r"/a/b/", "a/b/", False),
        ("/no flags/q", "no flags", False),
    ],
)
def test_keys_in_slashes_are_patterns_of_javascript(key, text, is_found):
    assert (find(key, text) is not None) is is_found


def test_a_plain_key_is_a_pattern_where_v3_says_so():
    assert find("lamps?$", "two lamps", is_pattern=True) == 0
    assert find("lamps?$", "two lamps", is_pattern=False) is None


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/(unclosed/", "not a pattern"),
        ("/a(?R)?b/", "calls itself"),
        ("/(?P>name)/", "calls itself"),
        (r"/(a)(?1)/", "calls itself"),
        (f"/{'a' * MAX_PATTERN_CHARS}b/", "characters long"),
    ],
)
def test_patterns_that_cannot_be_used_never_match_and_say_why(key, said):
    assert said in key_fault(key, is_pattern=False)
    assert find(key, "aaaabbbb (unclosed") is None


def test_a_pattern_of_many_brackets_is_compiled_or_refused_and_does_no_harm():
    find(f"/{'(?:' * 190}a{')+' * 190}b/", "a" * 4000)

    assert find("/fine/", "fine") == 0


def test_usable_keys_have_no_fault():
    assert key_fault("plain (words", is_pattern=False) == ""
    assert key_fault("/fine+/i", is_pattern=False) == ""


@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(a|aa)+$", r"(?:(?:a{1,1000}){1,1000}){1,1000}b"])
def test_a_pattern_that_backtracks_for_ever_is_stopped_and_named(pattern):
    clock = Clock()
    begun = time.monotonic()

    assert find(f"/{pattern}/", "a" * 4000 + "!", clock=clock) is None

    assert time.monotonic() - begun < 2
    assert clock.slow == {pattern}


def test_many_slow_patterns_together_get_only_the_time_of_one_turn():
    clock = Clock()
    begun = time.monotonic()
    for number in range(200):
        assert find(f"/(a+)+b{{{number + 1}}}/", "a" * 4000, clock=clock) is None

    assert time.monotonic() - begun < TURN_SECONDS + 2
    assert len(clock.slow) == 200
    assert clock.seconds_left <= 0
