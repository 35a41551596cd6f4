"""Where the loop in a clip ends, by the tracker's evidence for music."""

import numpy as np
from clip_features import Clip
from mel import FRAMES_PER_S

from melformer.audio.grid import seconds_per_beat

NEAR_S = 0.02
_LIMIT, _FRAME_WEIGHT = 3.0, 0.02
_ROUND = ((16, 2.0), (8, 1.5), (4, 1.0), (2, 0.3))  # bars or beats come in such numbers, nats


def find_stop(clip: Clip, bpm: float, start_s: float, beats_per_bar: int) -> float:
    """Where the loop ends, in s: at a beat, or at the clip's end where the music goes on to it.

    What follows the last bar, silence or a tail, is no music to the tracker, which was trained on both. The end is the
    beat that best divides its evidence; whole bars are likelier than beats, and 4, 8 and 16 of them than others.
    """
    edges, beat_s = clip.edges, seconds_per_beat(bpm)
    n_possible = (edges.duration_s - start_s) / beat_s
    n_whole = round(n_possible)
    if abs(n_possible - n_whole) * beat_s < NEAR_S and n_whole and edges.duration_s - edges.stop_s < beat_s:
        return edges.duration_s  # a whole number of beats, and the last one sounds
    heard = np.clip(clip.activations.music, -_LIMIT, _LIMIT) * _FRAME_WEIGHT
    total = np.concatenate([[0.0], np.cumsum(heard)])

    def score(stop_s: float) -> float:
        place = min(len(heard), max(0, round(stop_s * FRAMES_PER_S)))
        return float(2.0 * total[place] - total[-1])

    first, last = 1, int(n_possible + 0.25)
    if last < first or edges.duration_s > len(heard) / FRAMES_PER_S + 0.1:  # the end was not analysed
        return edges.duration_s
    counts = np.arange(first, last + 1)
    scores = np.array([score(start_s + n * beat_s) + _roundness(int(n), beats_per_bar) for n in counts])
    best = int(counts[scores.argmax()])
    best_s = start_s + best * beat_s
    open_end = score(edges.duration_s) + 0.5
    if open_end >= scores.max() and edges.duration_s - edges.stop_s < NEAR_S:
        return edges.duration_s
    return min(best_s, edges.duration_s)


def _roundness(n_beats: int, beats_per_bar: int) -> float:
    bonus = 0.5 if n_beats % beats_per_bar == 0 else 0.0
    n_bars = n_beats / beats_per_bar
    return bonus + next((value for n, value in _ROUND if n_bars % n == 0), 0.0) * (bonus > 0.0)
