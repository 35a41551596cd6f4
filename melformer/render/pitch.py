"""Transposition of a stem without a change of its tempo: a phase vocoder with locked phases, then resampling."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

_WINDOW_S = 0.093
_OVERLAP = 5


def pitch_shift(samples: np.ndarray, semitones: float, sample_rate: int) -> np.ndarray:
    """`samples` float32 (n, channels) of a loop moved by `semitones`; the same length, its ends run into each other.

    Magnitudes are moved along frequency around each spectral peak, with the phases of a peak's bins kept together
    (Laroche and Dolson 1999), so that nothing is stretched and attacks stay where they are.
    """
    factor = 2.0 ** (semitones / 12.0)
    size = 2 * round(_WINDOW_S * sample_rate / 2)
    hop, n = size // _OVERLAP, len(samples)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    starts = np.arange(-(-n // hop) + _OVERLAP) * hop - size
    places = (starts[:, None] + np.arange(size)) % n
    middle = scipy.fft.rfft(samples.mean(axis=1)[places] * window)
    move = _Move.of(middle, factor, hop)
    out = np.empty_like(samples)
    for channel in range(samples.shape[1]):
        spectra = middle if samples.shape[1] == 1 else scipy.fft.rfft(samples[places, channel] * window)
        frames = scipy.fft.irfft(move(spectra), size) * window
        out[:, channel] = _overlap_add(frames, hop)[size : size + n]
    weight = _overlap_add(np.broadcast_to(window**2, (len(starts), size)), hop)[size : size + n]
    return out / np.maximum(weight, 1e-3)[:, None]


def _overlap_add(frames: np.ndarray, hop: int) -> np.ndarray:
    """Frames (n, size) summed `hop` samples apart: float32 ((n - 1) * hop + size,) and some zeros."""
    n_frames, size = frames.shape
    per_frame = -(-size // hop)
    out = np.zeros(((n_frames + per_frame) * hop,), np.float32)
    for i in range(per_frame):
        piece = frames[:, i * hop : (i + 1) * hop]
        out[i * hop : (i + n_frames) * hop].reshape(n_frames, hop)[:, : piece.shape[1]] += piece
    return out


def _peaks(magnitudes: np.ndarray) -> np.ndarray:
    """Bins louder than their two neighbours on either side, bool (frames, bins); every frame has one."""
    inner = magnitudes[:, 2:-2]
    is_peak = np.zeros(magnitudes.shape, bool)
    is_peak[:, 2:-2] = (inner > magnitudes[:, 1:-3]) & (inner >= magnitudes[:, 3:-1])
    is_peak[:, 2:-2] &= (inner > magnitudes[:, :-4]) & (inner >= magnitudes[:, 4:])
    is_peak[:, 2] |= ~is_peak.any(axis=1)
    return is_peak


def _regions(is_peak: np.ndarray) -> np.ndarray:
    """For every frame and bin the nearest peak: int64 (frames, bins)."""
    n_bins = is_peak.shape[1]
    bins = np.arange(n_bins)
    below = np.maximum.accumulate(np.where(is_peak, bins, -n_bins), axis=1)
    above = np.minimum.accumulate(np.where(is_peak, bins, 2 * n_bins)[:, ::-1], axis=1)[:, ::-1]
    return np.where(bins - below <= above - bins, below, above)


@dataclass(frozen=True)
class _Move:
    """Where the bins of spectra (frames, bins) go, and by which phases they turn: read from the middle of all channels,
    so that what stands in the middle stays there."""

    inside: np.ndarray
    index: np.ndarray
    phases: np.ndarray

    @classmethod
    def of(cls, spectra: np.ndarray, factor: float, hop: int) -> "_Move":
        """Each peak's region moves to `factor` times its frequency, its phases advanced by what it gained.

        A peak's frequency is read from how far its phase turns in a hop (Flanagan and Golden 1966).
        """
        is_peak = _peaks(np.abs(spectra))
        regions = _regions(is_peak)
        n_frames, n_bins = spectra.shape
        per_bin = np.pi * hop / (n_bins - 1)  # by which a bin's centre turns in a hop
        rows, peaks = np.nonzero(is_peak)
        turned = np.angle(spectra[rows, peaks] * np.conj(spectra[np.maximum(rows - 1, 0), peaks])) - per_bin * peaks
        turned[rows == 0] = 0.0
        frequency = peaks + np.angle(np.exp(1j * turned)) / per_bin  # in bins
        by = np.zeros(spectra.shape, np.int64)
        by[rows, peaks] = np.rint(frequency * (factor - 1.0))
        gained = np.zeros(spectra.shape, np.float32)
        gained[rows, peaks] = per_bin * frequency * (factor - 1.0)
        total, turns = np.zeros(n_bins, np.float32), np.zeros(spectra.shape, np.float32)
        for i in range(n_frames):
            # A region's phase is what its peak has gained; a new peak takes over what lay at its place.
            total = np.remainder(total + gained[i] * (i > 0), np.float32(2.0 * np.pi))[regions[i]]
            turns[i] = total
        target = np.arange(n_bins) + np.take_along_axis(by, regions, axis=1)
        inside = (target >= 0) & (target < n_bins)
        index = (target + np.arange(n_frames)[:, None] * n_bins)[inside]
        return cls(inside, index, np.exp(1j * turns[inside]).astype(np.complex64))

    def __call__(self, spectra: np.ndarray) -> np.ndarray:
        turned = spectra[self.inside] * self.phases
        flat = [np.bincount(self.index, part, spectra.size).astype(np.float32) for part in (turned.real, turned.imag)]
        return (flat[0] + 1j * flat[1]).reshape(spectra.shape)
