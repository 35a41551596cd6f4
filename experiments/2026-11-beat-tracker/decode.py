"""From what the tracker sees to one grid for the clip: tempo, first beat, metre, downbeat; each with a probability.

A loop keeps one tempo. So candidates are ranked as wholes: each gets a score from all that speaks for it
(`clip_features.py`), the scores become probabilities, and a last curve, fitted on clips that nothing else was fitted
on, makes them come true.
"""

from dataclasses import dataclass

import numpy as np
from beat_tracker import METRES
from candidates import Candidate, find_candidates, fold
from clip_features import BARS, Clip, bar_sums, tempo_features
from mel import FRAMES_PER_S

from melformer.audio.grid import seconds_per_beat

Weights = dict[str, np.ndarray]
SAME_BPM = 0.004  # candidates nearer than this share their probability
N_PHASES = 96
NEAR_S = 0.02  # a start this near to a beat is on it


@dataclass(frozen=True)
class Detection:
    """A grid and how probable each part of it is. `span` is the stretch whose length gave the tempo, if one did.

    The clip's first beat is at `start_s`; beat number `downbeat` from there on begins a bar of `metre`.
    """

    bpm: float
    probability: float
    span: tuple[float, float] | None
    start_s: float
    start_probability: float
    metre: str
    beats_per_bar: int
    metre_probability: float
    downbeat: int
    downbeat_probability: float


def rank(clip: Clip, weights: Weights, stated: list[float]) -> tuple[list[Candidate], np.ndarray]:
    """Candidates and their scores; the score of "none of these" is 0."""
    candidates = find_candidates(clip.beat, clip.edges, clip.repeats, stated)
    return candidates, score_tempi(tempo_features(clip, candidates), weights)


def score_tempi(features: np.ndarray, w: Weights) -> np.ndarray:
    """A linear score and a small network's beside it: (n_candidates,)."""
    x = (features - w["decoder.tempo.mean"]) / w["decoder.tempo.scale"]
    hidden = np.maximum(x @ w["decoder.tempo.hidden"] + w["decoder.tempo.hidden_bias"], 0.0)
    return x @ w["decoder.tempo.linear"] + hidden @ w["decoder.tempo.out"] + float(w["decoder.tempo.bias"][0])


def probability_of(candidates: list[Candidate], scores: np.ndarray, bpm: float) -> float:
    """How probable this tempo is, before calibration."""
    bpms = np.array([c.bpm for c in candidates])
    top = max(float(scores.max()), 0.0)
    odds = np.exp(scores - top)
    alike = np.abs(bpms / bpm - 1.0) < SAME_BPM
    return float(odds[alike].sum() / (odds.sum() + np.exp(-top)))


def calibrated(probability: float, w: Weights, name: str) -> float:
    """The share of clips that were right at this probability: a straight line in log-odds."""
    slope, offset = w[f"decoder.{name}.calibration"]
    logit = np.log(max(probability, 1e-6) / max(1.0 - probability, 1e-6))
    return float(1.0 / (1.0 + np.exp(-(slope * logit + offset))))


