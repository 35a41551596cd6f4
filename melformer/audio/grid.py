"""The beat grid: every conversion between beats, seconds and samples, and how a loop is fitted to whole beats."""

import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from melformer.audio.extend import extend_ends
from melformer.audio.resample import resample_span
from melformer.audio.waveform import Waveform, check_sample_rate
from melformer.errors import TempoError

Number = TypeVar("Number", float, np.ndarray)
MIN_BPM, MAX_BPM = 40.0, 240.0
MAX_BEATS, MAX_BEATS_PER_BAR = 1_000_000, 16
MIN_MODEL_BPM = 90.0
SECONDS_PER_MINUTE = 60
TOLD_FROM_S = 0.02  # what is skipped, trimmed or padded below this is not worth a sentence
_TAIL_FADE = 256  # samples
PAD_AT_MOST_BEATS = 0.25  # a longer gap before the continuation would be heard as a hole


def check_bpm(bpm: float) -> float:
    """Give the BPM as a float. Errors: TempoError when it is no number or outside 40..240."""
    try:
        value = float(bpm)
    except (TypeError, ValueError, OverflowError):
        raise TempoError(f"the BPM must be a number, got {bpm!r}") from None
    if not MIN_BPM <= value <= MAX_BPM:
        raise TempoError(
            f"{value:g} BPM is outside {MIN_BPM:g}..{MAX_BPM:g}: give the beats per minute of the loop, "
            "doubled or halved if need be"
        )
    return value


def beats_per_second(bpm: Number) -> Number:
    """How many beats last a second; of an array of tempi, each."""
    return bpm / SECONDS_PER_MINUTE


def seconds_per_beat(bpm: Number) -> Number:
    """How long a beat lasts; of an array of tempi, each."""
    return SECONDS_PER_MINUTE / bpm


def bpm_of(n_beats: Number, duration_s: float) -> Number:
    """The tempo at which so many beats last `duration_s` seconds; of an array of counts, each.

    >>> bpm_of(8, 4.0)
    120.0
    """
    return SECONDS_PER_MINUTE * n_beats / duration_s


def model_tempo(bpm: float) -> tuple[float, float]:
    """The tempo that the model sees, in one octave [90, 180), and how many of its beats make one: 1/2, 1, 2 or 4.

    >>> model_tempo(75), model_tempo(174), model_tempo(200)
    ((150.0, 2.0), (174.0, 1.0), (100.0, 0.5))
    """
    factor = 1.0
    while bpm * factor < MIN_MODEL_BPM:
        factor *= 2.0
    while bpm * factor >= 2.0 * MIN_MODEL_BPM:
        factor /= 2.0
    return bpm * factor, factor


