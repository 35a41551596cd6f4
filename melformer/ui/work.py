"""Costly calls of the page: one after another, and only so many that nobody waits for long."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from melformer.errors import RequestError

UNKNOWN_S = 3.0
"""How long a call is taken to last before any was timed."""


class WorkQueue:
    """Whoever asked first is first. At most `max_waiting` wait, each in a thread that others would need.

    It stands beside the desk: a loop is read and written in codes on one core while beats are made on another, so
    that nobody who listens waits for somebody who loads.
    """

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._costs_s: deque[float] = deque(maxlen=16)

    @property
    def wait_s(self) -> float:
        """How long the next one would wait, judged by the last calls."""
        return len(self._line) * (median(self._costs_s) if self._costs_s else UNKNOWN_S)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Errors: RequestError, with a waiting time, when too many wait already."""
        mine = object()
        with self._changed:
            if len(self._line) > self.max_waiting:
                raise RequestError(
                    f"{len(self._line)} others have asked for something that takes a while. "
                    f"Please try again in {max(5, round(self.wait_s))} seconds."
                )
            self._line.append(mine)
            while self._line[0] is not mine:
                self._changed.wait()
        began_s = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._costs_s.append(time.monotonic() - began_s)
                self._line.remove(mine)
                self._changed.notify_all()
