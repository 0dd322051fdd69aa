"""The table of measures, and the page that shows runs side by side."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from duologue.evaluate import write_comparison
from duologue.evaluate.measure import Measure
from duologue.evaluate.measure_table import measures_section, verdict_words

LOOPS = Measure(
    name="character.loops",
    unit="share",
    better="lower",
    base=0.25,
    tuned=0.05,
    low=-0.3,
    high=-0.1,
    verdict="better",
    num=40,
    definition="Share of replies that go round in circles.",
    threshold=0.1,
)
PERPLEXITY = replace(
    LOOPS, name="language.perplexity", unit="", base=40.0, tuned=20.0, low=-25.0, high=-15.0, threshold=None
)


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def document(base: str, *measures: Measure, reply: str = "Good evening.") -> dict[str, object]:
    return {
        "models": {"tuned": {"name": base}},
        "verdict": {"headline": "It worked."},
        "measures": [measure.as_json() for measure in measures],
        "replies": [{"prompt": "Who are you?", "base": "A model.", "tuned": reply}],
    }


def page_of(path, *documents) -> str:
    write_comparison(path / "compare.html", documents)
    page = (path / "compare.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return page


def test_each_run_has_a_column_and_what_one_did_not_measure_is_said(tmp_path):
    page = page_of(tmp_path, ("one", document("bundled", LOOPS, PERPLEXITY)), ("two", document("bundled", PERPLEXITY)))
    text = re.sub(r"<[^>]+>", " ", page)
    assert "5.0 %" in text and "within its limit" in text
    assert "not in this evaluation" in text
    assert "different bases" not in text


def test_perplexities_of_different_bases_are_marked(tmp_path):
    page = page_of(tmp_path, ("one", document("llama", PERPLEXITY)), ("two", document("yi", PERPLEXITY)))
    assert "different bases" in page and re.search(r"Perplexity\s*\*", page)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\u202egnp.exe", "'><img src=x onerror=alert(1)>"])
def test_nothing_from_outside_becomes_markup(tmp_path, hostile):
    page = page_of(tmp_path, (hostile, document("b", LOOPS, reply=hostile)))
    assert "<script" not in page and "<img" not in page and "\u202e" not in page


def test_a_broken_bar_a_fault_and_what_was_not_seen_are_said_and_not_hidden():
    broken = replace(LOOPS, tuned=0.5, is_broken=True, verdict="worse")
    failed = replace(LOOPS, name="character.voice_auc", base=None, tuned=None, fault="too few replies", threshold=None)
    section = measures_section([broken, failed], ["a case failed"])
    assert "over its limit" in section
    assert "Limit in [evaluation]: 0.1." in section
    assert section.count("<td") == 8
    assert "not measured: too few replies" in section
    assert "a case failed" in section
    assert verdict_words(LOOPS).startswith("▲ better")
    assert measures_section([]) == ""


def test_each_measure_is_drawn_over_the_runs_on_one_scale(tmp_path):
    other = replace(LOOPS, tuned=0.15, low=-0.2, high=0.0)
    page = page_of(tmp_path, ("one", document("bundled", LOOPS)), ("two", document("bundled", other)))
    # from -0.05, the lowest end, to 0.25: a margin of 4% of 0.3 on both sides
    at = [2 + 96 * (value + 0.062) / 0.324 for value in (0.25, 0.05, 0.15)]
    assert page.count(f"class='base' cx='{at[0]:.2f}%'") == 2
    assert f"class='tuned' cx='{at[1]:.2f}%'" in page
    assert f"class='tuned' cx='{at[2]:.2f}%'" in page
    assert "lower is better" in page


def test_perplexities_of_different_bases_are_not_drawn_on_one_scale(tmp_path):
    page = page_of(tmp_path, ("one", document("llama", PERPLEXITY)), ("two", document("yi", PERPLEXITY)))
    assert "<h4>" not in page


def test_settings_that_differ_are_a_table_and_equal_ones_are_not_listed(tmp_path):
    first = document("b", LOOPS) | {"settings": {"lora": {"rank": 64}, "training": {"num_epochs": 3}}}
    second = document("b", LOOPS) | {"settings": {"lora": {"rank": 32}, "training": {"num_epochs": 3}}}
    text = " ".join(re.sub(r"<[^>]+>", " ", page_of(tmp_path, ("one", first), ("two", second))).split())
    assert "lora.rank 64 32" in text and "num_epochs" not in text
    same = page_of(tmp_path, ("one", first), ("two", first))
    assert "No recorded setting differs" in same


def test_evaluations_without_measures_or_with_faults_only_still_make_a_page(tmp_path):
    failed = replace(LOOPS, base=None, tuned=None, low=None, high=None, fault="no replies", verdict="not measured")
    page = page_of(tmp_path, ("one", {}), ("two", document("b", failed)))
    assert "not measured: no replies" in page
    assert "Measures" not in page_of(tmp_path, ("one", {}), ("two", {}))
