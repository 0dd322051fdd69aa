"""JSON from strangers: what RFC 8259 allows is read, everything else is refused with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.errors import GuardError
from duologue.guard import check_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ACCEPTED = [
    *("[]", "{}", "null", "true", "0", "-0", "-1.5e3", '""', " [1 , 2]\n", '[{"a":[{}]}]', '{"":0}', "1e-400"),
    *(
        '"\\u0041\\n\\/"',
        '"\\ud83d\\ude00"',
        '"[[[[{{{{"',
        '{"a":{"a":1}}',
        "[1,2.0,null,false]",
        '"\u2028 é 日本 \x7f"',
    ),
]
REFUSED = [
    *(
        "",
        " ",
        "[",
        "]",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{1:2}",
        "{a:1}",
        "{'a':1}",
        "[1]]",
    ),
    *(
        "NaN",
        "[NaN]",
        "Infinity",
        "-Infinity",
        '{"a":-Infinity}',
        "nan",
        "inf",
        "1e999",
        "[-1e999]",
        "0x10",
        "01",
        "-",
        "+1",
    ),
    *(
        ".5",
        "1.",
        "1e",
        "tru",
        "True",
        "None",
        "undefined",
        "//1",
        "1/*x*/",
        "[1]x",
        "\ufeff[]",
        "'a'",
        '"a',
        '"\n"',
        '"\\x"',
    ),
    *(
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '[{"b":{"c":1,"c":1}}]',
        '"\\ud800"',
        '{"\\udc00":1}',
        '["\ud800"]',
        '"\\u12"',
    ),
    *("9" * 5000, "-" + "9" * 5000, "[" + "1" * 301 + "]", "[" * 100_000, '{"a":' * 100_000, "[" * 33 + "]" * 33),
]


@pytest.mark.parametrize("text", ACCEPTED, ids=ascii)
def test_strict_json_is_read_as_python_reads_it(text: str) -> None:
    assert check_json(text) == json.loads(text)
    assert check_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:30])
def test_everything_else_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(GuardError) as caught:
        check_json(text, where="settings.json")
    assert caught.value.reason in ("invalid_json", "too_deep")
    assert caught.value.where == "settings.json"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content", [b"\xff", b'"\xc3"', b"\xfe\xff\x00[", '"é"'.encode("latin-1"), b'"\xed\xa0\x80"', b"[\x00]"]
)
def test_bytes_that_are_no_utf_8_are_refused(content: bytes) -> None:
    with pytest.raises(GuardError, match="not valid JSON"):
        check_json(content)


def test_the_depth_is_the_callers_and_the_refusal_names_it() -> None:
    assert check_json("[[[]]]", 3) == [[[]]]
    with pytest.raises(GuardError, match="at most 2 levels") as caught:
        check_json("[[[]]]", 2)
    assert caught.value.reason == "too_deep"


def test_brackets_inside_texts_are_no_depth() -> None:
    deep = json.dumps(["[{" * 500, '\\"[[[['])
    assert check_json(deep, 2) == json.loads(deep)


@given(VALUES)
def test_what_json_writes_comes_back(value: object) -> None:
    assert check_json(json.dumps(value), 100) == value
    assert check_json(json.dumps(value, ensure_ascii=False).encode(), 100) == value


@given(st.text(alphabet='[]{}",:\\0123456789eE+-.truefalsn \n\ud800é', max_size=40) | st.binary(max_size=40))
def test_no_text_makes_anything_but_a_document_or_a_refusal(content: str | bytes) -> None:
    try:
        document = check_json(content)
    except GuardError:
        return
    assert json.loads(json.dumps(document, allow_nan=False).encode()) == document
