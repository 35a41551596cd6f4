"""A loop continued beat by beat: the pointer plans half beats of its stems, the renderer plays them."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.codec.codec import Codec
from melformer.generate.generation_config import PHRASE_BARS, GenerationConfig
from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.bridge import Bridge, best_bridge
from melformer.generate.planning.joint_planning import advance_together
from melformer.generate.planning.plan_options import FREE, Choices, Given, PlanOptions
from melformer.generate.planning.planner import Planner
from melformer.generate.state import StreamState, capture
from melformer.generate.stem_mixer import StemMixer
from melformer.stems.stems import STEMS
from melformer.stems.units import UnitChoice
from melformer.transformer.pointer import Pointer

AHEAD = 2
"""Units that are planned beyond a beat: the join before the next one and the limiter's view reach into it."""


@dataclass(frozen=True, eq=False)
class Beat:
    """One new beat: its number (0 is the first new one), its stems float32 (3, samples, channels) and their sum at the
    loop's rate, the choices of its half model beats, each of drums, bass and other, and the seconds it took."""

    index: int
    waveform: Waveform
    stems: np.ndarray
    sources: tuple[Choices, ...]
    compute_s: float
    encode: Callable[[], np.ndarray] = field(repr=False)

    @cached_property
    def codes(self) -> np.ndarray:
        """The codec's codes of the beat: int64 (model beats, frames, n_codebooks); above 180 BPM half the frames."""
        return self.encode()


@dataclass(frozen=True)
class Closing:
    """A piece that is to be played round: its number of new beats, and whether it returns to the new part's own
    beginning (`only_new`) or to the prompt's."""

    n_beats: int
    only_new: bool = False


