"""Effects on float32 (n, channels): filters, drive, compression, delay, reverb, limiting."""

from functools import lru_cache

import numpy as np
import scipy.fft
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfilt

from melformer.corpus.wavetable import Floats


def filtered(waveform: Floats, kind: str, cutoff: float, sample_rate: int, order: int = 2) -> Floats:
    """A Butterworth "lowpass" or "highpass"."""
    cutoff = float(np.clip(cutoff, 15.0, 0.47 * sample_rate))
    sos = butter(order, cutoff, kind, fs=sample_rate, output="sos").astype(np.float32)
    return sosfilt(sos, waveform, axis=0)


def swept(waveform: Floats, kind: str, cutoffs: Floats, sample_rate: int, block: int = 512) -> Floats:
    """A filter whose cutoff moves: `cutoffs` holds one value for every `block` samples."""
    out = np.empty_like(waveform)
    state = np.zeros((1, 2, waveform.shape[1]), np.float32)
    for i, cutoff in enumerate(cutoffs):
        sos = butter(2, float(np.clip(cutoff, 20.0, 0.45 * sample_rate)), kind, fs=sample_rate, output="sos")
        part = slice(i * block, (i + 1) * block)
        out[part], state = sosfilt(sos.astype(np.float32), waveform[part], axis=0, zi=state)
    return out


def drive(waveform: Floats, amount: float) -> Floats:
    """Soft clipping; `amount` 0 leaves the sound alone, 1 is heavy."""
    gain = 1.0 + 9.0 * amount
    return np.tanh(waveform * gain) / np.float32(gain**0.7)


def crush(waveform: Floats, bits: float, hold: int) -> Floats:
    """Fewer bits and a held sample rate, as an old sampler has."""
    steps = np.float32(2.0 ** (bits - 1))
    held = np.repeat(waveform[::hold], hold, axis=0)[: len(waveform)]
    return np.round(held * steps) / steps


def compress(waveform: Floats, threshold_db: float, ratio: float, sample_rate: int, attack_s=0.008, release_s=0.12) -> Floats:
    """Turn down what is louder than the threshold, following the RMS of 64-sample blocks."""
    block = 64
    n_blocks = -(-len(waveform) // block)
    padded = np.zeros((n_blocks * block,), np.float32)
    padded[: len(waveform)] = np.max(np.abs(waveform), axis=1)
    level = 20 * np.log10(padded.reshape(n_blocks, block).max(axis=1) + 1e-6)
    over = np.maximum(level - threshold_db, 0) * (1 - 1 / ratio)
    up, down = (float(np.exp(-block / sample_rate / s)) for s in (attack_s, release_s))
    gain, state = np.empty(n_blocks), 0.0
    for i, target in enumerate(over.tolist()):
        keep = up if target > state else down
        state = keep * state + (1 - keep) * target
        gain[i] = state
    centres = np.arange(n_blocks) * block + block // 2
    smooth = np.interp(np.arange(len(waveform)), centres, 10 ** (-gain / 20)).astype(np.float32)
    return waveform * smooth[:, None]


def echo(waveform: Floats, delay_samples: int, feedback: float, sample_rate: int, ping_pong: bool = True) -> Floats:
    """Echoes only (no dry sound), each darker than the one before and, in stereo, from the other side."""
    out = np.zeros_like(waveform)
    tap, gain, start = waveform, 1.0, delay_samples
    while gain > 0.03 and start < len(out):
        tap = filtered(tap[: len(out) - start], "lowpass", 5500.0, sample_rate, 1)
        if ping_pong:
            tap = tap[:, ::-1]
        out[start:] += gain * tap
        start += delay_samples
        gain *= feedback
    return out


@lru_cache(maxsize=16)
def room(decay_s: float, dark_hz: float, sample_rate: int, seed: int) -> Floats:
    """A stereo impulse response (n, 2) of decaying noise whose highs go first, with a few early reflections."""
    rng = np.random.default_rng([seed, 77])
    n = int(min(1.6 * decay_s, 4.0) * sample_rate)
    t = np.arange(n, dtype=np.float32)[:, None] / sample_rate
    noise = rng.standard_normal((n, 2)).astype(np.float32)
    dull = filtered(noise, "lowpass", dark_hz / 3, sample_rate, 1)
    response = noise * np.exp(-t * (12 / decay_s)) * 0.35 + dull * np.exp(-t * (6.9 / decay_s))
    response *= np.minimum(t / 0.012, 1.0)
    for _ in range(8):
        place = int(rng.uniform(0.004, 0.05) * sample_rate)
        response[min(place, n - 1), int(rng.integers(2))] += rng.uniform(-4, 4)
    response = filtered(filtered(response, "lowpass", dark_hz, sample_rate, 1), "highpass", 180.0, sample_rate)
    return response / np.sqrt(np.sum(response**2, axis=0, keepdims=True))


def reverb(waveform: Floats, response: Floats) -> Floats:
    """The room's answer to a stereo signal, summed to mono first, same length (n, 2)."""
    n = scipy.fft.next_fast_len(len(waveform) + len(response), real=True)
    spectrum = scipy.fft.rfft(waveform.mean(axis=1), n)
    wet = [scipy.fft.irfft(spectrum * scipy.fft.rfft(response[:, c], n), n)[: len(waveform)] for c in range(2)]
    return np.stack(wet, axis=1).astype(np.float32)


def limit(waveform: Floats, ceiling: float, sample_rate: int) -> Floats:
    """Hold peaks under the ceiling with 3 ms of look-ahead and a smooth gain."""
    reach = max(3, int(0.003 * sample_rate)) | 1
    peaks = np.max(np.abs(waveform), axis=1)
    needed = np.minimum(1.0, ceiling / np.maximum(maximum_filter1d(peaks, 2 * reach + 1), 1e-9))
    smooth = uniform_filter1d(needed, reach, mode="nearest").astype(np.float32)
    return np.clip(waveform * smooth[:, None], -ceiling, ceiling)
