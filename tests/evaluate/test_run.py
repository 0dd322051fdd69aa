import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config, make_config
from duologue.data import DataStats
from duologue.engine import BaseModel, Event, Example, Generator, Piece, Sampling, open_generator
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError, GuardError
from duologue.evaluate import Evaluation, Kept, Known, Opener, Subject, Suite, load_suite, make_work, run
from duologue.evaluate.evaluators import Evaluator
from duologue.messages import Message

CASES = "".join(f"[[cases]]\nid = '{name}'\nuser_turns = ['{name}', 'And?']\n" for name in ("one", "two", "three"))
NO_STATS = DataStats(**dict.fromkeys((item.name for item in fields(DataStats)), 0))
LABELS = (-100, -100, 1009, 1513)  # the fake scores a label L with 1 + L % 1009 / 1009 nats


def examples(count: int) -> tuple[Example, ...]:
    return tuple(Example((5, 6, 1009, 1513), LABELS, f"talk.json:{row}") for row in range(1, count + 1))


def config_with(**evaluation: object) -> Config:
    tree = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["talk.json"]}, "evaluation": evaluation}
    return make_config(tree, where="a test")


@pytest.fixture
def config() -> Config:
    return config_with(prompts=["Hello", "Where does the train go?"], max_new_tokens=8)


def evaluate(
    config: Config,
    character: Character,
    *,
    validation: Sequence[Example] = (),
    open_base: Callable[[], Generator] = FakeGenerator,
    open_tuned: Callable[[], Generator] = FakeGenerator,
    on_event: Callable[[Event], None] = print,
    clock: Callable[[], float] = time.perf_counter,
    suite: Suite | None = None,
    kept: Kept | None = None,
) -> Evaluation:
    suite = suite or load_suite("quick")
    return run(
        suite,
        make_work(suite, config, character, train=(), validation=validation),
        Known(config, character, (), ()),
        base=Subject("base", {"base": "fake"}, Opener("fake", open_base)),
        tuned=Subject("2026-11-23-1", {"base": "fake", "adapter_sha256": "1"}, Opener("fake", open_tuned)),
        stats=NO_STATS,
        on_event=on_event,
        kept=kept,
        clock=clock,
    )


class Biased(FakeGenerator):
    """A fake whose every scored token costs this many nats."""

    def __init__(self, nats: float) -> None:
        super().__init__(reply="All aboard, passenger.")
        self.nats = nats

    def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
        return tuple((self.nats * item.num_scored_tokens, item.num_scored_tokens) for item in examples)


def test_the_loss_is_nats_per_trained_token_and_the_perplexity_its_exponential(
    config: Config, character: Character
) -> None:
    evaluation = evaluate(config, character, validation=examples(40))
    expected = (1.0 + 1.0 + 504 / 1009) / 2
    assert evaluation.base.num_scored_tokens == 80
    assert evaluation.base.loss == pytest.approx(expected)
    assert evaluation.base_perplexity == pytest.approx(math.exp(expected))


def test_the_improvement_is_the_share_by_which_the_perplexity_fell(config: Config, character: Character) -> None:
    evaluation = evaluate(
        config,
        character,
        validation=examples(3),
        open_base=lambda: Biased(math.log(20)),
        open_tuned=lambda: Biased(math.log(5)),
    )
    assert (evaluation.base_perplexity, evaluation.tuned_perplexity) == pytest.approx((20.0, 5.0))
    assert evaluation.improvement_fraction == pytest.approx(0.75)


def test_without_held_out_examples_there_is_no_perplexity_but_there_are_replies(
    config: Config, character: Character
) -> None:
    evaluation = evaluate(config, character)
    assert evaluation.base_perplexity is None
    assert evaluation.improvement_fraction is None
    assert evaluation.tuned.replies[0].startswith("You said: Hello")


