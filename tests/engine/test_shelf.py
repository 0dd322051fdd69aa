"""Shared models: loaded when needed, put away when room is needed, never under somebody's hands."""

import threading
import time

import pytest

from duologue.engine import Adapter, BaseModel, Sampling, Shelf
from duologue.engine.fake import FakeGenerator
from duologue.errors import EngineError, GuardError
from duologue.messages import Message

ONE, TWO = BaseModel("one"), BaseModel("two")
QUESTION = [Message("user", "Hello there")]
ANSWER = "You said: Hello there Tell me more about that."


class Opened:
    """Counts what is loaded."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.most = 0
        self.now = 0

    def __call__(self, engine, base, *, adapter, api_key):
        self.names.append(base.name)
        self.now += 1
        self.most = max(self.most, self.now)
        opened = self

        class Counted(FakeGenerator):
            def close(self) -> None:
                opened.now -= 1

        return Counted()


def ask(generator) -> str:
    ids = generator.tokenizer.render(QUESTION, add_generation_prompt=True)
    return "".join(piece.text for piece in generator.stream(ids, Sampling(), cancel=threading.Event()))


def test_a_model_is_loaded_when_the_first_word_is_needed_and_once_for_all():
    opened = Opened()
    shelf = Shelf(open_model=opened)
    first, second = shelf.lend("fake", ONE), shelf.lend("fake", ONE)

    assert opened.names == []
    assert ask(first) == ask(second) == ANSWER
    assert opened.names == ["one"]
    assert shelf.is_loaded("fake", ONE)


def test_a_second_model_takes_the_place_of_the_first():
    opened = Opened()
    shelf = Shelf(open_model=opened)
    one, two = shelf.lend("fake", ONE), shelf.lend("fake", TWO)

    ask(one)
    ask(two)

    assert shelf.names() == ("two",)
    assert ask(one) == ANSWER
    assert opened.names == ["one", "two", "one"]
    assert opened.most == 1


def test_a_model_that_replies_is_not_put_away():
    opened = Opened()
    shelf = Shelf(open_model=opened)
    one, two = shelf.lend("fake", ONE), shelf.lend("fake", TWO)
    ids = one.tokenizer.render(QUESTION, add_generation_prompt=True)
    pieces = one.stream(ids, Sampling(), cancel=threading.Event())
    next(pieces)
    other = threading.Thread(target=ask, args=(two,))
    other.start()

    time.sleep(1.5)  # longer than a model rests

    assert opened.names == ["one"]
    assert list(pieces)
    other.join(20)
    assert opened.names == ["one", "two"]


def test_two_characters_talking_at_once_do_not_take_each_others_model_in_the_middle_of_a_turn():
    opened = Opened()
    shelf = Shelf(open_model=opened)
    lent = [shelf.lend("fake", ONE), shelf.lend("fake", TWO)]

    def turn(generator) -> None:
        for _ in range(20):
            generator.tokenizer.encode("a word")
            time.sleep(0.01)
        ask(generator)

    threads = [threading.Thread(target=turn, args=(each,)) for each in lent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(opened.names) == 2


def test_a_model_that_cannot_be_loaded_says_so_each_time_and_holds_nothing_up():
    def broken(engine, base, *, adapter, api_key):
        raise EngineError("there is no such model")

    shelf = Shelf(open_model=broken)

    for _ in range(2):
        with pytest.raises(EngineError, match="no such model"):
            ask(shelf.lend("fake", ONE))


def test_closing_frees_every_model():
    opened = Opened()
    shelf = Shelf(2, open_model=opened)
    ask(shelf.lend("fake", ONE))
    ask(shelf.lend("fake", TWO))

    shelf.close()

    assert opened.now == 0
    assert shelf.names() == ()


def test_a_shelf_that_rests_holds_no_model_and_loads_again_when_it_is_asked():
    opened = Opened()
    shelf = Shelf(2, open_model=opened)
    one, two = shelf.lend("fake", ONE), shelf.lend("fake", TWO)
    ask(one)
    ask(two)

    assert shelf.rest(timeout_seconds=5)
    assert opened.now == 0 and shelf.names() == ()
    assert ask(one) == ANSWER


def test_resting_waits_for_a_reply_that_is_being_written_but_not_for_ever():
    opened = Opened()
    shelf = Shelf(open_model=opened)
    one = shelf.lend("fake", ONE)
    ids = one.tokenizer.render(QUESTION, add_generation_prompt=True)
    pieces = one.stream(ids, Sampling(), cancel=threading.Event())
    next(pieces)

    assert not shelf.rest(timeout_seconds=0.01)
    assert opened.now == 1, "the model is not taken from under the reply"
    rested = []
    resting = threading.Thread(target=lambda: rested.append(shelf.rest(timeout_seconds=30)))
    resting.start()
    list(pieces)
    resting.join(30)
    assert rested == [True] and opened.now == 0


def test_whoever_has_no_memory_to_spare_is_asked_before_a_model_is_loaded():
    opened = Opened()
    shelf = Shelf(open_model=opened)

    def refuse() -> None:
        raise GuardError("Lila is being trained", reason="training")

    shelf.ask_before_loading(refuse)
    with pytest.raises(GuardError, match="being trained"):
        ask(shelf.lend("fake", ONE))
    assert opened.names == []
    shelf.ask_before_loading(lambda: None)
    assert ask(shelf.lend("fake", ONE)) == ANSWER


def test_models_on_other_servers_take_no_room():
    opened = Opened()
    shelf = Shelf(1, open_model=opened)
    for number in range(3):
        ask(shelf.lend("remote", BaseModel(f"http://127.0.0.1/v1#{number}")))
    ask(shelf.lend("fake", ONE))
    assert opened.now == 4
    ask(shelf.lend("fake", TWO))
    assert opened.now == 4 and shelf.is_loaded("fake", TWO) and not shelf.is_loaded("fake", ONE)


def test_a_model_that_is_opened_in_a_way_of_its_own_is_shared_by_nobody(tmp_path):
    opened = Opened()
    shelf = Shelf(1, open_model=opened)
    for adapter in (None, Adapter(tmp_path / "one", ONE), Adapter(tmp_path / "two", ONE)):
        ask(shelf.lend("hf", ONE, adapter=adapter))
        assert opened.now == 1 and shelf.names() == ("one",)
    assert opened.names == ["one"] * 3
