"""From what the network sees to one grid for the clip: tempo, first beat, metre, downbeat; each with a probability.

A loop keeps one tempo. So candidates are ranked as wholes: each gets a score from all that speaks for it
(`tempo_features.py`), the scores become probabilities, and a last curve, fitted on clips that nothing else was fitted
on, calibrates them.
"""

from dataclasses import dataclass

import numpy as np

from melformer.audio.grid import seconds_per_beat
from melformer.audio.mel import FRAMES_PER_S
from melformer.audio.tempo.beat_network import BARS, METRES, Weights
from melformer.audio.tempo.candidates import Candidate, find_candidates, fold_curve, free_tempi
from melformer.audio.tempo.edges import NOTABLE_S, SoundEdges
from melformer.audio.tempo.tempo_features import AnalysedClip, bar_sums, tempo_features

SAME_BPM = 0.004  # candidates nearer than this share their probability
LENGTH_SHARE = 0.05
N_PHASES = 96
N_PHASE_FEATURES, N_METRE_FEATURES = 11, 13
NEAR_S = 0.02  # a start this near to a beat is on it
EXACT_S = 0.012  # a length is a whole number of beats to this, which seldom happens by chance


@dataclass(frozen=True)
class TempoEstimate:
    """A tempo and how probable it is; `candidate` tells where it comes from."""

    bpm: float
    probability: float
    candidate: Candidate


@dataclass(frozen=True)
class BarEstimate:
    """A metre and which beat of the grid begins its first bar, each with its probability."""

    metre: str
    beats_per_bar: int
    metre_probability: float
    downbeat: int
    downbeat_probability: float


def estimate_tempo(
    clip: AnalysedClip, w: Weights, length_counts: bool = True, beats_per_bar: int | None = None
) -> TempoEstimate | None:
    """The most probable tempo; None where there is nothing to rank."""
    candidates = candidates_of(clip, length_counts)
    if not candidates:
        return None
    shares = candidate_shares(tempo_features(clip, candidates, beats_per_bar), w)
    probabilities = tempo_probabilities(np.array([c.bpm for c in candidates]), shares)
    best = int(np.lexsort((shares, probabilities.round(6)))[-1])
    chosen = _exact(_by_length(best, candidates, shares), candidates)
    return TempoEstimate(chosen.bpm, calibrated(float(probabilities[best]), w, "tempo"), chosen)


def _by_length(best: int, candidates: list[Candidate], shares: np.ndarray) -> Candidate:
    """The candidate, or the likeliest of the same tempo that a length gave, if it has a twentieth of its share: a
    length tells the tempo to a millisecond, onsets only to a thousandth."""
    bpm, least = candidates[best].bpm, LENGTH_SHARE * shares[best]
    alike = [i for i, c in enumerate(candidates) if c.period_s > 0.0 and abs(c.bpm / bpm - 1.0) < SAME_BPM]
    chosen = max(alike, key=lambda i: shares[i], default=best)
    return candidates[chosen if candidates[best].period_s == 0.0 and shares[chosen] >= least else best]


def _exact(best: Candidate, candidates: list[Candidate]) -> Candidate:
    """Of the stretches that hold as many beats and that the evidence cannot tell apart, one with a whole BPM, else the
    longest: the first."""
    if best.span is None:
        return best
    n_beats = best.exact_length[0]
    alike = [c for c in candidates if c.span and c.exact_length[0] == n_beats and abs(c.bpm / best.bpm - 1) < SAME_BPM]
    return min(alike, key=lambda c: not c.is_round)


def candidates_of(clip: AnalysedClip, length_counts: bool = True) -> list[Candidate]:
    """Every tempo worth ranking for a clip."""
    return find_candidates(free_tempi(clip.beat, clip.activations.tempo), clip.edges, clip.repeats, length_counts)


def whole_span(edges: SoundEdges, bpm: float) -> tuple[float, float] | None:
    """The stretch, with or without silence, that is nearest to a whole number of beats, of those that are one."""
    beat_s = seconds_per_beat(bpm)

    def missing_s(span: tuple[float, float]) -> float:
        n_beats = (span[1] - span[0]) / beat_s
        return abs(n_beats - round(n_beats)) * beat_s

    whole = [s for s in edges.spans if s[1] - s[0] > 0.9 * beat_s and missing_s(s) < EXACT_S]
    return min(whole, key=missing_s, default=None)


