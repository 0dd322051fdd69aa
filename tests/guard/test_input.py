import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.errors import GuardError
from duologue.guard import InputValidator, check_tokens


def refusal(text: str, *, max_chars: int = 100) -> GuardError:
    with pytest.raises(GuardError) as caught:
        InputValidator(max_chars).validate(text)
    return caught.value


REASONS = ("empty", "too_long", "control_characters", "hidden_text", "invalid_unicode")


def accepted_or_refused(text: str, *, max_chars: int) -> str | None:
    """Return the text to use; None where it is refused, which has to be for a reason that is known and said."""
    try:
        return InputValidator(max_chars).validate(text)
    except GuardError as error:
        if error.reason not in REASONS or not error.action:
            raise
        return None


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
    assert refusal("hi" + "\u200b\u2060" * 40).reason == "control_characters"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("file \u202acode.txt", "turns the direction"),
        ("abc\u202egnp.exe", "turns the direction"),
        ("a\u202db", "turns the direction"),
        ("shalom \u2067שלם", "not closed"),
        ("שלם\u2069 shalom", "closed twice"),
        ("look\U000e0068\U000e0069", "invisible letter"),
        ("\U0001f3f4\U000e0067\U000e0062 no end", "invisible letter"),
        ("smile\ufe0f\ufe0f", "variation selectors"),
        ("a\U000e0100\U000e0101\U000e0102", "variation selectors"),
    ],
)
def test_what_hides_text_or_turns_it_around_is_refused_and_named(text: str, what: str) -> None:
    error = refusal(text)
    assert error.reason == "hidden_text"
    assert what in str(error)
    assert error.action


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f plays today",  # the flag of England
        "❤️ and 葛󠄀城",  # one selector after a character
        "she said \u2067שלם\u2069 to him",
        "\u200fשלם\u200e hello",
        "tiếng Việt, ภาษาไทย, नमस्ते, בְּרֵאשִׁית, مَرْحَبًا",
        "x² + ½ ﬁne ① ﷺ ﷽",
    ],
)
def test_what_scripts_and_emoji_need_is_kept(text: str) -> None:
    assert InputValidator(100).validate(text) == unicodedata.normalize("NFC", text)


def test_compatibility_characters_are_not_changed_into_others() -> None:
    """NFKC would make eighteen letters of this one sign, and x2 of x²."""
    assert InputValidator(10).validate("\ufdfa x²") == "\ufdfa x²"


def test_more_marks_on_a_letter_than_any_script_has_are_refused() -> None:
    assert InputValidator(100).validate("a" + "\u0334\u0335\u0336\u0337") == "a\u0334\u0335\u0336\u0337"
    error = refusal("Z" + "\u0338\u0337\u0336" * 3)
    assert error.reason == "control_characters"
    assert "at most 8 combining marks" in str(error)


@pytest.mark.parametrize("text", ["\u3164", "\u2800\u2800", "\u034f", "\u115f \uffa0"])
def test_letters_that_show_nothing_are_no_message(text: str) -> None:
    assert refusal(text).reason == "empty"


def test_tokens_are_limited_too_and_the_refusal_names_both_numbers() -> None:
    check_tokens(5, 5)
    with pytest.raises(GuardError, match="has 6 tokens; expected at most 5"):
        check_tokens(6, 5)


@settings(max_examples=300)
@given(st.text(max_size=60))
def test_a_text_comes_back_in_nfc_or_is_refused_with_a_reason(text: str) -> None:
    accepted = accepted_or_refused(text, max_chars=50)
    if accepted is None:
        return
    assert accepted == unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    assert len(accepted) <= 50
    assert InputValidator(50).validate(accepted) == accepted


def test_a_long_run_of_combining_marks_costs_no_time() -> None:
    started = time.perf_counter()
    refusal("a" + "\u0300\u0327" * 500_000, max_chars=8000)
    assert time.perf_counter() - started < 1


def test_every_naughty_string_is_returned_or_refused(shared_data: Path) -> None:
    num_accepted = 0
    for text in json.loads((shared_data / "blns.json").read_text(encoding="utf-8")):
        accepted = accepted_or_refused(text, max_chars=8000)
        if accepted is None:
            continue
        assert accepted == unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
        num_accepted += 1
    assert num_accepted > 480


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain\r\nand long " + "x" * 9000, "plain\nand long " + "x" * 9000),
        ("one\u202etwo", "onetwo"),
        ("one\x00two\x1b[31m", "onetwo[31m"),
        ("one\ud800two", "onetwo"),
        ("o" + "\u0300" * 50 + "ne", "\u00f2ne"),
        ("one" + "\U000e0041" * 3 + " two", "one two"),
    ],
    ids=["long", "direction", "control", "surrogate", "marks", "tags"],
)
def test_what_must_not_be_refused_is_kept_without_what_nobody_sees(text: str, kept: str) -> None:
    assert InputValidator(8000).salvage(text) == kept
    assert InputValidator(len(kept)).validate(kept) == kept


@given(st.text(max_size=60))
def test_what_is_salvaged_is_a_valid_text_and_valid_texts_stay_as_they_are(text: str) -> None:
    try:
        kept = InputValidator(20).salvage(text)
    except GuardError as error:
        assert error.reason == "empty"  # noqa: PT017  (or not raised at all)
        return
    assert InputValidator(len(kept)).validate(kept) == kept
    valid = accepted_or_refused(text, max_chars=20)
    assert valid is None or valid == kept
