"""Tempi worth ranking: from where the network sees beats, from the clip's length, from what repeats in it."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from melformer.audio.grid import MAX_BPM, MIN_BPM, bpm_of, seconds_per_beat
from melformer.audio.mel import FRAMES_PER_S
from melformer.audio.tempo.beat_network import TEMPI_BPM
from melformer.audio.tempo.edges import SoundEdges

MIN_LENGTH_BPM, MAX_LENGTH_BPM = 45.0, 220.0
COUNTS = np.array([n for n in range(1, 257) if n <= 16 or any(n % bar == 0 for bar in (4, 5, 6, 7, 9))])
_GRID_BPM = np.geomspace(MIN_BPM, MAX_BPM, 240)  # steps of 0.75%
_WINDOW, _N_FREE, _N_HEARD = 1_000, 7, 3
_SAME = 0.001  # exact tempi nearer than this are one
_ROUND_S = 0.001
_LIMIT = 5.0  # logits beyond ±5 say no more


@dataclass(frozen=True)
class Candidate:
    """A tempo; how many beats the whole clip (`whole`), its sound (`trimmed`) or what repeats (`repeated`) then has,
    0 where that is no whole number. `span` is the start and stop in s that gave the tempo, if a length did; `period_s`
    the length of this or of what repeats."""

    bpm: float
    whole: int = 0
    trimmed: int = 0
    repeated: int = 0
    likeness: float = 0.0
    span: tuple[float, float] | None = None
    period_s: float = 0.0

    @property
    def exact_length(self) -> tuple[int, float]:
        """Of what gave the tempo: how many beats it has and how long it is, in s; zeros where only beats gave it."""
        return round(self.period_s / seconds_per_beat(self.bpm)), self.period_s

    @property
    def is_round(self) -> bool:
        """Whether a whole BPM changes the length by less than a millisecond: most loops are made at one."""
        n_beats, length_s = self.exact_length
        return n_beats > 0 and abs(n_beats * seconds_per_beat(round(self.bpm)) - length_s) < _ROUND_S


def evidence(logits: np.ndarray) -> np.ndarray:
    """Logits that a grid collects: bounded, and nearly as good 10 ms beside the peak."""
    padded = np.pad(logits, 1, mode="edge")
    return np.clip(np.maximum(np.maximum(padded[:-2], padded[2:]) - 0.5, logits), -_LIMIT, _LIMIT)


def fold_curve(curve: np.ndarray, period: float, n_phases: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of a curve at frames `phase`, `phase + period`, … for phases from 0 to one period: phases in frames, sums.

    Beyond the last frame a grid collects nothing.
    """
    n_phases = n_phases or max(2, round(period))
    phases = np.arange(n_phases) * (period / n_phases)
    places = phases[:, None] + np.arange(int(len(curve) / period) + 1) * period
    padded = np.concatenate([curve, np.zeros(int(period) + 3)])
    low = places.astype(np.intp)
    values, after = padded[low], padded[low + 1]
    return phases, (values + (after - values) * (places - low)).sum(axis=1)