def test_the_base_model_is_closed_before_the_tuned_one_is_opened(config: Config, character: Character) -> None:
    log: list[str] = []

    class Logged(FakeGenerator):
        def close(self) -> None:
            log.append("close")
            super().close()

    def opened() -> Logged:
        log.append("open")
        return Logged()

    evaluate(config, character, open_base=opened, open_tuned=opened)
    assert log == ["open", "close", "open", "close"]


def test_a_model_that_fails_is_closed_too(config: Config, character: Character) -> None:
    narrow = FakeGenerator(context_tokens=10)
    with pytest.raises(GuardError, match="at most"):
        evaluate(config, character, open_base=lambda: narrow)
    with pytest.raises(EngineError, match="closed"):
        narrow.stream((1,), Sampling(max_new_tokens=1), cancel=threading.Event())


def test_speed_leaves_the_first_token_out_and_medians_are_taken_over_the_prompts(character: Character) -> None:
    class Slow(FakeGenerator):
        """Every reply waits for its first token for as many seconds as its number, then takes 0.1 s per token."""

        def __init__(self) -> None:
            super().__init__()
            self.now = 0.0
            self.waits = iter((5.0, 1.0, 2.0))

        def stream(self, *_: object, **__: object) -> Iterator[Piece]:
            self.now += next(self.waits)
            for num_tokens in range(1, 12):
                yield Piece("a", num_tokens)
                self.now += 0.1
            self.now += 7.0  # looking for one more token must not count
            yield Piece("", 11, "stop")

    slow = Slow()
    config = config_with(prompts=["one", "two", "three"])
    side = evaluate(config, character, open_base=lambda: slow, clock=lambda: slow.now).base
    assert side.first_token_seconds == pytest.approx(2.0)
    assert side.tokens_per_second == pytest.approx(10.0)


def test_a_model_that_says_nothing_has_no_speed(config: Config, character: Character) -> None:
    silent = evaluate(config, character, open_tuned=lambda: FakeGenerator(reply="")).tuned
    assert silent.replies == ("", "")
    assert silent.tokens_per_second is None
    assert silent.first_token_seconds is None


def test_prompts_are_rendered_as_in_chat_and_decoded_greedily(config: Config, character: Character) -> None:
    seen: list[tuple[tuple[int, ...], Sampling]] = []

    class Watched(FakeGenerator):
        def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
            seen.append((tuple(prompt_ids), sampling))
            return super().stream(prompt_ids, sampling, cancel=cancel)

    evaluate(config, character, open_tuned=Watched)
    messages = prompt.build(character, [Message("user", "Hello")], user_name=config.character.user_name)
    assert seen[0][0] == FakeGenerator().tokenizer.render(messages, add_generation_prompt=True)
    assert seen[0][1].temperature == 0
    assert seen[0][1].max_new_tokens == 8
    assert seen[0][1].repetition_penalty == config.generation.repetition_penalty


def test_progress_runs_from_nothing_to_everything_once_per_model(config: Config, character: Character) -> None:
    events: list[Event] = []
    evaluate(config, character, validation=examples(20), on_event=events.append)
    assert {event.name for event in events} == {"evaluating"}
    for which in ("base", "tuned"):
        done = [event.values["done"] for event in events if event.values["which"] == which]
        assert done == [0, 16, 20, 21, 22]
    assert {event.values["total"] for event in events} == {22}


@pytest.mark.parametrize("nats", [math.nan, math.inf, 800.0])
def test_a_broken_model_is_named_instead_of_measured(config: Config, character: Character, nats: float) -> None:
    with pytest.raises(EngineError, match="tuned model") as caught:
        evaluate(config, character, validation=examples(1), open_tuned=lambda: Biased(nats))
    assert "learning_rate" in str(caught.value)


