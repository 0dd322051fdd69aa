"""One is inside; the others wait in the order they came, or give up."""

import threading

from duologue.chat.turnstile import Turnstile


def test_callers_enter_one_at_a_time_in_the_order_they_came() -> None:
    turnstile, order = Turnstile(), []
    assert turnstile.enter(threading.Event())
    threads = []
    for name in range(5):
        waiting = threading.Event()

        def come(name: int = name, waiting: threading.Event = waiting) -> None:
            waiting.set()
            assert turnstile.enter(threading.Event())
            order.append(name)
            turnstile.leave()

        thread = threading.Thread(target=come)
        thread.start()
        threads.append(thread)
        waiting.wait()
        while len(turnstile._line) < name + 2:  # until this one stands in line
            pass
    assert order == []
    turnstile.leave()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_one_who_gives_up_leaves_the_line_and_lets_the_next_one_pass() -> None:
    turnstile, cancel = Turnstile(), threading.Event()
    assert turnstile.enter(threading.Event())
    cancel.set()
    assert not turnstile.enter(cancel)
    turnstile.leave()
    assert turnstile.enter(threading.Event())


def test_leaving_is_possible_from_another_thread() -> None:
    turnstile = Turnstile()
    assert turnstile.enter(threading.Event())
    thread = threading.Thread(target=turnstile.leave)
    thread.start()
    thread.join()
    assert turnstile.enter(threading.Event())


def test_as_many_are_inside_as_there_are_places_and_never_two_of_one_chat() -> None:
    turnstile, gave_up = Turnstile(3), threading.Event()
    gave_up.set()
    assert turnstile.enter(threading.Event(), chat="one")
    assert not turnstile.enter(gave_up, chat="one")  # there is room, but not for this chat
    assert turnstile.enter(threading.Event(), chat="two")
    assert turnstile.enter(threading.Event())
    assert not turnstile.enter(gave_up, chat="three")  # full
    turnstile.leave(chat="one")
    assert turnstile.enter(threading.Event(), chat="one")


def test_whoever_must_be_alone_waits_for_all_others_and_lets_nobody_pass() -> None:
    turnstile, alone = Turnstile(2), threading.Event()
    assert turnstile.enter(threading.Event(), chat="one")

    def come() -> None:
        assert turnstile.enter(threading.Event(), is_alone=True)
        alone.set()

    thread = threading.Thread(target=come)
    thread.start()
    while len(turnstile._line) < 2:
        pass
    gave_up = threading.Event()
    gave_up.set()
    assert not turnstile.enter(gave_up, chat="two")  # behind one who waits to be alone
    assert not alone.is_set()
    turnstile.leave(chat="one")
    thread.join()
    assert not turnstile.enter(gave_up, chat="two")
