"""Audio whose unit of time is the beat, in memory."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from melformer.audio.grid import BeatGrid, beats_per_second, check_bpm
from melformer.audio.resample import resample_span
from melformer.audio.waveform import MAX_VALUES, Waveform, check_sample_rate
from melformer.errors import TiafError

SAMPLES_PER_BEAT = 40_000
EDGE_SAMPLES = 1_024


@dataclass(frozen=True, eq=False)
class Tiaf:
    """Audio on the beat grid: `beats` is float32 (n_beats, 40000, n_channels), mono or stereo.

    `bpm`, `sample_rate` (Hz) and `n_samples` are the source's; with `grid_beats_per_beat` 2, two rows of
    `beats` make one beat of `bpm`. `edges`, float32 (2, 1024, n_channels), is what lies just before the first
    and after the last row, and makes the way back exact there too; None when the beats came from elsewhere.
    Errors: TiafError when the parts do not fit each other; TempoError, AudioError for a BPM or a rate.
    """

    beats: np.ndarray
    bpm: float
    sample_rate: int
    n_samples: int
    grid_beats_per_beat: int = 1
    edges: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "bpm", check_bpm(self.bpm))
        object.__setattr__(self, "sample_rate", check_sample_rate(self.sample_rate))
        _check_parts(self)

    @property
    def n_beats(self) -> int:
        """Rows of `beats`: beats of the grid."""
        return int(self.beats.shape[0])

    @property
    def n_channels(self) -> int:
        return int(self.beats.shape[2])

    @property
    def grid_rate(self) -> float:
        """Grid samples per second at the source's tempo."""
        return SAMPLES_PER_BEAT * self.grid_beats_per_beat * beats_per_second(self.bpm)

    @property
    def message(self) -> str | None:
        """What the grid costs, when its rate is below the source's; else None."""
        if self.grid_rate >= self.sample_rate:
            return None
        return (
            f"At {self.bpm:g} BPM the grid has {self.grid_rate:,.0f} samples a second, fewer than the "
            f"source's {self.sample_rate:,}: sound above {0.45 * self.grid_rate:,.0f} Hz is lost. "
            "Two grid beats to the beat (double time) keep more."
        )

    @classmethod
    def from_waveform(cls, waveform: Waveform, bpm: float, double_time: bool = False) -> "Tiaf":
        """Resample to 40,000 samples per beat; beat k starts at grid sample 40,000·k exactly.

        A last, unfinished beat is filled with a fade to silence. `double_time`: two grid beats to the beat.
        Errors: TiafError for more than two channels or too long a clip; TempoError for an impossible BPM.
        """
        grid, fold = BeatGrid(bpm, waveform.sample_rate), 2 if double_time else 1
        if waveform.n_channels > 2:
            raise TiafError(f"{waveform.n_channels} channels; a .tiaf is mono or stereo: mix it down first")
        n_beats = _n_grid_beats(waveform.n_samples, grid, fold)
        if n_beats * SAMPLES_PER_BEAT * waveform.n_channels > MAX_VALUES:
            raise TiafError(f"{n_beats:,} beats are too long for one .tiaf: cut the clip first")
        n_grid = n_beats * SAMPLES_PER_BEAT
        step = grid.step(SAMPLES_PER_BEAT * fold)
        samples = resample_span(waveform.samples, step, -EDGE_SAMPLES, n_grid + 2 * EDGE_SAMPLES)
        edges = np.stack([samples[:EDGE_SAMPLES], samples[-EDGE_SAMPLES:]])
        beats = samples[EDGE_SAMPLES:-EDGE_SAMPLES].reshape(n_beats, SAMPLES_PER_BEAT, -1)
        return cls(beats, grid.bpm, waveform.sample_rate, waveform.n_samples, fold, edges)

    def to_waveform(self, bpm: float | None = None, sample_rate: int | None = None) -> Waveform:
        """Back to samples per second: exactly `n_samples` of them at the source's own BPM and rate.

        At another BPM it plays faster or slower, pitch and all, as on a turntable.
        Errors: TempoError, AudioError for a BPM or a rate out of range, or too long a result.
        """
        own = BeatGrid(self.bpm, self.sample_rate)
        grid = BeatGrid(own.bpm if bpm is None else bpm, own.sample_rate if sample_rate is None else sample_rate)
        n_out = self._n_samples_on(grid, own)
        if n_out * self.n_channels > MAX_VALUES:
            raise TiafError(f"{n_out:,} samples are too many for a waveform: unpack at a higher BPM")
        samples = self.beats.reshape(-1, self.n_channels)
        n_before = 0
        if self.edges is not None:
            samples, n_before = np.concatenate([self.edges[0], samples, self.edges[1]]), EDGE_SAMPLES
        step = 1 / grid.step(SAMPLES_PER_BEAT * self.grid_beats_per_beat)
        coarser = grid.samples_per_beat < own.samples_per_beat
        return Waveform(resample_span(samples, step, 0, n_out, n_before, low_pass=coarser), grid.sample_rate)

    def _n_samples_on(self, grid: BeatGrid, own: BeatGrid) -> int:
        n_whole, rest = divmod(self.n_beats, self.grid_beats_per_beat)
        if not rest and self.n_samples == own.edge(n_whole):
            return grid.edge(n_whole)  # a whole number of beats stays one
        return max(1, round(self.n_samples * grid.samples_per_beat / own.samples_per_beat))


def _n_grid_beats(n_samples: int, grid: BeatGrid, fold: int) -> int:
    """The fewest rows of beats that hold `n_samples`; the last edge may have been rounded up by half a sample."""
    return max(1, math.ceil((n_samples - Fraction(1, 2)) * fold / grid.samples_per_beat))


def _check_parts(tiaf: Tiaf) -> None:
    beats, edges = tiaf.beats, tiaf.edges
    if not isinstance(beats, np.ndarray) or beats.dtype != np.float32 or beats.ndim != 3:
        raise TiafError("beats must be a float32 array of shape (n_beats, 40000, n_channels)")
    if beats.shape[0] < 1 or beats.shape[1] != SAMPLES_PER_BEAT or beats.shape[2] not in (1, 2):
        raise TiafError(f"beats must have the shape (n_beats, 40000, 1 or 2), got {beats.shape}")
    if edges is not None and (edges.dtype != np.float32 or edges.shape != (2, EDGE_SAMPLES, beats.shape[2])):
        raise TiafError(f"edges must be float32 of shape (2, {EDGE_SAMPLES}, {beats.shape[2]})")
    if not all(np.isfinite([part.min(), part.max()]).all() for part in (beats, edges) if part is not None):
        raise TiafError("the beats hold NaN or infinite samples")
    if not isinstance(tiaf.n_samples, int):
        raise TiafError(f"n_samples is a whole number, got {tiaf.n_samples!r}")
    if tiaf.grid_beats_per_beat not in (1, 2):
        raise TiafError(f"grid_beats_per_beat is 1 or 2, got {tiaf.grid_beats_per_beat!r}")
    needed = _n_grid_beats(tiaf.n_samples, BeatGrid(tiaf.bpm, tiaf.sample_rate), tiaf.grid_beats_per_beat)
    if tiaf.n_samples < 1 or needed != tiaf.n_beats:
        raise TiafError(
            f"{tiaf.n_samples:,} samples at {tiaf.sample_rate:,} Hz and {tiaf.bpm:g} BPM make {needed} "
            f"grid beats, not {tiaf.n_beats}"
        )
