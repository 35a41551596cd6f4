"""In the player's own sound: which of the prompt's beats each new frame can be copied from."""

import numpy as np

GENERATE = 0
"""The lag that stands for "nothing near: let the decoder speak"; a copied frame has a lag of one beat or more."""
GENERATE_COST = 1.2
SWITCH_COST = 0.6
"""Costs in units of the prompt's own variance between latents: how far a source may be, and what a change costs."""


class OwnSound:
    """Chooses sources along the cheapest path (Viterbi), beat after beat.

    A source is a lag in model beats: the new frame sounds as the prompt did that many beats ago, at the same place
    in the beat, with the same phase. Staying with a lag costs nothing, so a run of beats is copied as it was played.
    """

    def __init__(self, latents: np.ndarray) -> None:
        """`latents` (n_beats, n_frames, dim): the prompt's quantised latents."""
        self.latents = latents.astype(np.float32)
        spread = self.latents - self.latents.mean(axis=(0, 1))
        self.variance = max(float((spread**2).sum(axis=-1).mean()), 1e-6)
        self.last_lag = GENERATE

    def choose(self, new: np.ndarray, position: int, own_sound: float) -> np.ndarray:
        """Lags of one new beat: latents (n_frames, dim) of model beat `position` (counted from the prompt's first
        whole beat) → int64 (n_frames,), GENERATE where the decoder speaks. `own_sound` 0 copies nothing, 1 what fits.
        """
        n_beats = len(self.latents)
        if own_sound == 0.0:
            self.last_lag = GENERATE
            return np.full(len(new), GENERATE)
        lags = np.append(position - np.arange(n_beats), GENERATE)
        distance = ((self.latents - new) ** 2).sum(axis=-1).T / self.variance
        costs = np.concatenate([distance, np.full((len(new), 1), GENERATE_COST * own_sound)], axis=1)
        path = self._cheapest(costs, self._start_costs(lags))
        self.last_lag = int(lags[path[-1]])
        return lags[path]

    def _start_costs(self, lags: np.ndarray) -> np.ndarray:
        """Cost of each source for the first frame: none for going on with the last one.

        After the prompt's last beat, its first one follows as it does when the loop plays round.
        """
        n_beats = len(self.latents)
        goes_on = lags == self.last_lag
        if self.last_lag != GENERATE and not goes_on.any():
            goes_on = lags == self.last_lag + n_beats
        return np.where(goes_on, 0.0, SWITCH_COST)

    @staticmethod
    def _cheapest(costs: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The path of least cost through (n_frames, n_sources): int64 (n_frames,)."""
        total, came_from = costs[0] + start, []
        for frame in costs[1:]:
            best = int(total.argmin())
            switch = total[best] + SWITCH_COST
            came_from.append(np.where(total <= switch, np.arange(len(total)), best))
            total = np.minimum(total, switch) + frame
        path = [int(total.argmin())]
        for previous in reversed(came_from):
            path.append(int(previous[path[-1]]))
        return np.array(path[::-1])
