"""Beats of a colour or a harmony that a loop has not."""

import numpy as np
import torch

from melformer.generate.ear import Ear

FAINT = 0.2
"""A beat whose partials weigh less than this share of the prompt's median has no harmony to judge."""
MORE_COLOUR, MORE_TONE = 0.3, 0.1
"""At the default variation: how far a beat's colour may lie from the nearest beat of the prompt, in log10 of the level,
mean of the bands (6 dB); and how much further its pitch classes may lie, as 1 − cosine, than those of the prompt's most
different beat from the others."""


class Strange:
    """Knows the colours and the pitch classes of a prompt's beats, codes int64 (P, F, n_codebooks)."""

    def __init__(self, ear: Ear, codes: np.ndarray) -> None:
        self.ear, self.codes = ear, torch.from_numpy(codes)
        self.colours, chroma = ear.colours(self.codes), ear.chroma(self.codes)
        weight = chroma.sum(axis=1)
        self.faint = max(FAINT * float(np.median(weight)), 1e-6)
        self.chroma = _unit(chroma[weight > self.faint])
        others = self.chroma @ self.chroma.T - 2.0 * np.eye(len(self.chroma))
        self.spread = 1.0 - float(others.max(axis=1).min()) if len(self.chroma) > 1 else 0.0

    def __call__(self, beat: torch.Tensor) -> float:
        """How strange a beat (F, n_codebooks) is: above 1 too much so at variation 0.5, above 2 at variation 1."""
        if bool((self.codes == beat).all(dim=2).all(dim=1).any()):
            return 0.0
        return max(self.colour(beat) / MORE_COLOUR, self.tone(beat) / (self.spread + MORE_TONE))

    def colour(self, beat: torch.Tensor) -> float:
        """How far its colour is from the nearest of the prompt's: log10 of the level, mean of the bands."""
        return float(np.abs(self.ear.colours(beat[None]) - self.colours).mean(axis=1).min())

    def tone(self, beat: torch.Tensor) -> float:
        """How far its pitch classes are from the nearest of the prompt's, 1 − cosine; 0 where either has hardly any."""
        chroma = self.ear.chroma(beat[None])
        if chroma.sum() <= self.faint or not len(self.chroma):
            return 0.0
        return 1.0 - float((self.chroma @ _unit(chroma)[0]).max())


def _unit(chroma: np.ndarray) -> np.ndarray:
    """Rows of length one: (n, 12)."""
    return chroma / np.linalg.norm(chroma, axis=1, keepdims=True)
