"""Costly calls: one at a time, in order, and no more waiting than threads can be spared."""

import threading
import time

import pytest

from melformer.errors import RequestError
from melformer.ui.host.work import UNKNOWN_S, PageStopped, WorkQueue


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
    with pytest.raises(RequestError, match=r"3 requests .* again in 60 seconds"), work.turn():
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    with work.turn():
        pass


def test_nothing_is_begun_while_streams_fall_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for ever: a machine that is too slow for one stream still loads."""
    from melformer.ui.host import work

    behind, begun = threading.Event(), threading.Event()
    behind.set()
    queue = WorkQueue(max_waiting=2, keeps_up=lambda: not behind.is_set())

    def call() -> None:
        with queue.turn():
            begun.set()

    monkeypatch.setattr(work, "MAKE_WAY_S", 3600.0)
    thread = threading.Thread(target=call)
    thread.start()
    assert not begun.wait(0.3)
    behind.clear()
    assert begun.wait(20.0)
    thread.join(20.0)
    behind.set()
    monkeypatch.setattr(work, "MAKE_WAY_S", 0.1)
    call()


def test_who_waits_is_told_when_the_page_ends() -> None:
    queue, told, may_end = WorkQueue(max_waiting=2), [], threading.Event()

    def call() -> None:
        try:
            with queue.turn():
                may_end.wait(20.0)
        except PageStopped as error:
            told.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not queue.wait_s > 1.5 * UNKNOWN_S:
        pass
    queue.close()
    may_end.set()
    for thread in threads:
        thread.join(20.0)
    assert len(told) == 1 and "try again in a minute" in told[0]


def test_a_call_that_fails_makes_way() -> None:
    work = WorkQueue(0)
    for _ in range(3):
        with pytest.raises(ValueError, match="no loop"), work.turn():
            raise ValueError("no loop")
    assert work.wait_s == 0.0
