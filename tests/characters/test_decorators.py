"""Decorators: read at the head of an entry, taken out of its text, replaced by a fallback where they have no effect."""

import pytest

from duologue.characters.decorators import NO_DECORATORS, split_decorators, strip_decorators


def test_leading_decorators_are_read_and_taken_out_with_the_lines_around_them():
    asked, content = split_decorators("\n@@depth 3\n@@role user\n@@scan_depth 5\n\nThe mill is closed.\n@@not_one")

    assert (asked.depth, asked.role, asked.scan_depth) == (3, "user", 5)
    assert content == "The mill is closed.\n@@not_one"
    assert asked.unheeded == ()


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("@@activate_only_after 4", "only_after", 4),
        ("@@activate_only_every 2", "only_every", 2),
        ("@@keep_activate_after_match", "keeps_after_match", True),
        ("@@dont_activate_after_match", "stops_after_match", True),
        ("@@reverse_depth 1", "reverse_depth", 1),
        ("@@is_greeting 0", "greeting", 0),
        ("@@position before_desc", "position", "before_char"),
        ("@@position after_desc", "position", "after_char"),
        ("@@ignore_on_max_context", "yields_first", True),
        (r"@@additional_keys fog, lamp\, lit", "additional_keys", ("fog", "lamp, lit")),
        ("@@exclude_keys sun,moon", "exclude_keys", ("sun", "moon")),
        ("@@activate", "activates", True),
        ("@@dont_activate", "never_activates", True),
        ("@@DEPTH 2", "depth", 2),
    ],
)
def test_every_honoured_decorator_sets_its_field(line, field, value):
    asked, content = split_decorators(f"{line}\ntext")

    assert getattr(asked, field) == value
    assert content == "text"


@pytest.mark.parametrize(
    "line",
    [
        "@@instruct_depth 5",
        "@@reverse_instruct_depth 5",
        "@@instruct_scan_depth 5",
        "@@is_user_icon fox",
        "@@disable_ui_prompt system_prompt",
        "@@position personality",
        "@@position scenario",
        "@@depth many",
        "@@role narrator",
        "@@additional_keys ,",
        "@@somebody_elses 4",
    ],
)
def test_what_has_no_effect_here_is_taken_out_and_reported(line):
    asked, content = split_decorators(f"{line}\ntext")

    assert asked.unheeded == (line,)
    assert content == "text"


def test_a_fallback_counts_only_when_the_line_above_has_no_effect():
    asked, _ = split_decorators("@@other_app 4\n@@@second_app 4\n@@@depth 6\n@@@depth 7\ntext")
    assert asked.depth == 6
    assert asked.unheeded == ()

    asked, _ = split_decorators("@@depth 2\n@@@depth 9\n@@@role user\ntext")
    assert (asked.depth, asked.role) == (2, None)


def test_chains_of_more_than_five_fallbacks_are_followed():
    chain = "@@app_0\n" + "".join(f"@@@app_{number}\n" for number in range(1, 9)) + "@@@role assistant\ntext"

    assert split_decorators(chain)[0].role == "assistant"


def test_of_two_decorators_with_one_name_the_first_counts():
    assert split_decorators("@@depth 1\n@@depth 5\ntext")[0].depth == 1


@pytest.mark.parametrize("content", ["", "plain", "a\n@@depth 4", "  spaced", "@@ not one\ntext", "@@@@x"])
def test_a_text_without_decorators_stays_as_it_is(content):
    assert split_decorators(content) == (NO_DECORATORS, content)
    assert strip_decorators(content) == content


def test_an_entry_of_decorators_alone_has_no_content():
    assert split_decorators("@@activate\n@@depth 0")[1] == ""
