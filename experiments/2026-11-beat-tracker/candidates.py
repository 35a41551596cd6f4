"""Tempi worth ranking: from where the tracker sees beats, from the clip's length, from what repeats, as stated."""

from dataclasses import dataclass, replace

import numpy as np
from clip_edges import Edges
from mel import FRAMES_PER_S

from melformer.audio.grid import MAX_BPM, MIN_BPM, bpm_of, seconds_per_beat
from melformer.audio.waveform import Waveform

MIN_LENGTH_BPM, MAX_LENGTH_BPM = 45.0, 220.0
COUNTS = np.array([n for n in range(1, 257) if n <= 8 or n % 4 == 0 or n % 6 == 0 or n % 5 == 0 or n % 7 == 0])
_GRID_BPM = np.geomspace(MIN_BPM, MAX_BPM, 240)  # steps of 0.75%
_WINDOW, _N_FREE, _N_REPEATS = 1_000, 7, 3
_SAME = 0.001  # exact tempi nearer than this are one
_LIMIT = 5.0  # logits beyond ±5 say no more


@dataclass(frozen=True)
class Candidate:
    """A tempo; how many beats the whole clip (`whole`), its sound (`trimmed`) or what repeats (`repeated`) then has,
    0 where that is no whole number; `span` is the start and stop in s that gave the tempo, if a length did."""

    bpm: float
    whole: int = 0
    trimmed: int = 0
    repeated: int = 0
    likeness: float = 0.0
    span: tuple[float, float] | None = None


def evidence(logits: np.ndarray) -> np.ndarray:
    """Logits that a grid collects: bounded, and as good 10 ms beside the peak."""
    padded = np.pad(logits, 1, mode="edge")
    return np.clip(np.maximum(np.maximum(padded[:-2], padded[2:]) - 0.5, logits), -_LIMIT, _LIMIT)


