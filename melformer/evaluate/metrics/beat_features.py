"""What each beat of a clip sounds like: the features that continuations are compared by."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from melformer.audio.grid import BeatGrid, seconds_per_beat
from melformer.audio.resample import resample
from melformer.audio.waveform import Waveform
from melformer.errors import AudioError
from melformer.evaluate.metrics import onset_agreement, tonality
from melformer.evaluate.metrics.spectra import mel_spectrogram

SAMPLE_RATE = 44_100
CELLS_PER_BEAT = 4  # the 16th grid
FRAMES_PER_BEAT = 16  # of a fingerprint
N_FINGERPRINT_MELS = 40
_BAND_EDGES = (0, 10, 26, 48)  # of 48 mels: below 0.7 kHz, to 3.4 kHz, above: kick, snare and voices, hats
_N_FFT = 1024


@dataclass(frozen=True)
class BeatFeatures:
    """Features per beat of a clip; arrays start with (n_beats, …)."""

    onsets: np.ndarray  # bool (n_beats, 4): a sound begins at this 16th
    strength: np.ndarray  # float (n_beats, 4, 3): how strongly, in low, middle and high bands, dB of rise
    chroma: np.ndarray  # float (n_beats, 12), magnitude per pitch class
    level_db: np.ndarray  # float (n_beats,), RMS in dB of full scale, −120 for silence
    centroid_octaves: np.ndarray  # float (n_beats,), log2 of the spectral centroid in Hz; NaN where silent
    fingerprint: np.ndarray  # float32 (n_beats, 16 · 40), log mel in dB, held 60 dB under the clip's peak
    onset_off_grid_s: np.ndarray  # float (n_onsets,), signed distance of each onset to its nearest 16th

    @property
    def n_beats(self) -> int:
        return len(self.level_db)


def beat_features(waveform: Waveform, bpm: float, n_beats: int, lead: Waveform | None = None) -> BeatFeatures:
    """Measure `n_beats` beats of a clip that starts on a beat.

    `lead` is what sounds just before it, so that its first onset is seen; None: its own end, as a loop plays.
    A clip that is shorter than its beats counts as silent there. Errors: AudioError for less than one beat.
    """
    if n_beats < 1:
        raise AudioError(f"features need at least one beat, got {n_beats}")
    edges = BeatGrid(bpm, SAMPLE_RATE).edges(n_beats)
    clip = _fitted(resample(waveform.mono(), SAMPLE_RATE).samples[:, 0], edges[-1])
    before = clip if lead is None else resample(lead.mono(), SAMPLE_RATE).samples[:, 0]
    before = before[-SAMPLE_RATE // 5 :]  # 0.2 s
    whole = np.concatenate([before, clip])
    offset_s = len(before) / SAMPLE_RATE
    beat_s = seconds_per_beat(bpm)
    times = onset_agreement.onset_times(whole, SAMPLE_RATE) - offset_s
    off_grid, grid = _onset_grid(times, beat_s, n_beats)
    mel = mel_spectrogram(clip, SAMPLE_RATE, _N_FFT, 128, N_FINGERPRINT_MELS)
    return BeatFeatures(
        onsets=grid,
        strength=_cell_strength(onset_agreement.onset_bands(whole, SAMPLE_RATE), offset_s, beat_s, n_beats),
        chroma=_per_beat(tonality.chromagram(clip, SAMPLE_RATE), n_beats),
        level_db=_levels(clip, edges),
        centroid_octaves=_centroids(clip, edges),
        fingerprint=_fingerprints(mel, n_beats),
        onset_off_grid_s=off_grid,
    )


def _fitted(samples: np.ndarray, n_samples: int) -> np.ndarray:
    """Cut, or filled with silence, to a length."""
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))


def _onset_grid(times: np.ndarray, beat_s: float, n_beats: int) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances to the nearest 16th in seconds, and bool (n_beats, 4): which 16ths have an onset."""
    cell_s = beat_s / CELLS_PER_BEAT
    times = times[(times >= -cell_s / 2) & (times < n_beats * beat_s - cell_s / 2)]
    cells = np.rint(times / cell_s).astype(int)
    grid = np.zeros(n_beats * CELLS_PER_BEAT, bool)
    grid[np.clip(cells, 0, len(grid) - 1)] = True
    return times - cells * cell_s, grid.reshape(n_beats, CELLS_PER_BEAT)


