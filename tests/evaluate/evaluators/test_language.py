import math
import random

import pytest

from duologue.evaluate.evaluators import forgetting, language
from duologue.evaluate.material import general_texts
from duologue.evaluate.observed import Score, ScoreKind
from tests.evaluate.evaluators.numbers import known, observed, one


def scores(
    nats_per_token: float, *, kind: ScoreKind = "held_out", num: int = 20, spread: float = 0.0, tokens: int = 10
) -> list[Score]:
    draw = random.Random(1)
    return [
        Score(f"{'ab'[at % 2]}.json:{at}", kind, tokens * (nats_per_token + draw.uniform(-spread, spread)), tokens, 40)
        for at in range(num)
    ]


def test_bits_per_byte_are_nats_over_ln_2_over_bytes_and_perplexity_is_exp_of_the_loss() -> None:
    found = language.measure(known(), observed(scores=scores(2.0)), observed(scores=scores(1.0)))
    loss, perplexity, bits = (one(found, f"language.{name}") for name in ("loss", "perplexity", "bits_per_byte"))
    assert (loss.base, loss.tuned) == (2.0, 1.0)
    assert (perplexity.base, perplexity.tuned) == pytest.approx((math.exp(2), math.exp(1)))
    assert (bits.base, bits.tuned) == pytest.approx((20 / math.log(2) / 40, 10 / math.log(2) / 40))
    assert loss.verdict == perplexity.verdict == bits.verdict == "better"
    assert loss.details is not None and loss.details["num_conversations_better"] == 20


def test_a_worse_model_is_worse_in_all_three_and_equal_models_are_the_same() -> None:
    good, bad = observed(scores=scores(2.0, spread=0.5)), observed(scores=scores(2.4, spread=0.5))
    assert {measure.verdict for measure in language.measure(known(), good, bad)} == {"worse"}
    assert {measure.verdict for measure in language.measure(known(), good, good)} == {"same"}


def test_each_data_file_has_its_own_bits_per_byte_and_a_single_file_has_none() -> None:
    first = [*scores(2.0)]
    second = [
        Score(score.source, "held_out", score.nats * (0.5 if score.source[0] == "a" else 1.5), 10, 40)
        for score in first
    ]
    found = language.measure(known(), observed(scores=first), observed(scores=second))
    assert one(found, "language.bits_per_byte", "a.json").verdict == "better"
    assert one(found, "language.bits_per_byte", "b.json").verdict == "worse"
    alone = [score for score in first if score.source[0] == "a"]
    assert len(language.measure(known(), observed(scores=alone), observed(scores=alone))) == 3


def test_with_other_tokenizers_only_bits_per_byte_are_compared() -> None:
    found = language.measure(known(), observed(scores=scores(2.0)), observed(scores=scores(2.0, tokens=7)))
    assert one(found, "language.loss").verdict == one(found, "language.perplexity").verdict == "not measured"
    assert "different tokens" in one(found, "language.loss").fault
    assert one(found, "language.bits_per_byte").verdict == "better"


def test_scores_of_other_texts_are_refused_and_scores_of_one_side_are_counted() -> None:
    half = [Score(score.source, "held_out", score.nats, 10, 20) for score in scores(2.0)]
    found = language.measure(known(), observed(scores=scores(2.0)), observed(scores=half))
    assert "same bytes" in one(found, "language.bits_per_byte").fault
    found = language.measure(known(), observed(scores=scores(2.0)), observed(scores=scores(2.0)[:12]))
    details = one(found, "language.loss").details
    assert details is not None and details["num_sources_of_one_side"] == 8
    assert one(found, "language.loss").num == 12


def test_windows_of_one_conversation_are_one_unit() -> None:
    windows = [Score(f"a.json:{at // 2}", "held_out", 20.0, 10, 40) for at in range(20)]
    assert one(language.measure(known(), observed(scores=windows), observed(scores=windows)), "language.loss").num == 10


def test_without_scores_nothing_is_measured_and_it_says_why() -> None:
    found = (*language.measure(known(), observed(), observed()), *forgetting.measure(known(), observed(), observed()))
    assert {measure.verdict for measure in found} == {"not measured"}
    assert all(measure.fault for measure in found)


def test_what_was_forgotten_is_a_fraction_and_is_held_against_the_claim() -> None:
    base = observed(scores=scores(2.0, kind="general", spread=0.5))
    worse = observed(scores=[Score(score.source, "general", score.nats * 1.1, 10, 40) for score in base.scores])
    found = forgetting.measure(known(), base, worse)
    rise = one(found, "language.general_rise")
    assert (rise.base, rise.tuned, rise.verdict) == (0.0, pytest.approx(0.1), "worse")
    assert rise.details is not None and rise.details["claim_holds"] is False
    sharper = one(found, "language.general_perplexity_rise")
    loss = sum(score.nats for score in base.scores) / sum(score.num_tokens for score in base.scores)
    assert sharper.tuned == pytest.approx(math.exp(0.1 * loss) - 1)
    slightly = observed(scores=[Score(score.source, "general", score.nats * 1.01, 10, 40) for score in base.scores])
    held = one(forgetting.measure(known(), base, slightly), "language.general_rise")
    assert held.details is not None and held.details["claim_holds"] is True
    assert held.verdict == "worse"  # it did rise, by less than claimed


def test_one_text_says_nothing_sure() -> None:
    base, tuned = (observed(scores=scores(nats, kind="general", num=1)) for nats in (2.0, 3.0))
    rise = one(forgetting.measure(known(), base, tuned), "language.general_rise")
    assert rise.tuned == pytest.approx(0.5)
    assert rise.verdict == "unclear" and rise.details is not None and rise.details["claim_holds"] is None


def test_the_general_texts_are_many_and_varied_and_no_two_are_alike() -> None:
    texts = general_texts()
    assert len(texts) == len({text.text for text in texts}) >= 40
    assert sum(len(text.text.split()) for text in texts) >= 3_000
    assert len({text.kind for text in texts}) >= 25
    assert all(text.text and "#" not in text.text for text in texts)
