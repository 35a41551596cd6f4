"""What a choice costs beside its likelihood: the pointer learned from notes, which say nothing of cuts in a sound."""

import numpy as np
import torch
from torch import Tensor

from melformer.generate.generation_config import PHRASE_BARS
from melformer.transformer.pointer import N_SHIFTS, UNSHIFTED

CHANGE_NATS = 2.0
"""What a source costs that does not continue the one before, except on a bar line, which fewest notes ring over."""
LAG_NATS, LAG_SHARE = 4.0, 0.5
"""What a lag behind the loop costs, at its transposition, when a stem has had it for this share of what left the loop
in the last bars, and for a whole bar at least: the loop moved by a constant is a rule, not music."""
MEMORY_BARS = PHRASE_BARS
"""Over how many bars this is counted."""


def choice_costs(
    sources: np.ndarray, shifts: np.ndarray, n_planned: int, n: int, bar: int, is_to_leave: bool
) -> Tensor:  # fmt: skip
    """Nats of each source with each shift, and of silence, as the next unit of a stem: float32 (n · N_SHIFTS + 1,).

    `sources` and `shifts` (m,) are those of its last units, shifts counted from the lowest; the next is unit
    `n_planned` after a prompt of `n` units, which ended with a bar of `bar` units. Where a stem `is_to_leave` the loop
    but still plays it, changes are free.
    """
    costs = np.zeros(n * N_SHIFTS + 1, np.float32)
    onward, shift = (sources[-1] + 1) % n, shifts[-1]
    is_in_loop = onward == n_planned % n and shift == UNSHIFTED
    if n_planned % bar and not (is_in_loop and is_to_leave):
        costs[:-1] = CHANGE_NATS
        costs[onward * N_SHIFTS + shift] = 0.0
    lags, worn_shifts = _worn(sources[-MEMORY_BARS * bar :], shifts[-MEMORY_BARS * bar :], n_planned, n, bar)
    costs[(lags + n_planned) % n * N_SHIFTS + worn_shifts] += LAG_NATS
    return torch.from_numpy(costs)


def _worn(sources: np.ndarray, shifts: np.ndarray, n_planned: int, n: int, bar: int) -> tuple[np.ndarray, np.ndarray]:
    """Lags, and the shift of each, of which a stem has had its share."""
    units = n_planned + np.arange(-len(sources), 0)
    counts = np.bincount((sources - units) % n * N_SHIFTS + shifts, minlength=n * N_SHIFTS)
    counts[UNSHIFTED] = 0  # the loop played round
    return np.divmod(np.flatnonzero(counts >= max(bar, LAG_SHARE * (counts.sum() + 1))), N_SHIFTS)
