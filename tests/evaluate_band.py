"""A small band for the evaluation tests: kick, snare, hat and a chord, on the beat."""

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform

RATE = 44_100


def _hit(n_samples: int, rng: np.random.Generator, hz: float | None, decay: float) -> np.ndarray:
    t = np.arange(n_samples) / RATE
    sound = np.sin(2 * np.pi * hz * t) if hz else rng.standard_normal(n_samples)
    return sound * np.exp(-t / decay)


def play(
    n_beats: int,
    bpm: float = 120.0,
    chords=((261.6, 329.6, 392.0), (220.0, 261.6, 329.6)),
    swing: float = 0.0,
    seed: int = 0,
    first_beat: int = 0,
) -> Waveform:
    """`n_beats` of four-four: kick on 1 and 3, snare on 2 and 4, hats on the eighths, a chord a bar; mono."""
    rng = np.random.default_rng(seed)
    edges = BeatGrid(bpm, RATE).edges(n_beats)
    out = np.zeros(edges[-1] + RATE)
    for k in range(n_beats):
        beat, start = k + first_beat, edges[k]
        out[start : start + 9000] += 0.5 * _hit(9000, rng, 60.0 if beat % 2 == 0 else None, 0.05)
        half = start + round((0.5 + swing) * 60 / bpm * RATE)
        out[half : half + 3000] += 0.15 * _hit(3000, rng, None, 0.01)
        chord = chords[beat // 4 % len(chords)]
        length = edges[k + 1] - start
        t = (np.arange(length) + (beat % 4) * length) / RATE
        out[start : edges[k + 1]] += 0.05 * sum(np.sin(2 * np.pi * f * t) for f in chord)
    return Waveform((0.5 * out[: edges[-1]]).astype(np.float32), RATE)
