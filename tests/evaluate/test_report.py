import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.data import Account, DataStats
from duologue.errors import EngineError
from duologue.evaluate import Evaluation, write_report
from duologue.plan import Plan
from duologue.train import ReplyRecord

Report = Callable[..., str]
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x onerror='alert(2)'>\" & 'quoted'"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and notices tags that are closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_verdict_and_the_perplexities_come_before_everything_else(report: Report) -> None:
    text = Page(report()).text
    assert text.index("It worked") < text.index("24.88 to 7.93") < text.index("How it learned")
    assert "68.1 % lower" in text


def test_plan_and_measured_values_stand_beside_their_deviation(report: Report) -> None:
    text = Page(report()).text
    assert "speed, tokens/s 380 410 +7.9 %" in text
    assert "training time, min 3.30 3.10 -6.1 %" in text


def test_the_interval_of_the_plan_stands_in_table_and_drawing(report: Report) -> None:
    versus = {"tokens_per_second": {"plan": 380.0, "actual": 410.0}}
    without = report(plan_versus_actual=versus)
    versus["tokens_per_second"] |= {"low": 300.0, "high": 480.0}
    text = report(plan_versus_actual=versus)
    assert "speed, tokens/s 380 300 to 480 410 +7.9 %" in Page(text).text
    assert text.count("<path") > without.count("<path"), "the bracket"
    assert "the bracket its interval" in Page(text).text
    assert "bracket" not in Page(without).text


def test_an_interval_far_beyond_the_drawing_is_cut_and_not_an_error(report: Report) -> None:
    versus = {"train_minutes": {"plan": 1.0, "actual": 9.0, "low": 0.0, "high": 50.0}}
    assert "training time, min 1 0 to 50 9 +800.0 %" in Page(report(plan_versus_actual=versus)).text


def test_what_the_next_plan_takes_from_the_run_is_said(report: Report) -> None:
    assert "takes 0.80 times" in Page(report(learned="The next plan takes 0.80 times the predicted speed.")).text


def test_a_plan_of_zero_has_no_deviation(report: Report) -> None:
    versus = {"queue_minutes": {"plan": 0.0, "actual": 2.0}}
    assert "queue, min 0 2 n/a" in Page(report(plan_versus_actual=versus)).text


def test_memory_is_shown_by_component_with_the_measured_peak(report: Report, plan: Plan) -> None:
    text = Page(report()).text
    for component in plan.memory.components:
        assert f"{component.name} {component.gib:.3f} GiB" in text
    assert "measured peak 1.62 GiB" in text


def test_the_account_of_the_data_names_files_and_reasons(report: Report) -> None:
    text = Page(report()).text
    assert "messages.json (messages) 62 60 2" in text
    assert "unknown role 'bot' (row dropped) 1" in text
    assert "150 conversations with 611 replies were kept, 3 rows were dropped, 1 of them as duplicates." in text


def test_replies_stand_side_by_side_under_their_prompt(report: Report, evaluation: Evaluation) -> None:
    text = Page(report()).text
    for prompt, base, tuned in zip(evaluation.prompts, evaluation.base.replies, evaluation.tuned.replies, strict=True):
        assert f"{prompt} base model {base}" in text
        assert tuned in text


def test_whatever_a_model_a_card_or_a_file_says_stays_text(
    report: Report, evaluation: Evaluation, account: Account
) -> None:
    hostile = replace(
        evaluation,
        base=replace(evaluation.base, replies=(HOSTILE,)),
        tuned=replace(evaluation.tuned, replies=(f"</div></style>{HOSTILE}",)),
        prompts=(HOSTILE,),
    )
    file = replace(account.files[0], path=f"data\\{HOSTILE.replace('/', '')}", format=HOSTILE)
    page = Page(
        report(
            title=HOSTILE,
            character=Character(name=HOSTILE),
            evaluation=hostile,
            account=replace(account, files=(file,)),
            plan_versus_actual={HOSTILE: {"plan": 1.0, "actual": 1.0}},
        )
    )
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert page.open == []


