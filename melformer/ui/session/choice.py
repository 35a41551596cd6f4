"""Several takes at once: made a beat of each at a time, so that it can be stopped and others get their turns."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from melformer.errors import RequestError
from melformer.ui.host.limits import Limits
from melformer.ui.session.requests import GenerationRequest
from melformer.ui.session.scheduler import QueuedStream, Scheduler
from melformer.ui.session.stem_jobs import Preparation
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.wire import Messages

UNKNOWN_BEAT_S = 0.1
"""How long a beat is taken to need before any was timed."""


@dataclass
class Choice:
    """Takes in the making. `stop` may be called from another thread; what was made until then is kept."""

    scheduler: Scheduler
    request: GenerationRequest
    n_takes: int
    preparation: Preparation
    reason: str = ""
    made: list[Any] = field(default_factory=list)
    best: int = 0
    finished: threading.Event = field(default_factory=threading.Event)

    def stop(self, reason: str = "stopped") -> None:
        self.reason = self.reason or reason

    def messages(self, model: Any, open_batch: Callable[[], Any]) -> Messages:
        """Places in the queue, then a message a beat; at the end `made` has the takes, `best` which is the best."""
        assert self.request.n_beats is not None
        player = QueuedStream(
            None,
            self.request.n_beats * self.n_takes * (self.scheduler.beat_cost_s or UNKNOWN_BEAT_S),
            self.preparation.is_done,
        )
        try:
            for place in self.scheduler.enter(player):
                yield {"kind": "waiting", "place": place.place, "wait_s": place.wait_s}
                if self.reason:
                    return
            yield from self._make(model, open_batch)
        finally:
            self.preparation.cancel()
            self.scheduler.leave(player)
            self.finished.set()

    def _make(self, model: Any, open_batch: Callable[[], Any]) -> Messages:
        yield {"kind": "making", "n_takes": self.n_takes, "n_beats": 0}
        self.preparation.wait(lambda: bool(self.reason))
        if self.reason:
            return
        with self.scheduler.turn():
            batch = open_batch()
        n_beats = 0
        while not self.reason:
            with self.scheduler.turn():
                if next(batch, None) is None:
                    break
            n_beats += 1
            yield {"kind": "making", "n_takes": self.n_takes, "n_beats": n_beats}
        if n_beats:
            self.made = batch.continuations()
            with self.scheduler.turn():
                best = model.ranked(self.made)[0]
            self.best = next(k for k, take in enumerate(self.made) if take is best)
        self.reason = self.reason or "chosen"


def check_size(loop: PromptLoop, n_beats: int, n_takes: int, limits: Limits) -> None:
    """Errors: RequestError for takes that would be longer, together, than a take may be."""
    waveform = loop.prompt.waveform
    beat_bytes = 4.0 * waveform.n_channels * waveform.sample_rate * loop.beat_s
    most = int(1e6 * limits.take_mb / (beat_bytes * n_takes))
    if n_beats > most:
        what, fewer = ("A take", "") if n_takes == 1 else (f"{n_takes} takes together", " or fewer takes")
        raise RequestError(
            f"{what} of {n_beats} beats would take {n_beats * n_takes * beat_bytes / 1e6:,.0f} MB; the limit is "
            f"{limits.take_mb} MB. Ask for at most {max(1, most)} beats{fewer}."
        )
