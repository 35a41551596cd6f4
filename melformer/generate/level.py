"""How loud a loop is and may become, told from codes before they are sounded."""

import numpy as np

MOST_BEATS = 16
SOFTER_DB, LOUDER_DB = 3.0, 1.0
"""At the default variation: how much softer than the prompt's softest stretch the last beats may be together, and how
much louder than its loudest half as long."""
_SILENCE = 1e-12


class Level:
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
