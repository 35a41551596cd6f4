"""Costly calls: one at a time, in order, and no more waiting than threads can be spared."""

import threading
import time

import pytest

from melformer.errors import RequestError
from melformer.ui.work import WorkQueue


def test_one_works_at_a_time_and_in_order() -> None:
    work, order, inside, leave = WorkQueue(8), [], [], threading.Event()

    def visit(name: int) -> None:
        with work.turn():
            inside.append(name)
            assert len(inside) == 1
            leave.wait(10)
            order.append(name)
            inside.remove(name)

    threads = []
    for name in range(5):
        threads.append(threading.Thread(target=visit, args=(name,)))
        threads[-1].start()
        while len(work._line) <= name:
            time.sleep(0.001)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4]


def test_who_would_wait_too_long_is_told_for_how_long() -> None:
    work, leave = WorkQueue(2), threading.Event()
    work._costs_s.extend([20.0, 20.0, 30.0])

    def visit() -> None:
        with work.turn():
            leave.wait(10)

    threads = [threading.Thread(target=visit) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(work._line) < 3:
        time.sleep(0.001)
    with pytest.raises(RequestError, match=r"3 others .* again in 60 seconds"), work.turn():
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    with work.turn():
        pass


def test_a_call_that_fails_makes_way() -> None:
    work = WorkQueue(0)
    for _ in range(3):
        with pytest.raises(ValueError, match="no loop"), work.turn():
            raise ValueError("no loop")
    assert work.wait_s == 0.0
