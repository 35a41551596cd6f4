"""What speaks for each candidate tempo: numbers that the decoder weighs (`train/tempo/decoder_fit.py` fits it)."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from melformer.audio.grid import seconds_per_beat
from melformer.audio.mel import FRAMES_PER_S, mel_bands, one_channel
from melformer.audio.tempo.beat_network import BARS, TEMPI_BPM, Activations, Weights, network_input, run_network
from melformer.audio.tempo.candidates import Candidate, curve_at, evidence, fold_curve
from melformer.audio.tempo.edges import NOTABLE_S, SoundEdges, find_edges, leading_zeros
from melformer.audio.tempo.repeats import find_repeats
from melformer.audio.waveform import Waveform

MAX_S = 60
N_TEMPO_FEATURES = 54
COMMON_BAR = 4
_LAGS = ((1.0,), (2.0,), (4.0,), (0.5, 1.5, 2.5), (1 / 3, 2 / 3, 4 / 3), (0.25, 0.75, 1.25), (3.0,))
_FLUX_PHASES = 32
_LOW_BANDS = 4


@dataclass(frozen=True, eq=False)
class AnalysedClip:
    """What the decoder knows of a clip: what the network sees, where sound begins and ends, what repeats, how much
    begins in each frame (`flux`), and below 250 Hz (`low_flux`)."""

    activations: Activations
    edges: SoundEdges
    repeats: list[tuple[float, float]]
    flux: np.ndarray
    low_flux: np.ndarray

    @cached_property
    def beat(self) -> np.ndarray:
        """Bounded evidence for a beat, (n_frames,)."""
        return evidence(self.activations.beat)

    @cached_property
    def downbeat(self) -> np.ndarray:
        """Bounded evidence for a downbeat, (n_frames,)."""
        return evidence(self.activations.downbeat)

    @cached_property
    def peaks(self) -> np.ndarray:
        """Evidence for beats where there is any, as good 20 ms beside a peak."""
        padded = np.pad(np.maximum(self.beat, 0.0), 2)
        return np.max([padded[i : i + len(self.beat)] for i in range(5)], axis=0)

    @cached_property
    def peak_sum(self) -> float:
        """All the evidence for beats, once for each peak."""
        padded = np.pad(np.maximum(self.beat, 0.0), 1)
        is_peak = (padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:])
        return float(padded[1:-1][is_peak].sum())

    @property
    def analysed_s(self) -> float:
        """Length of what the network saw, in s."""
        return len(self.beat) / FRAMES_PER_S

    @property
    def is_padded(self) -> bool:
        """Whether silence stands before or after the sound."""
        return self.edges.start_s > NOTABLE_S or self.edges.duration_s - self.edges.stop_s > NOTABLE_S


def analyse_clip(waveform: Waveform, weights: Weights) -> AnalysedClip:
    """Analyse a clip that is not silent, by its first minute and its edges; times count from where digital silence at
    its start ends, so that this changes nothing. At its end it may be a rest."""
    before = leading_zeros(waveform)
    core = waveform.slice(before, waveform.n_samples) if before else waveform
    edges = replace(find_edges(core), before_s=before / core.sample_rate)
    mono = Waveform(one_channel(core.samples[: MAX_S * core.sample_rate])[:, None], core.sample_rate)
    bands = mel_bands(mono)
    return AnalysedClip(
        run_network(network_input(bands), weights), edges, find_repeats(mono, bands), spectral_flux(bands),
        spectral_flux(bands[:, :_LOW_BANDS]),
    )  # fmt: skip


def spectral_flux(bands: np.ndarray) -> np.ndarray:
    """The rise of log-magnitude over 20 ms, all these bands together, mean 1 (or 0 all through): (n_frames,)."""
    levels = np.log1p(bands * (1000.0 / max(float(bands.max()), 1e-9)))
    rise = np.zeros(len(levels))
    rise[1:-1] = np.maximum(levels[2:] - levels[:-2], 0.0).sum(axis=1)
    return rise / max(float(rise.mean()), 1e-9)


def tempo_features(clip: AnalysedClip, candidates: list[Candidate], beats_per_bar: int | None = None) -> np.ndarray:
    """(n_candidates, n_features); `beats_per_bar`, where it is known, says which numbers of beats are whole bars."""
    bpms, places = np.unique(np.array([c.bpm for c in candidates]), return_inverse=True)
    grids = np.array([_grid_features(clip, float(bpm)) for bpm in bpms])
    below = grids[:, :1] - grids[:, 0].max()
    tempo = clip.activations.tempo
    steps = np.log(bpms[:, None] * np.array([1.0, 2.0, 0.5]) / TEMPI_BPM[0]) / np.log(TEMPI_BPM[1] / TEMPI_BPM[0])
    head = np.interp(steps, np.arange(len(tempo)), np.maximum(tempo, -12.0)) / 4.0
    correlation = _autocorrelation(clip.flux)
    periodic = np.stack([_mean_at(correlation, bpms, lags) for lags in _LAGS], axis=1)
    octaves = np.log2(bpms / 115.0)
    usual = [octaves, octaves**2, np.maximum(0.0, np.log2(bpms / 180.0)), np.maximum(0.0, np.log2(75.0 / bpms))]
    by_tempo = np.concatenate([grids, below, np.maximum(below, -1.5), head, periodic, np.stack(usual, axis=1)], axis=1)
    bar = None if beats_per_bar == COMMON_BAR else beats_per_bar
    by_length = np.array([_length_features(clip, c, bar) for c in candidates])
    return np.concatenate([by_tempo[places], by_length], axis=1)


def _grid_features(clip: AnalysedClip, bpm: float) -> list[float]:
    """Evidence on the best grid of this tempo, between its beats, and for a bar; how sharply sounds begin on it."""
    period = FRAMES_PER_S * seconds_per_beat(bpm)
    phases, sums = fold_curve(clip.beat, period)
    best, n = int(sums.argmax()), len(phases)
    n_beats = max(1.0, len(clip.beat) / period)
    half = max(sums[(best + n // 2 + d) % n] for d in (-1, 0, 1))
    thirds = max(sums[(best + n // 3) % n], sums[(best + 2 * n // 3) % n])
    caught = fold_curve(clip.peaks, period)[1][best] / max(clip.peak_sum, 1.0)
    top = max(value for values in bar_sums(clip, period, phases[best]) for value in values) / n_beats
    flux = fold_curve(clip.flux, period, _FLUX_PHASES)[1]
    flux = flux / max(float(flux.sum()), 1e-9)
    harmonics = np.abs(np.fft.rfft(flux))
    return [
        sums[best] / clip.analysed_s / 4.0, sums[best] / 50.0, sums[best] / n_beats / 3.0, half / n_beats / 3.0,
        thirds / n_beats / 3.0, min(caught, 1.5), top / 2.0, harmonics[1], harmonics[2], harmonics[3], harmonics[4],
        4.0 * float(flux.max()),
    ]  # fmt: skip


def bar_sums(clip: AnalysedClip, period: float, phase: float) -> list[np.ndarray]:
    """For each metre, the evidence for downbeats if bars begin with the grid's beat 0, 1, …: (beats a bar,) each."""
    n_beats = int((len(clip.downbeat) - 1 - phase) / period) + 1
    places = np.rint(phase + np.arange(max(1, n_beats)) * period).astype(int)
    values = clip.downbeat[np.clip(places, 0, len(clip.downbeat) - 1)] * (places >= 0)  # digital silence has none
    return [np.array([values[o::bar].sum() for o in range(bar)]) for bar in BARS]


