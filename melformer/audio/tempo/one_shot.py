"""A single hit: told from a loop, and made into a bar, as a person expects who gives a kick and wants it to go on."""

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.tempo.edges import attack_times
from melformer.audio.waveform import Waveform

_FADE_S = 0.005
_ONE_HIT_S = 0.08  # an attack rises for as long
_DECAY_DB = -26.0


def is_one_shot(sound: Waveform) -> bool:
    """Whether a clip, without the silence around it, is one attack and nothing but its decay behind it."""
    attacks_s = attack_times(sound)
    if not len(attacks_s) or attacks_s[-1] - attacks_s[0] > _ONE_HIT_S:
        return False
    block = max(1, sound.sample_rate // 50)
    n_blocks = sound.n_samples // block
    if n_blocks < 3:
        return False
    power = (
        np.einsum("ij,ij->i", sound.samples, sound.samples)[: n_blocks * block].reshape(n_blocks, block).mean(axis=1)
    )
    return bool(10 * np.log10(power[-2:].mean() / power.max() + 1e-12) < _DECAY_DB)


def play_hits(hit: Waveform, bpm: float, n_beats: int, start_s: float) -> Waveform:
    """The hit from `start_s` on, once a beat for `n_beats`; it is cut off, in 5 ms, where the next one begins.

    As a sampler plays one pad: sounds do not add up, so nothing is louder than the hit.
    """
    edges = BeatGrid(bpm, hit.sample_rate).edges(n_beats)
    sound = hit.samples[round(start_s * hit.sample_rate) :]
    out = np.zeros((int(edges[-1]), hit.n_channels), np.float32)
    n_fade = round(_FADE_S * hit.sample_rate)
    fade = np.linspace(1.0, 0.0, n_fade, dtype=np.float32)[:, None]
    for begin, end in zip(edges, edges[1:]):
        part = sound[: end - begin].copy()
        if len(part) == end - begin > n_fade:
            part[-n_fade:] *= fade
        out[begin : begin + len(part)] = part
    return Waveform(out, hit.sample_rate)
