"""A loop heard as stems: what all of its continuations share."""

import zlib

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.generate.planning.planner import Planner
from melformer.generate.prompt import Prompt
from melformer.render.stem_renderer import StemRenderer
from melformer.stems.stems import STEMS, Stems
from melformer.stems.units import UNITS_PER_BEAT, unit_pictures
from melformer.transformer.pointer import Pointer


class LoopStems:
    """A prompt and its stems, ready to be continued any number of times: what all takes of it share."""

    def __init__(self, prompt: Prompt, stems: Stems) -> None:
        self.prompt, self.stems = prompt, stems
        self.grid = BeatGrid(prompt.bpm, prompt.waveform.sample_rate)
        self.units_per_beat = int(UNITS_PER_BEAT * prompt.model_beats_per_beat)
        self.n_units = prompt.n_units
        self.bar = max(1, prompt.beats_per_bar * self.units_per_beat)
        self.present = tuple(name in stems.present for name in STEMS)
        mono = np.stack([stem.samples.mean(axis=1) for stem in stems])
        self.pictures = unit_pictures(mono, self.grid, self.n_units)
        self.renderer = StemRenderer(prompt.waveform, stems, self.grid, self.n_units)
        self.fingerprint = zlib.crc32(np.rint(prompt.waveform.samples * 2**15).astype("<i4").tobytes())
        edges = self.grid.edges(prompt.n_beats)
        self.loudest = max(_power(prompt.waveform.samples[a:b]) for a, b in zip(edges[:-1], edges[1:]))
        units = self.renderer.edges
        self.powers = np.array([[_power(s.samples[a:b]) for s in stems] for a, b in zip(units[:-1], units[1:])])
        peak = float(np.abs(prompt.waveform.samples).max(initial=0.0))
        self._behind: Planner | None = None
        self.ceiling = max(peak, min(1.0, 10 ** (3 / 20) * peak))

    def planner(self, pointer: Pointer, seed: int) -> Planner:
        """One that begins behind the loop, which is read once for all."""
        if self._behind is None or self._behind.pointer is not pointer:
            self._behind = Planner(pointer, self.pictures, self.prompt.model_bpm, self.bar, self.present, seed)
        return self._behind.fork(seed)

    def edges(self, beat: int) -> tuple[int, int]:
        """First and last sample of new beat `beat`, counted from the first new one."""
        edges = self.grid.edges(self.prompt.n_beats + beat + 1)
        end = self.prompt.waveform.n_samples
        return int(edges[-2]) - end, int(edges[-1]) - end


def _power(samples: np.ndarray) -> float:
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
