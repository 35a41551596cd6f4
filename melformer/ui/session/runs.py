"""What runs in a session: a stream of new beats, or several takes in the making, one at a time."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from melformer.errors import RequestError
from melformer.ui.session.choice import Choice, check_size
from melformer.ui.session.requests import (
    MAX_SEED,
    GenerationRequest,
    read_config,
    read_redrawn,
    read_request,
    whole_number,
)
from melformer.ui.session.stem_jobs import Preparation
from melformer.ui.session.stream_run import StreamRun
from melformer.ui.session.view import end_sentence
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.take import Take
from melformer.ui.takes.tape import Tape
from melformer.ui.wire import Messages

if TYPE_CHECKING:
    from melformer.ui.session.session import Session

STOP_WAIT_S = 2.0


class Runs:
    """Begins, steers and stops them; safe to call from several threads. `paced`: beats are made for a listener, a
    little ahead."""

    def __init__(self, session: "Session", paced: bool) -> None:
        self.session = session
        self.paced = paced
        self._running: StreamRun | Choice | None = None

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def play(self, data: dict[str, Any]) -> Messages:
        """Continue the loop, or keep going after a take: messages for the page, a beat at a time."""
        request = read_request(data, self.session.limits)
        performance = self._prepare(request)
        try:
            session, take = self.session, performance.take
            varied = None if request.vary is None else session.need_take(request.vary[0])
            yield from performance.messages(lambda: session.composing.open_stream(request, take, varied))
        finally:
            performance.stop("left")
            with self.session.store.lock:
                if self._running is performance:
                    self._running = None
        words = end_sentence(performance)
        end = {"reason": performance.reason, "take": performance.take.number, "message": words}
        yield {"kind": "end", **end, "view": self.session.view()}

    def steer(self, data: dict[str, Any]) -> None:
        """Change the knobs of the running stream, from the next beat on, or the line of one of its stems.

        Errors: RequestError.
        """
        config, redrawn = read_config(data), read_redrawn(data)
        if isinstance(self._running, StreamRun):
            self._running.steer(config, redrawn)

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def choose(self, data: dict[str, Any]) -> Messages:
        """Several takes at once, with seeds that follow each other: places in the queue, then all takes, the best
        one first."""
        request = read_request(data, self.session.limits)
        n_takes = whole_number(data.get("n_takes", 2), "The number of takes", 1, self.session.limits.batch)
        if request.n_beats is None:
            raise RequestError("Set a length in bars or beats: endless works for a single take only.")
        loop = self.session.need_loop()
        check_size(loop, request.n_beats, n_takes, self.session.limits)
        self.session.check_disk()
        self.settle()
        seeds = [(request.seed + k) % (MAX_SEED + 1) for k in range(n_takes)]
        choice = Choice(self.session.scheduler, request, n_takes, self._preparation(loop))
        self._running = choice
        try:
            yield from choice.messages(self.session.model, lambda: self.session.model.stream_takes(
                self.session.composing.separated(loop), request.n_beats, seeds=seeds, config=request.config,
                close_loop=request.close_loop,
            ))  # fmt: skip
        finally:
            choice.stop("left")
            numbers = self.session.store.keep_whole(loop, choice.made) if choice.made else []
            with self.session.store.lock:
                if self._running is choice:
                    self._running = None
        if numbers:
            numbers.insert(0, numbers.pop(choice.best))  # the page offers the first
        words = "" if numbers else "Stopped: no takes were generated."
        yield {"kind": "end", "reason": "chosen", "message": words, "takes": numbers, "view": self.session.view()}

    def settle(self) -> None:
        """Stop the stream and wait until its take is whole; a reloaded page begins with this."""
        running = self._running
        if running is not None:
            running.stop("left")
            running.finished.wait(STOP_WAIT_S)

    def _prepare(self, request: GenerationRequest) -> StreamRun:
        loop = self.session.need_loop() if request.vary is None else self.session.need_take(request.vary[0]).loop
        n_kept = 0 if request.keep is None else self.session.need_take(request.keep).n_beats
        if request.n_beats is not None:
            check_size(loop, n_kept + request.n_beats, 1, self.session.limits)
        self.session.check_disk()
        self.settle()  # a take must have its state before another begins
        store = self.session.store
        with store.lock:
            store.sweep()
            if request.keep is None:
                waveform = loop.prompt.waveform
                tape = Tape(store.next_tape(), waveform.n_channels, waveform.sample_rate)
                take = Take(
                    store.next_number(), loop, request.seed, request.config, tape, [], closed=request.close_loop,
                    edited=request.vary is not None,
                )  # fmt: skip
            else:
                take = self._extendable(self.session.need_take(request.keep))
            is_new = request.vary is None and request.keep is None  # else what was saved of it has the stems
            preparation = self._preparation(loop) if is_new else Preparation(self.session.stem_jobs, None)
            self._running = StreamRun(
                self.session.scheduler, self.session.limits, request, take, self._keep_playing, preparation, self.paced,
                draws=take.config.draws,
            )  # fmt: skip
            return self._running

    def _extendable(self, take: Take) -> Take:
        if len(take.codes) == take.n_beats:
            return take
        tape = take.tape.fork(self.session.store.next_tape(), take.n_new_samples)  # an undone extension stays as it was
        return replace(take, tape=tape, codes=take.codes[: take.n_beats], sources=take.sources[: take.n_beats])

    def _preparation(self, loop: PromptLoop) -> Preparation:
        """What a stream of a loop needs."""
        todo = (
            None if self.session.host.separated.of(loop) is not None else lambda: self.session.composing.separated(loop)
        )
        return Preparation(self.session.stem_jobs, todo)

    def _keep_playing(self, performance: StreamRun) -> None:
        with self.session.store.lock:
            if not performance.kept:
                self.session.store.remember()
                performance.kept = True
            self.session.store.keep(performance.take)
            self.session.host.use(performance.take.loop)
