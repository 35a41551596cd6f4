"""Onset strength: how much new sound begins, 200 times a second."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from melformer.audio.waveform import Waveform

FRAMES_PER_S = 200
N_BANDS = 24
MAX_S = 90.0  # more tells little and costs time
_REGISTERS = (0, 6, 15, N_BANDS)  # kicks and basses up to 180 Hz, snares and voices up to 1.7 kHz, hats above


@dataclass(frozen=True, eq=False)
class Onsets:
    """Onset strength per frame: of all bands (n_frames,), and of low, middle and high ones (n_frames, 3).

    `levels` are the bands' log-magnitudes (n_frames, 24). Frame k is centred k / `rate` seconds into the clip.
    """

    strength: np.ndarray
    registers: np.ndarray
    rate: float
    levels: np.ndarray

    @property
    def low(self) -> np.ndarray:
        return self.registers[:, 0]


def find_onsets(waveform: Waveform) -> Onsets:
    """Half-wave rectified rise of log-magnitude in 24 bands over 10 ms, of at most the first 90 s.

    Every curve has unit mean unless nothing begins anywhere.
    """
    hop = round(waveform.sample_rate / FRAMES_PER_S)
    magnitudes = _band_magnitudes(waveform, hop)
    levels = np.log1p(magnitudes * (1000 / max(float(magnitudes.max()), 1e-9)))
    return onsets_of(levels, waveform.sample_rate / hop)


def onsets_of(levels: np.ndarray, rate: float) -> Onsets:
    """The onsets of band levels (n_frames, 24)."""
    rise = np.maximum(levels[2:] - levels[:-2], 0)
    rise = np.concatenate([np.zeros((1, N_BANDS)), rise, np.zeros((1, N_BANDS))])
    registers = [_normalized(rise[:, low:high].sum(axis=1)) for low, high in pairwise(_REGISTERS)]
    return Onsets(_normalized(rise.sum(axis=1)), np.stack(registers, axis=1), rate, levels)


def _band_magnitudes(waveform: Waveform, hop: int) -> np.ndarray:
    """Mean magnitude in logarithmic bands from 40 Hz up: (n_frames, 24), frame k around sample k·hop."""
    rate = waveform.sample_rate
    n_fft = 1 << round(np.log2(rate * 0.023))
    signal = one_channel(waveform.samples[: int(MAX_S * rate)])
    signal = np.pad(signal, (n_fft // 2, n_fft // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(signal, n_fft)[::hop]
    edges = np.geomspace(40, min(16_000, rate * 0.45), N_BANDS + 1) * n_fft / rate
    starts = np.maximum.accumulate(np.rint(edges).astype(int))
    starts += np.maximum(0, np.arange(N_BANDS + 1) + 1 - starts)  # low bands narrower than a bin take the next
    window = np.hanning(n_fft).astype(np.float32)
    parts = []
    for begin in range(0, len(frames), 2_000):
        spectrum = np.abs(np.fft.rfft(frames[begin : begin + 2_000] * window, axis=1))
        parts.append(np.add.reduceat(spectrum, starts, axis=1)[:, :N_BANDS] / np.diff(starts))
    return np.concatenate(parts)


def one_channel(samples: np.ndarray) -> np.ndarray:
    """The mean of the channels; the loudest of them where they cancel each other, as wide stereo effects do."""
    mean = samples.mean(axis=1)
    powers = np.square(samples).mean(axis=0)
    return mean if np.square(mean).mean() > 0.1 * powers.max() else samples[:, powers.argmax()]


def _normalized(strength: np.ndarray) -> np.ndarray:
    mean = strength.mean()
    return strength / mean if mean > 1e-9 else np.zeros_like(strength)
