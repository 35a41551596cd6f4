"""Transposition of a stem without a change of its tempo: a phase vocoder with locked phases, then resampling."""

import numpy as np
import scipy.fft

_WINDOW_S = 0.093
_OVERLAP = 6


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
    regions = _regions(np.abs(scipy.fft.rfft(samples.mean(axis=1)[places] * window)))
    out = np.empty_like(samples)
    for channel in range(samples.shape[1]):
        spectra = scipy.fft.rfft(samples[places, channel] * window)
        frames = scipy.fft.irfft(_moved(spectra, regions, factor, hop, size), size) * window
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


def _regions(magnitudes: np.ndarray) -> np.ndarray:
    """For every frame and bin the bin of the peak that it belongs to: int64 (frames, bins)."""
    n_bins = magnitudes.shape[1]
    is_peak = np.zeros_like(magnitudes, bool)
    inner = magnitudes[:, 2:-2]
    is_peak[:, 2:-2] = (
        (inner > magnitudes[:, 1:-3]) & (inner >= magnitudes[:, 3:-1]) & (inner > magnitudes[:, :-4])
        & (inner >= magnitudes[:, 4:])
    )  # fmt: skip
    is_peak[:, 2] |= ~is_peak.any(axis=1)
    bins = np.arange(n_bins)
    below = np.maximum.accumulate(np.where(is_peak, bins, -1), axis=1)
    above = np.minimum.accumulate(np.where(is_peak, bins, 2 * n_bins)[:, ::-1], axis=1)[:, ::-1]
    nearer_below = (below >= 0) & ((bins - below <= above - bins) | (above >= 2 * n_bins))
    return np.where(nearer_below, below, above)


def _moved(spectra: np.ndarray, regions: np.ndarray, factor: float, hop: int, size: int) -> np.ndarray:
    """Spectra with each peak's region moved to `factor` times its frequency, phases advanced by what it gained."""
    n_frames, n_bins = spectra.shape
    bins = np.arange(n_bins)
    phases = np.angle(spectra)
    advance = 2.0 * np.pi * hop * bins / size
    turned = np.diff(phases, axis=0, prepend=phases[:1] - advance) - advance
    true = (advance + np.angle(np.exp(1j * turned))) / (2.0 * np.pi * hop / size)  # frequency in bins, (frames, bins)
    peak_frequency = np.take_along_axis(true, regions, axis=1)
    by = np.rint(peak_frequency * (factor - 1.0)).astype(np.int64)
    gained = 2.0 * np.pi * hop / size * peak_frequency * (factor - 1.0)
    # A region's phase is what its peak gained since the beginning; a new peak takes over what lies at its place.
    total = np.zeros_like(gained)
    for i in range(1, n_frames):
        total[i] = np.take(total[i - 1], regions[i]) + gained[i]
    target = bins[None] + by
    inside = (target >= 0) & (target < n_bins)
    index = (target + np.arange(n_frames)[:, None] * n_bins)[inside]
    turned_on = (spectra * np.exp(1j * total.astype(np.float32)))[inside]
    flat = [np.bincount(index, part, spectra.size).astype(np.float32) for part in (turned_on.real, turned_on.imag)]
    return (flat[0] + 1j * flat[1]).reshape(spectra.shape)
