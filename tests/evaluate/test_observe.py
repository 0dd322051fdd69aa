"""What is seen of a model."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from duologue.characters import Character
from duologue.config import Config, EvaluationSection, make_config
from duologue.engine import Event, Example, Generator, Piece, Sampling
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError
from duologue.evaluate.case import Case
from duologue.evaluate.keep import digest_of
from duologue.evaluate.material import GeneralText
from duologue.evaluate.observe import Opener, Subject, Work, observe
from duologue.evaluate.observed import Observed
from duologue.messages import Message

ADA = Character("Ada", description="An engineer.", greeting="Good evening, {{user}}.")
TALK = Case("talk", "written", ("My name is {{user}}.", "And yours?"), (Message("assistant", ADA.greeting),))
BASE = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["a.json"]}}


def config_with(**generation: object) -> Config:
    return make_config({**BASE, "generation": generation, "character": {"user_name": "Sam"}}, where="a test")


class Watched(FakeGenerator):
    """A fake that keeps what it was asked."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.asked: list[tuple[str, Sampling]] = []

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        self.asked.append((self.tokenizer.decode(prompt_ids), sampling))
        return super().stream(prompt_ids, sampling, cancel=cancel)


def seen(work: Work, generator: FakeGenerator, events: list[Event] | None = None) -> Observed:
    on_event = (events if events is not None else []).append
    return observe(work, subject_of(lambda: generator), which="tuned", on_event=on_event)


def subject_of(open_generator: Callable[[], Generator], *, engine: str = "fake") -> Subject:
    return Subject("x", {}, Opener(engine, open_generator))


def test_a_case_is_gone_through_as_a_chat_would_with_the_models_own_answers() -> None:
    generator = Watched(reply="I heard {message}")
    work = Work(config_with(max_new_tokens=20, temperature=0.5), ADA, cases=(TALK,), seeds=(7, 8))
    found = seen(work, generator)
    assert [(item.case.id, item.seed) for item in found.dialogues] == [("talk", 7), ("talk", 8)]
    first, second = found.dialogues[0].replies
    assert first.text == "I heard My name is Sam."
    assert first.finish_reason == "stop" and first.num_tokens > 0 and first.num_prompt_tokens > 0
    text, sampling = generator.asked[1]
    parts = [
        "You are Ada. An engineer.",
        "Good evening, Sam.",
        "My name is Sam.",
        "I heard My name is Sam.",
        "And yours?",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert (sampling.seed, sampling.temperature, sampling.max_new_tokens) == (7, 0.5, 20)
    assert second.num_prompt_tokens > first.num_prompt_tokens


def test_a_dialogue_longer_than_the_context_loses_whole_turns_at_its_beginning() -> None:
    long = Case("long", "long", tuple(f"Turn number {number}, and some words more." for number in range(40)))
    generator = Watched(reply="Yes, quite so, turn by turn.", context_tokens=400)
    [dialogue] = seen(Work(config_with(max_new_tokens=40), ADA, cases=(long,), seeds=(0,)), generator).dialogues
    assert len(dialogue.replies) == 40
    last, _ = generator.asked[-1]
    assert "You are Ada." in last and "Turn number 39" in last and "Turn number 0," not in last
    assert all(reply.num_prompt_tokens <= 400 - 40 for reply in dialogue.replies)


def test_a_case_that_fails_is_noted_and_the_others_go_on() -> None:
    class Faulty(FakeGenerator):
        def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
            if sampling.seed == 1:
                raise EngineError("the seed is unlucky")
            return super().stream(prompt_ids, sampling, cancel=cancel)

    too_long = Case("huge", "written", ("word " * 3000,))
    events: list[Event] = []
    work = Work(config_with(max_new_tokens=8), ADA, cases=(too_long, TALK), seeds=(0, 1))
    found = seen(work, Faulty(context_tokens=500), events)
    assert [(item.case.id, item.seed) for item in found.dialogues] == [("talk", 0)]
    assert len(found.faults) == 3
    assert any("case talk, seed 1: the seed is unlucky" in fault for fault in found.faults)
    assert any("case huge" in fault for fault in found.faults)
    assert events[-1].values["done"] == events[-1].values["total"] == 6


def test_scores_keep_their_order_and_count_the_bytes_of_what_was_scored() -> None:
    generator = FakeGenerator()
    encode = generator.tokenizer.encode
    end = next(iter(generator.tokenizer.stop_token_ids))
    texts = ["Grüße aus dem Zug, langsam und spät.", "Yes.", "A little longer."]
    examples = [
        Example((1, *encode(text), end), (-100, *encode(text), end), f"a:{at}") for at, text in enumerate(texts)
    ]
    found = seen(Work(config_with(), ADA, examples={"held_out": examples}), generator)
    assert [score.source for score in found.scores] == ["a:0", "a:1", "a:2"]
    assert [score.num_bytes for score in found.scores] == [len(text.encode()) for text in texts]
    expected = [generator.__class__().score([example])[0] for example in examples]
    assert [(score.nats, score.num_tokens) for score in found.scores] == expected


def test_running_text_is_scored_but_for_its_first_token() -> None:
    text = GeneralText("general.txt:1", "letter", "The river runs low in August.")
    [score] = seen(Work(config_with(), ADA, texts=(text,)), FakeGenerator()).scores_of("general")
    ids = FakeGenerator().tokenizer.encode(text.text)
    assert (score.source, score.num_tokens) == ("general.txt:1", len(ids) - 1)
    assert 0 < score.num_bytes < len(text.text.encode())


def test_examples_longer_than_the_context_are_left_out_and_told() -> None:
    examples = [Example(tuple(range(size)), tuple(range(size)), f"a:{size}") for size in (10, 600)]
    found = seen(Work(config_with(), ADA, examples={"held_out": examples}), FakeGenerator(context_tokens=512))
    assert [score.source for score in found.scores] == ["a:10"]
    assert any("1 held_out examples are longer" in fault for fault in found.faults)


def test_the_time_to_go_is_told_once_both_kinds_of_work_have_a_pace() -> None:
    events: list[Event] = []
    examples = [Example((1, 2, 3), (-100, 2, 3), f"a:{number}") for number in range(20)]
    now = [0.0]

    class Timed(FakeGenerator):
        def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
            now[0] += 1.0 * len(examples)
            return super().score(examples)

        def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
            now[0] += 10.0
            return super().stream(prompt_ids, sampling, cancel=cancel)

    work = Work(config_with(), ADA, examples={"held_out": examples}, cases=(TALK,), seeds=(0, 1))
    observe(work, subject_of(Timed), which="base", on_event=events.append, clock=lambda: now[0])
    assert "seconds_to_go" not in events[0].values
    told = [event.values["seconds_to_go"] for event in events if "seconds_to_go" in event.values]
    assert told == pytest.approx([30.0, 20.0, 10.0, 0.0])


def work_with(**changes: object) -> Work:
    card = Example((5, 6, 7), (-100, -100, 7), "a.json:1")
    work = Work(config_with(), ADA, examples={"held_out": (card,)}, cases=(TALK,), seeds=(1,), prompts=("Hello",))
    return replace(work, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"config": config_with(temperature=0.123)},
        {"config": config_with().model_copy(update={"evaluation": EvaluationSection(max_new_tokens=3)})},
        {"config": make_config({**BASE, "character": {"user_name": "Sam", "persona": "A baker."}}, where="a test")},
        {"config": make_config({**BASE, "character": {"user_name": "Max"}}, where="a test")},
        {"character": replace(ADA, description="A pilot.")},
        {"examples": {"held_out": (Example((5, 6, 8), (-100, -100, 8), "a.json:1"),)}},
        {"examples": {"held_out": (Example((5, 6, 7), (-100, 6, 7), "a.json:1"),)}},
        {"examples": {"train": (Example((5, 6, 7), (-100, -100, 7), "a.json:1"),)}},
        {"texts": (GeneralText("general:1", "weather", "It rains."),)},
        {"cases": (replace(TALK, user_turns=("Who?",)),)},
        {"seeds": (2,)},
        {"max_new_tokens": 9},
        {"prompts": ("Goodbye",)},
        {"speed_lengths": (128,)},
    ],
)
def test_whatever_decides_what_is_seen_asks_the_model_again(changes: dict[str, object]) -> None:
    assert digest_of(work_with(**changes), {"base": "x"}) != digest_of(work_with(), {"base": "x"})
    assert digest_of(work_with(), {"base": "y"}) != digest_of(work_with(), {"base": "x"})
    assert digest_of(work_with(), {"base": "x"}) == digest_of(work_with(), {"base": "x"})


