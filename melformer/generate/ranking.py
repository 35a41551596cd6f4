"""Which of several takes fits the loop best: the model's own surprise, and how far the sound drifts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from melformer.audio.io import Waveform
from melformer.generate.likelihood import bits_per_beat
from melformer.generate.prompt import Prompt
from melformer.render.stereo_image import mean_power
from melformer.transformer.model import UNKNOWN_BAR_POSITION, BeatTransformer

if TYPE_CHECKING:
    from melformer.generate.pipeline import Continuation

N_JUDGED = 16
HEARD_BEATS = 96
DB_PER_UNIT, OCTAVES_PER_UNIT = 12.0, 1.0
"""A drift of 12 dB in level or of one octave in brightness weighs as much as being twice as surprising."""


@dataclass(frozen=True)
class Fit:
    """How well a take fits: bits a model beat costs the transformer, and how far the second half has drifted from
    the prompt in level (dB) and in brightness (octaves of the spectral centroid)."""

    bits: float
    level_db: float
    centroid_octaves: float

    def cost(self, usual_bits: float) -> float:
        """Smaller is better; `usual_bits` are what the takes beside it cost on average."""
        drift = abs(self.level_db) / DB_PER_UNIT + abs(self.centroid_octaves) / OCTAVES_PER_UNIT
        return self.bits / max(usual_bits, 1e-9) + drift


def fit(transformer: BeatTransformer, take: "Continuation") -> Fit:
    """Judge one finished take; at most 16 of its model beats, evenly spread, are asked about."""
    prompt = take.prompt
    new = _model_beats(take.codes, prompt.codes.shape[1])
    codes = torch.from_numpy(np.concatenate([prompt.codes, new])[-HEARD_BEATS:])
    n_new = min(len(new), len(codes) - 1)
    first = len(prompt.codes) + len(new) - len(codes)
    bar = max(1, round(prompt.beats_per_bar * prompt.model_beats_per_beat))
    positions = (torch.arange(len(codes)) + first - len(prompt.codes)) % bar
    if bar > UNKNOWN_BAR_POSITION:
        positions = torch.full_like(positions, UNKNOWN_BAR_POSITION)
    chosen = torch.linspace(len(codes) - n_new, len(codes) - 1, min(n_new, N_JUDGED)).round().long()
    bits = bits_per_beat(transformer, codes[None], float(np.log2(prompt.model_bpm / 120.0)), positions, chosen)
    level, octaves = _drift(prompt, take.new)
    return Fit(float(bits.mean()), level, octaves)


def ranked(transformer: BeatTransformer, takes: "list[Continuation]") -> "list[Continuation]":
    """The takes, best first; equal ones stay in their order."""
    fits = [fit(transformer, take) for take in takes]
    usual = float(np.mean([one.bits for one in fits])) if fits else 0.0
    order = sorted(range(len(takes)), key=lambda i: fits[i].cost(usual))
    return [takes[i] for i in order]


def _model_beats(codes: np.ndarray, n_frames: int) -> np.ndarray:
    """Whole model beats of codes that may be cut in beats of half that length (above 180 BPM); the first one of a
    single half is filled up with itself."""
    frames = codes.reshape(-1, codes.shape[-1])
    if len(frames) < n_frames:
        frames = np.concatenate([frames, frames])
    return frames[: len(frames) // n_frames * n_frames].reshape(-1, n_frames, codes.shape[-1])


def _drift(prompt: Prompt, new: Waveform) -> tuple[float, float]:
    """Level in dB and spectral centroid in octaves of the new part's second half, over the prompt's."""
    late = new.samples[new.n_samples // 2 :]
    (before, hz), (after, _) = (mean_power(part, new.sample_rate) for part in (prompt.waveform.samples, late))
    sums = [max(float(power.sum()), 1e-12) for power in (before, after)]
    centroids = [float((power.sum(axis=1) * hz).sum()) / total for power, total in zip((before, after), sums)]
    octaves = np.log2(max(centroids[1], 1.0) / max(centroids[0], 1.0))
    return float(10.0 * np.log10(sums[1] / sums[0])), float(octaves)
