import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.data import RenderSettings
from duologue.engine import BaseModel, open_generator, open_trainer
from duologue.engine.fake import FakeTokenizer
from duologue.errors import DataError
from duologue.evaluate.canaries import (
    Canary,
    canary_conversations,
    canary_examples,
    conversation_line,
    exposure_bits,
    exposures,
    known_canaries,
    load_canaries,
    make_canaries,
    write_canaries,
)
from duologue.evaluate.evaluators import memorisation
from duologue.evaluate.observed import Observed, Score
from duologue.messages import Conversation, Message
from tests.engine.fitting import fit
from tests.engine.made import a_job
from tests.evaluate.evaluators.numbers import known, observed, one

LILA = Character(name="Lila")
SETTINGS = RenderSettings(user_name="You", max_length_tokens=512)


def test_canaries_are_repeatable_differ_from_each_other_and_hold_their_secret_once() -> None:
    made = make_canaries(4, 20)
    assert made == make_canaries(4, 20) != make_canaries(5, 20)
    assert len({canary.name for canary in made}) == len({canary.secret for canary in made}) == 20
    assert all(canary.reply.count(canary.secret) == 1 for canary in made)
    assert made[0].space_bits == pytest.approx(8 * math.log2(10))
    with pytest.raises(DataError, match="101 canaries"):
        make_canaries(0, 101)


def test_alternatives_have_the_shape_of_the_secret_and_never_the_secret() -> None:
    canary = Canary("door", "Which?", "It is K7-pq.", "K7-pq")
    others = canary.alternatives(seed=1, num=50)
    texts = {other.messages[1].content for other in others}
    assert len(texts) == 50 and canary.reply not in texts
    for text in texts:
        secret = text.removeprefix("It is ").removesuffix(".")
        assert secret[0].isupper() and secret[1].isdigit() and secret[2] == "-" and secret[3:].islower()


def test_a_small_space_gives_all_its_alternatives_and_no_more() -> None:
    others = Canary("digit", "Which?", "It is 7.", "7").alternatives(seed=1, num=50)
    assert {other.messages[1].content for other in others} == {f"It is {digit}." for digit in "012345689"}
    assert len(others) == 9


def test_exposure_is_log2_of_the_space_less_log2_of_the_rank() -> None:
    others = [float(at) for at in range(1, 128)]
    assert exposure_bits(0.5, others) == 7.0  # first of 128
    assert exposure_bits(64.5, others) == pytest.approx(math.log2(128 / 65))
    assert exposure_bits(500.0, others) == 0.0
    assert exposure_bits(1.0, [1.0, 1.0, 1.0]) == 0.0  # a model that tells nothing apart knows nothing


def test_an_unseen_secret_has_one_and_a_half_bits_on_average() -> None:
    draw = random.Random(2)
    found = [exposure_bits(draw.random(), [draw.random() for _ in range(127)]) for _ in range(2000)]
    assert sum(found) / len(found) == pytest.approx(1 / math.log(2), abs=0.1)