def test_speeds_at_other_lengths_are_measured_anew() -> None:
    lengths = ((), (128, 512), (128, 1024))
    assert len({digest_of(work_with(speed_lengths=each), {"base": "x"}) for each in lengths}) == 3


def test_speeds_are_named_after_the_engine_that_was_opened() -> None:
    work = Work(config_with(), ADA, speed_lengths=(32,))
    for engine in ("hf", "gguf"):
        found = observe(work, subject_of(FakeGenerator, engine=engine), which="base", on_event=lambda _: None).speeds
        assert [speed.engine for speed in found] == [engine, f"{engine} (warm)"]
        assert {speed.context_tokens for speed in found} == {32}


def test_one_engine_scores_another_talks_and_each_is_closed_before_the_next_and_timed() -> None:
    log: list[str] = []

    class Named(Watched):
        def __init__(self, name: str) -> None:
            super().__init__(reply=f"I am {name}")
            self.name = name
            log.append(f"open {name}")

        def score(self, examples: Sequence[Example]) -> tuple[tuple[float, int], ...]:
            log.append(f"{self.name} scores")
            return super().score(examples)

        def close(self) -> None:
            log.append(f"close {self.name}")

    card = Example((5, 6, 7), (-100, -100, 7), "a.json:1")
    work = Work(config_with(), ADA, examples={"held_out": (card,)}, cases=(TALK,), seeds=(1,), speed_lengths=(32,))
    subject = Subject(
        "x",
        {},
        Opener("hf", lambda: Named("one")),
        Opener("gguf", lambda: Named("two")),
        (Opener("export q8_0", lambda: Named("three")),),
    )
    found = observe(work, subject, which="base", on_event=lambda _: None)

    assert log == [
        *("open one", "one scores", "close one", "open two", "close two", "open three", "close three"),
    ]
    assert {reply.text for dialogue in found.dialogues for reply in dialogue.replies} == {"I am two"}
    assert {speed.engine.removesuffix(" (warm)") for speed in found.speeds} == {"hf", "gguf", "export q8_0"}
    unhurried = observe(replace(work, speed_lengths=()), subject, which="base", on_event=lambda _: None)
    assert unhurried.speeds == () and "open three" not in log[7:]
