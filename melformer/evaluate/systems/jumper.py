"""A jumper in the manner of the Infinite Jukebox: it plays the loop and now and then jumps to a beat that sounds alike.

After Paul Lamere's idea of 2012 (The Infinite Jukebox, later EternalJukebox), written anew: a jump from one beat to the
successor of a similar one is hardly heard as a cut.
"""

import numpy as np

from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics.beat_features import beat_features, fingerprint_distances
from melformer.evaluate.systems.rules import arrange_beats

FIRST_CHANCE, MORE_CHANCE, MOST_CHANCE = 0.18, 0.03, 0.5  # of a jump; it grows by each beat without one
N_NEIGHBOURS = 4
CHROMA_WEIGHT_DB = 20.0  # two beats without a common note are as far apart as two of 20 dB difference


def jump(prompt: Waveform, bpm: float, n_prompt: int, n_new: int, seed: int = 0) -> Waveform:
    """`n_new` beats after a prompt of `n_prompt`, whole beats of it, joins of 10 ms."""
    sources = jumping_order(beat_distances(prompt, bpm, n_prompt), n_new, seed)
    return Waveform(arrange_beats(prompt.samples, sources, bpm, n_prompt, prompt.sample_rate), prompt.sample_rate)


def beat_distances(prompt: Waveform, bpm: float, n_prompt: int) -> np.ndarray:
    """How unlike every two beats are, in dB, by their timbre and their chroma: (n_prompt, n_prompt)."""
    features = beat_features(prompt, bpm, n_prompt)
    size = np.linalg.norm(features.chroma, axis=1, keepdims=True)
    chroma = features.chroma / np.maximum(size, 1e-9)
    return fingerprint_distances(features.fingerprint, features.fingerprint) + CHROMA_WEIGHT_DB * (
        1 - chroma @ chroma.T
    )


def jumping_order(distances: np.ndarray, n_new: int, seed: int = 0) -> np.ndarray:
    """The source of each new beat, int (n_new,): the loop goes on, or jumps to where a similar beat stands.

    Instead of a beat one of its nearest neighbours may sound, and the loop goes on from there. Neighbours stand at the
    same place in a bar of four, and are nearer than the median of all pairs.
    """
    rng, n_beats = np.random.default_rng(seed), len(distances)
    limit = float(np.median(distances))
    sources, chance, beat = [], FIRST_CHANCE, 0
    for _ in range(n_new):
        near = [int(j) for j in np.argsort(distances[beat], kind="stable") if j != beat and (j - beat) % 4 == 0]
        near = [j for j in near[:N_NEIGHBOURS] if distances[beat, j] < limit]
        if near and rng.random() < chance:
            beat, chance = int(rng.choice(near)), FIRST_CHANCE
        else:
            chance = min(MOST_CHANCE, chance + MORE_CHANCE)
        sources.append(beat)
        beat = (beat + 1) % n_beats
    return np.array(sources)
