"""Mel bands of a waveform, a hundred frames a second at any sample rate."""

from functools import lru_cache

import numpy as np

from melformer.audio.waveform import Waveform

FRAMES_PER_S = 100
N_BANDS = 40
LOW_HZ, HIGH_HZ = 30.0, 10_000.0  # what lies above 10 kHz is missing in many files
_WINDOW_S = 0.046
_BLOCK = 1_000


def mel_bands(waveform: Waveform, max_s: float = 60.0) -> np.ndarray:
    """Magnitudes in 40 mel bands: float32 (n_frames, 40); frame k is centred k / 100 s into the clip.

    Bands above half the sample rate are 0. Only the first `max_s` seconds are analysed.
    """
    rate = waveform.sample_rate
    n_fft = 1 << round(np.log2(rate * _WINDOW_S))
    signal = one_channel(waveform.samples[: int(max_s * rate)])
    n_frames = 1 + int(len(signal) * FRAMES_PER_S / rate)
    # Rounded frame by frame: 22,050 samples a second give no whole number of samples a frame.
    starts = np.rint(np.arange(n_frames) * (rate / FRAMES_PER_S)).astype(np.int64)
    padded = np.pad(signal, (n_fft // 2, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)
    window, filters = np.hanning(n_fft).astype(np.float32) / n_fft, _filters(rate, n_fft)
    parts = []
    for begin in range(0, n_frames, _BLOCK):
        spectrum = np.abs(np.fft.rfft(frames[starts[begin : begin + _BLOCK]] * window, axis=1))
        parts.append(spectrum.astype(np.float32)[:, : len(filters)] @ filters)
    return np.concatenate(parts)


def one_channel(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels; the loudest of them where they cancel each other, as wide stereo effects do."""
    n_channels = samples.shape[1]
    if n_channels == 1:
        return samples[:, 0]
    mean = samples @ np.full(n_channels, 1.0 / n_channels, np.float32)  # ten times as fast as `mean` over short rows
    powers = np.einsum("ij,ij->j", samples, samples)
    return mean if float(mean @ mean) > 0.1 * float(powers.max()) else samples[:, powers.argmax()]


def mel_edges(n_bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Hertz at even steps of the mel scale (O'Shaughnessy 1987), bands reach from one to the next but one:
    (n_bands + 2,)."""
    low, high = (2_595.0 * np.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    return 700.0 * (10.0 ** (np.linspace(low, high, n_bands + 2) / 2_595.0) - 1.0)


def triangles(n_fft: int, sample_rate: int, edges: np.ndarray) -> np.ndarray:
    """A filter on each three neighbouring edges, 1 on the middle one: float64 (n_fft // 2 + 1, n_edges − 2)."""
    hz = np.arange(n_fft // 2 + 1)[:, None] * sample_rate / n_fft
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0.0)


def unit_sums(filters: np.ndarray) -> np.ndarray:
    """Filters (n_bins, n_bands) whose weights sum to 1 each: float32."""
    return (filters / np.maximum(filters.sum(axis=0), 1e-9)).astype(np.float32)


@lru_cache(maxsize=4)
def _filters(sample_rate: int, n_fft: int) -> np.ndarray:
    """As far up as they reach: float32 (n_bins, 40)."""
    n_bins = min(n_fft // 2 + 1, int(HIGH_HZ * n_fft / sample_rate) + 2)
    return unit_sums(triangles(n_fft, sample_rate, mel_edges(N_BANDS, LOW_HZ, HIGH_HZ))[:n_bins])
