"""The bundled model as a judge: a poor one, but a real one."""

import threading
from collections.abc import Sequence

import pytest

from duologue.engine import BaseModel, Sampling, open_generator
from duologue.evaluate.evaluators import judge
from duologue.messages import Message
from tests.evaluate.evaluators import voices


@pytest.mark.slow
def test_a_real_model_judges_and_what_it_does_not_decide_is_counted() -> None:
    generator = open_generator("hf", BaseModel("bundled:smollm2-135m"))

    def ask(messages: Sequence[Message]) -> str:
        prompt_ids = generator.tokenizer.render(messages, add_generation_prompt=True)
        sampling = Sampling(max_new_tokens=8, temperature=0)
        pieces = generator.stream(prompt_ids, sampling, cancel=threading.Event())
        return "".join(piece.text for piece in pieces)

    cases = voices.cases()[:6]
    base = voices.observed("base", voices.assistant(), cases)
    tuned = voices.observed("tuned", voices.lila(), cases)
    try:
        found = judge.measure(voices.known(more={"judge": ask}), base, tuned)
    finally:
        generator.close()
    preference = found[0]
    assert preference.name == "judge.preference"
    if preference.fault:
        assert "num_unparsable" in preference.fault
    else:
        assert preference.details is not None
        assert preference.details["num_failed"] == 0
        assert preference.num + preference.details["num_unparsable"] >= len(cases)