def score_tempi(features: np.ndarray, w: Weights) -> np.ndarray:
    """A linear score and a small network's beside it: (n_candidates,)."""
    x = (features - w["decoder.tempo.mean"]) / w["decoder.tempo.scale"]
    hidden = np.maximum(x @ w["decoder.tempo.hidden"] + w["decoder.tempo.hidden_bias"], 0.0)
    return x @ w["decoder.tempo.linear"] + hidden @ w["decoder.tempo.out"] + float(w["decoder.tempo.bias"][0])


def candidate_shares(features: np.ndarray, w: Weights) -> np.ndarray:
    """How probable each candidate is, (n_candidates,); "none of these" has the score 0 and the rest."""
    scores = score_tempi(features, w)
    top = max(float(scores.max()), 0.0)
    odds = np.exp(scores - top)
    return odds / (odds.sum() + np.exp(-top))


def tempo_probabilities(bpms: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """How probable the tempo of each candidate is, before calibration."""
    alike = np.abs(bpms[:, None] / bpms - 1.0) < SAME_BPM
    return alike @ shares


def calibrated(probability: float, w: Weights, name: str) -> float:
    """The share of clips that were right at this probability: a straight line in log-odds."""
    slope, offset = w[f"decoder.{name}.calibration"]
    logit = np.log(max(probability, 1e-6) / max(1.0 - probability, 1e-6))
    return float(0.5 + 0.5 * np.tanh(0.5 * (slope * logit + offset)))


def phase_features(clip: AnalysedClip, bpm: float, span: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Phases of the beat in s, (96,), and what speaks for each, (96, n_features)."""
    period = FRAMES_PER_S * seconds_per_beat(bpm)
    phases, beat = fold_curve(clip.beat, period, N_PHASES)
    down = np.max(_bar_folds(clip, period), axis=0)
    flux, low = (_attacks_by_phase(curve, period) for curve in (clip.flux, clip.low_flux))
    phases_s, beat_s = phases / FRAMES_PER_S, seconds_per_beat(bpm)
    n_beats = max(1.0, len(clip.beat) / period)
    edges = clip.edges

    def near(time_s: float) -> np.ndarray:
        off = np.abs((phases_s - time_s + beat_s / 2) % beat_s - beat_s / 2)
        return np.maximum(0.0, 1.0 - off / NEAR_S)

    silent_start = edges.start_s > NOTABLE_S
    columns = [
        beat / n_beats, beat / 20.0, beat / np.sqrt(n_beats) / 3.0, down / n_beats,
        flux, low,
        near(0.0) * (not silent_start), near(0.0) * silent_start, near(edges.start_s) * silent_start,
        near(span[0] if span else 0.0) * (span is not None), near(edges.onset_s),
    ]  # fmt: skip
    return phases_s, np.stack(columns, axis=1)


def _attacks_by_phase(flux: np.ndarray, period: float) -> np.ndarray:
    """How much begins at each phase of the beat, a little smoothed, mean 1: (96,)."""
    folded = np.sqrt(np.maximum(fold_curve(flux, period, N_PHASES)[1], 0.0))
    smooth = (np.roll(folded, 1) + 2 * folded + np.roll(folded, -1)) / 4
    return smooth / max(float(smooth.mean()), 1e-9)


def _bar_folds(clip: AnalysedClip, period: float) -> list[np.ndarray]:
    """For each length of a bar, the evidence for downbeats at each phase of the beat, of the best beat in the bar."""
    found = []
    for bar in sorted(set(BARS)):
        sums = fold_curve(clip.downbeat, period * bar, N_PHASES * bar)[1]
        found.append(sums.reshape(bar, N_PHASES).max(axis=0))
    return found


def estimate_phase(clip: AnalysedClip, bpm: float, span: tuple[float, float] | None, w: Weights) -> tuple[float, float]:
    """The first beat that sounds, in s, and its probability."""
    phases_s, features = phase_features(clip, bpm, span)
    odds = softmax(features @ w["decoder.phase.weight"])
    beat_s = seconds_per_beat(bpm)
    best = int(odds.argmax())
    reach = max(1, int(0.03 / beat_s * N_PHASES))
    around = (best + np.arange(-reach, reach + 1)) % N_PHASES
    probability = min(1.0, float(odds[around].sum()))
    offsets = (phases_s[around] - phases_s[best] + beat_s / 2) % beat_s - beat_s / 2
    phase_s = phases_s[best] + float((odds[around] * offsets).sum() / odds[around].sum())
    return _first_beat(clip, phase_s, beat_s, span), calibrated(probability, w, "phase")


def _first_beat(clip: AnalysedClip, phase_s: float, beat_s: float, span: tuple[float, float] | None) -> float:
    """The first beat from where sound begins; on an edge of the clip's sound where it is as good as there."""
    edges = clip.edges
    first = (0.0,) if edges.start_s <= NOTABLE_S else ()
    for edge in (*first, *((span[0],) if span else ()), edges.start_s, edges.onset_s):
        off = (phase_s - edge + beat_s / 2) % beat_s - beat_s / 2
        if abs(off) < NEAR_S and edge >= edges.start_s - NEAR_S:
            return edge
    n_silent = int(np.ceil((edges.start_s - NEAR_S - phase_s) / beat_s))
    start = phase_s + n_silent * beat_s
    return start if start >= 0.0 else start + beat_s


OPTIONS = [(metre, beat) for metre, bar in enumerate(BARS) for beat in range(bar)]
"""Metres, each with every beat of its bar that may be the grid's first downbeat."""


def metre_features(clip: AnalysedClip, bpm: float, start_s: float, whole: int) -> np.ndarray:
    """What speaks for each metre and each beat as the first downbeat: (21, n_features), in the order of `OPTIONS`."""
    period = FRAMES_PER_S * seconds_per_beat(bpm)
    sums = bar_sums(clip, period, start_s * FRAMES_PER_S)
    n_beats = max(1.0, (len(clip.beat) - start_s * FRAMES_PER_S) / period)
    at_start = abs(start_s - clip.edges.start_s) < NEAR_S or start_s < NEAR_S
    rows = []
    for metre, values in enumerate(sums):
        bar = BARS[metre]
        n_bars = max(1.0, n_beats / bar)
        mean = values / n_bars
        for beat in range(bar):
            others = float(np.delete(mean, beat).mean())
            rows.append([
                mean[beat], values[beat] / 20.0, mean[beat] - others, max(float(clip.activations.metre[metre]), -8.0),
                float(beat == 0 and at_start and whole > 0), float(beat == 0 and at_start and whole == 0),
                float(whole > 0 and whole % bar == 0), float(beat == 0),
                *(float(metre == k) for k in range(len(BARS))),
            ])  # fmt: skip
    return np.array(rows)


def estimate_bar(
    clip: AnalysedClip, bpm: float, start_s: float, whole: int, w: Weights, beats_per_bar: int | None = None
) -> BarEstimate:
    """Metre and downbeat, from `start_s` on; `beats_per_bar` if it is known."""
    odds = softmax(metre_features(clip, bpm, start_s, whole) @ w["decoder.metre.weight"])
    metres = np.array([metre for metre, _ in OPTIONS])
    known = np.array([BARS[metre] == beats_per_bar for metre in metres])
    if known.any():
        odds = np.where(known, odds, 0.0) / max(float(odds[known].sum()), 1e-12)
    shares = [float(odds[metres == k].sum()) for k in range(len(BARS))]
    metre = int(np.argmax(shares))
    best = int(np.where(metres == metre, odds, -1.0).argmax())
    return BarEstimate(
        METRES[metre], BARS[metre], 1.0 if known.any() else calibrated(shares[metre], w, "metre"),
        OPTIONS[best][1], calibrated(float(odds[best]), w, "downbeat"),
    )  # fmt: skip


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of options by their scores, (n_options,)."""
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()
