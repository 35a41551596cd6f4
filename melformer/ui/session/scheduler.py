"""Who may use the model, and when: a queue with places, and one beat at a time in turn."""

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from melformer.errors import RequestError
from melformer.ui.host.memory import return_freed_memory
from melformer.ui.host.work import PageStopped

# What streams may use of the machine together: the rest is for encoding, resampling and the page itself.
MAX_LOAD = 0.7
# Assumed share of the machine for a stream before any beat has been timed.
UNKNOWN_LOAD = 0.5


@dataclass(eq=False)
class QueuedStream:
    """One stream that plays or waits: the length of its beats (None: it needs the machine alone) and its own.

    `is_ready` tells whether all is at hand for its first beat; a stream that is not is only let in where nobody plays.
    `ahead_s` is how far what was made lies ahead of what is heard, None before the first beat.
    """

    beat_s: float | None
    length_s: float | None = None
    is_ready: Callable[[], bool] = lambda: True
    started_s: float | None = None
    ahead_s: float | None = None

    @property
    def late_s(self) -> float:
        """How late its beats come."""
        return max(0.0, -(self.ahead_s or 0.0))

    def remaining_s(self, now_s: float) -> float | None:
        """Seconds until this stream ends; None while nobody can say."""
        if self.length_s is None or self.started_s is None:
            return self.length_s
        return max(0.0, self.started_s + self.length_s - now_s) + self.late_s


@dataclass(frozen=True)
class QueueEntry:
    """A place in the queue: 1 is next; `wait_s` is None when an endless stream plays before."""

    place: int
    wait_s: float | None


class Scheduler:
    """Admits as many streams as the machine plays in real time, and gives the model to one beat at a time.

    A machine that makes a beat in a tenth of its duration serves several listeners at once, so a queue of one
    would let people wait for no reason; a slow machine serves one, and the others see their place.
    """

    def __init__(self, max_players: int = 4, max_people: int = 8, spare_s: float = 1.0) -> None:
        """Who plays must be `spare_s` ahead before another one is let in beside."""
        self.max_players = max_players
        self.max_people = max_people
        self.spare_s = spare_s
        self._changed = threading.Condition()
        self._playing: list[QueuedStream] = []
        self._waiting: list[QueuedStream] = []
        self._turns: deque[object] = deque()
        self._costs_s: deque[float] = deque(maxlen=8)
        self._closed = False

    @property
    def beat_cost_s(self) -> float | None:
        """Median seconds that a beat takes to make, lately; None before the first."""
        costs = list(self._costs_s)
        return median(costs) if costs else None

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def n_playing(self) -> int:
        return len(self._playing)

    def keeps_up(self) -> bool:
        """Whether everybody who plays is far enough ahead for something else to be begun."""
        return all(one.ahead_s is None or one.ahead_s >= self.spare_s for one in list(self._playing))

    def load_of(self, beat_s: float | None) -> float:
        """The share of the machine that a stream with beats of `beat_s` seconds needs now, at most 1."""
        cost = self.beat_cost_s
        if beat_s is None:
            return 1.0
        return UNKNOWN_LOAD if cost is None else min(1.0, cost / beat_s)

    def note_cost(self, compute_s: float) -> None:
        self._costs_s.append(compute_s)

    def enter(self, player: QueuedStream, poll_s: float = 0.25) -> Iterator[QueueEntry]:
        """Yield the player's place until it may play. Errors: RequestError when too many people are here, or the page
        ends.

        Always pair with `leave`, also when the iteration is abandoned.
        """
        with self._changed:
            if self.n_playing + self.n_waiting >= self.max_people:
                raise RequestError(f"The queue is full ({self.max_people} people). Please try again in a minute.")
            self._waiting.append(player)
        while not self._admit(player):
            if self._closed:
                raise PageStopped
            yield self._place(player)
            with self._changed:
                self._changed.wait(poll_s)

    def leave(self, player: QueuedStream) -> None:
        with self._changed:
            for people in (self._playing, self._waiting):
                if player in people:
                    people.remove(player)
            self._changed.notify_all()
        gc.collect()  # a stream and what it knows of its loop refer to each other
        return_freed_memory()

    def close(self) -> None:
        """Nobody is let in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the model for one beat; whoever asked first is first."""
        mine = object()
        with self._changed:
            self._turns.append(mine)
            while self._turns[0] is not mine:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._turns.remove(mine)
                self._changed.notify_all()

    def _admit(self, player: QueuedStream) -> bool:
        is_ready = player.is_ready()
        with self._changed:
            if self._closed or self._waiting[0] is not player:
                return False
            if self._playing and not (is_ready and self._fits(player)):
                return False
            self._waiting.pop(0)
            player.started_s = time.monotonic()
            self._playing.append(player)
            return True

    def _fits(self, player: QueuedStream) -> bool:
        """Whether the machine plays one more in real time, and does it with those that it has."""
        load = sum(self.load_of(one.beat_s) for one in [*self._playing, player])
        return load <= MAX_LOAD and self.n_playing < self.max_players and self.keeps_up()

    def _place(self, player: QueuedStream) -> QueueEntry:
        with self._changed:
            index = self._waiting.index(player)
            now_s = time.monotonic()
            first_free = [other.remaining_s(now_s) for other in self._playing]
            before = [other.length_s for other in self._waiting[:index]]
        known = [seconds for seconds in first_free if seconds is not None]
        if not known or None in before:
            return QueueEntry(index + 1, None)
        return QueueEntry(index + 1, min(known) + sum(seconds for seconds in before if seconds is not None))
