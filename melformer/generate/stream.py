"""A loop continued beat by beat: the pointer plans half beats of its stems, the renderer plays them."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.codec.codec import Codec
from melformer.generate.bridge import Bridge, best_bridge
from melformer.generate.generation_config import GenerationConfig
from melformer.generate.planner import Planner, PlanOptions
from melformer.generate.prompt import Prompt
from melformer.generate.state import StreamState, capture
from melformer.render.crossfade import crossfade
from melformer.render.limiter import limit
from melformer.render.stem_renderer import StemRenderer
from melformer.stems.stems import STEMS, Stems
from melformer.stems.units import UNITS_PER_BEAT, UnitChoice, unit_pictures
from melformer.transformer.pointer import Pointer

JOIN_S, LIMITER_S, RAMP_S = 0.030, 0.005, 0.010
LOUDER = 10 ** (2.5 / 10)
"""Power of a beat over that of the loop's loudest at which stems are turned down; 3 dB are the limit."""
AHEAD = 2
"""Units that are planned beyond a beat: the join before the next one and the limiter's view reach into it."""
Choices = tuple[UnitChoice, ...]


class LoopStems:
    """A prompt and its stems, ready to be continued any number of times: what all takes of it share."""

    def __init__(self, prompt: Prompt, stems: Stems) -> None:
        self.prompt, self.stems = prompt, stems
        self.grid = BeatGrid(prompt.bpm, prompt.waveform.sample_rate)
        self.units_per_beat = int(UNITS_PER_BEAT * prompt.model_beats_per_beat)
        self.n_units = prompt.n_units
        self.bar = max(1, prompt.beats_per_bar * self.units_per_beat)
        self.present = tuple(name in stems.present for name in STEMS)
        mono = np.stack([stem.samples.mean(axis=1) for stem in stems])
        self.pictures = unit_pictures(mono, self.grid, self.n_units)
        self.renderer = StemRenderer(prompt.waveform, stems, self.grid, self.n_units)
        self.fingerprint = zlib.crc32(np.rint(prompt.waveform.samples * 2**15).astype("<i4").tobytes())
        edges = self.grid.edges(prompt.n_beats)
        self.loudest = max(_power(prompt.waveform.samples[a:b]) for a, b in zip(edges[:-1], edges[1:]))
        units = self.renderer.edges
        self.powers = np.array([[_power(s.samples[a:b]) for s in stems] for a, b in zip(units[:-1], units[1:])])
        peak = float(np.abs(prompt.waveform.samples).max(initial=0.0))
        self.ceiling = max(peak, min(1.0, 10 ** (3 / 20) * peak))

    def planner(self, pointer: Pointer, seed: int) -> Planner:
        """One that begins behind the loop."""
        return Planner(pointer, self.pictures, self.prompt.model_bpm, self.bar, self.present, seed)

    def edges(self, beat: int) -> tuple[int, int]:
        """First and last sample of new beat `beat`, counted from the first new one."""
        edges = self.grid.edges(self.prompt.n_beats + beat + 1)
        end = self.prompt.waveform.n_samples
        return int(edges[-2]) - end, int(edges[-1]) - end


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
    replaced between two of them, and is heard from the next bar on.

    `join` float32 (n, channels) is there once beat 0 is: it replaces the prompt's last 30 ms.
    """

    def __init__(
        self, loop: LoopStems, pointer: Pointer, codec: Codec, config: GenerationConfig, n_beats: int | None, seed: int,
        closing: Closing | None = None, planner: Planner | None = None,
    ) -> None:  # fmt: skip
        self.loop, self.prompt, self.codec = loop, loop.prompt, codec
        self.config, self.n_beats, self.seed, self.closing = config, n_beats, seed, closing
        self.planner = planner or loop.planner(pointer, seed)
        self.choices: list[Choices] = []  # of all units planned so far
        self.kept: list[tuple[bool, ...]] = []  # which stems were kept in each
        self.asked: tuple[int, PlanOptions] | None = None  # of the bar in the making
        self.decided: deque[tuple[UnitChoice | None, ...]] = deque()  # units of which some stems are given
        self.line_nats: list[float] = []  # of the units of every bar that was drawn
        self.ending: Bridge | None = None
        self.index = 0
        self.join: np.ndarray | None = None

    def __next__(self) -> Beat:
        if self.n_beats is not None and self.index >= self.n_beats:
            raise StopIteration
        begun, per_beat = time.perf_counter(), self.loop.units_per_beat
        first, last = self.index * per_beat, (self.index + 1) * per_beat
        ahead = AHEAD + (0 if per_beat > 1 else 1)  # above 180 BPM two beats share their codes
        while len(self.choices) < last + ahead:
            self.plan()
        start, stop = self.loop.edges(self.index)
        sounds = self.sounds(start, stop)
        if self.index == 0:
            self.join = self.new_join()
        waveform = Waveform(self.mix(sounds, start), self.prompt.waveform.sample_rate)
        index, chosen = self.index, tuple(self.choices[first:last])
        self.index += 1
        seconds = time.perf_counter() - begun
        return Beat(index, waveform, sounds, chosen, seconds, lambda: self.codes(index, waveform))

    def plan(self) -> None:
        """One unit more."""
        unit = len(self.choices)
        bar = unit // self.loop.bar
        if self.asked is None or self.asked[0] != bar:
            self.asked = (bar, self.options_of(bar)(self.seed))
        options = self.asked[1]
        if self.closing is not None and unit == self.n_before_ending:
            self._close(bar)
        given = self.decided.popleft() if self.decided else (None, None, None)
        choices, nats = self.planner.advance(options, given)
        if unit % self.loop.bar == 0:
            self.line_nats.append(0.0)
        self.line_nats[-1] += nats
        self.choices.append(choices)
        self.kept.append(options.keep)

    def options_of(self, bar: int) -> Callable[[int], PlanOptions]:
        """What is asked of a bar, by seed."""
        return lambda seed: self.config.of_bar(seed, bar, self.loop.fingerprint)

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
        self.ending = best_bridge(self.planner, self.options_of(bar), [(None, None, None)] * self.n_ending, head, lines)
        self.decided.extend(self.ending.choices)
        self.decided.extend(head * (1 + (AHEAD + 1) // len(head)))

    def sounds(self, start: int, stop: int) -> np.ndarray:
        """Samples of the stems as they are heard, counted from the first new one: float32 (3, stop - start, channels).

        Whatever stretch is asked for, its samples are the same.
        """
        reach = round(LIMITER_S * self.prompt.waveform.sample_rate)
        low, high = max(0, start - 2 * reach), stop + 2 * reach
        sounds = self.loop.renderer.render(self.choices, low, high)
        for beat in range(self._beat_at(low), self._beat_at(stop - 1) + 1):
            self._turn_down(sounds, beat, self.loop.edges(beat)[0] - low)
        limited = limit(sounds, self._kept(self._beat_at(start)), self.loop.ceiling, reach)
        return np.ascontiguousarray(limited[:, start - low : start - low + stop - start])

    def mix(self, sounds: np.ndarray, start: int) -> np.ndarray:
        """The sum of stems (3, n, channels) from sample `start` on; where all come from one place of the prompt its own
        samples, which float32 does not always add up to."""
        total, n = sounds.sum(axis=0), sounds.shape[1]
        for own, place in self.loop.renderer.whole_stretches(self.choices, start, start + n):
            part = slice(place - start, place - start + len(own))
            if np.allclose(total[part], own, rtol=0.0, atol=1e-6):
                total[part] = own
        return np.ascontiguousarray(total)

    def _beat_at(self, sample: int) -> int:
        beat = max(0, int(sample / self.loop.grid.samples_per_beat) - 1)
        while self.loop.edges(beat)[1] <= sample:
            beat += 1
        return beat

    def _kept(self, beat: int) -> np.ndarray:
        """Which stems play the loop on in a beat: they are never turned down."""
        per_beat = self.loop.units_per_beat
        return np.any(self.kept[beat * per_beat : (beat + 1) * per_beat], axis=0)

    def _gain(self, beat: int) -> float:
        """What the stems of a beat that are not kept are turned down by, so that it is not much louder than the loop's
        loudest."""
        per_beat, kept = self.loop.units_per_beat, self._kept(beat)
        units = self.choices[beat * per_beat : (beat + 1) * per_beat]
        power = np.zeros(3)
        for unit in units:
            for k, choice in enumerate(unit):
                power[k] += 0.0 if choice.silent else self.loop.powers[choice.source, k] / per_beat
        most, fixed, free = LOUDER * self.loop.loudest, power[kept].sum(), power[~kept].sum()
        if fixed + free <= most or free <= 0.0 or _is_of_the_loop(units):
            return 1.0
        return float(np.sqrt(max(0.0, most - fixed) / free))

    def _turn_down(self, sounds: np.ndarray, beat: int, begin: int) -> None:
        """Apply a beat's gain, which is reached within 10 ms, to the sounds from `begin` on, in place."""
        before, after = self._gain(beat - 1) if beat else 1.0, self._gain(beat)
        if before == after == 1.0:
            return
        ramp = round(RAMP_S * self.prompt.waveform.sample_rate)
        length = self.loop.edges(beat)[1] - self.loop.edges(beat)[0]
        gain = np.interp(np.arange(length), [0, ramp], [before, after]).astype(np.float32)
        low, high = max(0, begin), min(sounds.shape[1], begin + length)
        for k in np.flatnonzero(~self._kept(beat)):
            sounds[k, low:high] *= gain[low - begin : high - begin, None]

    @property
    def n_join(self) -> int:
        """Samples of the prompt that the join replaces."""
        return min(round(JOIN_S * self.prompt.waveform.sample_rate), self.prompt.waveform.n_samples // 2)

    @property
    def settings(self) -> GenerationConfig:
        """Another name of `config`, for one release."""
        return self.config

    @settings.setter
    def settings(self, config: GenerationConfig) -> None:
        self.config = config

    def state(self) -> StreamState:
        """All that is needed to go on later, bit for bit; a copy that the stream no longer touches."""
        return capture(self)

    def new_join(self) -> np.ndarray:
        """The prompt's last 30 ms fading into what precedes the first unit's sources."""
        before = self.loop.renderer.lead_in(self.choices, self.n_join)
        return crossfade(self.prompt.waveform.samples[-self.n_join :], before)

    def codes(self, index: int, waveform: Waveform) -> np.ndarray:
        """Codes of new beat `index`, which sounds like `waveform`; see `Beat.codes`."""
        if self.loop.units_per_beat > 1:
            return codes_of(self.codec, waveform, self.prompt.bpm, 1)
        even = index - index % 2
        start, stop = self.loop.edges(even)[0], self.loop.edges(even + 1)[1]
        pair = Waveform(self.mix(self.sounds(start, stop), start), waveform.sample_rate)
        return np.split(codes_of(self.codec, pair, self.prompt.bpm, 2), 2, axis=1)[index % 2]


def codes_of(codec: Codec, waveform: Waveform, bpm: float, n_beats: int) -> np.ndarray:
    """Codes of beats from their own samples alone: int64 (model beats, frames, n_codebooks)."""
    import torch

    beats = BeatGrid(bpm, waveform.sample_rate).model_beats(waveform, n_beats, codec.config.samples_per_beat)
    with torch.inference_mode():
        return codec.encode(torch.from_numpy(beats)).numpy()


def _is_of_the_loop(units: list[Choices]) -> bool:
    """Whether a beat's stems all come from one place of the prompt, as they are."""
    sounding = [{choice for choice in unit if not choice.silent} for unit in units]
    return all(len(unit) <= 1 and not any(choice.shift for choice in unit) for unit in sounding)


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
