"""Where a recorded sound begins, so that it can stand on its beat to the sample."""

import numpy as np

from melformer.corpus.wavetable import Floats

EARLY_S, BEGINS = 0.05, 0.01
"""A sound begins where it first reaches a hundredth of the peak of its first 50 ms: 40 dB below its attack."""


def first_sample(sound: Floats, sample_rate: int) -> int:
    """Index of the sample at which a sound (n,) or (channels, n) begins; 0 for silence."""
    level, start = np.abs(np.atleast_2d(sound)).max(axis=0), 0
    while True:
        early = level[start : start + int(EARLY_S * sample_rate)]
        later = int(np.argmax(early > BEGINS * early.max())) if early.any() else 0
        if not later:
            return start
        start += later  # seen from there, the first 50 ms may be louder
