"""The line in front of the models: bounded, fair, and visible."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.errors import GuardError
from duologue.serve.admission import Line, Ticket


def join(line: Line, owner: str, *, lane: str = "m", is_ready: bool = True) -> Ticket:
    ticket = line.join(owner, lane, lambda _: None)
    if is_ready:
        ticket.is_ready = True
    return ticket


def run_all(line: Line, tickets: list[Ticket]) -> list[str]:
    """Let everyone run in the line's order, one at a time; return the owners in that order."""
    order = []
    left = list(tickets)
    line.wait(left[0])  # somebody must come first to start it
    while left:
        running = next(ticket for ticket in left if ticket.is_running)
        order.append(running.owner)
        left.remove(running)
        line.leave(running)
    return order


def test_who_asks_for_many_waits_behind_everyone_who_asks_for_one() -> None:
    line = Line(20)
    tickets = [join(line, "greedy") for _ in range(5)] + [join(line, "ann"), join(line, "ben")]

    assert run_all(line, tickets) == ["greedy", "ann", "ben", "greedy", "greedy", "greedy", "greedy"]


@given(st.lists(st.sampled_from(["ann", "ben", "cleo", "dora"]), min_size=1, max_size=30))
def test_nobody_gets_a_second_turn_while_somebody_waits_for_a_first(owners: list[str]) -> None:
    line = Line(100)
    order = run_all(line, [join(line, owner) for owner in owners])

    for at in range(len(order) + 1):
        turns = Counter(dict.fromkeys(owners, 0))
        turns.update(order[:at])
        still_waiting = set(order[at:])
        assert all(turns[owner] <= turns[other] + 1 for owner in turns for other in still_waiting)
    assert Counter(order) == Counter(owners)


def test_who_comes_back_at_once_waits_for_those_who_were_there_before() -> None:
    line = Line(20)
    greedy = [join(line, "greedy") for _ in range(3)]
    line.wait(greedy[0])
    ann = join(line, "ann")
    line.leave(greedy[0])
    assert ann.is_running
    ann_again = join(line, "ann")
    line.leave(ann)

    assert greedy[1].is_running
    assert (ann_again.place, greedy[2].place) == (1, 2)


def test_everyone_sees_their_place_and_hears_when_it_changes() -> None:
    line, told = Line(20), {name: list[int]() for name in ("ann", "ben", "cleo")}
    tickets = {}
    for name, places in told.items():
        tickets[name] = line.join(name, "m", places.append)
    assert line.wait(tickets["ann"])
    tickets["ben"].is_ready = tickets["cleo"].is_ready = True
    line.leave(tickets["ben"])
    line.leave(tickets["ann"])

    assert told == {"ann": [1, 0], "ben": [2, 1], "cleo": [3, 2, 1, 0]}
    assert line.num_waiting == 0


def test_a_full_line_refuses_at_once_with_a_time_to_try_again() -> None:
    line = Line(2)
    line.wait(join(line, "ann"))
    join(line, "ben")
    join(line, "cleo")
    with pytest.raises(GuardError, match="2 requests are waiting") as caught:
        join(line, "dora")

    assert caught.value.reason == "busy"
    assert caught.value.retry_after_seconds > 0
    assert line.num_waiting == 2


def test_in_a_full_line_a_newcomer_takes_the_last_place_of_who_has_several() -> None:
    line = Line(3)
    line.wait(join(line, "greedy"))
    waiting = [join(line, "greedy") for _ in range(3)]
    ann = join(line, "ann")

    assert line.wait(waiting[2]) is False
    assert waiting[2].refusal is not None
    assert waiting[2].refusal.reason == "busy"
    assert ann.place == 1
    assert line.num_waiting == 3


def test_one_model_serves_one_at_a_time_and_two_models_two() -> None:
    line = Line(10, max_running=2)
    first, second, other = join(line, "ann"), join(line, "ben"), join(line, "cleo", lane="other")
    line.wait(first)

    assert (first.is_running, second.is_running, other.is_running) == (True, False, True)
    line.leave(other)
    assert not second.is_running
    line.leave(first)
    assert second.is_running


def test_who_is_not_ready_is_passed_but_keeps_the_place() -> None:
    line = Line(10)
    slow, quick, later = join(line, "ann", is_ready=False), join(line, "ben"), join(line, "cleo")
    line.wait(quick)
    assert quick.is_running
    assert (slow.place, later.place) == (1, 2)
    slow.is_ready = True
    line.leave(quick)

    assert slow.is_running


def test_who_waits_is_woken_by_the_end_of_the_one_before_and_by_giving_up() -> None:
    line, came = Line(10), dict[str, bool]()
    first = join(line, "ann")
    line.wait(first)
    tickets = {name: join(line, name, is_ready=False) for name in ("ben", "cleo")}
    threads = [
        threading.Thread(target=lambda name=name: came.setdefault(name, line.wait(tickets[name]))) for name in tickets
    ]
    for thread in threads:
        thread.start()
    line.leave(tickets["ben"])
    line.leave(first)
    for thread in threads:
        thread.join(20)

    assert came == {"ben": False, "cleo": True}


def test_a_model_that_makes_several_replies_at_once_takes_as_many_and_leaves_the_others_their_place() -> None:
    line = Line(10, max_running=2, per_lane=2)
    tickets = [join(line, f"owner {at}", lane=lane) for at, lane in enumerate("aaabbc")]
    line.wait(tickets[0])

    assert [ticket.is_running for ticket in tickets] == [True, True, False, True, True, False]
    line.leave(tickets[0])
    assert tickets[2].is_running
    line.leave(tickets[1])
    line.leave(tickets[2])
    assert tickets[5].is_running  # a third model, once one of the two is free
