"""Work behind a chat: in order, once where it is the same, all of it before the end, and never a reason to fail."""

import threading

from duologue.chat.worker import Worker
from duologue.errors import DataError


def test_tasks_are_done_in_order_and_all_of_them_before_it_ends() -> None:
    worker, done = Worker("test"), []
    for number in range(5):
        worker.do(str(number), lambda number=number: done.append(number))
    worker.close()
    assert done == [0, 1, 2, 3, 4]
    worker.do("late", lambda: done.append(9))
    assert done == [0, 1, 2, 3, 4]


def test_a_task_that_waits_is_replaced_by_its_newer_form() -> None:
    worker, done, may_go = Worker("test"), [], threading.Event()
    worker.do("first", may_go.wait)
    for number in range(3):
        worker.do("same", lambda number=number: done.append(number))
    may_go.set()
    assert worker.settle(timeout_seconds=10)
    assert done == [2]
    worker.close()


def test_a_fault_is_kept_and_the_next_task_is_done() -> None:
    worker, done = Worker("test"), []

    def fail() -> None:
        raise DataError("the disk is full")

    worker.do("a", fail)
    assert worker.settle(timeout_seconds=10)
    assert "the disk is full" in str(worker.fault)
    worker.do("b", lambda: done.append(1))
    worker.close()
    assert done == [1]
    assert worker.fault is None


def test_waiting_may_leave_out_one_task_and_has_an_end() -> None:
    worker, may_go = Worker("test"), threading.Event()
    worker.do("mine", may_go.wait)
    assert worker.settle(timeout_seconds=5, but="mine")
    assert not worker.settle(timeout_seconds=0.01)
    may_go.set()
    worker.close()


def test_what_waits_can_be_dropped() -> None:
    worker, done, may_go = Worker("test"), [], threading.Event()
    worker.do("a", may_go.wait)
    worker.do("b", lambda: done.append(1))
    threading.Timer(0.05, may_go.set).start()
    worker.close(drops=True)
    assert done == []
