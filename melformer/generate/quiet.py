"""Which beats will hardly be heard, told from their codes before they are sounded."""

import numpy as np

from melformer.generate.ear import Ear
from melformer.generate.prompt import Prompt
from melformer.generate.repeats import longest_run_of

QUIET_DB = -30.0
"""Against the loop's power: a beat that is softer is as good as silent."""


class Quiet:
    """Knows how loud the frames of each code were in the prompt; silence's are silent, and unseen ones as the loop is.

    `longest`: how many beats in a row the prompt, played round, is quiet; without end: a million.
    """

    def __init__(self, prompt: Prompt, ear: Ear, codebook_size: int) -> None:
        power = _frame_powers(prompt)
        self.loop_power, self.book = float(power.mean()), ear.book
        codes = prompt.codes[..., self.book].reshape(-1)
        self.powers = np.full(codebook_size, self.loop_power)
        seen, total = (np.bincount(codes, weights, codebook_size) for weights in (None, power))
        self.powers[seen > 0] = total[seen > 0] / seen[seen > 0]
        self.powers[ear.silent] = 0.0
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
