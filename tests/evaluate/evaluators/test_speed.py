import threading
from collections.abc import Iterator, Sequence

import pytest

from duologue.engine import BaseModel, Piece, Sampling, open_generator
from duologue.engine.fake import FakeGenerator
from duologue.errors import DataError
from duologue.evaluate.evaluators import speed
from duologue.evaluate.observed import Speed
from duologue.evaluate.speeds import measure_speeds, peak_resident_bytes
from tests.evaluate.evaluators.numbers import known, observed, one


class Clocked(FakeGenerator):
    """Reads 1,000 tokens a second unless it read the same prompt just before, and says 50 a second."""

    def __init__(self, *, context_tokens: int = 2048, says: int = 8) -> None:
        super().__init__()
        self.now = 0.0
        self.prompts: list[tuple[int, ...]] = []
        self._context, self._says = context_tokens, says

    @property
    def context_tokens(self) -> int:
        return self._context

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, *, cancel: threading.Event) -> Iterator[Piece]:
        del cancel
        if self.prompts[-1:] != [tuple(prompt_ids)]:
            self.now += len(prompt_ids) / 1000
        self.prompts.append(tuple(prompt_ids))
        for number in range(1, min(self._says, sampling.max_new_tokens) + 1):
            self.now += 0.02
            yield Piece("a ", number)
        yield Piece("", min(self._says, sampling.max_new_tokens), "length")

    def speeds(self, **settings: object) -> tuple[Speed, ...]:
        return measure_speeds(self, engine="fake", clock=lambda: self.now, num_new_tokens=8, **settings)  # type: ignore[arg-type]


def test_speeds_are_those_of_the_clock_cold_and_warm() -> None:
    found = {(item.engine, item.context_tokens): item for item in Clocked().speeds(lengths=(100, 500))}
    assert found["fake", 100].first_token_seconds == pytest.approx(0.12)
    assert found["fake", 500].first_token_seconds == pytest.approx(0.52)
    assert found["fake (warm)", 500].first_token_seconds == pytest.approx(0.02)
    assert {round(item.tokens_per_second, 6) for item in found.values()} == {50.0}


def test_no_two_cold_prompts_begin_alike_and_all_have_the_length() -> None:
    generator = Clocked()
    generator.speeds(lengths=(200,), num_rounds=4)
    prompts = generator.prompts[1:]
    assert {len(prompt) for prompt in prompts} == {200}
    assert len({prompt[:3] for prompt in prompts}) == 4
    assert prompts[0::2] == prompts[1::2]


def test_lengths_that_do_not_fit_give_way_to_the_longest_that_does() -> None:
    found = Clocked(context_tokens=300).speeds(lengths=(128, 512, 1024))
    assert [item.context_tokens for item in found] == [128, 128, 292, 292]


def test_a_reply_of_one_token_has_no_speed() -> None:
    assert {item.tokens_per_second for item in Clocked(says=1).speeds(lengths=(50,))} == {0.0}


def test_the_peak_of_memory_is_asked_for_once_a_length() -> None:
    peaks = iter((5, 9))
    found = Clocked().speeds(lengths=(50, 100), peak_memory_bytes=lambda: next(peaks))
    assert [item.peak_memory_bytes for item in found] == [5, 5, 9, 9]
    assert peak_resident_bytes() > 2**20


def test_a_vocabulary_on_a_server_gets_whole_messages() -> None:
    class Remote(Clocked):
        @property
        def tokenizer(self):  # type: ignore[no-untyped-def, override]
            inner = super().tokenizer

            class Packed:
                def encode(self, text: str) -> Sequence[int]:
                    raise DataError(f"{len(text)} characters: the vocabulary is not known here")

                def __getattr__(self, name: str) -> object:
                    return getattr(inner, name)

            return Packed()

    found = Remote().speeds(lengths=(100,))
    assert all(80 <= item.context_tokens <= 100 for item in found)


def test_a_real_model_is_measured(tiny_model: str) -> None:
    generator = open_generator("hf", BaseModel(tiny_model))
    try:
        found = measure_speeds(generator, engine="hf", lengths=(32, 1024), num_rounds=2, num_new_tokens=4)
    finally:
        generator.close()
    assert [item.context_tokens for item in found] == [32, 32, 508, 508]
    assert all(item.first_token_seconds > 0 and item.peak_memory_bytes > 0 for item in found)


def test_a_slower_model_is_worse_and_noise_is_the_same() -> None:
    fast, noisy, slow = (
        observed(speeds=[Speed("hf", 512, 0.5 * factor, 30 / factor, 2**30)]) for factor in (1.0, 1.05, 2.0)
    )
    found = speed.measure(known(), fast, slow)
    assert [measure.verdict for measure in found] == ["worse", "worse", "same"]
    assert one(found, "speed.peak_memory", "hf, 512 tokens").tuned == 1.0
    assert {measure.verdict for measure in speed.measure(known(), fast, noisy)} == {"same"}
    assert [measure.verdict for measure in speed.measure(known(), slow, fast)] == ["better", "better", "same"]


def test_an_engine_of_one_model_is_only_shown_and_none_is_not_measured() -> None:
    alone = observed(speeds=[Speed("gguf", 128, 0.5, 30.0, 2**30)])
    found = speed.measure(known(), observed(), alone)
    assert {(measure.base, measure.verdict) for measure in found} == {(None, "only shown")}
    assert {measure.verdict for measure in speed.measure(known(), observed(), observed())} == {"not measured"}
