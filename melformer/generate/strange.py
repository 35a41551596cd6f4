"""Beats of a colour, a harmony or a level that a loop has not."""

import numpy as np
import torch

from melformer.generate.ear import Ear
from melformer.generate.level import Level

FAINT = 0.2
"""A beat whose partials weigh less than this share of the prompt's median has no harmony to judge."""
MORE_COLOUR, MORE_TONE, MORE_BAR = 0.3, 0.04, 0.02
"""At the default variation: how far a beat's colour may lie from the nearest beat of the prompt, in log10 of the level,
mean of the bands (6 dB); and how much further its pitch classes, and those of the bar that it ends, may lie, as
1 − cosine, than those of three quarters of the prompt's beats and bars from the others."""
USUAL = 0.75
"""The share of a prompt's beats that tells how far its harmony moves: one odd beat is no rule."""


class Harmony:
    """Knows the pitch classes that sound together in stretches of a prompt, each of `length` beats."""

    def __init__(self, chroma: np.ndarray, length: int, more: float) -> None:
        """Of a prompt's beats, (P, 12); `more` is how much further than the prompt's own a stretch may lie."""
        self.length = min(length, len(chroma))
        stretches = np.lib.stride_tricks.sliding_window_view(chroma, self.length, axis=0).sum(axis=2)
        weight = stretches.sum(axis=1)
        self.faint = max(FAINT * float(np.median(weight)), 1e-6)
        clear = np.flatnonzero(weight > self.faint)
        self.known = _unit(stretches[clear])
        others = self.known @ self.known.T
        others[np.abs(clear[:, None] - clear) < self.length] = -1.0  # what shares beats is no other
        nearest = others.max(axis=1, initial=-1.0)
        far = 1.0 - nearest[nearest >= 0.0]
        self.spread = float(np.quantile(far, USUAL)) if len(far) else 0.0
        self.limit = self.spread + more

    def __call__(self, chroma: np.ndarray) -> float:
        """How far the last `length` of the beats (n, 12) are from the nearest stretch of the prompt, as 1 − cosine over
        what is allowed; 0 where they are fewer, and where either has hardly any pitch."""
        stretch = chroma[len(chroma) - self.length :].sum(axis=0, keepdims=True)
        if len(chroma) < self.length or stretch.sum() <= self.faint or not len(self.known):
            return 0.0
        return (1.0 - float((self.known @ _unit(stretch)[0]).max())) / self.limit


class Strange:
    """Knows the colours, the pitch classes and the levels of a prompt's beats, codes int64 (P, F, n_codebooks)."""

    def __init__(self, ear: Ear, codes: np.ndarray, bar: int) -> None:
        """A bar has `bar` model beats."""
        heard = torch.from_numpy(codes)
        self.ear, self.colours, chroma = ear, ear.colours(heard), ear.chroma(heard)
        self.beat, self.bar = Harmony(chroma, 1, MORE_TONE), Harmony(chroma, bar, MORE_BAR)
        self.level = Level(ear.powers(heard))
        self.n_heard = max(self.bar.length, self.level.length)

    def __call__(self, before: torch.Tensor, drafts: torch.Tensor) -> np.ndarray:
        """How strange drafts of the next beat are: above 1 too much so at variation 0.5, above 2 at variation 1.

        `before` (K, h, F, n_codebooks) is what some takes said last, drafts (A, K, F, n_codebooks) → (A, K). The
        prompt's own beats too can be too loud, too soft, or in another order.
        """
        before = before[:, max(0, before.shape[1] - self.n_heard + 1) :]
        (n_takes, n_before), n_drafts = before.shape[:2], len(drafts)
        beats = torch.cat([before.flatten(0, 1), drafts.flatten(0, 1)])
        chroma, powers = self.ear.chroma(beats), self.ear.powers(beats)
        far = self._far(self.ear.colours(drafts.flatten(0, 1)))
        strange = np.empty((n_drafts, n_takes))
        for i, (draft, take) in enumerate(np.ndindex(n_drafts, n_takes)):
            line = [*range(take * n_before, (take + 1) * n_before), n_takes * n_before + i]
            harmony = max(self.beat(chroma[line]), self.bar(chroma[line]))
            strange[draft, take] = max(harmony, far[i] / MORE_COLOUR, self.level(powers[line]))
        return strange

    def _far(self, colours: np.ndarray) -> np.ndarray:
        """How far colours (N, n_bands) are from the nearest of the prompt: log10 of the level, mean of the bands."""
        return np.abs(colours[:, None] - self.colours).mean(axis=2).min(axis=1)


def _unit(chroma: np.ndarray) -> np.ndarray:
    """Rows of length one: (n, 12)."""
    return chroma / np.linalg.norm(chroma, axis=1, keepdims=True)
