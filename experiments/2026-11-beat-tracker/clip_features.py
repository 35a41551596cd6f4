"""What speaks for each candidate: numbers that the decoder weighs (fitted in `train/tempo/tempo_decoder.py`)."""

from dataclasses import dataclass, field

import numpy as np
from beat_tracker import METRES, TEMPI_BPM, Activations, network_input, run_network
from candidates import Candidate, evidence, find_candidates, find_repeats, fold
from clip_edges import Edges, find_edges
from mel import FRAMES_PER_S, mel_bands, one_channel

from melformer.audio.grid import seconds_per_beat
from melformer.audio.waveform import Waveform

BARS = (4, 3, 5, 2, 7)  # beats a bar of each of METRES; 6/8 counts two dotted quarters
MAX_S = 60
_LAGS = ((1.0,), (2.0,), (4.0,), (0.5, 1.5, 2.5), (1 / 3, 2 / 3, 4 / 3), (0.25, 0.75, 1.25), (3.0,))


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip taken apart: what the tracker sees (`beat`, `downbeat`: bounded evidence), where sound begins and ends,
    what repeats, how much begins in each frame (`flux`)."""

    activations: Activations
    edges: Edges
    repeats: list[tuple[float, float]]
    flux: np.ndarray
    beat: np.ndarray = field(init=False)
    downbeat: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "beat", evidence(self.activations.beat))
        object.__setattr__(self, "downbeat", evidence(self.activations.downbeat))

    @property
    def heard_s(self) -> float:
        """Length of what was analysed, in s."""
        return len(self.beat) / FRAMES_PER_S


def take_apart(waveform: Waveform, weights: dict[str, np.ndarray]) -> Clip:
    """Analyse a clip that is not silent, by its first minute and its edges."""
    head = waveform.samples[: MAX_S * waveform.sample_rate]
    mono = Waveform(one_channel(head)[:, None], waveform.sample_rate)
    bands = mel_bands(mono)
    activations = run_network(network_input(bands), weights)
    return Clip(activations, find_edges(waveform), find_repeats(mono, bands), onset_flux(bands))


def onset_flux(bands: np.ndarray) -> np.ndarray:
    """The rise of log-magnitude over 20 ms, all bands together, mean 1 (or 0 all through): (n_frames,)."""
    levels = np.log1p(bands * (1000.0 / max(float(bands.max()), 1e-9)))
    rise = np.zeros(len(levels))
    rise[1:-1] = np.maximum(levels[2:] - levels[:-2], 0.0).sum(axis=1)
    return rise / max(float(rise.mean()), 1e-9)


def tempo_features(clip: Clip, candidates: list[Candidate]) -> np.ndarray:
    """(n_candidates, n_features)."""
    bpms = np.array([c.bpm for c in candidates])
    grids = np.array([_grid_features(clip, c.bpm) for c in candidates])
    best = grids[:, 0].max()
    columns = [grids, (grids[:, :1] - best), np.maximum(grids[:, :1] - best, -1.5)]
    tempo = clip.activations.tempo
    places = np.log(bpms[:, None] * np.array([1.0, 2.0, 0.5]) / TEMPI_BPM[0]) / np.log(TEMPI_BPM[1] / TEMPI_BPM[0])
    columns.append(np.interp(places, np.arange(len(tempo)), np.maximum(tempo, -12.0)) / 4.0)
    correlation = autocorrelation(clip.flux)
    columns.append(np.stack([_mean_at(correlation, bpms, lags) for lags in _LAGS], axis=1))
    octaves = np.log2(bpms / 115.0)
    columns.append(
        np.stack(
            [octaves, octaves**2, np.maximum(0.0, np.log2(bpms / 180.0)), np.maximum(0, np.log2(75.0 / bpms))], axis=1
        )
    )
    columns.append(np.array([_length_features(clip, c) for c in candidates]))
    return np.concatenate(columns, axis=1)


def _grid_features(clip: Clip, bpm: float) -> list[float]:
    """Evidence on the best grid of this tempo, between its beats, and for a bar."""
    period = FRAMES_PER_S * seconds_per_beat(bpm)
    phases, sums = fold(clip.beat, period)
    best = int(sums.argmax())
    n = len(phases)
    n_beats = max(1.0, len(clip.beat) / period)
    half = max(sums[(best + n // 2 + d) % n] for d in (-1, 0, 1))
    thirds = max(sums[(best + n // 3) % n], sums[(best + 2 * n // 3) % n])
    positive = np.maximum(clip.beat, 0.0)
    caught = fold(_widened(positive), period)[1][best] / max(positive_peaks(positive), 1.0)
    bars = bar_sums(clip, period, phases[best])
    top = max(value for rows in bars for value in rows) / n_beats
    return [
        sums[best] / clip.heard_s / 4.0, sums[best] / 50.0, sums[best] / n_beats / 3.0, half / n_beats / 3.0,
        thirds / n_beats / 3.0, min(caught, 1.5), top / 2.0,
    ]  # fmt: skip


def _widened(curve: np.ndarray) -> np.ndarray:
    padded = np.pad(curve, 2)
    return np.max([padded[i : i + len(curve)] for i in range(5)], axis=0)


def positive_peaks(positive: np.ndarray) -> float:
    """The sum of the peaks of a curve."""
    padded = np.pad(positive, 1)
    return float(positive[(positive >= padded[:-2]) & (positive > padded[2:])].sum())


def bar_sums(clip: Clip, period: float, phase: float) -> list[np.ndarray]:
    """For each metre, the evidence for downbeats if bars begin with the grid's beat 0, 1, …: (beats a bar,) each."""
    n_beats = int((len(clip.downbeat) - 1 - phase) / period) + 1
    places = np.rint(phase + np.arange(max(1, n_beats)) * period).astype(int)
    values = clip.downbeat[np.minimum(places, len(clip.downbeat) - 1)]
    return [np.array([values[o::bar].sum() for o in range(bar)]) for bar in BARS]


def _length_features(clip: Clip, candidate: Candidate) -> list[float]:
    """What the lengths say: of the whole clip, of the sound in it, of what repeats."""
    padded = clip.edges.start_s > 0.004 or clip.edges.duration_s - clip.edges.stop_s > 0.004
    whole, trimmed, repeated = (_kinds(n) for n in (candidate.whole, candidate.trimmed, candidate.repeated))
    sure = max(0.0, candidate.likeness - 0.5) * 2.0
    return [
        *(float(flag) for flag in whole), float(padded and candidate.whole > 0), *(float(flag) for flag in trimmed),
        *(sure * flag for flag in repeated), sure**4 * float(candidate.repeated > 0),
    ]  # fmt: skip


def _kinds(n: int) -> list[bool]:
    """Whether there is a number of beats at all, and of which kind."""
    power = n >= 4 and n & (n - 1) == 0
    four = n > 0 and n % 4 == 0 and not power
    three = n > 0 and n % 3 == 0 and n % 4 != 0
    few = 0 < n < 4
    return [power, four, three, few, n > 0 and not (power or four or three or few)]


def autocorrelation(flux: np.ndarray) -> np.ndarray:
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


__all__ = ["METRES", "Clip", "find_candidates", "take_apart", "tempo_features"]
