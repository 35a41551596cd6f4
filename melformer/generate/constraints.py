"""Beats of a colour, a harmony or a level that a loop has not."""

from collections.abc import Sequence

import numpy as np
import torch

from melformer.generate.code_features import CodeFeatures
from melformer.generate.prompt import Prompt

MOST_BEATS = 16
SOFTER_DB, LOUDER_DB = 3.0, 1.0
"""At novelty 1: how much softer than the prompt's softest stretch the last beats may be together, and how
much louder than its loudest half as long."""
_SILENCE = 1e-12


class LoudnessLimit:
    """Knows how loud stretches of a prompt are that plays round: of `length` beats, its own or 16.

    A loop may end softly, and what follows may begin so; but it has not become a soft loop.
    """

    def __init__(self, powers: np.ndarray) -> None:
        """Of a prompt's beats (P,)."""
        self.length = min(MOST_BEATS, len(powers))
        self.softest = float(_stretches(powers, self.length).min())
        self.loudest = float(_stretches(powers, max(1, self.length // 2)).max())

    def __call__(self, powers: np.ndarray) -> float:
        """How far the last `length` of some beats' powers (n,) are outside, over what is allowed, if the last beat
        leads there; 0 where they are fewer."""
        if len(powers) < self.length:
            return 0.0
        stretch, last = float(powers[-self.length :].mean()), float(powers[-1])
        softer, louder = _decibels(self.softest / max(stretch, _SILENCE)), _decibels(stretch / self.loudest)
        if last < self.softest and softer > 0.0:
            return softer / SOFTER_DB
        return max(0.0, louder / LOUDER_DB) if last > self.loudest else 0.0


def _stretches(powers: np.ndarray, length: int) -> np.ndarray:
    """Mean powers of every `length` beats in a row, played round: (P,), never quite silent."""
    around = np.concatenate([powers, powers[: length - 1]])
    return np.lib.stride_tricks.sliding_window_view(around, length).mean(axis=1) + _SILENCE


def _decibels(ratio: float) -> float:
    return 10.0 * float(np.log10(max(ratio, _SILENCE)))


N_COARSE, ALIKE = 2, 0.65
"""Beats are the same where so large a share of the codes of the coarsest codebooks agrees: the finer ones differ
between two renderings that nobody could tell apart."""


def same_beats(beats: np.ndarray, beat: np.ndarray) -> np.ndarray:
    """Which of some beats (N, n_frames, n_codebooks) are the same as one (n_frames, n_codebooks): bool (N,)."""
    return (beats[..., :N_COARSE] == beat[..., :N_COARSE]).mean(axis=(1, 2)) >= ALIKE


def longest_run(codes: np.ndarray) -> int:
    """How often in a row a prompt (N, n_frames, n_codebooks), played round, says the same beat; without end: a million.

    >>> longest_run(np.array([1, 2, 2, 1]).reshape(4, 1, 1))
    2
    """
    return 1 + longest_run_of([bool(same_beats(codes[i - 1][None], codes[i])[0]) for i in range(len(codes))])


def longest_run_of(marks: Sequence[bool] | np.ndarray) -> int:
    """The longest run of marks on a circle; a million where all are set.

    >>> longest_run_of([True, False, False, True, True])
    3
    """
    if all(marks):
        return 10**6
    longest = run = 0
    for mark in [*marks, *marks]:
        run = run + 1 if mark else 0
        longest = max(longest, run)
    return longest


FAINT = 0.2
"""A beat whose partials weigh less than this share of the prompt's median has no harmony to judge."""
MORE_COLOUR, MORE_TONE, MORE_BAR = 0.3, 0.04, 0.02
"""At novelty 1: how far a beat's colour may lie from the nearest beat of the prompt, in log10 of the level,
mean of the bands (6 dB); and how much further its pitch classes, and those of the bar that it ends, may lie, as
1 − cosine, than those of three quarters of the prompt's beats and bars from the others."""
USUAL = 0.75
"""The share of a prompt's beats that tells how far its harmony moves: one odd beat is no rule."""


class HarmonyLimit:
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


class NoveltyLimit:
    """Knows the colours, the pitch classes and the levels of a prompt's beats, codes int64 (P, F, n_codebooks)."""

    def __init__(self, code_features: CodeFeatures, codes: np.ndarray, bar: int) -> None:
        """A bar has `bar` model beats."""
        heard = torch.from_numpy(codes)
        self.code_features, self.colours = code_features, code_features.colours(heard)
        chroma = code_features.chroma(heard)
        self.beat, self.bar = HarmonyLimit(chroma, 1, MORE_TONE), HarmonyLimit(chroma, bar, MORE_BAR)
        self.level = LoudnessLimit(code_features.powers(heard))
        self.n_heard = max(self.bar.length, self.level.length)

    def __call__(self, before: torch.Tensor, drafts: torch.Tensor) -> np.ndarray:
        """How far drafts of the next beat are from the prompt's: above `GenerationConfig.novelty` is too far.

        `before` (K, h, F, n_codebooks) is what some takes said last, drafts (A, K, F, n_codebooks) → (A, K). The
        prompt's own beats too can be too loud, too soft, or in another order.
        """
        before = before[:, max(0, before.shape[1] - self.n_heard + 1) :]
        (n_takes, n_before), n_drafts = before.shape[:2], len(drafts)
        beats = torch.cat([before.flatten(0, 1), drafts.flatten(0, 1)])
        chroma, powers = self.code_features.chroma(beats), self.code_features.powers(beats)
        far = self._far(self.code_features.colours(drafts.flatten(0, 1)))
        novelty = np.empty((n_drafts, n_takes))
        for i, (draft, take) in enumerate(np.ndindex(n_drafts, n_takes)):
            line = [*range(take * n_before, (take + 1) * n_before), n_takes * n_before + i]
            harmony = max(self.beat(chroma[line]), self.bar(chroma[line]))
            novelty[draft, take] = max(harmony, far[i] / MORE_COLOUR, self.level(powers[line]))
        return novelty

    def _far(self, colours: np.ndarray) -> np.ndarray:
        """How far colours (N, n_bands) are from the nearest of the prompt: log10 of the level, mean of the bands."""
        return np.abs(colours[:, None] - self.colours).mean(axis=2).min(axis=1)


def _unit(chroma: np.ndarray) -> np.ndarray:
    """Rows of length one: (n, 12)."""
    return chroma / np.linalg.norm(chroma, axis=1, keepdims=True)


QUIET_DB = -30.0
"""Against the loop's power: a beat that is softer is as good as silent."""


class SilenceLimit:
    """Knows how loud the frames of each code were in the prompt; silence's are silent, and unseen ones as the loop is.

    `longest`: how many beats in a row the prompt, played round, is quiet; without end: a million.
    """

    def __init__(self, prompt: Prompt, code_features: CodeFeatures, codebook_size: int) -> None:
        power = _frame_powers(prompt)
        self.loop_power, self.book = float(power.mean()), code_features.book
        codes = prompt.codes[..., self.book].reshape(-1)
        self.powers = np.full(codebook_size, self.loop_power)
        seen, total = (np.bincount(codes, weights, codebook_size) for weights in (None, power))
        self.powers[seen > 0] = total[seen > 0] / seen[seen > 0]
        self.powers[code_features.silent] = 0.0
        self.longest = longest_run_of(self(prompt.codes))

    def __call__(self, beats: np.ndarray) -> np.ndarray:
        """Which of some beats (N, n_frames, n_codebooks) are quiet: bool (N,)."""
        return self.powers[beats[..., self.book]].mean(axis=1) < self.loop_power * 10.0 ** (QUIET_DB / 10.0)


def _frame_powers(prompt: Prompt) -> np.ndarray:
    """Mean square of the sound of every frame of the prompt's codes, float64 (model beats · frames,)."""
    samples = prompt.waveform.samples.astype(np.float64)
    n_frames = prompt.codes.shape[0] * prompt.codes.shape[1]
    first = len(samples) * (1.0 - len(prompt.codes) / prompt.n_model_beats)  # half a model beat may have no codes
    edges = np.linspace(first, len(samples), n_frames + 1).astype(np.int64)
    return np.add.reduceat(np.square(samples).mean(axis=1), edges[:-1]) / np.diff(edges)
