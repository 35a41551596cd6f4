"""A single hit made into a bar: what a person expects who gives a kick and wants it to go on."""

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform

_FADE_S = 0.005


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
