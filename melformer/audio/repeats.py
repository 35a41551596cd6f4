"""After how many seconds a clip repeats itself: what was played round, or copied in a sequencer, does so exactly."""

from dataclasses import dataclass

import numpy as np

from melformer.audio.onsets import one_channel
from melformer.audio.waveform import Waveform

MOST = 3
_SHORTEST_S, _OVERLAP_S = 0.25, 0.3
_LIKE = 0.5  # of the band levels, from which on a period is looked at
_FINE_RATE, _REACH_S = 11_025, 0.02
_MOST_S = 90.0


@dataclass(frozen=True)
class Repeat:
    """A period in s, and how alike the clip and itself so much later are: of band levels, and of samples (0..1)."""

    period_s: float
    likeness: float
    exactness: float


def self_similarity(levels: np.ndarray) -> np.ndarray:
    """Correlation of band levels (n_frames, n_bands) with themselves at every lag in frames: (n_frames,), 1 at 0."""
    n = len(levels)
    centred = levels - levels.mean(axis=0)
    n_fft = 1 << (2 * n).bit_length()
    spectra = np.fft.rfft(centred, n_fft, axis=0)
    products = np.fft.irfft((np.abs(spectra) ** 2).sum(axis=1), n_fft)[:n]
    power = np.concatenate([[0.0], np.cumsum((centred**2).sum(axis=1))])
    lags = np.arange(n)
    return products / np.maximum(np.sqrt((power[n] - power[lags]) * power[n - lags]), 1e-9)


def find_repeats(waveform: Waveform, similarity: np.ndarray, rate: float) -> list[Repeat]:
    """At most three periods, the most alike first; `similarity` is at lags of 1 / `rate` s."""
    low, high = round(_SHORTEST_S * rate), len(similarity) - round(_OVERLAP_S * rate)
    if high - low < 3:
        return []
    inner = np.arange(low + 1, high - 1)
    peaks = inner[
        (similarity[inner] >= similarity[inner - 1])
        & (similarity[inner] > similarity[inner + 1])
        & (similarity[inner] > _LIKE)
    ]
    fine, fine_rate = _decimated(waveform)
    spectrum = np.fft.rfft(fine, 1 << (2 * len(fine)).bit_length())
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: len(fine)]
    power = np.concatenate([[0.0], np.cumsum(fine.astype(float) ** 2)])
    found: list[Repeat] = []
    for lag in peaks[np.argsort(-similarity[peaks])[: 2 * MOST]]:
        period_s, exactness = _exactly(products, power, lag / rate, fine_rate)
        if all(abs(period_s - other.period_s) > _REACH_S for other in found):
            found.append(Repeat(period_s, float(similarity[lag]), exactness))
    found.sort(key=lambda repeat: -(repeat.likeness + max(0.0, repeat.exactness)))
    return found[:MOST]


def _exactly(products: np.ndarray, power: np.ndarray, period_s: float, rate: float) -> tuple[float, float]:
    """The period near `period_s` at which samples are most alike, and how much they are."""
    n, reach = len(products), round(_REACH_S * rate)
    lags = np.arange(max(1, round(period_s * rate) - reach), min(n - 2, round(period_s * rate) + reach))
    if len(lags) < 3:
        return period_s, 0.0
    likeness = products[lags] / np.maximum(np.sqrt((power[n] - power[lags]) * power[n - lags]), 1e-9)
    best = int(likeness[1:-1].argmax()) + 1
    before, here, after = likeness[best - 1 : best + 2]
    curvature = 2 * here - before - after
    vertex = 0.5 * (after - before) / curvature if curvature > 1e-12 else 0.0
    return float((lags[best] + np.clip(vertex, -1, 1)) / rate), float(here)


def _decimated(waveform: Waveform) -> tuple[np.ndarray, float]:
    """One channel at about 11 kHz, by means of neighbours: enough to tell where attacks meet."""
    step = max(1, round(waveform.sample_rate / _FINE_RATE))
    mono = one_channel(waveform.samples[: round(_MOST_S * waveform.sample_rate)])
    n = len(mono) // step
    return mono[: n * step].reshape(n, step).mean(axis=1), waveform.sample_rate / step
