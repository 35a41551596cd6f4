"""Planned units as sound: stretches of the player's own stems, joined without a click."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform
from melformer.render.crossfade import crossfade
from melformer.render.pitch import pitch_shift
from melformer.stems.stems import Stems
from melformer.stems.units import UnitChoice, unit_edges

JOIN_S = 0.010


class StemRenderer:
    """Renders units that a planner has chosen for one prompt; what it knows of the prompt never changes.

    Between two units of which one follows the other in the prompt, samples run on; elsewhere the old source fades into
    the new one in the 10 ms before the border, so that attacks on the border stay whole. Where all stems come from one
    place of the prompt, unshifted, they are the prompt's own samples.
    """

    def __init__(self, waveform: Waveform, stems: Stems, grid: BeatGrid, n_units: int) -> None:
        self.waveform, self.grid, self.n_units = waveform, grid, n_units
        self.edges = unit_edges(n_units, grid)
        self.edges[-1] = waveform.n_samples
        self.fade = round(JOIN_S * waveform.sample_rate)
        self.tapes = [stem.samples for stem in stems]
        self.rough = _is_rough(waveform.samples, round(0.003 * waveform.sample_rate))
        self.begins: list[list[int]] = [[] for _ in self.tapes]  # of each stem's units, as far as they were needed
        self.shifted = lru_cache(maxsize=32)(self._shifted)

    def _shifted(self, stem: int, shift: int) -> np.ndarray:
        return pitch_shift(self.tapes[stem], shift, self.waveform.sample_rate)

    def edge(self, unit: int) -> int:
        """The sample at which new unit `unit` begins, counted from the first new one."""
        per_unit = self.grid.samples_per_model_beat / 2
        return round(per_unit * (self.n_units + unit)) - int(self.edges[-1])

    def render(self, choices: Sequence[tuple[UnitChoice, ...]], start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` of the stems, counted from the first new one: float32 (3, stop - start, channels).

        `choices` are those of all units from the first new one on, and of the one after `stop`, since the join before
        a unit sounds in the unit before it. The sum of the stems is the mix.
        """
        out = np.zeros((len(self.tapes), stop - start, self.waveform.n_channels), np.float32)
        first = next(u for u in range(len(choices)) if self.edge(u + 1) > start)
        for k in range(len(self.tapes)):
            unit = first
            while self.edge(unit) < stop:
                sound = self._unit(k, choices, unit)
                low, high = max(start, self.edge(unit)), min(stop, self.edge(unit + 1))
                out[k, low - start : high - start] = sound[low - self.edge(unit) : high - self.edge(unit)]
                unit += 1
        return out

    def _unit(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int) -> np.ndarray:
        """One unit of a stem, its end leading over into the next one."""
        low, high = self.edge(unit), self.edge(unit + 1)
        sound = self._stretch(k, choices, unit, low, high)
        if not self._runs_on(k, choices, unit + 1):
            fade = min(self.fade, high - low)
            before = self._before(k, choices, unit + 1, fade)
            sound = np.concatenate([sound[:-fade], crossfade(sound[-fade:], before)])
        return sound

    def lead_in(self, choices: Sequence[tuple[UnitChoice, ...]], n: int) -> np.ndarray:
        """What the first unit's sources sound like in the `n` samples before it, all stems: float32 (n, channels)."""
        total = np.zeros((n, self.waveform.n_channels), np.float32)
        for k in range(len(self.tapes)):
            total += self._before(k, choices, 0, n)
        return total

    def _runs_on(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int) -> bool:
        """Whether the stem goes on from unit − 1 to `unit` as in the prompt."""
        now = choices[unit][k]
        before = choices[unit - 1][k] if unit else UnitChoice(self.n_units - 1)
        if now.silent or before.silent:
            return now.silent and before.silent
        follows = now.source == (before.source + 1) % self.n_units and now.shift == before.shift
        return follows and not (now.source == 0 and self.rough)

    def _stretch(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int, low: int, high: int) -> np.ndarray:
        choice = choices[unit][k]
        if choice.silent:
            return np.zeros((high - low, self.waveform.n_channels), np.float32)
        begin = self._begin(k, choices, unit)
        return self._read(k, choice.shift, begin, begin + high - low)

    def _begin(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int) -> int:
        """The sample of the prompt that a unit begins with: its source's first, or the next one of a run.

        Within a run the lag stays the same, since units differ by a sample in length; at the loop's beginning it starts
        anew, so that nothing drifts.
        """
        known = self.begins[k]
        while len(known) <= unit:
            u = len(known)
            source = choices[u][k].source
            goes_on = u > 0 and source > 0 and self._runs_on(k, choices, u) and not choices[u][k].silent
            known.append(known[-1] + self.edge(u) - self.edge(u - 1) if goes_on else int(self.edges[source]))
        return known[unit]

    def _before(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int, fade: int) -> np.ndarray:
        """What the source of `unit` sounds like in the moment before it."""
        choice = choices[unit][k]
        if choice.silent:
            return np.zeros((fade, self.waveform.n_channels), np.float32)
        begin = self._begin(k, choices, unit)
        if choice.source == 0 and self.rough:  # before the loop's beginning stands its beginning, turned round
            tape = self._tape(k, choice.shift)
            return 2.0 * tape[:1] - tape[1 : fade + 1][::-1]
        return self._read(k, choice.shift, begin - fade, begin)

    def _tape(self, k: int, shift: int) -> np.ndarray:
        return self.shifted(k, shift) if shift else self.tapes[k]

    def _read(self, k: int, shift: int, start: int, stop: int) -> np.ndarray:
        tape = self._tape(k, shift)
        return tape[np.arange(start, stop) % len(tape)]


def _is_rough(samples: np.ndarray, reach: int) -> bool:
    """Whether the loop clicks when played round: its seam jumps further than samples near it do."""
    mono = samples.mean(axis=1)
    around = np.abs(np.diff(np.concatenate([mono[-reach:], mono[:reach]])))
    seam = around[reach - 1]
    return bool(seam > 4.0 * np.percentile(around, 90) + 1e-4)
