"""Stems that together are too loud, turned down: those that are kept stay as they are."""

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d


def limit(stems: np.ndarray, kept: np.ndarray, ceiling: float, reach: int) -> np.ndarray:
    """Stems float32 (3, n, channels) whose sum stays within ±`ceiling`.

    The gain of those that are not `kept`, bool (3,), falls and rises within `reach` samples around a peak; so that it
    is right, 2 · `reach` samples of what comes before and after belong to `stems`.
    """
    total = stems.sum(axis=0)
    sign = np.sign(total)
    over = sign * total > ceiling
    if kept.all() or not over.any():
        return stems
    fixed, free = (sign * stems[mask].sum(axis=0) for mask in (kept, ~kept))
    needed = np.where(over & (free > 0), (ceiling - fixed) / np.maximum(free, 1e-12), 1.0).clip(0.0, 1.0).min(axis=1)
    lowest = minimum_filter1d(needed, 2 * reach + 1, mode="nearest")
    gain = uniform_filter1d(lowest, 2 * reach + 1, mode="nearest").astype(np.float32)
    return np.where(kept[:, None, None], stems, stems * gain[:, None])