def test_the_json_has_the_promised_keys_and_is_strict(config: Config, character: Character) -> None:
    document = evaluate(config, character, validation=examples(2)).as_json()
    assert set(document) == {
        "base_perplexity",
        "tuned_perplexity",
        "base_loss",
        "tuned_loss",
        "improvement_fraction",
        "num_scored_tokens",
        "tokens_per_second",
        "first_token_seconds",
        "replies",
        *("measures", "verdict", "gate", "suite", "evaluators", "seeds", "seed", "compared_with", "models"),
        *("dialogues", "distributions", "speeds", "faults", "generation", "versions", "machine", "run"),
    }
    assert set(document["tokens_per_second"]) == set(document["first_token_seconds"]) == {"base", "tuned"}
    assert document["num_scored_tokens"] == 4
    assert [set(reply) for reply in document["replies"]] == [{"prompt", "base", "tuned"}] * 2
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_real_model_is_scored_and_answers(character: Character) -> None:
    config = config_with(prompts=["Hello, who are you?", "What is the capital of France?"], max_new_tokens=8)

    def opened() -> Generator:
        return open_generator("hf", BaseModel("bundled:smollm2-135m"))

    tokenizer = (generator := opened()).tokenizer
    question, answer = Message("user", "Where are you?"), Message("assistant", "I am on the night train.")
    before = tokenizer.render([question], add_generation_prompt=True)
    ids = tokenizer.render([question, answer], add_generation_prompt=False)
    example = Example(ids, (*[-100] * len(before), *ids[len(before) :]), "talk.json:1")
    ready = iter([generator])
    evaluation = evaluate(
        config,
        character,
        validation=(example, replace(example, source="talk.json:2")),
        open_base=lambda: next(ready),
        open_tuned=opened,
    )
    assert evaluation.base.num_scored_tokens == 2 * example.num_trained_tokens
    assert 1.0 < (evaluation.base_perplexity or 0.0) < 1000.0
    assert evaluation.tuned_perplexity == pytest.approx(evaluation.base_perplexity)
    assert evaluation.tuned.replies == evaluation.base.replies
    assert all(evaluation.base.replies)


def test_what_was_seen_is_kept_and_asked_for_once(config: Config, character: Character, tmp_path: Path) -> None:
    opened: list[int] = []

    def counted() -> FakeGenerator:
        opened.append(1)
        return FakeGenerator()

    first = evaluate(config, character, validation=examples(2), open_base=counted, kept=Kept(tmp_path))
    again = evaluate(config, character, validation=examples(2), open_base=counted, kept=Kept(None, (tmp_path,)))
    assert len(opened) == 1
    assert again.as_json() == first.as_json()
    evaluate(config, character, validation=examples(3), open_base=counted, kept=Kept(tmp_path))
    assert len(opened) == 2, "other questions are asked"
    evaluate(config, character, validation=examples(3), open_base=counted, kept=Kept(tmp_path, is_fresh=True))
    assert len(opened) == 3
    assert not list(tmp_path.rglob("*.partial"))


def test_a_kept_file_that_was_damaged_is_seen_again(config: Config, character: Character, tmp_path: Path) -> None:
    first = evaluate(config, character, validation=examples(2), kept=Kept(tmp_path))
    for path in (tmp_path / "observed").iterdir():
        path.write_text(path.read_text()[:100])
    again = evaluate(config, character, validation=examples(2), kept=Kept(tmp_path))
    assert again.base_perplexity == first.base_perplexity


def test_an_interrupted_evaluation_leaves_nothing_half_written(
    config: Config, character: Character, tmp_path: Path
) -> None:
    class Stopped(FakeGenerator):
        def stream(self, *_: object, **__: object) -> Iterator[Piece]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(config, character, validation=examples(2), open_tuned=Stopped, kept=Kept(tmp_path))
    assert len(list((tmp_path / "observed").iterdir())) == 1, "the base is kept, the tuned model is not"