def _length_features(clip: AnalysedClip, candidate: Candidate, bar: int | None) -> list[float]:
    """What the lengths say: of the whole clip, of the sound in it, of what repeats; and whether a beat begins them."""
    counts = (candidate.whole, candidate.trimmed, candidate.repeated)
    whole, trimmed, repeated = (_kinds(_as_in_four(n, bar)) for n in counts)
    sure = max(0.0, candidate.likeness - 0.5) * 2.0
    bars = [_whole_bars(clip, n, bar) for n in counts]
    by_length = candidate.span is not None
    return [
        *(float(flag) for flag in whole), float(clip.is_padded and candidate.whole > 0),
        *(float(flag) for flag in trimmed), *(sure * flag for flag in repeated),
        sure**4 * float(candidate.repeated > 0), bars[0], bars[1], sure * bars[2],
        float(candidate.is_round and by_length), float(candidate.is_round) * sure, *(_start_features(clip, candidate)),
    ]  # fmt: skip


def _kinds(n: int) -> list[bool]:
    """Whether there is a number of beats at all, and of which kind."""
    power = n >= 4 and n & (n - 1) == 0
    four = n > 0 and n % 4 == 0 and not power
    three = n > 0 and n % 3 == 0 and n % 4 != 0
    few = 0 < n < 4
    return [power, four, three, few, n > 0 and not (power or four or three or few)]


