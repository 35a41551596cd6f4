"""Sounds that a loop does not have: the two coarsest codes tell them."""

import numpy as np


class Unheard:
    """Knows which two coarsest codes a prompt's codes (P, F, n_codebooks) have together."""

    def __init__(self, codes: np.ndarray, codebook_size: int) -> None:
        self.size = codebook_size
        self.pairs = np.unique(self._pairs(codes))

    def __call__(self, beat: np.ndarray) -> float:
        """Of a beat (F, n_codebooks), the share of frames whose two coarsest codes the prompt nowhere has together."""
        return float(1.0 - np.isin(self._pairs(beat), self.pairs).mean())

    def _pairs(self, codes: np.ndarray) -> np.ndarray:
        return codes[..., 0] * self.size + codes[..., min(1, codes.shape[-1] - 1)]
