"""Which of several takes fits the loop best: the model's own surprise, and how far the sound drifts."""

from typing import TYPE_CHECKING

import numpy as np

from melformer.audio.io import Waveform
from melformer.generate.prompt import Prompt
from melformer.render.stereo_image import mean_power

if TYPE_CHECKING:
    from melformer.generate.generated import Continuation

DB_PER_UNIT, OCTAVES_PER_UNIT = 12.0, 1.0
"""A drift of 12 dB in level or of one octave in brightness weighs as much as being twice as surprising."""


def ranked(takes: "list[Continuation]") -> "list[Continuation]":
    """The takes, best first; equal ones stay in their order."""
    usual = float(np.mean([take.nats for take in takes])) if takes else 0.0

    def cost(take: "Continuation") -> float:
        level_db, octaves = _drift(take.prompt, take.new)
        return take.nats / max(usual, 1e-9) + abs(level_db) / DB_PER_UNIT + abs(octaves) / OCTAVES_PER_UNIT

    return sorted(takes, key=cost)


def _drift(prompt: Prompt, new: Waveform) -> tuple[float, float]:
    """Level in dB and spectral centroid in octaves of the new part's second half, over the prompt's."""
    late = new.samples[new.n_samples // 2 :]
    (before, hz), (after, _) = (mean_power(part, new.sample_rate) for part in (prompt.waveform.samples, late))
    sums = [max(float(power.sum()), 1e-12) for power in (before, after)]
    centroids = [float((power.sum(axis=1) * hz).sum()) / total for power, total in zip((before, after), sums)]
    octaves = np.log2(max(centroids[1], 1.0) / max(centroids[0], 1.0))
    return float(10.0 * np.log10(sums[1] / sums[0])), float(octaves)
