"""In the player's own sound: which of the prompt's beats each new frame, and each band of it, is copied from."""

from dataclasses import dataclass

import numpy as np
import torch

from melformer.codec.source_scorer import RECENT_BEATS, SourceScorer


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


GENERATE = 0
"""The lag that stands for "nothing near: let the decoder speak"; a copied frame has a lag of one beat or more."""
FOLLOW = -1
"""In a band: the source is that of the whole frame."""
WHOLE = -2
"""In all bands of a beat: it is a prompt beat again, and no other sound may reach into it."""
SWITCH_COST, BAND_SWITCH_COST, LEAVE_COST = 0.05, 0.05, 0.05
"""In log10 of the level: a change of the frame's source, of a band's, and each frame of a band apart."""
DECODER_FACTOR, TONE_PRICE = 0.8, 0.1
"""What the decoder's distance is multiplied by, to be compared with a copy's, and what a copy costs for tones that are
not those of the new codes: the decoder speaks where both are nearly as far, and rather than another chord
(docs/decisions/)."""


@dataclass(frozen=True)
class MatcherState:
    """What a chooser keeps from beat to beat: the last frame's lag, its bands' lags (n_bands,), and the last beats'
    distances (n ≤ 4, P) to every prompt beat."""

    lag: int
    bands: np.ndarray
    recent: np.ndarray


class SourceMatcher:
    """Chooses sources along the cheapest path (Viterbi), beat after beat.

    A source is a lag in model beats: the new frame sounds as the prompt did that many beats ago, at the same place
    in the beat, with the same phase. Staying with a lag costs nothing, so a run of beats is copied as it was played.
    A beat whose codes all equal those of a prompt beat is that beat.
    """

    def __init__(self, latents: np.ndarray, codes: np.ndarray, scorer: SourceScorer, heard: np.ndarray) -> None:
        """The prompt's quantised latents (P, F, dim), codes (P, F, n_codebooks), and levels (P, F, n_bands)."""
        self.n_beats, self.codes, self.scorer = len(latents), codes, scorer
        parts = (latents.astype(np.float32), codes, heard)
        self.recorded = scorer.record(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))

    def begin(self) -> MatcherState:
        """The state before the first beat."""
        return MatcherState(GENERATE, np.full(self.n_bands, FOLLOW), np.zeros((0, self.n_beats), np.float32))

    @property
    def n_bands(self) -> int:
        """Bands that may have a source of their own."""
        return self.scorer.n_bands

    def choose(
        self, latents: np.ndarray, codes: np.ndarray, position: int, own_sound: float, before: MatcherState
    ) -> tuple[np.ndarray, np.ndarray, MatcherState]:
        """Lags of one new beat: latents (F, dim), codes (F, n_codebooks) of model beat `position` (counted from the
        prompt's first whole beat) → int64 (F,), GENERATE where the decoder speaks, and (F, n_bands), FOLLOW or WHOLE
        where a band has no source of its own, and the state after it. `own_sound` 0 copies nothing, 1 what fits.
        """
        lags = np.append(position - np.arange(self.n_beats), GENERATE)
        bands = np.full((len(latents), self.n_bands), FOLLOW)
        path = np.full(len(latents), self.n_beats)
        same = (self.codes == codes).all(axis=(1, 2))
        if own_sound > 0.0 and same.any():
            bands[:] = WHOLE
        if own_sound > 0.0 and same.sum() == 1:  # nothing to choose
            path[:] = np.flatnonzero(same)[0]
        elif own_sound > 0.0:
            costs = self._costs(latents, codes, position, own_sound, before.recent)
            frame = costs.mean(axis=1)
            if same.any():
                frame = np.where(np.append(same, False), frame, np.inf)
            start = np.where(self._goes_on(lags, before.lag), 0.0, SWITCH_COST)
            path = cheapest_path(frame, start, SWITCH_COST)
            if not same.any():
                bands = self._choose_bands(costs, path, lags, before.bands)
        return lags[path], bands, MatcherState(int(lags[path[-1]]), bands[-1], self._recent(latents, before.recent))

    @torch.inference_mode()
    def _recent(self, latents: np.ndarray, recent: np.ndarray) -> np.ndarray:
        """The last beats' distances to the prompt's, this one's among them: (n ≤ 4, P)."""
        distances = self.scorer.distances(self.recorded, torch.from_numpy(latents)).mean(dim=0)
        return np.concatenate([recent, distances[None].numpy()])[-RECENT_BEATS:]

    @torch.inference_mode()
    def _costs(
        self, latents: np.ndarray, codes: np.ndarray, position: int, own_sound: float, recent: np.ndarray
    ) -> np.ndarray:
        """(F, n_bands, P + 1) of expected distances."""
        copy, decoder, tones = self.scorer(
            self.recorded, torch.from_numpy(latents), torch.from_numpy(codes), position,
            torch.from_numpy(recent),
        )  # fmt: skip
        price = (decoder.clamp_min(0.0) * (DECODER_FACTOR * own_sound))[..., None]
        return torch.cat([(copy + TONE_PRICE * tones).transpose(1, 2), price], dim=2).numpy()

    def _choose_bands(self, costs: np.ndarray, path: np.ndarray, lags: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Each band's own path through (F, n_bands, P + 1), where leaving the frame's is worth it: (F, n_bands)."""
        followed = np.take_along_axis(costs, path[:, None, None], axis=2)
        states = np.concatenate([costs + LEAVE_COST, followed], axis=2)
        start = np.full(states.shape[1:], BAND_SWITCH_COST)
        start[before < 0, -1] = 0.0
        for band in np.flatnonzero(before >= 0):
            start[band, :-1][self._goes_on(lags, int(before[band]))] = 0.0
        paths = cheapest_path(states, start, BAND_SWITCH_COST)
        return np.append(lags, FOLLOW)[paths]

    def _goes_on(self, lags: np.ndarray, last: int) -> np.ndarray:
        """Which source goes on with the last frame's: bool like `lags`.

        After the prompt's last beat, its first one follows as it does when the loop plays round.
        """
        goes_on = lags == last
        if last != GENERATE and not goes_on.any():
            goes_on = lags == last + self.n_beats
        return goes_on
