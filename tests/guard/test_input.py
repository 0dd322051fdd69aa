import json
import time
import unicodedata
from pathlib import Path

import pytest

from duologue.errors import GuardError
from duologue.guard import InputValidator


def refusal(text: str, *, max_chars: int = 100) -> GuardError:
    with pytest.raises(GuardError) as caught:
        InputValidator(max_chars).validate(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "two\nlines\tand a tab",
        "naïve café",
        "日本語",
        "👩‍👩‍👧‍👦 family",
        "می‌خواهم",
        "1 < 2 && 'quotes'; DROP TABLE",
    ],
)
def test_an_ordinary_message_comes_back_as_it_was(text: str) -> None:
    assert InputValidator(100).validate(text) == text


def test_windows_line_breaks_become_plain_ones() -> None:
    assert InputValidator(100).validate("one\r\ntwo") == "one\ntwo"


def test_a_message_is_normalised_to_nfc() -> None:
    assert InputValidator(100).validate("e\u0301") == "é"


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u200b\u200b", "\u00a0"])
def test_a_message_without_visible_text_is_empty(text: str) -> None:
    assert refusal(text).reason == "empty"


def test_the_length_is_counted_in_characters_after_normalising() -> None:
    validator = InputValidator(5)
    assert validator.validate("e\u0301" * 5) == "é" * 5
    assert validator.validate("👋" * 5) == "👋" * 5
    error = refusal("abcdef", max_chars=5)
    assert error.reason == "too_long"
    assert "6 characters" in str(error)
    assert "at most 5" in str(error)


def test_a_text_that_grows_when_normalised_is_measured_after_it_grew() -> None:
    grows = "\ufb2c"  # one code point that NFC writes as three
    assert len(unicodedata.normalize("NFC", grows)) == 3
    assert refusal(grows * 4, max_chars=10).reason == "too_long"


@pytest.mark.parametrize("char", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\x9f", "\r"])
def test_a_control_character_is_refused_and_named(char: str) -> None:
    error = refusal(f"ab{char}c")
    assert error.reason == "control_characters"
    assert f"U+{ord(char):04X}" in str(error)
    assert "character 3" in str(error)


def test_half_a_surrogate_pair_is_refused() -> None:
    error = refusal("ab\ud800")
    assert error.reason == "invalid_unicode"
    assert "U+D800" in str(error)


def test_a_flood_of_invisible_characters_is_refused() -> None:
    assert refusal("hi" + "\u200b\u202e" * 40).reason == "control_characters"


def test_a_long_run_of_combining_marks_costs_no_time() -> None:
    started = time.perf_counter()
    refusal("a" + "\u0300\u0327" * 500_000, max_chars=8000)
    assert time.perf_counter() - started < 1


def test_every_naughty_string_is_returned_or_refused(shared_data: Path) -> None:
    validator = InputValidator(8000)
    num_accepted = 0
    for text in json.loads((shared_data / "blns.json").read_text(encoding="utf-8")):
        try:
            accepted = validator.validate(text)
        except GuardError:
            continue
        assert accepted == unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
        num_accepted += 1
    assert num_accepted > 480