def _as_in_four(n_beats: int, bar: int | None) -> int:
    """A number of beats as a clip of as many bars would have it in 4/4; 1 where it is no whole number of bars."""
    if bar is None:
        return n_beats
    return n_beats // bar * COMMON_BAR if n_beats % bar == 0 else 1


def _whole_bars(clip: AnalysedClip, n_beats: int, bar: int | None) -> float:
    """How probable a metre is of which this is 1, 2, 4, 8, … bars."""
    bars = BARS if bar is None else (bar,)
    n_bars = [n_beats // b if n_beats % b == 0 else 0 for b in bars]
    fits = np.array([n > 0 and n & (n - 1) == 0 for n in n_bars])
    return float(np.exp(clip.activations.metre)[fits].sum()) if bar is None else float(fits[0])


def _start_features(clip: AnalysedClip, candidate: Candidate) -> list[float]:
    """How much weaker the evidence is on a grid from the span's start than on the best; 0 without a span."""
    if candidate.span is None:
        return [0.0, 0.0, 0.0, 0.0]
    period = FRAMES_PER_S * seconds_per_beat(candidate.bpm)
    start = candidate.span[0] * FRAMES_PER_S
    n = max(1, int((len(clip.beat) - start) / period))
    grid = start + np.arange(n) * period
    beats = float(curve_at(clip.beat, grid).mean())
    best = float(fold_curve(clip.beat, period)[1].max()) / n
    flux = fold_curve(clip.flux, period, _FLUX_PHASES)[1]
    place = round((start % period) / period * _FLUX_PHASES)
    at_start = max(flux[(place + d) % _FLUX_PHASES] for d in (-1, 0, 1)) / max(float(flux.sum()), 1e-9)
    down = [values[0] - values.max() for values in bar_sums(clip, period, start)]
    count = candidate.whole or candidate.trimmed
    fitting = [d for d, bar in zip(down, BARS) if count % bar == 0]
    return [
        max(beats - best, -6.0) / 3.0, beats / 3.0, 4.0 * at_start,
        max(max(fitting, default=-n), -n) / n,
    ]  # fmt: skip


def _autocorrelation(flux: np.ndarray) -> np.ndarray:
    """Of the curve smoothed by 20 ms, 1 at lag 0; lags that few frames overlap are trusted less."""
    kernel = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    smooth = np.convolve(flux, kernel / kernel.sum(), "same")
    smooth = smooth - smooth.mean()
    n = len(smooth)
    products = np.fft.irfft(np.abs(np.fft.rfft(smooth, 1 << (2 * n).bit_length())) ** 2)[:n]
    products = products / np.maximum(n - np.arange(n), 0.15 * n)
    return products / products[0] if products[0] > 1e-9 else np.zeros(n)


def _mean_at(correlation: np.ndarray, bpms: np.ndarray, lags: tuple[float, ...]) -> np.ndarray:
    """The mean correlation at these lags in beats, as far as the clip is long enough; else 0."""
    frames = np.outer(FRAMES_PER_S * seconds_per_beat(bpms), lags)
    inside = frames <= 0.85 * len(correlation)
    values = np.interp(frames, np.arange(len(correlation)), correlation) * inside
    return values.sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
