"""Closing the loop: a last bar that leads back to where the piece begins."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from melformer.generate.beat_generator import BeatGenerator
from melformer.generate.likelihood import bits_per_beat
from melformer.generate.sampling import GenerationConfig

N_CANDIDATES = 8
HEARD_BEATS = 64
"""Model beats before the ending that the candidates are judged by."""


@dataclass(frozen=True)
class Ending:
    """The chosen last beats: codes int64 (model beats, frames, n_codebooks), the bits a beat of the head costs
    after each candidate (C,), and the bits of the beats after the piece's other bar lines (n_lines,)."""

    codes: Tensor
    seam_bits: np.ndarray
    line_bits: np.ndarray

    @property
    def surprise(self) -> float:
        """Bits of the seam over those of an ordinary bar line: about 1 where the loop closes unnoticed."""
        return float(self.seam_bits.min() / max(float(self.line_bits.mean()), 1e-9))


def compose_ending(
    generator: BeatGenerator, row: int, n_beats: int, head: np.ndarray, settings: GenerationConfig
) -> Ending:
    """The last `n_beats` model beats of take `row`, chosen among candidates by what they make of the head.

    `head` int64 (model beats, frames, n_codebooks) is how the piece begins. Candidate 0 is what the take would have
    played anyway; the others are drawn from the same state. The one wins after which the head is likeliest.
    """
    heard, first = generator.history(row, HEARD_BEATS)
    fork = generator.fork(row, N_CANDIDATES)
    endings = torch.stack([fork.decode_beat(settings) for _ in range(n_beats)], dim=1)
    around = [part.expand(N_CANDIDATES, *part.shape) for part in (heard, torch.from_numpy(head))]
    codes = torch.cat([around[0], endings, around[1]], dim=1)
    positions = torch.tensor([generator.bar_position(first + i) for i in range(codes.shape[1])])
    seam = len(heard) + n_beats
    lines = [i for i in range(generator.bar, seam) if positions[i] == 0]
    chosen = torch.tensor(lines + list(range(seam, codes.shape[1])))
    bits = bits_per_beat(generator.transformer, codes, generator.tempo, positions, chosen)
    seam_bits = bits[:, len(lines) :].mean(dim=1)
    best = int(seam_bits.argmin())
    # Without an earlier bar line there is nothing to compare with but the head itself.
    ordinary = bits[best, : len(lines)] if lines else seam_bits[best : best + 1]
    return Ending(endings[best], seam_bits.numpy(), ordinary.numpy())
