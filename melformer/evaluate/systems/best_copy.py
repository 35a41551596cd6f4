"""What copying from the prompt could reach at best: chosen with the truth in hand."""

import numpy as np
from scipy import fft

from melformer.audio.grid import BeatGrid, beats_per_second
from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics.spectra import decibels, hann, mel_filters
from melformer.evaluate.systems.references import looped

N_FFT, HOP = 2048, 512
N_BANDS = 24
CELLS_PER_BEAT = 16


def best_copy(prompt: Waveform, truth: Waveform, bpm: float, n_prompt: int, n_new: int) -> Waveform:
    """The truth rebuilt from the prompt: per band and 16th of a beat, the prompt's beat that is nearest to
    it.

    Sources are the prompt played round, begun at each of its beats, so every sound stands at its own place in
    the beat. Nearest is the least mean level difference over the bins of 24 mel-spaced bands; chosen cells
    are copied with their phase. No renderer that copies at this resolution can come closer by this measure.
    """
    edges = BeatGrid(bpm, prompt.sample_rate).edges(n_prompt)
    n_samples = truth.n_samples
    goal = _spectra(truth.samples)
    bands = np.argmax(mel_filters(prompt.sample_rate, N_FFT, N_BANDS), axis=0)  # (bins,)
    cells = _cells(goal.shape[0], bpm, prompt.sample_rate)
    best = np.full((cells[-1] + 1, N_BANDS), np.inf)
    out = np.zeros_like(goal)
    for beat in range(n_prompt):
        turned = Waveform(np.roll(prompt.samples, -int(edges[beat]), axis=0), prompt.sample_rate)
        source = _spectra(_fitted(looped(turned, bpm, n_new).samples, n_samples))
        cost = _cost(goal, source, cells, bands, best.shape)
        better = cost < best
        best[better] = cost[better]
        chosen = better[cells][:, bands]  # (frames, bins)
        out[chosen] = source[chosen]
    return Waveform(_inverse(out, n_samples), prompt.sample_rate)


def _fitted(samples: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(samples[:n_samples], ((0, max(0, n_samples - len(samples))), (0, 0)))


def _cells(n_frames: int, bpm: float, sample_rate: int) -> np.ndarray:
    """Which 16th of a beat each frame's middle lies in, int (frames,)."""
    return (np.arange(n_frames) * HOP * beats_per_second(bpm) / sample_rate * CELLS_PER_BEAT).astype(int)


def _spectra(samples: np.ndarray) -> np.ndarray:
    """(n_samples, n_channels) → complex64 (frames, bins, n_channels), centred."""
    padded = np.pad(samples, ((N_FFT // 2, N_FFT // 2 + HOP), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=0)[::HOP]  # (frames, channels, N_FFT)
    return fft.rfft(frames * hann(N_FFT), axis=2).transpose(0, 2, 1)


def _inverse(spectra: np.ndarray, n_samples: int) -> np.ndarray:
    """The inverse of `_spectra`: overlap-add under the same window."""
    frames = fft.irfft(spectra, axis=1).astype(np.float32) * hann(N_FFT)[:, None]
    out = np.zeros((len(frames) * HOP + N_FFT, spectra.shape[2]), np.float32)
    weight = np.zeros((len(out), 1), np.float32)
    for index, frame in enumerate(frames):
        out[index * HOP : index * HOP + N_FFT] += frame
        weight[index * HOP : index * HOP + N_FFT, 0] += hann(N_FFT) ** 2
    start = N_FFT // 2
    return (out / np.maximum(weight, 1e-3))[start : start + n_samples]


def _cost(
    goal: np.ndarray, source: np.ndarray, cells: np.ndarray, bands: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Mean level difference in dB of every cell and band, (cells, bands)."""
    floor = max(float(np.abs(goal).max()) * 1e-4, 1e-5)
    difference = np.abs(decibels(np.abs(goal), floor) - decibels(np.abs(source), floor)).mean(axis=2)
    by_cell = np.zeros((shape[0], difference.shape[1]))
    np.add.at(by_cell, cells, difference)
    by_band = np.zeros((shape[1], shape[0]))
    np.add.at(by_band, bands, by_cell.T)
    return by_band.T
