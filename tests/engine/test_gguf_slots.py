"""Several replies on one loaded model: who speaks when, with which slot, and what each keeps of its chat."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from duologue.engine import BaseModel, Sampling
from duologue.engine.gguf import GgufGenerator
from duologue.engine.gguf.slots import Slots
from duologue.errors import EngineError
from duologue.messages import Message

GREEDY = Sampling(max_new_tokens=10, temperature=0.0, repetition_penalty=1.0)
SHARED = tuple(range(100))


def _never():
    return False


def _taken(slots, prompt_ids, **more):
    number = slots.take(prompt_ids, gave_up=_never, **more)
    slots.give_back(number)
    return number


def test_a_chat_that_goes_on_gets_the_slot_that_holds_it():
    slots = Slots(3)
    one, two = (*SHARED, *range(200, 400)), (*SHARED, *range(500, 900))
    first, second = _taken(slots, one), _taken(slots, two)
    assert first != second, "a new chat that shares the first lines does not take a running chat's slot"
    assert _taken(slots, (*two, 1, 2, 3)) == second
    assert _taken(slots, (*one, 4, 5)) == first
    assert _taken(slots, one[:-50]) == first, "the last reply said again"


def test_a_short_new_chat_with_a_long_character_leaves_a_running_chat_its_slot():
    slots = Slots(2)
    running = (*SHARED, *range(200, 260))
    first = _taken(slots, running)
    assert _taken(slots, (*SHARED, 900, 901)) != first
    assert _taken(slots, (*running, 5, 6)) == first


def test_the_slot_that_was_not_used_for_longest_is_given_to_a_new_chat():
    slots = Slots(2)
    chats = [tuple(range(start, start + 50)) for start in (0, 1000, 2000)]
    first, second = (_taken(slots, chat) for chat in chats[:2])
    assert _taken(slots, (*chats[0], 7)) == first
    assert _taken(slots, chats[2]) == second


def test_states_made_with_another_adapter_are_not_gone_on_with():
    slots = Slots(2)
    first = _taken(slots, SHARED, wearing=(0.0,))
    assert _taken(slots, (*SHARED, 1), wearing=(1.0,)) != first
    assert _taken(slots, (*SHARED, 1), wearing=(0.0,)) == first


def test_whoever_comes_first_is_served_first_and_may_give_up():
    slots = Slots(1)
    held, order, impatient = slots.take(SHARED, gave_up=_never), [], threading.Event()

    def wait(name, gave_up):
        number = slots.take((1,), gave_up=gave_up)
        if number is not None:
            order.append(name)
            slots.give_back(number)
        return number

    with ThreadPoolExecutor() as pool:
        waiting = []
        for at, (name, gave_up) in enumerate([("a", _never), ("gone", impatient.is_set), ("b", _never)]):
            waiting.append(pool.submit(wait, name, gave_up))
            while len(slots._line) <= at:
                pass
        impatient.set()
        assert waiting[1].result() is None
        slots.give_back(held)
    assert order == ["a", "b"]


def test_who_asks_to_be_alone_waits_for_the_others_and_keeps_them_out():
    slots = Slots(2)
    held = slots.take((1,), gave_up=_never)
    asked = []
    assert slots.take((2,), is_alone=True, gave_up=lambda: asked.append(1) or len(asked) > 1) is None
    slots.give_back(held)
    alone = slots.take((2,), is_alone=True, gave_up=_never)
    assert slots.take((3,), gave_up=lambda: True) is None
    slots.give_back(alone)
    assert slots.take((3,), gave_up=lambda: True) is not None


# ------------------------------------------------------------------------------------------------------- in llama.cpp


@pytest.fixture(scope="module")
def generator():
    opened = GgufGenerator.open(BaseModel("bundled:smollm2-135m"), context_tokens=300, num_slots=2)
    yield opened
    opened.close()


def _prompt(generator, text):
    return generator.tokenizer.render([Message("user", text)], add_generation_prompt=True)


def _pieces(generator, prompt_ids, sampling=GREEDY, cancel=None):
    return list(generator.stream(prompt_ids, sampling, cancel=cancel or threading.Event()))


def _text(pieces):
    return "".join(piece.text for piece in pieces)


def test_two_chats_in_turns_each_keep_what_was_read(generator):
    river = _prompt(generator, "Tell me how rivers find the sea. " * 12)
    clocks = _prompt(generator, "Who keeps the clocks right? " * 12)
    for prompt_ids in (river, clocks):
        _pieces(generator, prompt_ids)
    for prompt_ids in (river, clocks):
        longer = (*prompt_ids, *generator.tokenizer.encode("Well"))
        assert _pieces(generator, longer)[-1].num_cached_tokens == len(prompt_ids)


def test_each_slot_holds_a_whole_context(generator):
    prompt_ids = tuple(range(1000, 1280))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda start: _pieces(generator, (start, *prompt_ids)), (500, 600)))
    assert all(pieces[-1].finish_reason in {"stop", "length"} for pieces in found)


def test_a_cancelled_reply_does_not_touch_the_other(generator):
    prompt_ids = _prompt(generator, "Count: one, two, three, four")
    long = Sampling(max_new_tokens=60, temperature=0.0, logit_bias=((2, -1e9), (0, -1e9)))
    cancel = threading.Event()
    other = generator.stream(_prompt(generator, "Say something long."), long, cancel=cancel)
    next(other)
    stream = generator.stream(prompt_ids, long, cancel=threading.Event())
    pieces = [next(stream)]
    cancel.set()
    assert list(other)[-1].finish_reason == "cancelled"
    pieces += stream
    assert (pieces[-1].finish_reason, pieces[-1].num_tokens) == ("length", 60)


def test_more_chats_than_slots_are_all_answered(generator):
    prompts = [_prompt(generator, f"Name {number} animals.") for number in range(5)]
    with ThreadPoolExecutor() as pool:
        replies = list(pool.map(lambda prompt_ids: _text(_pieces(generator, prompt_ids)), prompts))
    assert all(replies)


def test_a_fixed_seed_draws_the_same_reply_beside_others(generator):
    prompt_ids = _prompt(generator, "Tell me a dream.")
    seeded = Sampling(max_new_tokens=12, temperature=1.5, top_p=1.0, min_p=0.0, seed=11)
    alone = _text(_pieces(generator, prompt_ids, seeded))
    loose = [_prompt(generator, f"A word about {thing}?") for thing in ("snow", "tea", "owls")]
    with ThreadPoolExecutor() as pool:
        others = [pool.submit(_pieces, generator, each) for each in loose]
        beside = pool.submit(_pieces, generator, prompt_ids, seeded)
        assert _text(beside.result()) == alone
        assert all(other.result() for other in others)


def test_closing_ends_the_replies_being_made_from_any_thread():
    opened = GgufGenerator.open(BaseModel("bundled:smollm2-135m"), context_tokens=256, num_slots=2)
    stream = opened.stream(_prompt(opened, "Go on and on."), Sampling(max_new_tokens=150), cancel=threading.Event())
    next(stream)
    with ThreadPoolExecutor() as pool:
        for closing in [pool.submit(opened.close) for _ in range(2)]:
            closing.result(timeout=60)
    with pytest.raises(EngineError, match=r"stopped before|closed"):
        list(stream)