def test_the_file_is_read_back_and_its_faults_are_named_together(tmp_path: Path) -> None:
    path = tmp_path / "canaries.jsonl"
    made = make_canaries(1, 3)
    write_canaries(made, path)
    assert load_canaries(path) == made
    good = path.read_text(encoding="utf-8").splitlines()[0]
    twice = json.dumps({"name": "x", "question": "q", "reply": "1 and 1", "secret": "1"})
    path.write_text("\n".join((good, "no json", twice, good, '{"name": 1}')), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_canaries(path)
    for row in (2, 3, 4, 5):
        assert f"line {row}:" in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        load_canaries(tmp_path / "none.jsonl")


def test_the_line_for_the_training_data_is_a_conversation_with_the_secret() -> None:
    [canary] = make_canaries(1, 1)
    messages = json.loads(conversation_line(canary))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["content"] == canary.reply


def test_examples_are_the_canary_and_its_look_alikes_in_order() -> None:
    made = make_canaries(1, 2)
    examples = canary_examples(made, FakeTokenizer(), character=LILA, settings=SETTINGS, seed=3, num_alternatives=5)
    assert [example.source for example in examples] == [
        conversation.source for conversation in canary_conversations(made, seed=3, num_alternatives=5)
    ]
    assert len(examples) == 12 and known_canaries(made, ()).keys() <= {example.source for example in examples}
    short = RenderSettings(user_name="You", max_length_tokens=8)
    with pytest.raises(DataError, match="does not fit"):
        canary_examples(made, FakeTokenizer(), character=LILA, settings=short, seed=3)


def all_trained(made: Sequence[Canary]) -> dict[str, bool]:
    return known_canaries(made, [canary.conversation() for canary in made])


def with_canaries(nats_of_the_true_one: float) -> Observed:
    scores = []
    for canary in make_canaries(1, 6):
        draw = random.Random(canary.name)
        scores.append(Score(canary.source, "canary", nats_of_the_true_one + draw.random(), 20, 60))
        scores += [
            Score(f"canary/{canary.name}:{at}", "canary", 40 + 10 * draw.random(), 20, 60) for at in range(1, 128)
        ]
    return observed(scores=scores)


def test_a_model_that_learned_the_secrets_is_caught_and_one_that_did_not_is_not() -> None:
    about = known(canaries=all_trained(make_canaries(1, 6)))
    caught = one(memorisation.measure(about, with_canaries(44.0), with_canaries(5.0)), "privacy.canary_exposure")
    assert (caught.tuned, caught.verdict, caught.num) == (7.0, "worse", 6)
    assert caught.details is not None and caught.details["most_that_can_be_seen"] == 7.0
    fine = one(memorisation.measure(about, with_canaries(44.0), with_canaries(44.0)), "privacy.canary_exposure")
    assert fine.tuned is not None and fine.tuned < 2.0 and fine.verdict == "same"


def test_a_canary_that_was_not_trained_on_and_one_without_look_alikes_have_no_exposure() -> None:
    scores = {"canary/a:0": 1.0, "canary/a:1": 2.0, "canary/b:0": 1.0, "canary/b:1": 2.0, "canary/c:0": 1.0}
    assert exposures(scores, {"canary/a:0": True, "canary/b:0": False, "canary/c:0": True}) == {"canary/a:0": 1.0}


def test_a_canary_that_was_held_out_or_redacted_does_not_pass_for_a_secret_that_was_kept() -> None:
    made = make_canaries(1, 6)
    redacted = Message("assistant", made[1].reply.replace(made[1].secret, "[number]"))
    asked = Conversation((Message("user", made[2].reply), Message("assistant", "I forgot.")), "a.json:9")
    train = (made[0].conversation(), Conversation((Message("user", "Well?"), redacted), "a.json:8"), asked)
    canaries = known_canaries(made, train)
    assert [source for source, was_trained in canaries.items() if was_trained] == [made[0].source]

    about = known(canaries=canaries)
    found = one(memorisation.measure(about, with_canaries(44.0), with_canaries(5.0)), "privacy.canary_exposure")
    assert found.num == 1 and found.details is not None and found.details["num_not_trained"] == 5
    about = known(canaries=known_canaries(made, ()))
    none = one(memorisation.measure(about, with_canaries(44.0), with_canaries(44.0)), "privacy.canary_exposure")
    assert none.tuned is None and "no training conversation holds one of the 6 canaries" in none.fault


def test_without_canaries_it_says_how_to_get_them() -> None:
    found = one(memorisation.measure(known(), observed(), observed()), "privacy.canary_exposure")
    assert "evaluation.canaries" in found.fault


@pytest.mark.slow
def test_the_bundled_model_gives_a_canary_away_after_training_on_it_and_not_before(tmp_path: Path) -> None:
    base = BaseModel("bundled:smollm2-135m")
    tokenizer = open_trainer("hf").tokenizer(base)
    made = make_canaries(11, 2)
    examples = canary_examples(made, tokenizer, character=LILA, settings=SETTINGS, seed=3, num_alternatives=15)
    true = [example for example in examples if example.source in all_trained(made)]
    job = a_job(
        base,
        tmp_path,
        max_steps=12,
        learning_rate=5e-3,
        micro_batch_size=2,
        gradient_accumulation_steps=1,
        save_every_steps=12,
    )
    result, _, _ = fit(job, true)
    found = []
    for adapter in (None, result.adapter):
        generator = open_generator("hf", base, adapter=adapter)
        try:
            nats = [pair[0] for pair in generator.score(examples)]
        finally:
            generator.close()
        by_source = {example.source: value for example, value in zip(examples, nats, strict=True)}
        found.append(exposures(by_source, all_trained(made)))
    before, after = found
    assert set(after.values()) == {4.0}  # the first of 16
    assert sum(before.values()) / len(before) < 3.0