@dataclass(frozen=True)
class BeatGrid:
    """The beats of a clip of `bpm` beats per minute and `sample_rate` samples per second.

    Beat k starts at k · 60 · sample_rate / bpm. Lengths of beats are exact fractions, and only where a beat starts is
    rounded to a sample, each start by itself, so no drift can build up. The model works on beats of its own, whose
    tempo lies in one octave: above 180 BPM a model beat is two beats, below 90 BPM a beat is two or four model beats.
    Errors: TempoError, AudioError for a BPM or a rate out of range.

    >>> grid = BeatGrid(140, 44_100)
    >>> grid.edges(3).tolist(), grid.samples_per_beat
    ([0, 18900, 37800, 56700], Fraction(18900, 1))
    """

    bpm: float
    sample_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "bpm", check_bpm(self.bpm))
        object.__setattr__(self, "sample_rate", check_sample_rate(self.sample_rate))

    @cached_property
    def samples_per_beat(self) -> Fraction:
        """Samples of the clip in one beat, exactly."""
        return SECONDS_PER_MINUTE * self.sample_rate / Fraction(self.bpm)

    @property
    def model_bpm(self) -> float:
        """The tempo that the model sees, in [90, 180)."""
        return model_tempo(self.bpm)[0]

    @property
    def model_beats_per_beat(self) -> float:
        """Model beats in one beat: 1/2, 1, 2 or 4."""
        return model_tempo(self.bpm)[1]

    @cached_property
    def samples_per_model_beat(self) -> Fraction:
        """Samples of the clip in one model beat, exactly."""
        return self.samples_per_beat / Fraction(self.model_beats_per_beat)

    def step(self, grid_samples: int) -> Fraction:
        """Samples of the clip from one sample to the next of a grid that has `grid_samples` in each beat."""
        return self.samples_per_beat / grid_samples

    def model_step(self, grid_samples: int) -> Fraction:
        """The same for a grid that has `grid_samples` in each model beat."""
        return self.samples_per_model_beat / grid_samples

    def edge(self, beat: float) -> int:
        """The sample that `beat` starts at, which need not be a whole number."""
        return int(np.rint(self._positions(beat)))

    def edges(self, n_beats: int) -> np.ndarray:
        """Where beats start: int64 (n_beats + 1,). Errors: TempoError for a number that is not 0 to 1,000,000."""
        try:
            count = operator.index(n_beats)
        except TypeError:
            raise TempoError(f"the number of beats must be a whole number, got {n_beats!r}") from None
        if not 0 <= count <= MAX_BEATS:
            raise TempoError(f"{count:,} beats are outside 0..{MAX_BEATS:,}")
        return np.rint(self._positions(np.arange(count + 1))).astype(np.int64)

    def _positions(self, beats: Any) -> Any:
        return beats * (float(SECONDS_PER_MINUTE) * self.sample_rate) / self.bpm

    def beats_in(self, n_samples: int) -> float:
        """How many beats `n_samples` last."""
        return n_samples * self.bpm / (SECONDS_PER_MINUTE * self.sample_rate)

    def n_model_beats(self, n_beats: int) -> int:
        """Whole model beats in `n_beats`."""
        return int(n_beats * self.model_beats_per_beat)

    def n_skipped(self, n_beats: int) -> int:
        """Samples before the first whole model beat of `n_beats`: those of an odd first beat above 180 BPM, else 0.

        The odd beat is left out at the beginning, so that beats and model beats end together.
        """
        n_left_out = n_beats - self.n_model_beats(n_beats) / self.model_beats_per_beat
        return self.edge(n_left_out)

    def model_beats(self, waveform: Waveform, n_beats: int, grid_samples: int) -> np.ndarray:
        """The whole model beats of the first `n_beats` of a clip on this grid, mono: float32 (n, grid_samples)."""
        n = self.n_model_beats(n_beats)
        if not n:
            return np.zeros((0, grid_samples), np.float32)
        step, first = self.model_step(grid_samples), self.n_skipped(n_beats)
        return resample_span(waveform.mono().samples, step, 0, n * grid_samples, first).reshape(n, grid_samples)


def beat_edges(n_beats: int, bpm: float, sample_rate: int) -> np.ndarray:
    """`BeatGrid.edges` where nothing else of the grid is wanted."""
    return BeatGrid(bpm, sample_rate).edges(n_beats)


@dataclass(frozen=True, eq=False)
class GridFit:
    """A waveform of exactly `n_beats` whole beats, and what was done to it (None: nothing worth telling).

    `tail` is what rings on behind the last bar, None where nothing does.
    """

    waveform: Waveform
    n_beats: int
    message: str | None
    tail: Waveform | None = None

    def folded(self) -> Waveform:
        """The beats with the tail laid over their beginning, as it sounds when the loop is played round."""
        if self.tail is None:
            return self.waveform
        samples = self.waveform.samples.copy()
        n = min(len(samples), self.tail.n_samples)
        fade = np.ones((n, 1), np.float32)
        n_fade = min(n, _TAIL_FADE)
        fade[n - n_fade :, 0] = np.linspace(1.0, 0.0, n_fade, dtype=np.float32)
        samples[:n] += fade * self.tail.samples[:n]
        return Waveform(samples, self.waveform.sample_rate)


