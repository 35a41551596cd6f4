"""After how many seconds a clip repeats itself: a loop that was played round shows its length, wherever it was cut."""

import numpy as np

from melformer.audio.mel import FRAMES_PER_S
from melformer.audio.waveform import Waveform

_MOST = 3
_ALIKE = 0.6  # of mel frames; less is no repetition
_REACH_S = 0.015
_SHORTEST, _OVERLAP = 25, 30  # frames


def find_repeats(mono: Waveform, bands: np.ndarray) -> list[tuple[float, float]]:
    """Periods in s at which a clip of one channel repeats itself, each with the likeness (0 to 1), best first."""
    n = len(bands)
    if n < 2 * _OVERLAP:
        return []
    likeness = _likeness_by_lag(bands)
    high = min(int(0.9 * n), n - _OVERLAP)
    inner = np.arange(_SHORTEST, max(_SHORTEST, high))
    is_peak = (likeness[inner] >= likeness[inner - 1]) & (likeness[inner] > likeness[inner + 1])
    inner = inner[is_peak & (likeness[inner] > _ALIKE)]
    found: list[tuple[float, float]] = []
    for lag in inner[np.argsort(-likeness[inner])[: 2 * _MOST]]:
        period_s, alike = _exact_period(mono, lag / FRAMES_PER_S)
        if all(abs(period_s - other) > 0.01 for other, _ in found):
            found.append((period_s, max(0.0, alike) * float(likeness[lag])))
    found.sort(key=lambda pair: -pair[1])
    return found[:_MOST]


def _likeness_by_lag(bands: np.ndarray) -> np.ndarray:
    """Correlation of the log-magnitudes with themselves, by lag in frames: (n_frames,)."""
    n = len(bands)
    logs = np.log(bands / max(float(bands.max()), 1e-9) + 1e-3)
    logs = logs - logs.mean(axis=0)
    spectra = np.fft.rfft(logs, 1 << (2 * n).bit_length(), axis=0)
    products = np.fft.irfft((np.abs(spectra) ** 2).sum(axis=1))[:n]
    power = np.concatenate([[0.0], np.cumsum((logs**2).sum(axis=1))])
    lags = np.arange(n)
    norms = np.sqrt((power[n] - power[lags]) * power[n - lags])
    return products / np.maximum(norms, 1e-9)


def _exact_period(mono: Waveform, period_s: float) -> tuple[float, float]:
    """The period near this one at which the samples are most alike, and how alike: a correlation."""
    step = max(1, mono.sample_rate // 5_500)
    sound = mono.samples[:, 0]
    low = sound[: len(sound) // step * step].reshape(-1, step).mean(axis=1).astype(np.float64)
    rate = mono.sample_rate / step
    lag, reach = round(period_s * rate), max(2, round(_REACH_S * rate))
    if lag - reach < 1 or lag + reach + 64 > len(low):
        return period_s, 0.0
    n_common = len(low) - lag - reach
    first, other = low[:n_common], low[lag - reach : lag + reach + n_common]
    n_fft = 1 << (len(other) - 1).bit_length()  # lags 0 to 2·reach do not wrap round in it
    cross = np.fft.irfft(np.conj(np.fft.rfft(first, n_fft)) * np.fft.rfft(other, n_fft))[: 2 * reach + 1]
    power = np.concatenate([[0.0], np.cumsum(other**2)])
    norms = np.sqrt((power[n_common:] - power[:-n_common])[: 2 * reach + 1] * (first**2).sum())
    values = cross / np.maximum(norms, 1e-12)
    best = int(values.argmax())
    shift = vertex(*values[best - 1 : best + 2]) if 0 < best < len(values) - 1 else 0.0
    return (lag - reach + best + shift) / rate, float(values[best])


def vertex(before: float, here: float, after: float) -> float:
    """How far the top of the parabola through three points lies from the middle one, −1 … 1."""
    curvature = 2 * here - before - after
    return float(np.clip((after - before) / (2 * curvature), -1, 1)) if curvature > 1e-12 else 0.0
