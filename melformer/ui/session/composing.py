"""What a session asks of the model about its loops and takes: stems, streams, states, and parts composed anew."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from melformer.generate.generated import Continuation
from melformer.stems import STEMS, Stems
from melformer.ui.session.requests import GenerationRequest
from melformer.ui.session.scheduler import Scheduler
from melformer.ui.session.stem_jobs import PcmStems
from melformer.ui.takes.loops import PromptLoop
from melformer.ui.takes.spool import Spool
from melformer.ui.takes.take import Take, joined_end
from melformer.ui.takes.take_store import FoundStems, TakeStore
from melformer.ui.takes.tape import Tape
from melformer.ui.wire import beat_sources, code_columns, pcm16

MAX_STEMS_VALUES = 16_000_000
"""Samples of all channels, three minutes of stereo: of a longer take no stems are made afterwards, since that would
hold the machine up for others."""


@dataclass(frozen=True)
class Host:
    """What all sessions share: the model, whose turn it is, the memory for loops, their stems, and room on the disk."""

    model: Any
    scheduler: Scheduler
    spool: Spool
    check_room: Callable[[], None]
    separated: FoundStems = field(default_factory=FoundStems)

    def use(self, loop: PromptLoop) -> None:
        """A loop is about to be read, with its stems where they were found."""
        self.spool.use((loop, self.separated.of(loop)))


@dataclass(frozen=True)
class Composing:
    """The model at work for one session. Beats are made one a turn; what is large lies in the session's folder."""

    host: Host
    store: TakeStore

    def open_stream(self, request: GenerationRequest, take: Take, varied: Take | None) -> Any:
        """New beats after `take`, or `varied` once more with one stem drawn anew."""
        model, turn = self.host.model, self.host.scheduler.turn
        if request.vary is not None and varied is not None:
            state = self.state_of(varied)
            with turn():
                return model.vary(state, [request.vary[1]], request.n_beats, request.seed, request.config)
        if request.keep is None:
            prompt = self.separated(take.loop)
            with turn():
                return model.stream(
                    prompt, n_beats=request.n_beats, seed=request.seed, config=request.config,
                    close_loop=request.close_loop,
                )  # fmt: skip
        state = self.state_of(take)
        with turn():
            stream = model.resume(state, n_beats=request.n_beats)
        stream.config = replace(request.config, draws=stream.config.draws)
        return stream

    def state_of(self, take: Take) -> Any:
        """Where a take goes on; one of several was made without: its seed makes the same beats again, one a turn."""
        if take.state is not None:
            return take.state
        again = self.host.model.stream(
            self.separated(take.loop), n_beats=take.n_beats, seed=take.seed, config=take.config,
            close_loop=take.closed,
        )  # fmt: skip
        for _ in range(take.n_beats):
            with self.host.scheduler.turn():
                next(again)
        return again.state()

    def separated(self, loop: PromptLoop) -> Any:
        """The loop's prompt with its stems. They are found once, and lie where the loop's other samples do.

        It is a copy, since the model notes on a prompt what it finds out for a stream: that goes with the stream.
        """
        found = self.host.separated
        if found.of(loop) is None:
            stems = self.host.model.stems(replace(loop.prompt))
            with self.store.lock:  # nothing is swept away before it is needed
                found.put(loop, self.host.spool.keep(stems, self.store.folder))
        self.host.use(loop)
        return replace(loop.prompt, stems=found.of(loop))

    def loop_stems(self, loop: PromptLoop) -> PcmStems:
        stems = self.separated(loop).stems
        return PcmStems.of(loop.prompt.waveform, stems, stems.present)

    def take_stems(self, take: Take) -> PcmStems:
        """The stems of a loop and its take, as the take was composed of them."""
        loop = self.loop_stems(take.loop)
        new = PcmStems.of(take.new(), self.host.model.new_stems(self.state_of(take)), loop.present)
        drums, bass = (
            None if old is None or more is None else np.concatenate([old, more])
            for old, more in ((loop.drums, new.drums), (loop.bass, new.bass))
        )
        return PcmStems(pcm16(take.whole().samples), drums, bass, loop.present)

    def redone(
        self, take: Take, number: int, path: Path, beats: tuple[int, int], stems: list[str] | None, seed: int
    ) -> Take:  # fmt: skip
        """Take `number`, on a new tape at `path`: another with new beats `beats` = (first, end) composed anew, all
        stems of them or those named; all else stays. Errors: RequestError."""
        again = self.host.model.redo(self._continuation(take), beats, stems, seed)
        tape = Tape(path, again.new.n_channels, again.new.sample_rate)
        tape.append(again.new.samples)
        codes, sources = list(take.codes[: take.n_beats]), list(take.sources[: take.n_beats])
        for k in range(*beats):
            codes[k] = code_columns(again.beats[k].codes)
            sources[k] = beat_sources(again.beats[k])
        made = replace(
            take, number=number, seed=seed, tape=tape, codes=codes, sources=sources, name="", favourite=False,
            edited=True, join=joined_end(again), closed=take.closed and beats[1] < take.n_beats,
        )  # fmt: skip
        again.state.save(made.state_path)
        return replace(made, state=made.state_path)

    def _continuation(self, take: Take) -> Continuation:
        """A take as the model gives one that it has just finished."""
        model, state = self.host.model, self.state_of(take)
        sounds, resumed = model.new_stems(state), model.resume(state)
        stems = Stems(*(sounds[name] for name in STEMS))
        return Continuation(
            self.separated(take.loop), take.whole(), take.new(), stems, [], take.seed, take.config, take.n_beats, 0.0,
            0.0, resumed.state(),
        )  # fmt: skip


def has_stems(take: Take) -> bool:
    """Whether it is short enough for its stems to be made afterwards."""
    loop = take.loop.prompt.waveform
    return (loop.n_samples + take.n_new_samples) * loop.n_channels <= MAX_STEMS_VALUES
