"""Beats of a colour that a loop has not."""

import numpy as np
import torch

from melformer.generate.ear import Ear


class Strange:
    """Knows the colours of a prompt's beats, codes int64 (P, F, n_codebooks)."""

    def __init__(self, ear: Ear, codes: np.ndarray) -> None:
        self.ear, self.codes, self.known = ear, torch.from_numpy(codes), ear.colours(torch.from_numpy(codes))

    def __call__(self, beat: torch.Tensor) -> float:
        """How far a beat (F, n_codebooks) is from the nearest of the prompt's, in log10 of the level, mean of the
        bands."""
        if bool((self.codes == beat).all(dim=2).all(dim=1).any()):
            return 0.0
        return float(np.abs(self.ear.colours(beat[None]) - self.known).mean(axis=1).min())
