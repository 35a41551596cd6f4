"""One run: beats made a little ahead of what is heard, each sent to the page as soon as it exists."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from melformer.generate import GenerationConfig
from melformer.stems import STEMS
from melformer.ui.host.limits import Limits
from melformer.ui.host.memory import return_freed_memory
from melformer.ui.session.requests import GenerationRequest
from melformer.ui.session.scheduler import QueuedStream, Scheduler
from melformer.ui.session.stem_jobs import Preparation
from melformer.ui.takes.take import Take
from melformer.ui.wire import Messages, beat_sources, code_columns, pack_beat, pack_stems

# A machine that needs more than this share of real time uses the whole lead-in to get ahead.
COMFORTABLE_LOAD = 0.5
NAP_S = 0.05


@dataclass
class StreamRun:
    """A running stream and the take it records. `stop` may be called from another thread at any time."""

    scheduler: Scheduler
    limits: Limits
    request: GenerationRequest
    take: Take
    keep_take: Callable[["StreamRun"], None]
    preparation: Preparation
    paced: bool = True
    reason: str = ""
    config: GenerationConfig | None = None
    kept: bool = False
    draws: tuple[int, ...] = GenerationConfig.draws
    finished: threading.Event = field(default_factory=threading.Event)
    _heard_from_s: float = 0.0
    _made_s: float = 0.0

    def stop(self, reason: str = "stopped") -> None:
        self.reason = self.reason or reason

    def steer(self, config: GenerationConfig, redrawn: str | None = None) -> None:
        """Take effect from the next beat that is made; the stem that is `redrawn` plays another line from then on."""
        if redrawn is not None:
            self.draws = tuple(n + (name == redrawn) for n, name in zip(self.draws, STEMS))
        self.config = replace(config, draws=self.draws)

    def messages(self, open_stream: Callable[[], Any]) -> Messages:
        """Places in the queue, the start, then beats. The take is kept after each, with its state at the end."""
        player = QueuedStream(self.take.loop.beat_s, self._length_s(), self.preparation.is_done)
        try:
            for place in self.scheduler.enter(player):
                yield {"kind": "waiting", "place": place.place, "wait_s": place.wait_s}
                if self.reason:
                    return
            yield {"kind": "start", "cost_s": self.scheduler.beat_cost_s, "take": self.take.number}
            for message in self._play(open_stream):
                player.ahead_s = self._ahead_s()
                yield message
        finally:
            self.preparation.cancel()
            self.scheduler.leave(player)
            self.finished.set()

    def _play(self, open_stream: Callable[[], Any]) -> Messages:
        self._heard_from_s = time.monotonic() + self.request.lead_in_s
        first = self.take.n_beats
        self.preparation.wait(lambda: bool(self.reason))
        if self.reason:
            return
        stream = open_stream()
        return_freed_memory()  # it looks at all of the loop
        try:
            while not self._finished(first):
                message = self._next_beat(stream)
                if message is None:
                    return
                yield message
                self._wait_for_the_listener(self.take.n_beats - first)
        finally:
            if self.take.n_beats:  # stopped before its first beat, there is no take
                with self.scheduler.turn():
                    stream.state().save(self.take.state_path)
                self.take = replace(self.take, state=self.take.state_path)
                self.keep_take(self)

    def _next_beat(self, stream: Any) -> dict[str, Any] | None:
        if self.config is not None:
            stream.config, self.config = self.config, None
        with self.scheduler.turn():
            beat = next(stream, None)
        if beat is None:
            return None
        self.scheduler.note_cost(beat.compute_s)
        self._made_s += beat.waveform.duration_s
        self._record(beat, stream)
        packed = pack_beat(
            self.take.n_beats - 1,
            beat.waveform.samples,
            self.take.codes[self.take.n_beats - 1],
            self.take.join if self.take.n_beats == 1 else None,
            self.take.sources[self.take.n_beats - 1],
        )
        return {
            "kind": "beat",
            "take": self.take.number,
            "compute_s": round(beat.compute_s, 4),
            "ahead_s": round(self._ahead_s(), 3),
            "temperature": stream.config.temperature,
            "variation": stream.config.variation,
            "density": stream.config.density,
            "keep": list(stream.config.keep),
            "draws": list(stream.config.draws),
            **packed,
            **({"stems": pack_stems(beat)} if self.request.with_stems else {}),
        }

    def _record(self, beat: Any, stream: Any) -> None:
        take = self.take
        take.tape.append(beat.waveform.samples)
        take.codes.append(code_columns(beat.codes))
        take.sources.append(beat_sources(beat))
        join = take.join if take.n_beats else np.asarray(stream.join, dtype=np.float32)
        begun_with = take.begun_with
        if stream.config != take.config and begun_with is None:
            begun_with = take.config
        self.take = replace(
            take, n_beats=take.n_beats + 1, join=join, state=None, config=stream.config, begun_with=begun_with
        )
        self.keep_take(self)

    def _length_s(self) -> float:
        """How long it keeps a place, when somebody waits for one: an endless stream makes way then."""
        n_beats = self.limits.shared_beats if self.request.n_beats is None else self.request.n_beats
        return self.request.lead_in_s + n_beats * self.take.loop.beat_s

    def _ahead_s(self) -> float:
        return self._heard_from_s + self._made_s - time.monotonic()

    def _finished(self, first: int) -> bool:
        made = self.take.n_beats - first
        if self.reason:
            return True
        if self.request.n_beats is not None:
            if made >= self.request.n_beats:
                self.reason = "done"
        elif made >= self.limits.endless_beats or self.take.tape.n_bytes > 1e6 * self.limits.take_mb:
            self.reason = "rest"
        elif made >= self.limits.shared_beats and self.scheduler.n_waiting and self._on_bar_line():
            self.reason = "others"
        return bool(self.reason)

    def _on_bar_line(self) -> bool:
        loop = self.take.loop
        return (loop.prompt.n_beats + self.take.n_beats) % loop.beats_per_bar == 0

    def _wait_for_the_listener(self, made: int) -> None:
        loop = self.take.loop
        # The first bar is made at once, however far ahead that is: there is something to see, and the join is safe.
        slow = self.scheduler.load_of(loop.beat_s) > COMFORTABLE_LOAD
        if not self.paced or made < loop.beats_per_bar or slow:
            return
        while not self.reason and self._ahead_s() > self.limits.ahead_s:
            time.sleep(NAP_S)