def _cell_strength(bands: np.ndarray, offset_s: float, beat_s: float, n_beats: int) -> np.ndarray:
    """The strongest rise within a quarter of a cell around each 16th, per group of bands."""
    groups = [bands[:, a:b].mean(axis=1) for a, b in pairwise(_BAND_EDGES)]
    hop, cell_s = onset_agreement.hop_s(SAMPLE_RATE), beat_s / CELLS_PER_BEAT
    out = np.zeros((n_beats * CELLS_PER_BEAT, len(groups)))
    for cell in range(len(out)):
        centre = offset_s + cell * cell_s - onset_agreement.LATENCY_S
        low, high = (max(0, round((centre + side * cell_s / 4) / hop)) for side in (-1, 1))
        out[cell] = [group[low : high + 1].max(initial=0.0) for group in groups]
    return out.reshape(n_beats, CELLS_PER_BEAT, -1)


def _per_beat(frames: np.ndarray, n_beats: int) -> np.ndarray:
    """Mean over the frames in each beat, (n_beats, width); frames are spread evenly over the clip."""
    which = np.minimum((np.arange(len(frames)) * n_beats) // len(frames), n_beats - 1)
    sums = np.zeros((n_beats, frames.shape[1]))
    np.add.at(sums, which, frames)
    return sums / np.maximum(np.bincount(which, minlength=n_beats), 1)[:, None]


def _levels(clip: np.ndarray, edges: np.ndarray) -> np.ndarray:
    power = np.add.reduceat(np.square(clip, dtype=np.float64), edges[:-1]) / np.diff(edges)
    return 10.0 * np.log10(np.maximum(power, 1e-12))


def _centroids(clip: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """log2 of the energy-weighted mean frequency of each beat, from 50 Hz up."""
    out = np.full(len(edges) - 1, np.nan)
    for beat, (start, stop) in enumerate(pairwise(edges)):
        power = np.abs(np.fft.rfft(clip[start:stop] * np.hanning(stop - start))) ** 2
        hz = np.fft.rfftfreq(stop - start, 1.0 / SAMPLE_RATE)
        heard = hz >= 50.0
        if power[heard].sum() > 1e-6:
            out[beat] = np.log2((power * hz)[heard].sum() / power[heard].sum())
    return out


def _fingerprints(mel: np.ndarray, n_beats: int) -> np.ndarray:
    """Mean mel energy in 16 slices of each beat, in dB under the clip's peak, float32 (n_beats, 16 · 40)."""
    slices = np.sqrt(_per_beat(np.square(mel), n_beats * FRAMES_PER_BEAT))
    floor = max(float(slices.max()) * 1e-3, 1e-6)
    return (20.0 * np.log10(np.maximum(slices, floor))).astype(np.float32).reshape(n_beats, -1)


def fingerprint_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean level difference in dB between every two beats, (len(a), len(b)); under 1 dB nobody hears it."""
    return np.stack([np.abs(row - b).mean(axis=1) for row in a])


def self_similarity(features: BeatFeatures) -> np.ndarray:
    """How alike every two beats sound, (n_beats, n_beats), 1 for equal, 0.37 at 6 dB of mean difference."""
    return np.exp(-fingerprint_distances(features.fingerprint, features.fingerprint) / 6.0)


def self_similarity_correlation(reference: BeatFeatures, estimate: BeatFeatures) -> float:
    """Whether two clips of equally many beats repeat alike: correlation of their self-similarity, −1 to 1.

    NaN where the reference is the same at every beat, or has fewer than three.
    Errors: AudioError when the numbers of beats differ.
    """
    if reference.n_beats != estimate.n_beats:
        raise AudioError(f"{reference.n_beats} and {estimate.n_beats} beats cannot be compared beat by beat")
    upper = np.triu_indices(reference.n_beats, 1)
    a, b = (self_similarity(x)[upper] for x in (reference, estimate))
    if len(a) < 3 or a.std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1]) if b.std() >= 1e-6 else 0.0
