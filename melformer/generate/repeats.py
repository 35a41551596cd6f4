"""Which beats are the same to the ear, told from their codes."""

from collections.abc import Sequence

import numpy as np

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