class BeatStream(Iterator[Beat]):
    """New beats one at a time, endless if `n_beats` is None. The same seed gives the same beats; `config` may be
    replaced between two of them, and is heard from the next bar on, its `draws` from the next beat.

    `join` float32 (n, channels) is there once beat 0 is: it replaces the prompt's last 30 ms.
    """

    def __init__(
        self, loop: LoopStems, pointer: Pointer, codec: Codec, config: GenerationConfig, n_beats: int | None, seed: int,
        closing: Closing | None = None, planner: Planner | None = None,
    ) -> None:  # fmt: skip
        self.loop, self.prompt, self.codec = loop, loop.prompt, codec
        self._config, self.n_beats, self.seed, self.closing = config, n_beats, seed, closing
        self.planner = planner or loop.planner(pointer, seed)
        self.choices: list[Choices] = []  # of all units planned so far
        self.kept: list[tuple[bool, ...]] = []  # which stems were kept in each
        self.mixer = StemMixer(loop, self.choices, self.kept)
        self.asked: tuple[int, PlanOptions] | None = None  # of the bar in the making
        self.decided: deque[Given] = deque()  # units of which some stems are given
        self.held: deque[Given] = deque()  # what stems go on with while another is drawn anew
        self.line_nats: list[float] = []  # of the units of every bar that was drawn
        self.ending: Bridge | None = None
        self.index = 0
        self.join: np.ndarray | None = None

    def __next__(self) -> Beat:
        if self.n_beats is not None and self.index >= self.n_beats:
            raise StopIteration
        begun, per_beat = time.perf_counter(), self.loop.units_per_beat
        first, last = self.index * per_beat, (self.index + 1) * per_beat
        while self.lacks_units:
            self.plan()
        start, stop = self.loop.edges(self.index)
        sounds = self.mixer.sounds(start, stop)
        if self.index == 0:
            self.join = self.mixer.new_join()
        waveform = Waveform(self.mixer.mix(sounds, start), self.prompt.waveform.sample_rate)
        index, chosen = self.index, tuple(self.choices[first:last])
        self.index += 1
        seconds = time.perf_counter() - begun
        return Beat(index, waveform, sounds, chosen, seconds, lambda: self.codes(index, waveform))

    @property
    def lacks_units(self) -> bool:
        """Whether more has to be planned before the next beat sounds."""
        per_beat = self.loop.units_per_beat
        ahead = AHEAD + (0 if per_beat > 1 else 1)  # above 180 BPM two beats share their codes
        return len(self.choices) < (self.index + 1) * per_beat + ahead

    def plan(self) -> None:
        """One unit more."""
        plan_together([self])

    def ask(self) -> tuple[PlanOptions, Given, Choices | None]:
        """What is asked of the next unit, which choices are given, and which are avoided."""
        unit = len(self.choices)
        bar = unit // self.loop.bar
        avoided = None
        if self.config.draws != self.draws and self.ending is None:
            avoided = self._draw_anew(unit)
        if self.asked is None or self.asked[0] != bar:
            self.asked = (bar, self.options_of(bar)(self.seed))
        options = self.asked[1]
        if self.closing is not None and unit == self.n_before_ending:
            self._close(bar)
        given = _first_of(self.decided.popleft() if self.decided else FREE, self.held.popleft() if self.held else FREE)
        return options, given, avoided

    def accept(self, choices: Choices, nats: float, kept: tuple[bool, ...]) -> None:
        """Take the next unit's choices, their nats, and which of its stems were kept."""
        if len(self.choices) % self.loop.bar == 0:
            self.line_nats.append(0.0)
        self.line_nats[-1] += nats
        self.choices.append(choices)
        self.kept.append(kept)

    def options_of(self, bar: int) -> Callable[[int], PlanOptions]:
        """What is asked of a bar, by seed."""
        return lambda seed: self.config.of_bar(seed, bar, self.loop.fingerprint)

    @property
    def draws(self) -> tuple[int, ...]:
        """Which draw of each stem plays."""
        return (0,) * len(STEMS) if self.asked is None else self.asked[1].draws

    def _draw_anew(self, unit: int) -> Choices:
        """From `unit` on, another draw of the stems whose number of draws has changed. What the others would have
        played in the next bars is planned with the old draws and held: they would follow the new line otherwise.

        Gives what all stems would have played at `unit`, so that the new line begins with something else.
        """
        changed = [new != old for new, old in zip(self.config.draws, self.draws)]
        before, old, bar = replace(self.config, draws=self.draws), self.asked, unit // self.loop.bar
        fork, held = self.planner.fork(self.seed), []
        for i in range(unit, unit + PHRASE_BARS * self.loop.bar):
            if old is None or old[0] != i // self.loop.bar:
                old = (i // self.loop.bar, before.of_bar(self.seed, i // self.loop.bar, self.loop.fingerprint))
            known = [line[i - unit] if i - unit < len(line) else FREE for line in (self.decided, self.held)]
            held.append(advance_together([fork], [old[1]], [_first_of(*known)])[0][0])
        self.held = deque(_without(unit, changed) for unit in held)
        self.decided = deque(_without(unit, changed) for unit in self.decided)
        options = self.options_of(bar)(self.seed)
        if self.asked is not None and self.asked[0] == bar:
            options = self.asked[1].with_stems_of(options, changed)
        self.asked = (bar, options)
        return held[0]

    @property
    def n_ending(self) -> int:
        """Units that are chosen to lead back: a bar, but at most half of the piece."""
        assert self.closing is not None
        return max(1, min(self.loop.bar, self.closing.n_beats * self.loop.units_per_beat // 2))

    @property
    def n_before_ending(self) -> int:
        assert self.closing is not None
        return self.closing.n_beats * self.loop.units_per_beat - self.n_ending

    def _close(self, bar: int) -> None:
        """Choose the last bar by what it makes of the head, which is heard again behind it."""
        assert self.closing is not None
        head: list[Choices] = [(UnitChoice(i),) * 3 for i in range(min(self.loop.bar, self.loop.n_units))]
        if self.closing.only_new:
            head = self.choices[: self.loop.bar]
        lines = self.line_nats[: len(self.choices) // self.loop.bar]
        self.ending = best_bridge(self.planner, self.options_of(bar), [FREE] * self.n_ending, head, lines)
        self.decided.extend(self.ending.choices)
        self.decided.extend(head * (1 + (AHEAD + 1) // len(head)))

    @property
    def config(self) -> GenerationConfig:
        """What is asked from the next bar on."""
        return self._config

    @config.setter
    def config(self, config: GenerationConfig) -> None:
        if replace(config, draws=self._config.draws) != self._config:
            self.held.clear()  # it was planned for what was asked before
        self._config = config

    def state(self) -> StreamState:
        """All that is needed to go on later, bit for bit; a copy that the stream no longer touches."""
        return capture(self)

    def codes(self, index: int, waveform: Waveform) -> np.ndarray:
        """Codes of new beat `index`, which sounds like `waveform`; see `Beat.codes`."""
        if self.loop.units_per_beat > 1:
            return codes_of(self.codec, waveform, self.prompt.bpm, 1)
        even = index - index % 2
        start, stop = self.loop.edges(even)[0], self.loop.edges(even + 1)[1]
        pair = Waveform(self.mixer.mix(self.mixer.sounds(start, stop), start), waveform.sample_rate)
        return np.split(codes_of(self.codec, pair, self.prompt.bpm, 2), 2, axis=1)[index % 2]


def plan_together(streams: Sequence[BeatStream]) -> None:
    """One unit more of streams of one loop that have planned as many."""
    options, given, avoided = zip(*(stream.ask() for stream in streams))
    made = advance_together([stream.planner for stream in streams], options, given, avoided)
    for stream, (choices, nats), asked in zip(streams, made, options):
        stream.accept(choices, nats, asked.keep)


def codes_of(codec: Codec, waveform: Waveform, bpm: float, n_beats: int) -> np.ndarray:
    """Codes of beats from their own samples alone: int64 (model beats, frames, n_codebooks)."""
    import torch

    beats = BeatGrid(bpm, waveform.sample_rate).model_beats(waveform, n_beats, codec.config.samples_per_beat)
    with torch.inference_mode():
        return codec.encode(torch.from_numpy(beats)).numpy()


def _first_of(first: Given, second: Given) -> Given:
    return tuple(a or b for a, b in zip(first, second))


def _without(unit: Given, stems: Sequence[bool]) -> Given:
    """A unit without what is given of the marked stems."""
    return tuple(None if marked else choice for choice, marked in zip(unit, stems))
