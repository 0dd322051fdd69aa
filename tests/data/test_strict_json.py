"""Strict JSON: everything RFC 8259 allows is read as Python reads it, everything else is refused with its place."""

import json
import math
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.data.strict_json import MAX_DEPTH, JsonFault, parse, parse_at

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text, what, line, column, path",
    [
        ('{"a": NaN}', "NaN, which JSON does not have", 1, 7, "a"),
        ("[1, Infinity]", "Infinity", 1, 5, "[1]"),
        ("[-Infinity]", "-Infinity", 1, 2, "[0]"),
        ('{"role": "user",\n "role": "bot"}', "the key 'role' is twice", 2, 2, "role"),
        ('{"messages": [{}, {"role": 1, "role": 2}]}', "the key 'role' is twice", 1, 31, "messages[1].role"),
        ('{"": 1, "": 2}', "the key '' is twice", 1, 9, ""),
        ('{"a": 1, "\\u0061": 2}', "the key 'a' is twice", 1, 10, "a"),
        ('{"a": "\\ud800"}', "half of a surrogate pair", 1, 7, "a"),
        ('["\\udc00\\ud800"]', "half of a surrogate pair", 1, 2, "[0]"),
        ('["\\ud83d\\u0041"]', "half of a surrogate pair", 1, 2, "[0]"),
        ('["\\\\ud83d\\ude00"]', "half of a surrogate pair", 1, 2, "[0]"),
        ('{"\\ud800": 1}', "half of a surrogate pair", 1, 2, ""),
        ('["a\udce9"]', "half of a surrogate pair", 1, 4, ""),
        ('["a\nb"]', "control character U+000A inside a string; JSON writes it as \\n", 1, 4, ""),
        ('["a\x1fb"]', "control character U+001F", 1, 4, ""),
        ('["\0"]', "control character U+0000", 1, 3, ""),
        ('["\\x41"]', "escape that JSON does not have", 1, 3, ""),
        ('["\\u00"]', "escape that JSON does not have", 1, 3, ""),
        ("[1e400]", "a number that is too large: 1e400", 1, 2, "[0]"),
        ("[" + "9" * 5000 + "]", "too many digits", 1, 2, "[0]"),
        ("[-" + "9" * 5000 + "]", "too many digits", 1, 2, "[0]"),
        ("[01]", "expected ','", 1, 3, ""),
        ("[1.]", "expected ','", 1, 3, ""),
        ("[.5]", "expected a value", 1, 2, ""),
        ("[+1]", "expected a value", 1, 2, ""),
        ("[1,]", "comma too many", 1, 4, ""),
        ('{"a": 1,}', "comma too many", 1, 9, ""),
        ('{"a" 1}', "expected ':'", 1, 6, ""),
        ("{a: 1}", "a key in double quotes", 1, 2, ""),
        ("{'a': 1}", "looks like Python", 1, 2, ""),
        ("[None]", "JSON writes null", 1, 2, ""),
        ("[True]", "JSON writes true", 1, 2, ""),
        ("[1 // one\n]", "JSON has no comments", 1, 4, ""),
        ("[1] 2", "more text after the end", 1, 5, ""),
        ('{"a": 1},', "more text after the end", 1, 9, ""),
        ("[]\f", "more text after the end", 1, 3, ""),
        ("\ufeff[]", "expected a value", 1, 1, ""),
        ("\u00a0[]", "expected a value", 1, 1, ""),
        ("[1\u00a0]", "expected ','", 1, 3, ""),
        ("", "ends in the middle", 1, 1, ""),
        (" \n ", "ends in the middle", 2, 2, ""),
        ('{"a": [1, 2', "ends in the middle", 1, 12, ""),
        ('["abc', "never closed", 1, 2, ""),
        ("tru", "expected a value", 1, 1, ""),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_place(text, what, line, column, path):
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert what in caught.value.what
    assert caught.value.located(text).startswith(f"line {line}, column {column}: ")
    assert caught.value.path == path


@pytest.mark.parametrize("text", ['{"a": [1, 2', '["abc', '{"a":', '["\\u00', '["\\', "[", '{"a": "x"'])
def test_a_text_that_more_text_could_mend_is_said_to_be_cut(text):
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert caught.value.is_cut


@pytest.mark.parametrize("text", ['{"a": [1 2', '["a\nb', "[1,]", '{"a": NaN'])
def test_a_text_that_nothing_could_mend_is_not_said_to_be_cut(text):
    with pytest.raises(JsonFault) as caught:
        parse(text)
    assert not caught.value.is_cut


@pytest.mark.parametrize(
    "text, value",
    [
        ('["\\ud83d\\ude00"]', ["\U0001f600"]),
        ('["\\uD83D\\uDE00\\ud83d\\ude00"]', ["\U0001f600\U0001f600"]),
        ('["\\\\ud83d"]', ["\\ud83d"]),
        ('["\\ud55c"]', ["\ud55c"]),
        ("[-0, 0, 1E2, 1e-400]", [0, 0, 100.0, 0.0]),
        ('{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        ('"\u2028\x7f"', "\u2028\x7f"),
        (" \r\n\t[]\t ", []),
    ],
)
def test_odd_but_strict_json_is_read(text, value):
    assert parse(text) == value


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_brackets_may_nest_as_deep_as_allowed_and_no_deeper(opening, closing):
    levels = opening.count("[") + opening.count("{")
    deep = MAX_DEPTH // levels
    assert parse(opening * deep + "1" + closing * deep)
    for too_deep in (deep + 1, 1000, 10_000, 100_000):
        with pytest.raises(JsonFault, match="nested more than 200 brackets deep"):
            parse(opening * too_deep + "1" + closing * too_deep)
        with pytest.raises(JsonFault, match="nested more than 200 brackets deep"):
            parse(opening * too_deep)


def test_many_brackets_side_by_side_or_in_strings_are_not_deep():
    assert parse("[" + ",".join(["[[]]"] * 1000) + "]")
    assert parse(json.dumps(["[" * 1000 + '"' + "{" * 1000 + "\\"])) == ["[" * 1000 + '"' + "{" * 1000 + "\\"]


def test_deep_nesting_is_refused_on_a_small_stack_whatever_the_recursion_limit():
    refused = []

    def run():
        try:
            parse("[" * 1_000_000)
        except JsonFault as fault:
            refused.append(fault.what)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000_000)
    size = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    assert refused == ["nested more than 200 brackets deep"]


def test_a_value_is_read_where_it_stands():
    text = 'x{"a": [1]}, 2'
    assert parse_at(text, 1) == ({"a": [1]}, 11)
    with pytest.raises(JsonFault) as caught:
        parse_at('[1, {"a": 1, "a": 2}]', 4)
    assert (caught.value.position, caught.value.path) == (13, "a")


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_what_python_writes_is_read_back(value, ensure_ascii, indent):
    assert parse(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)) == value


@given(st.text(st.sampled_from(list('[]{}",:\\ue1dD8c0N-+. \n\tatrfls\udc80é'))))
def test_whatever_is_accepted_python_accepts_too_and_nothing_else_escapes(text):
    try:
        value = parse(text)
    except JsonFault:
        return
    assert json.loads(text) == value
    json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair


@given(st.text(st.sampled_from(list('[]{}",:\\ue1dD8c0N-+. \n\tatrfls'))), VALUES)
def test_what_python_accepts_is_refused_only_for_a_reason_python_does_not_know(text, value):
    mixed = text.replace("u", json.dumps(value), 1)
    try:
        expected = json.loads(mixed, object_pairs_hook=unique)
        json.dumps(expected, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        with pytest.raises(JsonFault):
            parse(mixed)
    else:
        assert parse(mixed) == expected


def unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def test_numbers_keep_their_kind():
    value = parse("[1, 1.0, 10000000000000000000000, 1e3]")
    assert [type(number) for number in value] == [int, float, int, float]
    assert not any(math.isinf(number) for number in value)
