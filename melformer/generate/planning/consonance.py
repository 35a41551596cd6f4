"""What it is worth how a bass sounds under chords, beside the pointer's own scores."""

import torch
from torch import Tensor

from melformer.transformer.pointer import N_SHIFTS, UNSHIFTED

INTERVAL_WORTH = (4.13, -1.48, -1.35, 2.01, 1.09, -0.55, -0.87, 1.74, -1.06, -0.79, -0.36, -0.89)
"""Nats that chords have tones 0, 1, … 11 semitones above the bass: by how much likelier it makes it that both sounded
together and were not put together at random. By logistic regression on passages of which nothing is measured
(`experiments/2026-12-intervals`)."""


def consonance(own: Tensor, other: Tensor, is_bass: bool) -> Tensor:
    """Nats of units at every shift, under chords that are known (`is_bass`) or over a bass: (B, n, N_SHIFTS).

    `own` (B, n, 12) are the units' pitch classes, `other` (B, 12) those of the other stem, zeros where it is silent or
    not known; both of unit length.
    """
    pitch = torch.arange(12)
    above = pitch - pitch[:, None] if is_bass else pitch[:, None] - pitch  # of the other over each own pitch class
    worth = other @ torch.tensor(INTERVAL_WORTH)[above % 12].T
    moved = pitch[:, None] + torch.arange(N_SHIFTS) - UNSHIFTED
    return own @ worth[:, moved % 12]
