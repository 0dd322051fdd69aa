import base64
import io
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
from duologue.train import Lineage, ReplyRecord
from tests.evaluate.full import full

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


LINEAGE = Lineage(
    started_from="2026-11-22-2",
    ancestors=("2026-11-22-2", "2026-11-22-1"),
    method="dpo",
    beta=0.1,
    num_sft_steps=34,
    num_corrected_replies=6,
    num_pairs=10,
    num_liked=0,
    num_disliked=0,
    num_contradictions=0,
    num_cut=0,
    kept_share=0.48,
    unused=("3 single replies that were liked or not",),
    collected={"swipe": 4, "edit": 6},
    dropped={"hidden": 2},
)


def test_a_run_on_feedback_says_where_it_comes_from_what_it_learned_and_what_came_of_it(report, history) -> None:
    compared = [
        replace(record, reward_margin=0.01 * record.step, reward_accuracy=0.75) if record.step > 34 else record
        for record in history
    ]
    page = Page(report(lineage=LINEAGE, history=compared))

    assert not page.open
    text = page.text
    assert "went on from run 2026-11-22-2 from run 2026-11-22-1" in text and "beta 0.1" in text
    for words in (
        "corrected replies 6",
        "better and a worse reply 10",
        "chosen versions 4",
        "is hidden 2",
        "48% of the way",
    ):
        assert words in text
    assert "replies that were liked" not in text.partition("What was not learned")[0], "there were none"
    assert "in 75% of the examples" in text
    assert "From step 35 on replies were compared" in text
    assert "Learned by run 2026-11-22-1" in text and "To learn from" not in text
    assert ("href", "#feedback") in page.attributes


def test_a_plain_run_says_nothing_of_feedback(report) -> None:
    page = Page(report())

    assert ("href", "#feedback") not in page.attributes and "What people said" not in page.text


def test_a_run_on_feedback_of_corrections_only_has_no_curve_of_comparing(report) -> None:
    text = Page(report(lineage=replace(LINEAGE, method="sft", num_pairs=0))).text

    assert "Over its last" not in text and "corrected replies 6" in text


def test_a_full_evaluation_shows_every_section_that_the_menu_names(report: Report, evaluation: Evaluation) -> None:
    page = Page(report(evaluation=full(evaluation)))
    anchors = [value for name, value in page.attributes if name == "href"]
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(anchors) == 11
    assert {anchor[1:] for anchor in anchors if anchor} <= set(ids)
    assert page.text.index("24.9 \u2192 7.93") < page.text.index("95%") < page.text.index("Before and after")
    assert page.open == []


def test_the_menu_names_only_sections_that_are_there(report: Report) -> None:
    anchors = [value for name, value in Page(report()).attributes if name == "href"]
    assert anchors == ["#replies", "#learning", "#plan", "#memory", "#data"]


def test_without_facts_the_measures_are_still_drawn(report: Report, evaluation: Evaluation) -> None:
    page = Page(report(evaluation=replace(full(evaluation), facts={})))
    assert "Without two ends" in page.text
    assert "How to repeat this" not in page.text and "Distributions" not in page.text


def test_the_picture_in_the_report_is_small_and_holds_no_card(report: Report, tmp_path: Path) -> None:
    from matplotlib import image

    path = tmp_path / "large.png"
    noise = [[((x * 7 + y * 13) % 251) / 250 for x in range(900)] for y in range(1200)]
    image.imsave(path, noise, cmap="gray", metadata={"chara": "A SECRET CARD"})
    text = report(picture=path)
    found = re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    assert found
    content = base64.b64decode(found[1])
    assert b"SECRET" in path.read_bytes() and b"SECRET" not in content
    assert image.imread(io.BytesIO(content), format="png").shape[:2] == (200, 150)