def test_an_interrupted_evaluation_goes_on_with_the_next_dialogue(
    config: Config, character: Character, tmp_path: Path
) -> None:
    suite = Suite("s", 1, "digest", seeds=(0,), evaluators={"form": 1}, case_texts={"a.toml": CASES})
    asked: list[int] = []

    class Stopped(FakeGenerator):
        def __init__(self, most: int) -> None:
            super().__init__(reply="\u2028 So be it, {message}")
            self.most = most

        def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
            if len(asked) == self.most:
                raise KeyboardInterrupt
            asked.append(1)
            return super().stream(prompt_ids, sampling, cancel=cancel)

    def again(most: int, **kept: bool) -> Evaluation:
        asked.clear()
        return evaluate(
            config,
            character,
            suite=suite,
            open_tuned=lambda: Stopped(most),
            kept=Kept(tmp_path, **kept),
            clock=lambda: 0.0,
        )

    with pytest.raises(KeyboardInterrupt):
        again(5)  # of six replies in three dialogues
    [diary] = (tmp_path / "observed").glob("*.jsonl")
    with diary.open("a") as file:
        file.write('{"case": {"id": "th')  # the machine went off
    found = again(99)
    assert len(asked) == 2, "only the third dialogue is had"
    assert not list((tmp_path / "observed").glob("*.jsonl"))
    whole = again(99, is_fresh=True)
    assert len(asked) == 6
    assert found.as_json() == whole.as_json()


def test_an_evaluator_that_fails_becomes_a_measure_with_its_fault_and_the_others_go_on(
    config: Config, character: Character, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("duologue.evaluate.evaluators.loops.EVALUATOR", Evaluator("loops", 2, broken))
    suite = replace(load_suite("quick"), evaluators={"loops": 1, "language": 1})
    evaluation = evaluate(config, character, validation=examples(3), suite=suite)
    measures = {measure.name: measure for measure in evaluation.measures}
    assert measures["evaluator.loops"].fault == "of all things"
    assert measures["evaluator.loops"].verdict == "not measured"
    assert measures["language.perplexity"].tuned == pytest.approx(evaluation.tuned_perplexity)
    assert any("loops has version 2" in fault for fault in evaluation.facts["faults"])


def test_dialogues_of_both_models_stand_side_by_side(config: Config, character: Character) -> None:
    suite = replace(
        load_suite("quick"),
        seeds=(3, 4),
        case_texts={"c": '[[cases]]\nid = "a"\nuser_turns = ["One", "Two"]\n'},
    )
    evaluation = evaluate(
        config,
        character,
        open_tuned=lambda: FakeGenerator(reply="Tuned {message} {seed}"),
        open_base=lambda: FakeGenerator(reply="Base {message}"),
        suite=suite,
    )
    rows = evaluation.facts["dialogues"]
    assert [(row["case"], row["seed"]) for row in rows] == [("a", 3), ("a", 4)]
    assert [turn["tuned"] for turn in rows[1]["turns"]] == ["Tuned One 4", "Tuned Two 4"]
    assert [turn["base"] for turn in rows[1]["turns"]] == ["Base One", "Base Two"]


def test_the_interval_of_the_perplexity_is_that_of_the_losses(config: Config, character: Character) -> None:
    rising = [
        Example((5, *range(1000, 1000 + size)), (-100, *range(1000, 1000 + size)), f"talk.json:{size}")
        for size in (4, 9, 30)
    ]
    found = evaluate(config, character, validation=rising, open_base=lambda: Biased(3.0)).measures
    [measure] = [each for each in found if each.name == "language.perplexity"]
    assert (measure.verdict, measure.num) == ("better", 3)
    assert measure.base == pytest.approx(math.exp(3.0))
    assert measure.low <= measure.tuned - measure.base <= measure.high < 0


def test_a_suite_that_does_not_look_at_the_held_out_replies_does_not_pass_the_gate(
    config: Config, character: Character
) -> None:
    suite = replace(load_suite("quick"), evaluators={})
    evaluation = evaluate(config, character, open_base=lambda: Biased(3.0), suite=suite)
    assert evaluation.measures == ()
    gate = evaluation.as_json()["gate"]
    assert not gate["is_open"]
    assert "this suite does not measure it" in gate["broken"][0]
