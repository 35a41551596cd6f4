"""Costly calls of the page: one after another, and only so many that nobody waits for long."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from melformer.errors import RequestError
from melformer.ui.host.memory import return_freed_memory

UNKNOWN_S = 3.0
"""How long a call is taken to last before any was timed."""
MAKE_WAY_S = 5.0
"""A call waits no longer for streams that fall behind."""
NAP_S = 0.05


class PageStopped(RequestError):
    """The server ends: nothing is begun any more."""

    def __init__(self) -> None:
        super().__init__("The server is restarting. Please try again in a minute.")


class WorkQueue:
    """Whoever asked first is first. At most `max_waiting` wait, each in a thread that others would need.

    It stands beside the scheduler of streams: a loop is read and written in codes on one core while beats are made on
    another, so that nobody who listens waits for somebody who loads. Where the machine is too busy for both, `keeps_up`
    says so, and the next call begins when streams have caught up, after 5 s at the latest.
    """

    def __init__(self, max_waiting: int, keeps_up: Callable[[], bool] = lambda: True) -> None:
        self.max_waiting = max_waiting
        self.keeps_up = keeps_up
        self._closed = False
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._costs_s: deque[float] = deque(maxlen=16)

    @property
    def wait_s(self) -> float:
        """How long the next one would wait, judged by the last calls."""
        return len(self._line) * (median(self._costs_s) if self._costs_s else UNKNOWN_S)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Errors: RequestError, with a waiting time, when too many wait already or the page ends."""
        mine = object()
        with self._changed:
            if len(self._line) > self.max_waiting:
                raise RequestError(
                    f"Server busy: {len(self._line)} requests are ahead of yours. "
                    f"Please try again in {max(5, round(self.wait_s))} seconds."
                )
            self._line.append(mine)
            while self._line[0] is not mine and not self._closed:
                self._changed.wait()
            if self._closed:
                self._line.remove(mine)
                raise PageStopped
        began_s = time.monotonic()
        try:
            self.make_way()
            yield
        finally:
            return_freed_memory()
            with self._changed:
                self._costs_s.append(time.monotonic() - began_s)
                self._line.remove(mine)
                self._changed.notify_all()

    def make_way(self) -> None:
        """Wait as long as streams fall behind."""
        began_s = time.monotonic()
        while not (self._closed or self.keeps_up()) and time.monotonic() - began_s < MAKE_WAY_S:
            time.sleep(NAP_S)

    def close(self) -> None:
        """Whoever waits is told that the page ends, and whoever comes; the call that is at work goes on to its end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
