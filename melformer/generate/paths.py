"""The cheapest way through costs where every change has its price (Viterbi)."""

import numpy as np


def cheapest_path(costs: np.ndarray, start: np.ndarray, switch: float) -> np.ndarray:
    """Paths of least cost, one for each of the axes between: (n_frames, …, n_sources) → int64 (n_frames, …).

    `start` (…, n_sources) is added to the first frame; any change from one frame to the next costs `switch`.
    """
    total, came_from = costs[0] + start, []
    stay = np.broadcast_to(np.arange(costs.shape[-1]), total.shape)
    for frame in costs[1:]:
        best = total.argmin(axis=-1)[..., None]
        switched = np.take_along_axis(total, best, axis=-1) + switch
        came_from.append(np.where(total <= switched, stay, best))
        total = np.minimum(total, switched) + frame
    path = [total.argmin(axis=-1)]
    for previous in reversed(came_from):
        path.append(np.take_along_axis(previous, path[-1][..., None], axis=-1)[..., 0])
    return np.array(path[::-1])
