"""How sure a figure is: bootstrap over clips, which differ much more than seeds do (Efron and Tibshirani 1993)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.errors import RequestError

N_DRAWS = 500
LEVELS = (0.05, 0.95)


@dataclass(frozen=True)
class Interval:
    """A figure with its 5% and 95% points over clips drawn with replacement."""

    value: float
    low: float
    high: float


def interval(statistic: Callable[[np.ndarray], float], n_clips: int, n_draws: int = N_DRAWS, seed: int = 0) -> Interval:
    """The statistic of all clips and its interval; `statistic` takes indices of clips, int (n_clips,).

    The same seed draws the same clips, so two systems' intervals rest on the same samples; for their difference give a
    statistic that subtracts them (a paired bootstrap). NaN draws are left out. Errors: RequestError without clips.

    >>> values = np.array([1.0, 1.0, 1.0])
    >>> interval(lambda clips: float(values[clips].mean()), 3)
    Interval(value=1.0, low=1.0, high=1.0)
    """
    if n_clips < 1 or n_draws < 1:
        raise RequestError(f"a bootstrap needs clips and draws, got {n_clips} and {n_draws}")
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(rng.integers(0, n_clips, n_clips)) for _ in range(n_draws)])
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, LEVELS) if len(known) else (float("nan"), float("nan"))
    return Interval(statistic(np.arange(n_clips)), float(low), float(high))


def mean_interval(values: Sequence[float], n_draws: int = N_DRAWS, seed: int = 0) -> Interval:
    """The mean over clips with its interval, NaN left out."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    return interval(lambda clips: float(known[clips].mean()), len(known), n_draws, seed)
