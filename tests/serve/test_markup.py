"""Texts made safe to show."""

import re

import pytest

from duologue.errors import GuardError
from duologue.messages import RecalledLine
from duologue.serve.markup import as_markdown, error_html, heading_html, recalled_html

LINE = RecalledLine("I have a *cat*\n\n<b>called</b> Biscuit", "user", 1, "s", "2026-11-14T21:04:00.000+00:00", 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "<img src=https://evil.test/?leak>",
        "<script>alert(1)</script>",
        "</div><form action=https://evil.test>",
        "<!-- x --><?php ?>",
        "a<svg/onload=1>",
        "<<b>>",
    ],
)
def test_no_tag_can_start(text):
    shown = as_markdown(text)

    assert not re.search(r"<[A-Za-z/!?]", shown)
    assert shown.replace("\u2060", "") == text


def test_no_image_can_start():
    assert "![" not in as_markdown("![x](https://evil.test/leak.png)")


@pytest.mark.parametrize("text", ["*raises* the **lamp**", "1 < 2 and a <3", "`code` here", "Wow! [sic]", "- a\n- b"])
def test_ordinary_text_is_left_alone(text):
    assert as_markdown(text) == text


def test_a_recalled_line_shows_text_speaker_and_day():
    shown = recalled_html([LINE], character_name="Lila", user_name="Ann & Co")

    assert "I have a <em>cat</em> &lt;b&gt;called&lt;/b&gt; Biscuit" in shown
    assert "Ann &amp; Co" in shown
    assert "14 November 2026" in shown
    assert "\n\n" not in shown


def test_nothing_recalled_is_said_in_words():
    assert "Nothing recalled" in recalled_html([], character_name="Lila", user_name="Ann")


def test_an_error_is_announced_escaped_and_without_its_place():
    error = GuardError("the message is < 1 word", reason="empty", where="message", action="Write something.")

    assert error_html(error) == '<p role="alert">The message is &lt; 1 word. Write something.</p>'


def test_the_heading_has_an_initial_when_there_is_no_picture():
    assert ">L</span>" in heading_html("Lila <Quill>", picture="")
    assert "Lila &lt;Quill&gt;" in heading_html("Lila <Quill>", picture="portrait.webp")
