"""One key set in a TOML file: nothing else changes, or nothing at all."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.config import set_key, with_key
from duologue.errors import ConfigError

TEXT = '# a file\n[a]\nx = 1 # one\ny = [\n  "p", # first\n  "q",\n]\n\n[b]\nx = "two"\n'


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("a.x", 2, TEXT.replace("x = 1 #", "x = 2 #")),
        ("b.x", "drei", TEXT.replace('"two"', '"drei"')),
        ("a.z", True, TEXT.replace("[a]\n", "[a]\nz = true\n")),
        ("c.x", 0.5, f"{TEXT}\n[c]\nx = 0.5\n"),
        ("a.y", ("r",), TEXT.replace('[\n  "p", # first\n  "q",\n]', '["r"]')),
    ],
)
def test_only_the_line_of_the_key_changes(key, value, expected):
    assert with_key(TEXT, key, value, where="x.toml") == expected


@pytest.mark.parametrize("text", ["a.x = 1\n", "a = { x = 1 }\n", '["a"]\nx = 1\n', '[a]\n"x" = 1\n'])
def test_a_key_written_in_another_way_is_left_alone_and_the_line_is_told(text):
    with pytest.raises(ConfigError) as caught:
        with_key(text, "a.x", 2, where="x.toml")

    assert "x = 2" in caught.value.action


@given(st.text(), st.sampled_from(["a.x", "a.new", "b.x", "new.x"]))
def test_whatever_text_is_set_the_file_says_that_and_all_it_said_before(value, key):
    section, name = key.split(".")
    value = value.encode("utf-8", "ignore").decode()
    expected = tomllib.loads(TEXT)
    expected.setdefault(section, {})[name] = value

    assert tomllib.loads(with_key(TEXT, key, value, where="x.toml")) == expected


def test_a_missing_file_is_made_and_a_broken_one_is_not_touched(tmp_path):
    set_key(tmp_path / "new.toml", "a.x", 1)
    assert (tmp_path / "new.toml").read_text() == "[a]\nx = 1\n"
    broken = tmp_path / "broken.toml"
    broken.write_text("[a\n")
    with pytest.raises(ConfigError, match="not TOML"):
        set_key(broken, "a.x", 1)
    assert broken.read_text() == "[a\n"