def curve_at(curve: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A curve between its frames; 0 outside."""
    low = np.clip(places.astype(np.int64), 0, len(curve) - 1)
    high = np.minimum(low + 1, len(curve) - 1)
    part = places - low
    values = curve[low] * (1.0 - part) + curve[high] * part
    return np.where((places <= len(curve) - 1) & (places >= 0), values, 0.0)


def free_tempi(beat: np.ndarray, heard: np.ndarray) -> list[float]:
    """The tempi whose beats collect most evidence: first in windows of 10 s, then refined on the whole clip; and those
    that the network gives the clip (`heard`: log-probabilities at `TEMPI_BPM`)."""
    starts = range(0, max(1, len(beat) - _WINDOW // 2), _WINDOW // 2)
    windows = np.zeros((len(starts), 2 * _WINDOW))
    for window, start in zip(windows, starts):
        window[: len(beat[start : start + _WINDOW])] = beat[start : start + _WINDOW]
    score = np.array([windows[:, grid].sum(axis=2).max(axis=1).sum() for grid in _window_grids()])
    seeds = [*_GRID_BPM[_highest_peaks(score, _N_FREE)], *TEMPI_BPM[_highest_peaks(heard, _N_HEARD)]]
    kept: list[float] = []
    for bpm in (refine(beat, float(seed)) for seed in seeds):
        if all(abs(bpm / other - 1.0) > _SAME for other in kept):
            kept.append(bpm)
    return kept


@lru_cache(maxsize=1)
def _window_grids() -> list[np.ndarray]:
    """For each tempo of the search, the frames that its grids have in a window: (n_phases, n_beats) each."""
    grids = []
    for period in FRAMES_PER_S * seconds_per_beat(_GRID_BPM):
        beats = np.arange(int(_WINDOW / period) + 1) * period
        grids.append(np.rint(np.arange(round(period))[:, None] + beats).astype(np.intp))
    return grids


def _highest_peaks(values: np.ndarray, n: int) -> np.ndarray:
    padded = np.pad(values, 1, mode="constant", constant_values=-np.inf)
    peaks = np.flatnonzero((values >= padded[:-2]) & (values > padded[2:]))
    return peaks[np.argsort(-values[peaks])[:n]]


def refine(beat: np.ndarray, bpm: float) -> float:
    """The tempo within 1.2% whose beats collect most, to about 2 ms over the clip's length."""
    step = float(np.clip(0.02 / (len(beat) / FRAMES_PER_S), 0.0004, 0.004))  # 20 ms over the whole clip
    for width, width_step in ((0.012, step), (step, step / 6)):
        near = bpm * (1.0 + np.arange(-width, width + width_step / 2, width_step))
        sums = np.array([fold_curve(beat, FRAMES_PER_S * seconds_per_beat(b))[1].max() for b in near])
        top = np.flatnonzero(sums >= sums.max() - 1e-6)
        bpm = float(near[top].mean())
    return float(np.clip(bpm, MIN_BPM, MAX_BPM))


def find_candidates(
    free: list[float], edges: SoundEdges, repeats: list[tuple[float, float]], length_counts: bool = True
) -> list[Candidate]:
    """Every tempo worth ranking; one that several sources give stands there once for each, and knows of the others.

    `length_counts`: whether the clip is a whole file, whose length says something.
    """
    found = [Candidate(bpm) for bpm in free]
    for start_s, stop_s in edges.spans if length_counts else []:
        is_whole = start_s == 0.0 and stop_s == edges.duration_s
        for bpm, count in _by_length(stop_s - start_s):
            kind = {"whole": count} if is_whole else {"trimmed": count}
            found.append(Candidate(bpm, span=(start_s, stop_s), period_s=stop_s - start_s, **kind))
    for period_s, likeness in repeats:
        found += [
            Candidate(bpm, repeated=count, likeness=likeness, period_s=period_s) for bpm, count in _by_length(period_s)
        ]
    exact = [c for c in found if c.period_s]
    bpms = np.array([c.bpm for c in exact])
    return [_joined(c, exact, bpms) for c in found]


def _by_length(seconds: float) -> list[tuple[float, int]]:
    bpms = bpm_of(COUNTS, seconds)
    fits = (bpms >= MIN_LENGTH_BPM) & (bpms <= MAX_LENGTH_BPM)
    return [(float(bpm), int(count)) for bpm, count in zip(bpms[fits], COUNTS[fits])]


def _joined(candidate: Candidate, exact: list[Candidate], bpms: np.ndarray) -> Candidate:
    """The candidate with what others of its tempo know."""
    if not candidate.period_s:
        return candidate
    same = [exact[i] for i in np.flatnonzero(np.abs(bpms / candidate.bpm - 1.0) < _SAME)]
    best = max(same, key=lambda c: c.likeness)
    return replace(
        candidate, whole=max(c.whole for c in same), trimmed=max(c.trimmed for c in same),
        repeated=best.repeated, likeness=best.likeness,
    )  # fmt: skip
