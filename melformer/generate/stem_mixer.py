"""Planned units as they are heard: stems at their levels, limited, and their sum."""

from collections.abc import Sequence

import numpy as np

from melformer.generate.loop_stems import LoopStems
from melformer.generate.planning.plan_options import Choices
from melformer.render.crossfade import crossfade
from melformer.render.limiter import limit

JOIN_S, LIMITER_S, RAMP_S = 0.030, 0.005, 0.010
LOUDER = 10 ** (2.5 / 10)
"""Power of a beat over that of the loop's loudest at which stems are turned down; 3 dB are the limit."""


class StemMixer:
    """Plays what a stream has planned. `choices` and `kept` are its lists, which grow: of every new unit what each stem
    plays, and which stems are kept."""

    def __init__(self, loop: LoopStems, choices: Sequence[Choices], kept: Sequence[tuple[bool, ...]]) -> None:
        self.loop, self.choices, self.kept = loop, choices, kept

    def sounds(self, start: int, stop: int) -> np.ndarray:
        """Samples of the stems as they are heard, counted from the first new one: float32 (3, stop - start, channels).

        Whatever stretch is asked for, its samples are the same.
        """
        reach = round(LIMITER_S * self.loop.prompt.waveform.sample_rate)
        low, high = max(0, start - 2 * reach), stop + 2 * reach
        sounds = self.loop.renderer.render(self.choices, low, high)
        for beat in range(self._beat_at(low), self._beat_at(stop - 1) + 1):
            self._turn_down(sounds, beat, self.loop.edges(beat)[0] - low)
        limited = limit(sounds, self._kept(self._beat_at(start)), self.loop.ceiling, reach)
        return np.ascontiguousarray(limited[:, start - low : start - low + stop - start])

    def mix(self, sounds: np.ndarray, start: int) -> np.ndarray:
        """The sum of stems (3, n, channels) from sample `start` on; where all come from one place of the prompt its own
        samples, which float32 does not always add up to."""
        total, n = sounds.sum(axis=0), sounds.shape[1]
        for own, place in self.loop.renderer.whole_stretches(self.choices, start, start + n):
            part = slice(place - start, place - start + len(own))
            if np.allclose(total[part], own, rtol=0.0, atol=1e-6):
                total[part] = own
        return np.ascontiguousarray(total)

    def _beat_at(self, sample: int) -> int:
        beat = max(0, int(sample / self.loop.grid.samples_per_beat) - 1)
        while self.loop.edges(beat)[1] <= sample:
            beat += 1
        return beat

    def _kept(self, beat: int) -> np.ndarray:
        """Which stems play the loop on in a beat: they are never turned down."""
        per_beat = self.loop.units_per_beat
        return np.any(self.kept[beat * per_beat : (beat + 1) * per_beat], axis=0)

    def _gain(self, beat: int) -> float:
        """What the stems of a beat that are not kept are turned down by, so that it is not much louder than the loop's
        loudest."""
        per_beat, kept = self.loop.units_per_beat, self._kept(beat)
        units = self.choices[beat * per_beat : (beat + 1) * per_beat]
        power = np.zeros(3)
        for unit in units:
            for k, choice in enumerate(unit):
                power[k] += 0.0 if choice.silent else self.loop.powers[choice.source, k] / per_beat
        most, fixed, free = LOUDER * self.loop.loudest, power[kept].sum(), power[~kept].sum()
        if fixed + free <= most or free <= 0.0 or _is_of_the_loop(units):
            return 1.0
        return float(np.sqrt(max(0.0, most - fixed) / free))

    def _turn_down(self, sounds: np.ndarray, beat: int, begin: int) -> None:
        """Apply a beat's gain, which is reached within 10 ms, to the sounds from `begin` on, in place."""
        before, after = self._gain(beat - 1) if beat else 1.0, self._gain(beat)
        if before == after == 1.0:
            return
        ramp = round(RAMP_S * self.loop.prompt.waveform.sample_rate)
        length = self.loop.edges(beat)[1] - self.loop.edges(beat)[0]
        gain = np.interp(np.arange(length), [0, ramp], [before, after]).astype(np.float32)
        low, high = max(0, begin), min(sounds.shape[1], begin + length)
        for k in np.flatnonzero(~self._kept(beat)):
            sounds[k, low:high] *= gain[low - begin : high - begin, None]

    @property
    def n_join(self) -> int:
        """Samples of the prompt that the join replaces."""
        return min(round(JOIN_S * self.loop.prompt.waveform.sample_rate), self.loop.prompt.waveform.n_samples // 2)

    def new_join(self) -> np.ndarray:
        """The prompt's last 30 ms fading into what precedes the first unit's sources."""
        before = self.loop.renderer.lead_in(self.choices, self.n_join)
        return crossfade(self.loop.prompt.waveform.samples[-self.n_join :], before)


def _is_of_the_loop(units: Sequence[Choices]) -> bool:
    """Whether a beat's stems all come from one place of the prompt, as they are."""
    sounding = [{choice for choice in unit if not choice.silent} for unit in units]
    whole = [[not choice.shift and choice.second is None for choice in unit] for unit in sounding]
    return all(len(unit) <= 1 and all(unit) for unit in whole)