def fit_to_grid(waveform: Waveform, bpm: float, start_s: float = 0.0, stop_s: float | None = None) -> GridFit:
    """Begin the waveform at `start_s` seconds, end it at `stop_s`, and trim or pad its end to whole beats.

    The end is padded when less than a quarter of a beat is missing, else trimmed; what stays is unchanged. What sounds
    behind `stop_s` is kept as the tail.
    Errors: TempoError when less than three quarters of a beat is left, or `start_s` is outside the clip.
    """
    grid, rate = BeatGrid(bpm, waveform.sample_rate), waveform.sample_rate
    start = round(check_start(waveform, start_s) * rate)
    n_left = waveform.n_samples - start
    n_wanted = n_left if stop_s is None else min(n_left, round(stop_s * rate) - start)
    n_beats = math.floor(grid.beats_in(n_wanted) + PAD_AT_MOST_BEATS)
    if n_beats < 1:
        raise TempoError(
            f"{n_left / rate:.2f} s is less than a beat at {grid.bpm:g} BPM ({seconds_per_beat(grid.bpm):.2f} s): "
            "use a longer loop or a higher BPM"
        )
    n_samples = int(grid.edges(n_beats)[-1])
    samples = waveform.samples[start : start + n_samples]
    if n_samples > n_left:
        samples = extend_ends(samples, 0, n_samples - n_left)
    rest = waveform.samples[start + n_samples :]
    is_tail = stop_s is not None and len(rest) > TOLD_FROM_S * rate and _sounds(rest, waveform.samples)
    message = _fit_message(n_samples - n_left, start, n_beats, grid)
    if is_tail:
        message = f"{message or ''} The tail after the last bar is kept separately.".strip()
    return GridFit(Waveform(samples, rate), n_beats, message, Waveform(rest, rate) if is_tail else None)


def _sounds(rest: np.ndarray, whole: np.ndarray) -> bool:
    """Whether there is more in it than silence, 60 dB under the peak."""
    return float(np.abs(rest).max()) > 1e-3 * float(np.abs(whole).max())


def loop_beats(waveform: Waveform, bpm: float, grid_samples: int) -> np.ndarray:
    """A loop fitted to whole beats, as `BeatGrid.model_beats` gives them: what every code of it comes from.

    Errors: TempoError for an impossible BPM, or a clip that is no whole beat.
    """
    fit = fit_to_grid(waveform, bpm)
    return BeatGrid(bpm, waveform.sample_rate).model_beats(fit.waveform, fit.n_beats, grid_samples)


def check_beats_per_bar(beats_per_bar: int) -> int:
    """Give the beats of a bar. Errors: TempoError when it is no whole number of 1..16."""
    if isinstance(beats_per_bar, bool) or not isinstance(beats_per_bar, int):
        raise TempoError(f"beats_per_bar is {beats_per_bar!r}; it must be a whole number, such as 4 or 3")
    if not 1 <= beats_per_bar <= MAX_BEATS_PER_BAR:
        raise TempoError(f"beats_per_bar is {beats_per_bar}; a bar has 1 to {MAX_BEATS_PER_BAR} beats")
    return beats_per_bar


def check_start(waveform: Waveform, start_s: float) -> float:
    """Give the time of the first beat in seconds. Errors: TempoError when it lies outside the clip."""
    try:
        value = float(start_s)
    except (TypeError, ValueError, OverflowError):
        raise TempoError(f"the start must be a number of seconds, got {start_s!r}") from None
    if not 0 <= value < waveform.duration_s:
        raise TempoError(f"the start {value:g} s is outside the clip of {waveform.duration_s:.2f} s")
    return value


def _fit_message(n_added: int, start: int, n_beats: int, grid: BeatGrid) -> str | None:
    rate, beats = grid.sample_rate, f"{n_beats} beat{'s' if n_beats > 1 else ''}"
    parts = [f"skipped {start / rate:.2f} s at the start"] if start >= TOLD_FROM_S * rate else []
    if abs(n_added) >= TOLD_FROM_S * rate:
        what = "padded the end by" if n_added > 0 else "trimmed the end by"
        parts.append(f"{what} {abs(n_added) / rate:.2f} s to {beats}")
    return (" and ".join(parts) + ".").capitalize() if parts else None
