"""Where in a clip the first beat lies, once its tempo is known."""

import math

import numpy as np

from melformer.audio.grid import seconds_per_beat
from melformer.audio.tempo.detect import fold
from melformer.audio.tempo.onsets import Onsets
from melformer.audio.waveform import Waveform

N_PHASES = 64
_SHARPNESS = 7.0  # fitted: makes the probabilities below come true (docs/explanation/tempo.md)
_NEAR_S = 0.02  # a start this near to a beat is on it
_ONSET_DELAY_S = 0.004  # strength rises when a frame first sees the onset, before its centre
_STARTS_ON_BEAT, _STARTS_ON_BEAT_IF_WHOLE = 0.5, 0.98


def find_first_beat(waveform: Waveform, onsets: Onsets, bpm: float) -> tuple[float, float]:
    """The time of the first beat in seconds, and the probability that it is one.

    Onsets gather on beats, so the phase of the beat with most onset strength is the likely one. Clips that
    last a whole number of beats nearly always start on one, others as often as not.
    """
    probabilities = _phase_probabilities(onsets, bpm)
    phases = (np.arange(N_PHASES) + 0.5) / N_PHASES
    beat_s = seconds_per_beat(bpm)
    n_beats = waveform.duration_s / beat_s
    if n_beats < 1.9:
        return 0.0, 0.5  # too short to tell, and nothing to spare
    whole = round(n_beats) >= 1 and abs(n_beats - round(n_beats)) * beat_s < _NEAR_S
    prior = _STARTS_ON_BEAT_IF_WHOLE if whole else _STARTS_ON_BEAT
    near = np.minimum(phases, 1 - phases) * beat_s < _NEAR_S
    odds = prior / (1 - prior) * probabilities[near].sum() / near.mean()
    at_zero = odds / (1 + odds)
    if at_zero >= 0.5:
        return 0.0, float(at_zero)
    best = int(probabilities.argmax())
    window = probabilities[np.arange(best - 3, best + 4) % N_PHASES].sum()
    phase = best + 0.5 + _vertex(*probabilities[np.arange(best - 1, best + 2) % N_PHASES])
    start_s = (phase / N_PHASES * beat_s + _ONSET_DELAY_S) % beat_s
    n_silent = max(0, math.ceil((_silence_s(waveform) - _NEAR_S - start_s) / beat_s))
    return start_s + n_silent * beat_s, float(window * (1 - at_zero))


def _phase_probabilities(onsets: Onsets, bpm: float) -> np.ndarray:
    """For each of 64 phases of the beat, the probability that beats start there: (64,)."""
    folded = np.sqrt(fold(onsets.strength, onsets.rate, bpm, N_PHASES))
    score = _SHARPNESS * (np.roll(folded, 1) + 2 * folded + np.roll(folded, -1)) / 4
    weights = np.exp(score - score.max())
    return weights / weights.sum()


def _vertex(before: float, here: float, after: float) -> float:
    """How far the top of the parabola through three points lies from the middle one, −1 … 1."""
    curvature = 2 * here - before - after
    return float(np.clip((after - before) / (2 * curvature), -1, 1)) if curvature > 1e-12 else 0.0


def _silence_s(waveform: Waveform) -> float:
    """How long the clip is silent (60 dB under its peak) at its start."""
    levels = np.abs(waveform.samples).max(axis=1)
    return int(np.argmax(levels > 1e-3 * levels.max())) / waveform.sample_rate
