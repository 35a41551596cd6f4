"""Planned units as sound: stretches of the player's own stems, joined without a click."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.waveform import Waveform
from melformer.render.crossfade import crossfade
from melformer.render.pitch import pitch_shift
from melformer.stems.stems import Stems
from melformer.stems.units import UNITS_PER_BEAT, UnitChoice, unit_edges

JOIN_S = 0.010
HALF = Fraction(1, 2)
SHIFTED_S, MARGIN_S = 1.0, 0.1
"""Stems are transposed in blocks of about a second, each with so much of its neighbours as the vocoder hears."""


class StemRenderer:
    """Renders units that a planner has chosen for one prompt; what it knows of the prompt never changes.

    Between two units of which one follows the other in the prompt, samples run on; elsewhere the old source fades into
    the new one in the 10 ms before the border, so that attacks on the border stay whole. Where all stems come from one
    place of the prompt, unshifted, they are the prompt's own samples.
    """

    def __init__(self, waveform: Waveform, stems: Stems, grid: BeatGrid, n_units: int) -> None:
        self.waveform, self.grid, self.n_units = waveform, grid, n_units
        self.per_unit = grid.samples_per_model_beat / UNITS_PER_BEAT
        self.edges = unit_edges(n_units, grid)
        self.edges[-1] = waveform.n_samples
        self.fade = round(JOIN_S * waveform.sample_rate)
        self.tapes = [stem.samples for stem in stems]
        self.sounding = [k for k, tape in enumerate(self.tapes) if tape.any()]
        reach = round(0.003 * waveform.sample_rate)
        self.rough, self.rough_stems = _is_rough(waveform.samples, reach), [_is_rough(t, reach) for t in self.tapes]
        n_blocks = max(1, round(waveform.duration_s / SHIFTED_S))
        self.blocks = np.arange(n_blocks + 1) * waveform.n_samples // n_blocks
        self.shifted = lru_cache(maxsize=64)(self._shifted)
        self.edge = lru_cache(maxsize=256)(self._edge)

    def _shifted(self, stem: int, shift: int, block: int) -> np.ndarray:
        """A block of a transposed stem, and the join before it: only what is played is ever transposed."""
        start, stop = int(self.blocks[block]) - self.fade, int(self.blocks[block + 1])
        margin = round(MARGIN_S * self.waveform.sample_rate)
        tape = self.tapes[stem]
        if stop - start + 2 * margin >= len(tape):
            return played_round(pitch_shift(tape, shift, self.waveform.sample_rate), start, stop)
        piece = played_round(tape, start - margin, stop + margin)
        return pitch_shift(piece, shift, self.waveform.sample_rate)[margin:-margin]

    def _edge(self, unit: int) -> int:
        """The sample at which new unit `unit` begins, counted from the first new one."""
        return round(self.per_unit * (self.n_units + unit)) - int(self.edges[-1])

    def render(self, choices: Sequence[tuple[UnitChoice, ...]], start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop` of the stems, counted from the first new one: float32 (3, stop - start, channels).

        `choices` are those of all units from the first new one on, and of the one after `stop`, since the join before
        a unit sounds in the unit before it. The sum of the stems is the mix.
        """
        out = np.zeros((len(self.tapes), stop - start, self.waveform.n_channels), np.float32)
        first = self._unit_at(start)
        for k in range(len(self.tapes)):
            unit = first
            while self.edge(unit) < stop:
                sound = self._unit(k, choices, unit)
                low, high = max(start, self.edge(unit)), min(stop, self.edge(unit + 1))
                out[k, low - start : high - start] = sound[low - self.edge(unit) : high - self.edge(unit)]
                unit += 1
        return out

    def _unit_at(self, sample: int) -> int:
        unit = max(0, int(sample / self.per_unit) - 1)
        while self.edge(unit + 1) <= sample:
            unit += 1
        return unit

    def whole_stretches(
        self, choices: Sequence[tuple[UnitChoice, ...]], start: int, stop: int
    ) -> Iterator[tuple[np.ndarray, int]]:
        """The prompt's samples (n, channels) of each unit whose stems, those that the prompt has, all come from one
        place, as they are, without the joins around it; and where they stand, between `start` and `stop`."""
        for unit in range(self._unit_at(start), len(choices) - 1):
            low, high = self.edge(unit), self.edge(unit + 1)
            if low >= stop:
                return
            played = {choices[unit][k] for k in self.sounding}
            if len(played) != 1:
                continue
            (choice,) = played
            if choice.silent or choice.shift:
                continue
            if not all(self._runs_on(k, choices, unit + 1) for k in self.sounding):
                high -= min(self.fade, high - low)
            first = self._begin(choice.source, unit) + max(start - low, 0)
            n = min(high, stop) - max(low, start)
            if n > 0:
                yield played_round(self.waveform.samples, first, first + n), max(low, start)

    def _unit(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int) -> np.ndarray:
        """One unit of a stem, its end leading over into the next one."""
        low, high = self.edge(unit), self.edge(unit + 1)
        sound = self._stretch(k, choices[unit][k], unit, low, high)
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
        follows = 2 * now.source == (before.halves[1] + 1) % (2 * self.n_units) and now.shift == before.shift
        return follows and not (now.source == 0 and self.rough)

    def _stretch(self, k: int, choice: UnitChoice, unit: int, low: int, high: int) -> np.ndarray:
        """One unit of a stem as it was chosen, `high` − `low` samples, without the joins around it."""
        if choice.silent:
            return np.zeros((high - low, self.waveform.n_channels), np.float32)
        begin = self._begin(choice.source, unit)
        sound = self._read(k, choice.shift, begin, begin + high - low)
        if choice.second is None:
            return sound
        middle = round(self.per_unit * (self.n_units + unit + HALF)) - int(self.edges[-1])
        lag = round(self.per_unit * (self.n_units + unit + HALF - HALF * choice.second)) - int(self.edges[-1])
        second, fade = middle - lag, min(self.fade, middle - low)
        before = self._read(k, choice.shift, second - fade, second)
        joined = crossfade(sound[middle - low - fade : middle - low], before)
        return np.concatenate(
            [sound[: middle - low - fade], joined, self._read(k, choice.shift, second, second + high - middle)]
        )

    def _begin(self, source: int, unit: int) -> int:
        """The sample of the prompt that new unit `unit` begins with, where it plays unit `source`.

        Where units follow each other as in the prompt the lag stays the same, though units differ by a sample in
        length; the loop's first unit begins with its first sample, so that nothing drifts.
        """
        return self.edge(unit) + int(self.edges[-1]) - round(self.per_unit * (self.n_units + unit - source))

    def _before(self, k: int, choices: Sequence[tuple[UnitChoice, ...]], unit: int, fade: int) -> np.ndarray:
        """What the source of `unit` sounds like in the moment before it."""
        choice = choices[unit][k]
        if choice.silent:
            return np.zeros((fade, self.waveform.n_channels), np.float32)
        begin = self._begin(choice.source, unit)
        if choice.source == 0 and self.rough_stems[k]:  # before the loop's beginning stands its beginning, turned round
            head = self._read(k, choice.shift, 0, fade + 1)
            return 2.0 * head[:1] - head[1:][::-1]
        return self._read(k, choice.shift, begin - fade, begin)

    def _read(self, k: int, shift: int, start: int, stop: int) -> np.ndarray:
        """Samples of a stem, or of its transposition, played round."""
        n = len(self.tapes[k])
        if not shift:
            return played_round(self.tapes[k], start, stop)
        parts = []
        while start < stop:
            block = int(np.searchsorted(self.blocks, start % n, side="right")) - 1
            low, high = int(self.blocks[block]), int(self.blocks[block + 1])
            first = start % n - low
            last = min(first + stop - start, high - low)
            parts.append(self._block(k, shift, block, last)[first:last])
            start += last - first
        return np.concatenate(parts)

    def _block(self, k: int, shift: int, block: int, last: int) -> np.ndarray:
        """One block of a transposed stem, of which `last` samples are wanted; its end fades into the next one, whose
        phases differ."""
        sound = self.shifted(k, shift, block)[self.fade :]
        if last > len(sound) - self.fade:
            before = self.shifted(k, shift, (block + 1) % (len(self.blocks) - 1))[: self.fade]
            sound = np.concatenate([sound[: -self.fade], crossfade(sound[-self.fade :], before)])
        return sound


def played_round(tape: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples `start` to `stop` of a tape (n, channels) that is played round and round; a view where they are whole."""
    n = len(tape)
    begin, count = start % n, stop - start
    if begin + count <= n:
        return tape[begin : begin + count]
    return tape[np.arange(begin, begin + count) % n]


def _is_rough(samples: np.ndarray, reach: int) -> bool:
    """Whether the loop clicks when played round: its seam jumps further than samples near it do."""
    mono = samples.mean(axis=1)
    around = np.abs(np.diff(np.concatenate([mono[-reach:], mono[:reach]])))
    seam = around[reach - 1]
    return bool(seam > 4.0 * np.percentile(around, 90) + 1e-4)
