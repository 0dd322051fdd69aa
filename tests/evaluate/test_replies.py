"""The replies side by side: marks, dialogues, limits, and text that stays text."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.evaluate import compare_words
from duologue.evaluate.differences import Stretch
from duologue.evaluate.repeat import command_of, repeat_section
from duologue.evaluate.replies import dialogues_section, marked_words, replies_section
from tests.evaluate.full import dialogue, facts, full


def shown(evaluation, base: str, tuned: str) -> str:
    one = replace(
        evaluation,
        prompts=("Hello",),
        base=replace(evaluation.base, replies=(base,)),
        tuned=replace(evaluation.tuned, replies=(tuned,)),
    )
    return replies_section(one, name="Lila", initial="L").split("<ol", 1)[1]


def test_words_that_only_one_model_says_are_marked_on_its_side(evaluation):
    page = shown(evaluation, "The seat is free, sir.", "The old seat is free, passenger.")
    assert "The seat is free, <del>sir.</del>" in page
    assert "The <ins>old</ins> seat is free, <ins>passenger.</ins>" in page


def test_two_different_answers_and_two_equal_ones_are_not_marked_but_said(evaluation):
    page = shown(evaluation, "One two three four five.", "Completely other words stand here.")
    assert "<del>" not in page and "<ins>" not in page
    assert "two different answers, nothing marked: 0 % of the words in common" in page
    assert "word for word the same" in shown(evaluation, "Good evening.", "Good evening.")


def test_an_empty_reply_is_said_to_be_one(evaluation):
    assert "<em>(nothing)</em>" in shown(evaluation, "", "Good evening.")


def test_markup_and_marks_in_a_reply_stay_text(evaluation):
    page = shown(evaluation, "a b c <ins>d</ins> <script>1</script>", "a b c </ins><img src=x> d")
    assert "&lt;ins&gt;d&lt;/ins&gt;" in page
    assert not re.search(r"<script|<img", page)
    assert page.count("<ins>") == page.count("</ins>") and page.count("<del>") == page.count("</del>")


@given(st.text(alphabet="ab <>&\n", max_size=40), st.text(alphabet="ab <>&\n", max_size=40))
def test_marks_change_nothing_of_a_text(first, second):
    found = compare_words(first, second)
    assert "".join(stretch.text for stretch in found.first) == first
    assert "".join(stretch.text for stretch in found.second) == second


def test_spaces_at_the_end_of_a_stretch_are_not_marked():
    stretches = (Stretch("old ", False), Stretch("seat", True), Stretch("\n", False))
    assert marked_words(stretches, tag="ins") == "<ins>old</ins> seat\n"


def test_dialogues_are_folded_marked_and_beside_what_the_character_really_said(evaluation):
    page = dialogues_section(full(evaluation), name="Lila", initial="L")
    assert page.count("<details>") == 6 and "open" not in re.findall(r"<details[^>]*>", page)[0]
    assert "data/messages.json:14 (3 turns, seed 0)" in page
    assert page.count("reply real") == 6, "two of the three turns of three conversations"
    assert "<ins>*lifts the lamp*</ins>" in page
    assert page.index("Held-out") < page.index("Written") < page.index("Long dialogues")


def test_lines_of_the_guard_and_beginnings_are_counted_and_not_shown(evaluation):
    page = dialogues_section(full(evaluation), name="Lila", initial="L")
    assert "guard-1" not in page and "prefix-1" not in page
    assert "2 beginnings of training conversations and 1 lines of the guard" in page


def test_a_model_that_was_not_asked_is_said_to_be_so(evaluation):
    row = dialogue("greeting-1", "written", num_turns=1)
    row["turns"][0]["tuned"] = None
    page = dialogues_section(full(evaluation, dialogues=[row]), name="Lila", initial="L")
    assert "(was not asked)" in page and "<del>" not in page.split("<details>")[1]


def test_what_does_not_fit_is_counted(evaluation):
    rows = [dialogue(f"night-{number}", "long", num_turns=400) for number in range(9)]
    page = dialogues_section(full(evaluation, dialogues=rows), name="Lila", initial="L")
    assert len(page) < 360_000
    left = re.search(r"(\d+) more did not fit on the page; evaluation.json has them", page)
    assert left and int(left[1]) == 9 - page.count("<details>")


@pytest.mark.parametrize("rows", [(), [{"case": "a", "kind": "written", "seed": 0, "turns": []}]])
def test_without_dialogues_there_is_no_section(evaluation, rows):
    assert dialogues_section(full(evaluation, dialogues=rows), name="Lila", initial="L") == ""
    assert dialogues_section(evaluation, name="Lila", initial="L") == ""


def test_what_is_needed_to_repeat_it_is_named():
    page = repeat_section(facts())
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "standard, version 1, sha256 ab12ab12" in text
    assert "language 1, voice 1, form 2" in text
    assert "adapter_model.safetensors sha256 cd34cd34cd34cd34\u2026" in text
    assert "torch 2.9.1" in text and "temperature 0.8" in text and "python 3.11.2" in text
    assert "duologue eval FOLDER --run 2026-11-22-1 --suite standard --engine hf --fresh" in text


def test_the_command_names_another_run_and_another_engine_and_quotes():
    other = facts() | {"compared_with": "2026-11-20-1", "run": "my run"}
    other["models"]["tuned"]["engine"] = "gguf"
    assert command_of(other) == (
        "duologue eval FOLDER --run 'my run' --suite standard --against 2026-11-20-1 --engine gguf --fresh"
    )


def test_an_older_evaluation_says_what_it_knows():
    assert repeat_section({}) == ""
    old = {"suite": {"name": "quick", "version": 1, "digest": "ef"}, "seed": 0}
    page = repeat_section(old)
    assert "quick, version 1" in page and "duologue eval" not in page
