"""Which beats are the same to the ear, told from their codes."""

import numpy as np

N_COARSE, ALIKE = 2, 0.9
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
    again = [bool(same_beats(codes[i - 1][None], codes[i])[0]) for i in range(len(codes))]
    if all(again):
        return 10**6
    longest = run = 1
    for same in again * 2:
        run = run + 1 if same else 1
        longest = max(longest, run)
    return longest
