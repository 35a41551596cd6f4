"""Tempo from the sound itself: candidates from the clip's length and from its onsets, ranked together.

A loop lasts a whole number of beats, so its length allows only a few tempi; its onsets repeat at beats, at
bars, and between. Neither decides alone: a clip may be cut anywhere, and a repeating pattern does not say
which of its multiples is the beat. A linear score over both, made into probabilities, does (docs/explanation/tempo.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melformer.audio.grid import MAX_BPM, MIN_BPM, beats_per_second, bpm_of, seconds_per_beat
from melformer.audio.tempo.onsets import Onsets, find_onsets
from melformer.audio.waveform import Waveform

N_PHASES = 32
_ROUND_S = 0.001
MIN_LENGTH_BPM, MAX_LENGTH_BPM = 50.0, 220.0
SAME_BPM = 0.005  # candidates nearer than this share their probability
_GRID_BPM = np.geomspace(MIN_BPM, MAX_BPM, 520)
_N_FREE = 10
# Lags in beats whose autocorrelation is averaged into one feature each.
_LAGS = ((1.0,), (2.0,), (4.0,), (0.5, 1.5, 2.5), (0.25, 0.75, 1.25))
# One for each feature, in the order of `features`, and the score of "none of these" (docs/explanation/tempo.md).
WEIGHTS = np.array(
    [0.37, 0.8, 2.51, 5.5, -1.56, 0.51, -2.16, -30.0, 0.15, 2.64, 0.53, -1.61, -1.16, 1.3, 18.8, 27.14, 28.89]
)
NONE_SCORE = 5.17


@dataclass(frozen=True)
class Detection:
    """A tempo found in the sound, its probability, and how many beats the clip then has (0: not by length) in which
    of the durations that were given."""

    bpm: float
    probability: float
    n_beats: int
    duration: int = 0


def detect(
    waveform: Waveform,
    onsets: Onsets | None = None,
    durations_s: Sequence[float] | None = None,
    beats_per_bar: int | None = None,
) -> Detection | None:
    """The most probable tempo of 40..240 BPM, or None for silence and for less than a beat.

    `durations_s` are the lengths that may hold whole beats, the clip's own by default; of the tempi that they give and
    that the onsets cannot tell apart, the roundest counts. `beats_per_bar`, where it is known, says which numbers of
    beats are whole bars.
    """
    onsets = find_onsets(waveform) if onsets is None else onsets
    durations_s = [waveform.duration_s] if durations_s is None else durations_s
    if not onsets.strength.any():
        return None
    bpms, counts, which = candidates(onsets, durations_s, beats_per_bar)
    if not len(bpms):
        return None
    scores = features(onsets, bpms, _as_in_four(counts, beats_per_bar)) @ WEIGHTS
    best = int(scores.argmax())
    odds = np.exp(scores - scores[best])
    alike = np.abs(bpms / bpms[best] - 1) < SAME_BPM
    probability = odds[alike].sum() / (odds.sum() + np.exp(NONE_SCORE - scores[best]))
    if counts[best]:
        same = np.flatnonzero((counts == counts[best]) & (np.abs(bpms / bpms[best] - 1) < 2 * SAME_BPM))
        beats, durations = int(counts[best]), [float(durations_s[i]) for i in which]
        best = min(same.tolist(), key=lambda i: (not _is_round(float(bpms[i]), beats, durations[i]), int(which[i])))
    return Detection(float(bpms[best]), float(probability), int(counts[best]), int(which[best]))


def _is_round(bpm: float, n_beats: int, duration_s: float) -> bool:
    """Whether a whole BPM changes the length by less than a millisecond: most loops are made at one."""
    return abs(n_beats * seconds_per_beat(round(bpm)) - duration_s) < _ROUND_S


def _as_in_four(counts: np.ndarray, beats_per_bar: int | None) -> np.ndarray:
    """Numbers of beats as a clip of as many bars would have them in 4/4, for which the weights were fitted.

    What is no whole number of bars becomes 1, an odd number.
    """
    if beats_per_bar in (None, 4):
        return counts
    return np.where(counts % beats_per_bar == 0, counts // beats_per_bar * 4, np.minimum(counts, 1))


def candidates(
    onsets: Onsets, durations_s: Sequence[float], beats_per_bar: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tempi to be ranked: BPM, how many beats each gives (0: found from the onsets alone), and in which duration."""
    free = np.array([_refine(onsets, bpm) for bpm in _peaks(onsets)])
    bpms, counts, which = [free], [np.zeros(len(free), int)], [np.zeros(len(free), int)]
    bars = (4, 6) if beats_per_bar is None else (4, 6, beats_per_bar)
    possible = np.array([n for n in range(1, 513) if n <= 8 or any(n % bar == 0 for bar in bars)])
    for number, duration_s in enumerate(durations_s):
        by_length = bpm_of(possible, duration_s)
        fits = (by_length >= MIN_LENGTH_BPM) & (by_length <= MAX_LENGTH_BPM)
        bpms.append(by_length[fits])
        counts.append(possible[fits])
        which.append(np.full(int(fits.sum()), number))
    return np.concatenate(bpms), np.concatenate(counts), np.concatenate(which)


