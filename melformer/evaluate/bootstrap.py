"""How sure a figure is: bootstrap over clips, which differ much more than seeds do (Efron and Tibshirani 1993)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.errors import RequestError

N_DRAWS = 300
LEVELS = (0.05, 0.95)


@dataclass(frozen=True)
class Interval:
    """A figure with its 5% and 95% points over clips drawn with replacement."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Draws:
    """A statistic of all clips (any shape), and of each draw of clips (n_draws, …)."""

    value: np.ndarray
    draws: np.ndarray

    def interval(self, index: tuple[int, ...] = ()) -> Interval:
        """The interval of one entry of the statistic; draws that are NaN are left out."""
        drawn = self.draws.T[index[::-1]] if index else self.draws
        known = drawn[~np.isnan(drawn)]
        low, high = np.quantile(known, LEVELS) if len(known) else (float("nan"), float("nan"))
        return Interval(float(self.value[index]), float(low), float(high))


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray | float], n_clips: int, n_draws: int = N_DRAWS, seed: int = 0
) -> Draws:
    """The statistic on draws of `n_clips` clips with replacement; it takes indices of clips, int (n_clips,).

    The same seed draws the same clips, and the entries of one statistic share their draws: the interval of a difference
    of two systems is that of a statistic that subtracts them. Errors: RequestError without clips or draws.

    >>> values = np.array([1.0, 1.0, 1.0])
    >>> bootstrap(lambda clips: values[clips].mean(), 3).interval()
    Interval(value=1.0, low=1.0, high=1.0)
    """
    if n_clips < 1 or n_draws < 1:
        raise RequestError(f"a bootstrap needs clips and draws, got {n_clips} and {n_draws}")
    rng = np.random.default_rng(seed)
    draws = [np.asarray(statistic(rng.integers(0, n_clips, n_clips)), np.float64) for _ in range(n_draws)]
    return Draws(np.asarray(statistic(np.arange(n_clips)), np.float64), np.stack(draws))


def mean_interval(values: Sequence[float], n_draws: int = N_DRAWS, seed: int = 0) -> Interval:
    """The mean over clips with its interval, NaN left out."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    return bootstrap(lambda clips: known[clips].mean(), len(known), n_draws, seed).interval()
