"""JSON of strangers: what is refused, what is mended and told."""

import pytest

from duologue.characters.json_text import MAX_JSON_DEPTH, dump_json, parse_json, read_limited
from duologue.errors import ConfigError


def parse(text):
    return parse_json(text.encode("utf-8", "surrogatepass"), where="card.json", what="card")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        (f'{{"a": {"9" * 5000}}}', "not valid JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1), "nested too deep"),
        ("", "not valid JSON"),
        ("{} {}", "not valid JSON"),
    ],
)
def test_what_cannot_be_written_again_is_refused(text, said):
    with pytest.raises(ConfigError) as caught:
        parse(text)

    assert said in caught.value.found
    assert caught.value.where == "card.json"


def test_the_deepest_allowed_document_is_read():
    document, notes = parse("[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH)

    assert isinstance(document, list)
    assert notes == ()


def test_half_characters_are_replaced_and_counted_and_whole_ones_stay():
    document, notes = parse(r'{"a": "x\ud83d", "b": ["\udc00", "\ud83d\ude00"], "k\ud800": 1}')

    assert document == {"a": "x\ufffd", "b": ["\ufffd", "😀"], "k\ufffd": 1}
    assert notes == ("3 texts held half a character (a lone surrogate), now written as U+FFFD",)
    dump_json(document)


def test_a_key_given_twice_is_told_and_the_last_counts():
    document, notes = parse('{"a": 1, "b": {"a": 2, "a": 3}}')

    assert document == {"a": 1, "b": {"a": 3}}
    assert notes == ("the key 'a' is given twice in one object; the last one counts",)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    assert read_limited(path, limit=5, what="card") == b"12345"
    with pytest.raises(ConfigError, match=r"the card is 0\.0 MiB"):
        read_limited(path, limit=4, what="card")
