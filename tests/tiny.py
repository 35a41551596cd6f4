"""A model too small to play, and a loop for it: what tests of generating stand on."""

import numpy as np
import torch

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform
from melformer.codec.codec import Codec
from melformer.config import PRESETS
from melformer.generate import Melformer


def tiny_model(seed: int = 0) -> Melformer:
    """An untrained model of the preset `tiny`, made louder, whose scorer has likes and dislikes."""
    torch.manual_seed(seed)
    model = Melformer(PRESETS["tiny"])
    with torch.no_grad():  # untrained it would whisper, and differences hide in silence
        model.codec.decoder.head.bias[: model.config.codec.n_bins] += 4.0
        model.codec.quantizer.level.codebook.zero_()  # at random every beat would seem far too loud or too soft
        model.codec.scorer.copy_band.weight *= 10.0
        model.codec.scorer.copy_out.weight *= 20.0
        model.codec.scorer.decoder_out.bias.fill_(1.0)
    return model


def loop(n_beats: int = 4, bpm: float = 120.0, rate: int = 22_050, channels: int = 2) -> Waveform:
    """A different tone and click in every beat."""
    edges = BeatGrid(bpm, rate).edges(n_beats)
    time = np.arange(edges[-1]) / rate
    samples = np.zeros((edges[-1], channels), np.float32)
    for beat, (start, stop) in enumerate(zip(edges, edges[1:])):
        tone = 0.3 * np.sin(2 * np.pi * 220 * 2 ** (beat / 5) * time[start:stop])
        tone[:200] += 0.5 * np.random.default_rng(beat).standard_normal(200)
        samples[start:stop] = tone[:, None] * np.linspace(1.0, 0.5, channels)
    return Waveform(samples, rate)


def own_stems(n_beats: int = 4, bpm: float = 120.0, rate: int = 22_050) -> dict[str, Waveform]:
    """A loop in stems, none of them silent, whatever a separator would make of it."""
    whole = loop(n_beats, bpm, rate)
    time = np.arange(whole.n_samples)[:, None] / rate
    low = (0.2 * np.sin(2 * np.pi * 55 * time * np.array([1.0, 1.0]))).astype(np.float32)
    clicks = np.random.default_rng(9).standard_normal((whole.n_samples, 2)).astype(np.float32)
    clicks *= 0.2 * np.exp(-40 * (time % (30 / bpm))).astype(np.float32)
    parts = {"drums": clicks, "bass": low, "other": 0.5 * whole.samples}
    return {name: Waveform(samples, rate) for name, samples in parts.items()}


def check_stream_equals_whole(codec: Codec) -> None:
    """Beats that are decoded in parts sound as all of them at once, for a codec of the preset `tiny`."""
    codes = torch.randint(0, 64, (1, 6, 16, 3), generator=torch.Generator().manual_seed(2))
    whole, _ = codec.decode(codes)
    state, parts = None, []
    for beat in codes.split([1, 2, 1, 2], dim=1):
        samples, state = codec.decode(beat, state)
        parts.append(samples)
    assert whole.abs().max() > 1e-2
    assert (torch.cat(parts, dim=1) - whole).abs().max() < 1e-5