def phase_features(clip: Clip, bpm: float, span: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Phases of the beat in s, (96,), and what speaks for each, (96, n_features)."""
    period = FRAMES_PER_S * seconds_per_beat(bpm)
    phases, beat = fold(clip.beat, period, N_PHASES)
    flux = np.sqrt(np.maximum(fold(clip.flux, period, N_PHASES)[1], 0.0))
    phases_s, beat_s = phases / FRAMES_PER_S, seconds_per_beat(bpm)
    n_beats = max(1.0, len(clip.beat) / period)
    edges = clip.edges

    def near(time_s: float) -> np.ndarray:
        off = np.abs((phases_s - time_s + beat_s / 2) % beat_s - beat_s / 2)
        return np.maximum(0.0, 1.0 - off / NEAR_S)

    silent_start = edges.start_s > 0.004
    columns = [
        beat / n_beats, beat / 20.0, flux / max(float(flux.mean()), 1e-9),
        near(0.0) * (not silent_start), near(0.0) * silent_start, near(edges.start_s) * silent_start,
        near(span[0] if span else 0.0) * (span is not None), near(edges.onset_s),
    ]  # fmt: skip
    return phases_s, np.stack(columns, axis=1)


def find_phase(clip: Clip, bpm: float, span: tuple[float, float] | None, w: Weights) -> tuple[float, float]:
    """The first beat that sounds, in s, and its probability."""
    phases_s, features = phase_features(clip, bpm, span)
    scores = features @ w["decoder.phase.weight"]
    odds = np.exp(scores - scores.max())
    odds /= odds.sum()
    beat_s = seconds_per_beat(bpm)
    best = int(odds.argmax())
    reach = max(1, int(0.03 / beat_s * N_PHASES))
    around = (best + np.arange(-reach, reach + 1)) % N_PHASES
    probability = min(1.0, float(odds[around].sum()))
    offsets = (phases_s[around] - phases_s[best] + beat_s / 2) % beat_s - beat_s / 2
    phase_s = phases_s[best] + float((odds[around] * offsets).sum() / odds[around].sum())
    return _first(clip, phase_s, beat_s, span), probability


def _first(clip: Clip, phase_s: float, beat_s: float, span: tuple[float, float] | None) -> float:
    """The first beat from where sound begins; on an edge of the clip's sound where it is as good as there."""
    edges = clip.edges
    for edge in (0.0, *((span[0],) if span else ()), edges.start_s, edges.onset_s):
        off = (phase_s - edge + beat_s / 2) % beat_s - beat_s / 2
        if abs(off) < NEAR_S and edge >= edges.start_s - NEAR_S:
            return edge
    n_silent = int(np.ceil((edges.start_s - NEAR_S - phase_s) / beat_s))
    start = phase_s + n_silent * beat_s
    return start if start >= 0.0 else start + beat_s


def metre_features(clip: Clip, bpm: float, start_s: float, whole: int) -> np.ndarray:
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
        for o in range(bar):
            others = float(np.delete(mean, o).mean()) if bar > 1 else 0.0
            rows.append([
                mean[o], values[o] / 20.0, mean[o] - others, max(float(clip.activations.metre[metre]), -8.0),
                float(o == 0 and at_start and whole > 0), float(o == 0 and at_start and whole == 0),
                float(whole > 0 and whole % bar == 0), float(o == 0),
                *(float(metre == k) for k in range(len(BARS))),
            ])  # fmt: skip
    return np.array(rows)


OPTIONS = [(metre, o) for metre, bar in enumerate(BARS) for o in range(bar)]


def find_metre(
    clip: Clip, bpm: float, start_s: float, whole: int, w: Weights, bar: int | None = None
) -> tuple[int, float, int, float]:
    """Index of the metre, its probability, the first downbeat in beats, its probability; `bar` if it is known."""
    scores = metre_features(clip, bpm, start_s, whole) @ w["decoder.metre.weight"]
    if bar in BARS:
        scores = np.where(np.array([BARS[m] == bar for m, _ in OPTIONS]), scores, -1e9)
    odds = np.exp(scores - scores.max())
    odds /= odds.sum()
    shares = [float(odds[[m == k for m, _ in OPTIONS]].sum()) for k in range(len(BARS))]
    metre = int(np.argmax(shares))
    own = np.where([m == metre for m, _ in OPTIONS], odds, -1.0)
    best = int(own.argmax())
    return metre, shares[metre], OPTIONS[best][1], float(odds[best])


def decode(clip: Clip, w: Weights, *, bpm: float | None = None, bar: int | None = None) -> Detection | None:
    """The clip's grid; `bpm` and `bar` where they are known.

    None where no tempo can be ranked.
    """
    candidates, scores = rank(clip, w, [bpm] if bpm else [])
    if not candidates:
        return None
    if bpm is None:
        best = candidates[int(scores.argmax())]
        probability = calibrated(probability_of(candidates, scores, best.bpm), w, "tempo")
    else:
        same = [c for c in candidates if abs(c.bpm / bpm - 1.0) < 5e-4]
        best = max(same, key=lambda c: (c.whole > 0, c.trimmed > 0))
        probability = 1.0
    value = best.bpm if bpm is None else bpm
    start_s, start_probability = find_phase(clip, value, best.span, w)
    metre, metre_probability, downbeat, downbeat_probability = find_metre(
        clip, value, start_s, best.whole or best.trimmed, w, bar
    )
    return Detection(
        value, probability, best.span, start_s, calibrated(start_probability, w, "phase"), METRES[metre],
        bar or BARS[metre], calibrated(metre_probability, w, "metre"), downbeat,
        calibrated(downbeat_probability, w, "downbeat"),
    )  # fmt: skip
