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


@lru_cache(maxsize=4)
def _filters(sample_rate: int, n_fft: int) -> np.ndarray:
    """Triangles on the mel scale of O'Shaughnessy, each with a sum of 1: float32 (n_bins, 40)."""
    mels = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), N_BANDS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    hertz = np.arange(min(n_fft // 2 + 1, int(HIGH_HZ * n_fft / sample_rate) + 2)) * (sample_rate / n_fft)
    rising = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles / np.maximum(triangles.sum(axis=0), 1e-9)).astype(np.float32)


def _mel(hertz: float) -> float:
    return 2595.0 * np.log10(1.0 + hertz / 700.0)