def test_the_page_loads_nothing(report: Report) -> None:
    text = report()
    assert not re.search(r"https?://|//[a-z]|@import|<link|<script|<iframe", text)
    assert all(found.startswith(("data:", "#")) for found in re.findall(r"url\(([^)]*)", text))
    assert "default-src 'none'" in text
    for name, value in Page(text).attributes:
        if name in {"src", "href", "xlink:href"}:
            assert value is not None
            assert value.startswith("#")


def test_drawings_take_their_colours_from_the_page(report: Report) -> None:
    drawings = re.findall(r"<svg.*?</svg>", report(), flags=re.DOTALL)
    assert len(drawings) == 6  # three, each for wide and for narrow pages
    for drawing in drawings:
        assert "var(--" in drawing
        assert not re.search(r"#[0-9a-fA-F]{6}\b", re.sub(r'"#[^"]*"|url\(#[^)]*\)', "", drawing))


def test_every_colour_a_drawing_uses_is_defined_for_light_and_for_dark(report: Report) -> None:
    text = report()
    for name in set(re.findall(r"var\((--[a-z0-9-]+)\)", text)):
        assert text.count(f"{name}: #") == 2, name


def test_without_held_out_data_the_report_says_why(report: Report, evaluation: Evaluation, stats: DataStats) -> None:
    unmeasured = Evaluation(
        replace(evaluation.base, loss=None, perplexity=None),
        replace(evaluation.tuned, loss=None, perplexity=None),
        evaluation.prompts,
    )
    nothing = replace(stats, num_validation_examples=0)
    text = Page(report(evaluation=unmeasured, stats=nothing, validation_points=())).text
    assert "No conversation was held out" in text
    assert "perplexity before" not in text.replace("perplexity before and after", "")
    assert "held-out loss" not in text


def test_a_run_without_steps_still_has_a_report(report: Report) -> None:
    text = Page(report(history=(), validation_points=(), plan_versus_actual={})).text
    assert "How it learned" in text


def test_a_held_out_loss_that_rose_again_is_pointed_out(report: Report) -> None:
    text = Page(report(validation_points=((20, 2.0), (69, 2.6)))).text
    assert "lowest at step 20 (2.000 nats per token). It then rose to 2.600" in text


@pytest.mark.parametrize("content", [None, b"GIF89a", b""])
def test_without_a_usable_picture_the_first_letter_stands_in(
    report: Report, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "face.png"
    if content is not None:
        path.write_bytes(content)
    text = report(picture=path)
    assert "data:image" not in text
    assert "<span class='avatar'>L</span>" in text


def test_the_picture_is_part_of_the_page_once(report: Report) -> None:
    assert report().count("data:image/png;base64,") == 1


def test_the_same_run_gives_the_same_bytes(report: Report) -> None:
    assert report() == report()


def test_ten_thousand_steps_do_not_make_a_large_page(report: Report, history: tuple) -> None:
    steps = tuple(replace(history[at % len(history)], step=at + 1) for at in range(10_000))
    assert len(report(history=steps, picture=None)) < 200_000


def test_a_report_that_cannot_be_written_is_an_error_and_leaves_nothing(
    report: Report, tmp_path: Path, request: pytest.FixtureRequest, plan: Plan
) -> None:
    taken = tmp_path / "report.html"
    (taken / "full").mkdir(parents=True)
    names = ("character", "evaluation", "history", "account", "stats", "picture")
    with pytest.raises(EngineError, match="report cannot be written"):
        write_report(
            taken,
            title="x",
            validation_points=(),
            plan=plan,
            plan_versus_actual={},
            **{name: request.getfixturevalue(name) for name in names},
        )
    assert not list(tmp_path.glob(".*"))


def test_loss_spikes_replies_on_the_way_and_the_kept_step_are_shown(report, history):
    marked = [replace(record, is_spike=record.step in (20, 33)) for record in history]
    looping = ReplyRecord(17, "Hello?", "Round <and> round", "goes round in circles")
    sampled = [looping, ReplyRecord(34, "Hello?", "Hm.", "")]
    page = report(history=marked, sampled=sampled, kept_step=51)
    assert "The loss spiked at step 20, 33." in page
    assert "The adapter is that of step 51, which was best" in page
    assert "Round &lt;and&gt; round" in page and "goes round in circles" in page and "passes" in page
    assert "loss spike" in page
    plain = report()
    assert "spike" not in plain and "Replies on the way" not in plain
