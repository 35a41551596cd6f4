"""Short-time spectra and mel filters for measuring, in numpy: bounded memory, no torch."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import fft, signal

from melformer.errors import AudioError

_BLOCK_SAMPLES = 1 << 20  # windowed samples in memory at once: ten minutes cost no more than ten seconds


@lru_cache(maxsize=32)
def hann(n_fft: int) -> np.ndarray:
    """The periodic Hann window, float32 (n_fft,)."""
    return signal.get_window("hann", n_fft).astype(np.float32)


def stft_blocks(samples: np.ndarray, n_fft: int, hop_length: int) -> Iterator[np.ndarray]:
    """Yield the spectrum of one channel in blocks, complex64 (frames, n_fft // 2 + 1).

    Frames are centred and the edges reflected, as in torch.stft(center=True): 1 + n_samples // hop_length
    frames.
    Errors: AudioError when the signal is not one channel or too short to reflect.
    """
    if samples.ndim != 1 or len(samples) <= n_fft // 2:
        raise AudioError(
            f"a spectrum of {n_fft} samples needs one channel longer than {n_fft // 2} samples, "
            f"got shape {samples.shape}: measure a longer clip"
        )
    padded = np.pad(samples.astype(np.float32, copy=False), n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    step = max(1, _BLOCK_SAMPLES // n_fft)
    for start in range(0, len(frames), step):
        yield fft.rfft(frames[start : start + step] * hann(n_fft), axis=1)


def magnitudes(samples: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """The whole magnitude spectrogram of one channel, float32 (frames, n_fft // 2 + 1)."""
    return np.concatenate([np.abs(block) for block in stft_blocks(samples, n_fft, hop_length)])


def mel_spectrogram(samples: np.ndarray, sample_rate: int, n_fft: int, hop_length: int, n_mels: int) -> np.ndarray:
    """Mel-weighted magnitudes of one channel, float32 (frames, n_mels)."""
    filters = mel_filters(sample_rate, n_fft, n_mels).T
    return np.concatenate([np.abs(block) @ filters for block in stft_blocks(samples, n_fft, hop_length)])


def _hz_to_mel(frequency: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear to 1 kHz (200/3 Hz per mel), then 27 mels to a factor of 6.4."""
    linear = frequency * 3.0 / 200.0
    curved = 15.0 + 27.0 * np.log(np.maximum(frequency, 1e-3) / 1000.0) / np.log(6.4)
    return np.where(frequency < 1000.0, linear, curved)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp(np.log(6.4) * (mel - 15.0) / 27.0))


@lru_cache(maxsize=64)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangular filters of equal area on Slaney's mel scale from 0 Hz to half the rate, float32 (n_mels,
    bins).

    The same numbers as librosa.filters.mel's defaults (a test compares them), without its import of two
    seconds. A filter narrower than a bin stays empty, there as here.
    """
    half = sample_rate / 2.0
    edges = _mel_to_hz(np.linspace(0.0, float(_hz_to_mel(np.array(half))), n_mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1.0 / sample_rate)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def decibels(magnitude: np.ndarray | float, floor: float = 1e-5) -> np.ndarray:
    """20·log10 of a magnitude that is held above `floor` (1e-5: −100 dB)."""
    return 20.0 * np.log10(np.maximum(magnitude, floor))