def fold(curve: np.ndarray, period: float, n_phases: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of a curve at frames `phase`, `phase + period`, … for phases from 0 to one period: phases in frames, sums.

    What a grid would collect beyond the last frame counts as nothing.
    """
    n_phases = n_phases or max(2, round(period))
    phases = np.arange(n_phases) * (period / n_phases)
    places = phases[:, None] + np.arange(int(len(curve) / period) + 1) * period
    low = np.minimum(places.astype(np.int64), len(curve) - 1)
    high = np.minimum(low + 1, len(curve) - 1)
    part = places - low
    values = curve[low] * (1.0 - part) + curve[high] * part
    return phases, np.where(places <= len(curve) - 1, values, 0.0).sum(axis=1)


def free_tempi(beat: np.ndarray) -> list[float]:
    """The tempi whose beats collect most evidence: first in windows of 10 s, then refined on the whole clip."""
    n = len(beat)
    starts = range(0, max(1, n - _WINDOW // 2), _WINDOW // 2)
    windows = [beat[s : s + _WINDOW] for s in starts]
    score = np.array(
        [sum(fold(w, FRAMES_PER_S * seconds_per_beat(bpm))[1].max() for w in windows) for bpm in _GRID_BPM]
    )
    padded = np.pad(score, 1, mode="constant", constant_values=-np.inf)
    peaks = np.flatnonzero((score >= padded[:-2]) & (score > padded[2:]))
    best = peaks[np.argsort(-score[peaks])[:_N_FREE]]
    return [refine(beat, float(_GRID_BPM[i])) for i in best]


def refine(beat: np.ndarray, bpm: float) -> float:
    """The tempo within 0.8% whose beats collect most, to about 2 ms over the clip's length."""
    step = float(np.clip(0.02 / (len(beat) / FRAMES_PER_S), 0.0004, 0.004))  # 20 ms over the whole clip
    for width, width_step in ((0.008, step), (step, step / 6)):
        near = bpm * (1.0 + np.arange(-width, width + width_step / 2, width_step))
        sums = np.array([fold(beat, FRAMES_PER_S * seconds_per_beat(b))[1].max() for b in near])
        top = np.flatnonzero(sums >= sums.max() - 1e-6)
        bpm = float(near[top].mean())
    return float(np.clip(bpm, MIN_BPM, MAX_BPM))


def find_repeats(mono: Waveform, bands: np.ndarray) -> list[tuple[float, float]]:
    """Periods in s at which a clip of one channel repeats itself, each with the likeness (0 to 1), best first."""
    n = len(bands)
    if n < 60:
        return []
    logs = np.log(bands / max(float(bands.max()), 1e-9) + 1e-3)
    logs = logs - logs.mean(axis=0)
    n_fft = 1 << (2 * n).bit_length()
    spectra = np.fft.rfft(logs, n_fft, axis=0)
    products = np.fft.irfft((np.abs(spectra) ** 2).sum(axis=1), n_fft)[:n]
    power = np.concatenate([[0.0], np.cumsum((logs**2).sum(axis=1))])
    lags = np.arange(n)
    norms = np.sqrt((power[n] - power[lags]) * power[n - lags])
    likeness = products / np.maximum(norms, 1e-9)
    low, high = 25, min(int(0.9 * n), n - 30)
    inner = np.arange(low, max(low, high))
    inner = inner[
        (likeness[inner] >= likeness[inner - 1]) & (likeness[inner] > likeness[inner + 1]) & (likeness[inner] > 0.6)
    ]
    found: list[tuple[float, float]] = []
    for lag in inner[np.argsort(-likeness[inner])[: 2 * _N_REPEATS]]:
        period_s, alike = _exact_period(mono, lag / FRAMES_PER_S)
        if all(abs(period_s - other) > 0.01 for other, _ in found):
            found.append((period_s, max(0.0, alike) * float(likeness[lag])))
    found.sort(key=lambda pair: -pair[1])
    return found[:_N_REPEATS]


def _exact_period(mono: Waveform, period_s: float) -> tuple[float, float]:
    """The period near this one at which the samples are most alike, and how alike: a correlation."""
    step = max(1, mono.sample_rate // 5_500)
    sound = mono.samples[:, 0]
    low = sound[: len(sound) // step * step].reshape(-1, step).mean(axis=1).astype(np.float64)
    rate = mono.sample_rate / step
    lag, reach = round(period_s * rate), max(2, round(0.015 * rate))
    if lag - reach < 1 or lag + reach + 64 > len(low):
        return period_s, 0.0
    n_common = len(low) - lag - reach
    first = low[:n_common]
    n_fft = 1 << (2 * (n_common + 2 * reach)).bit_length()
    other = low[lag - reach : lag + reach + n_common]
    cross = np.fft.irfft(np.conj(np.fft.rfft(first, n_fft)) * np.fft.rfft(other, n_fft), n_fft)[: 2 * reach + 1]
    power = np.concatenate([[0.0], np.cumsum(other**2)])
    norms = np.sqrt((power[n_common:] - power[:-n_common])[: 2 * reach + 1] * (first**2).sum())
    values = cross / np.maximum(norms, 1e-12)
    best = int(values.argmax())
    shift = 0.0
    if 0 < best < len(values) - 1:
        curve = 2 * values[best] - values[best - 1] - values[best + 1]
        shift = float(np.clip((values[best + 1] - values[best - 1]) / (2 * curve), -1, 1)) if curve > 1e-12 else 0.0
    return (lag - reach + best + shift) / rate, float(values[best])


def find_candidates(
    beat: np.ndarray, edges: Edges, repeats: list[tuple[float, float]], stated: list[float]
) -> list[Candidate]:
    """Every tempo worth ranking; one that several sources give stands there once for each, and knows of the others."""
    found = [Candidate(bpm) for bpm in [*stated, *free_tempi(beat)]]
    for start_s, stop_s, is_whole in edges.spans:
        for bpm, count in _by_length(stop_s - start_s):
            kind = {"whole": count} if is_whole else {"trimmed": count}
            found.append(Candidate(bpm, span=(start_s, stop_s), **kind))
    for period_s, likeness in repeats:
        found += [Candidate(bpm, repeated=count, likeness=likeness) for bpm, count in _by_length(period_s)]
    exact = [c for c in found if c.whole or c.trimmed or c.repeated]
    return [_joined(c, exact) for c in found]


def _by_length(seconds: float) -> list[tuple[float, int]]:
    bpms = bpm_of(COUNTS, seconds)
    fits = (bpms >= MIN_LENGTH_BPM) & (bpms <= MAX_LENGTH_BPM)
    return [(float(bpm), int(count)) for bpm, count in zip(bpms[fits], COUNTS[fits])]


def _joined(candidate: Candidate, exact: list[Candidate]) -> Candidate:
    """The candidate with what others of its tempo know."""
    if not (candidate.whole or candidate.trimmed or candidate.repeated):
        return candidate
    same = [c for c in exact if abs(c.bpm / candidate.bpm - 1.0) < _SAME]
    best = max(same, key=lambda c: c.likeness)
    return replace(
        candidate, whole=max(c.whole for c in same), trimmed=max(c.trimmed for c in same),
        repeated=best.repeated, likeness=best.likeness,
    )  # fmt: skip
