"""A short-time Fourier transform whose frames stand on the beat grid, whatever the tempo and the sample rate."""

import numpy as np
import torch
from torch import Tensor

from melformer.audio.grid import BeatGrid

FRAMES_PER_BEAT = 24
"""Frames per beat of the folded tempo (90 to 180 BPM): 14 to 28 ms apart, and a beat later is 24 frames later."""
WINDOW_S = 4_096 / 44_100
BIN_HZ = 1.0 / WINDOW_S
SLICE_VALUES = 2**20
"""Samples of frames that are transformed at once."""


def window_length(sample_rate: float) -> int:
    """Samples of the window, even: bins are 10.77 Hz apart at every sample rate."""
    return 2 * round(WINDOW_S * sample_rate / 2)


def frame_centres(n_samples: int, sample_rate: int, bpm: float) -> np.ndarray:
    """Where frames are centred, in samples: int64 (n_frames,), from 0 on, the last one at or after the end."""
    hop = float(BeatGrid(bpm, sample_rate).samples_per_model_beat) / FRAMES_PER_BEAT
    return np.rint(np.arange(int(np.ceil(n_samples / hop)) + 1) * hop).astype(np.int64)


def stft(waveform: Tensor, centres: Tensor, n_fft: int) -> Tensor:
    """Spectra of Hann-windowed frames: float32 (channels, samples) → complex64 (channels, frames, n_fft // 2 + 1)."""
    padded = torch.nn.functional.pad(waveform, (n_fft // 2, n_fft))
    frames = padded[:, centres[:, None] + torch.arange(n_fft)]
    return torch.fft.rfft(frames * torch.hann_window(n_fft))


def magnitudes(waveform: Tensor, centres: Tensor, n_fft: int) -> Tensor:
    """The magnitudes of `stft`, float32 (channels, frames, n_fft // 2 + 1); never the spectra of all frames at once."""
    padded = torch.nn.functional.pad(waveform, (n_fft // 2, n_fft))
    window, places = torch.hann_window(n_fft), torch.arange(n_fft)
    n_frames = max(1, SLICE_VALUES // (n_fft * len(waveform)))
    parts = [torch.fft.rfft(padded[:, part[:, None] + places] * window).abs() for part in centres.split(n_frames)]
    return torch.cat(parts, dim=1)


def istft(spectra: Tensor, centres: Tensor, n_fft: int, n_samples: int) -> Tensor:
    """The waveform nearest to spectra, float32 (channels, n_samples): weighted overlap-add, divided by the sum of the
    squared windows, which holds for frames at any distance (Griffin and Lim, 1984)."""
    window = torch.hann_window(n_fft)
    frames = torch.fft.irfft(spectra, n_fft) * window
    places = (centres[:, None] + torch.arange(n_fft)).flatten()
    size = int(centres[-1]) + n_fft
    total = torch.zeros(len(spectra), size).index_add_(1, places, frames.flatten(1))
    weight = torch.zeros(size).index_add_(0, places, window.square().repeat(len(centres)))
    part = slice(n_fft // 2, n_fft // 2 + n_samples)
    return total[:, part] / weight[part].clamp(min=1e-3)