def features(onsets: Onsets, bpms: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What speaks for each candidate, (n_candidates, 17): periodicity, usual tempo, length, pulse."""
    octaves = np.log2(bpms / 115)
    power_of_two = (counts & (counts - 1) == 0) & (counts >= 4)
    length = [
        counts > 0,
        power_of_two,
        (counts % 4 == 0) & ~power_of_two & (counts > 0),
        (counts % 3 == 0) & (counts % 4 != 0),
        counts % 2 == 1,
    ]
    correlation = _autocorrelation(onsets.strength)
    columns = [_mean_at(correlation, onsets.rate, bpms, lags) for lags in _LAGS]
    columns += [octaves, octaves**2, np.maximum(0, np.log2(bpms / 180))]
    columns += [np.asarray(column, float) for column in length]
    pulses = np.array([_pulse(fold(onsets.strength + onsets.low, onsets.rate, bpm)) for bpm in bpms]).reshape(-1, 4)
    columns += [*pulses[:, :3].T, pulses[:, 3] * (counts > 0)]
    return np.stack(columns, axis=1)


def fold(strength: np.ndarray, rate: float, bpm: float, n_phases: int = N_PHASES) -> np.ndarray:
    """Mean onset strength at each phase of the beat: (n_phases,), phase 0 at the clip's start."""
    phases = (np.arange(len(strength)) * (beats_per_second(bpm) / rate * n_phases)).astype(int) % n_phases
    n_each = np.bincount(phases, minlength=n_phases)
    return np.bincount(phases, strength, n_phases) / np.maximum(n_each, 1)


def _pulse(folded: np.ndarray) -> tuple[float, ...]:
    """How sharply onsets gather once a beat and four times a beat, and at their best phase and at phase 0."""
    total = folded.sum() + 1e-9
    harmonics = np.abs(np.fft.rfft(folded)) / total
    return harmonics[1], harmonics[4], folded.max() / total, max(folded[0], folded[-1]) / total


def _peaks(onsets: Onsets) -> np.ndarray:
    """The most periodic tempi, coarsely, at most ten."""
    correlation = _autocorrelation(onsets.strength) + 0.5 * _autocorrelation(onsets.low)
    salience = _mean_at(correlation, onsets.rate, _GRID_BPM, (1.0, 2.0, 3.0, 4.0))
    if not salience.any():
        return np.empty(0)
    salience = salience - 0.15 * np.log2(_GRID_BPM / 115) ** 2
    inner = np.flatnonzero((salience[1:-1] >= salience[:-2]) & (salience[1:-1] > salience[2:])) + 1
    return _GRID_BPM[inner[np.argsort(-salience[inner])[:_N_FREE]]]


def _refine(onsets: Onsets, bpm: float) -> float:
    """The tempo near `bpm` whose beats, halves and quarters collect most onset strength in the whole clip."""
    times = np.arange(len(onsets.strength)) / onsets.rate
    width = np.clip(0.4 * seconds_per_beat(bpm) / max(times[-1], 1e-9), 0.002, 0.015)
    near = bpm * np.linspace(1 - width, 1 + width, 41)
    turns = np.exp(-2j * np.pi * np.outer(beats_per_second(near), times))
    strength = sum(weight * np.abs(turns**power @ onsets.strength) for power, weight in ((1, 1.0), (2, 1.0), (4, 0.7)))
    return float(np.clip(near[np.argmax(strength)], MIN_BPM, MAX_BPM))


def _autocorrelation(strength: np.ndarray) -> np.ndarray:
    """Of the curve smoothed by 10 ms, 1 at lag 0; lags that few frames overlap are trusted less."""
    steps = np.arange(-8, 9)
    kernel = np.exp(-0.5 * (steps / 2) ** 2)
    smooth = np.convolve(strength, kernel / kernel.sum(), "full")[8:-8]
    smooth = smooth - smooth.mean()
    n_frames = len(smooth)
    n_fft = 1 << (2 * n_frames).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(smooth, n_fft)) ** 2, n_fft)[:n_frames]
    products /= np.maximum(n_frames - np.arange(n_frames), 0.15 * n_frames)
    return products / products[0] if products[0] > 1e-9 else np.zeros(n_frames)


def _mean_at(correlation: np.ndarray, rate: float, bpms: np.ndarray, lags: tuple[float, ...]) -> np.ndarray:
    """The mean correlation at these lags in beats, as far as the clip is long enough; else 0."""
    frames = np.outer(seconds_per_beat(bpms) * rate, lags)
    inside = frames <= 0.85 * len(correlation)
    values = np.interp(frames, np.arange(len(correlation)), correlation) * inside
    return values.sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
