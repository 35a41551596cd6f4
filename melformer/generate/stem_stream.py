"""A loop continued stem by stem: the pointer plans half beats, the renderer plays them from the loop's own stems."""

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from melformer.audio.grid import BeatGrid
from melformer.audio.io import Waveform, exact_encoding, write_waveform
from melformer.errors import RequestError
from melformer.generate.planner import Planner, PlanOptions
from melformer.generate.prompt import Prompt
from melformer.render.crossfade import crossfade
from melformer.render.stem_renderer import StemRenderer
from melformer.stems import STEMS, Stems
from melformer.stems.units import UNITS_PER_BEAT, UnitChoice, unit_pictures
from melformer.transformer.pointer import Pointer

JOIN_S = 0.030
_SHARES = 7  # keeps these draws apart from those of units


@dataclass(frozen=True)
class StemConfig:
    """What is asked of a continuation in stems.

    `variation` 0..1 is the share of a stem's half beats that leave the loop, `density` 0..1 how much of the silence
    that the music would have it keeps away (1: none is added); `keep` names stems that play the loop on, `mute` those
    that are silent; `temperature` 0..2, 1 being the pointer's own distribution.
    Errors: RequestError for a value out of range or an unknown stem.
    """

    variation: float = 0.5
    density: float = 0.97
    keep: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    temperature: float = 1.0
    min_p: float = 0.03

    def __post_init__(self) -> None:
        for name, high in (("variation", 1.0), ("density", 1.0), ("temperature", 2.0), ("min_p", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= high:
                raise RequestError(f"{name} is {value!r}; it must be a number from 0 to {high:g}.")
        for stem in (*self.keep, *self.mute):
            if stem not in STEMS:
                raise RequestError(f"There is no stem {stem!r}; stems are {', '.join(STEMS)}.")

    def of_bar(self, seed: int, bar: int, loop: int = 0) -> PlanOptions:
        """What is asked of one bar of what follows a `loop` (a number that tells loops apart).

        Bars differ, as people's do: most keep the loop or leave it whole. The share of a bar is drawn from a beta
        distribution whose mean is the share that is asked for.
        """
        rng = np.random.default_rng([seed, bar, loop, _SHARES])
        shares = [_share(rng, self.variation) for _ in STEMS]
        silences = [_share(rng, 1.0 - self.density) for _ in STEMS]
        keep, mute = (tuple(name in names for name in STEMS) for names in (self.keep, self.mute))
        return PlanOptions(tuple(shares), tuple(silences), keep, mute, self.temperature, self.min_p)  # type: ignore[arg-type]


def _share(rng: np.random.Generator, mean: float) -> float:
    drawn = rng.beta(max(mean, 1e-3), max(1.0 - mean, 1e-3))
    return float(np.rint(8 * drawn) / 8) if 0.0 < mean < 1.0 else mean


@dataclass(frozen=True)
class StemBeat:
    """One new beat: its number, its stems (3, samples, channels) and their sum at the loop's rate, the choices of its
    half model beats, each of drums, bass and other, and the seconds it took."""

    index: int
    waveform: Waveform
    stems: np.ndarray
    sources: tuple[tuple[UnitChoice, ...], ...]
    compute_s: float


class StemStream(Iterator[StemBeat]):
    """New beats one at a time, endless if `n_beats` is None. The same seed gives the same beats; `config` may be
    replaced between two of them, and is heard from the next bar on.

    `join` float32 (n, channels) is there once beat 0 is: it replaces the prompt's last 30 ms.
    """

    def __init__(
        self, pointer: Pointer, prompt: Prompt, stems: Stems, config: StemConfig, n_beats: int | None, seed: int
    ) -> None:
        self.prompt, self.stems, self.config, self.n_beats, self.seed = prompt, stems, config, n_beats, seed
        grid = BeatGrid(prompt.bpm, prompt.waveform.sample_rate)
        self.units_per_beat = UNITS_PER_BEAT * prompt.model_beats_per_beat
        n_units = int(prompt.n_beats * self.units_per_beat)
        mono = np.stack([stem.samples.mean(axis=1) for stem in stems])
        self.bar = max(1, round(prompt.beats_per_bar * self.units_per_beat))
        present = tuple(name in stems.present for name in STEMS)
        pictures = unit_pictures(mono, grid, n_units)
        self.planner = Planner(pointer, pictures, prompt.model_bpm, self.bar, present, seed)
        self.renderer = StemRenderer(prompt.waveform, stems, grid, n_units)
        self.grid = grid
        self.fingerprint = zlib.crc32(np.rint(prompt.waveform.samples * 2**15).astype("<i4").tobytes())
        self.choices: list[tuple[UnitChoice, ...]] = []
        self.index = 0
        self.join: np.ndarray | None = None
        self.asked: dict[int, PlanOptions] = {}

    def __next__(self) -> StemBeat:
        if self.n_beats is not None and self.index >= self.n_beats:
            raise StopIteration
        begun = time.perf_counter()
        first, last = (int(i * self.units_per_beat) for i in (self.index, self.index + 1))
        while len(self.choices) < last + 1:  # the join before a unit sounds in the unit before
            self.choices.append(self.planner.next_unit(self._options(len(self.choices))))
        start, stop = self._edges()
        sounds = self.renderer.render(self.choices, start, stop)
        if self.index == 0:
            self.join = self._join()
        rate = self.prompt.waveform.sample_rate
        waveform = Waveform(np.ascontiguousarray(sounds.sum(axis=0)), rate)
        chosen = tuple(self.choices[first:last])
        self.index += 1
        return StemBeat(self.index - 1, waveform, sounds, chosen, time.perf_counter() - begun)

    def _options(self, unit: int) -> PlanOptions:
        bar = unit // self.bar
        if bar not in self.asked:
            self.asked = {bar: self.config.of_bar(self.seed, bar, self.fingerprint)}
        return self.asked[bar]

    def _edges(self) -> tuple[int, int]:
        """First and last sample of the next beat, counted from the first new one."""
        edges = self.grid.edges(self.prompt.n_beats + self.index + 1)
        end = self.prompt.waveform.n_samples
        return int(edges[-2]) - end, int(edges[-1]) - end

    def _join(self) -> np.ndarray:
        """The prompt's last 30 ms fading into what precedes the first unit's sources."""
        n = min(round(JOIN_S * self.prompt.waveform.sample_rate), self.prompt.waveform.n_samples // 2)
        return crossfade(self.prompt.waveform.samples[-n:], self.renderer.lead_in(self.choices, n))


@dataclass(frozen=True)
class StemContinuation:
    """A finished continuation in stems: `waveform` is prompt, join and new part; `new` and `stems` the new part and its
    stems, which add up to it; `sources` the choices of every half model beat, each of drums, bass and other."""

    prompt: Prompt
    waveform: Waveform
    new: Waveform
    stems: Stems
    sources: list[tuple[UnitChoice, ...]]
    seed: int
    config: StemConfig
    n_beats: int
    compute_s: float = 0.0

    def save(self, path: str | Path, *, only_new: bool = False, replace: bool = True) -> Path:
        """Write it as `.wav` or `.flac`, the prompt's samples bit for bit and the BPM in the file; the path.

        `only_new` leaves the prompt out. Errors: AudioError for another suffix, OSError on a full disk; FileExistsError
        without `replace` for a name that is taken.
        """
        path = Path(path)
        encoding = exact_encoding(self.prompt.waveform.samples, path.suffix.lower())
        part = self.new if only_new else self.waveform
        write_waveform(path, part, bpm=self.prompt.bpm, encoding=encoding, replace=replace)
        return path

    def facts(self) -> list[dict[str, dict[str, int | None]]]:
        """Where every half model beat comes from, ready for JSON: for each stem the half beat of the prompt, counted
        from 0 (None: silent), and its transposition in semitones."""
        return [
            {
                name: {"source": None if choice.silent else choice.source, "semitones": choice.shift}
                for name, choice in zip(STEMS, unit)
            }
            for unit in self.sources
        ]


def assemble(stream: StemStream, beats: list[StemBeat]) -> StemContinuation:
    """All beats of a stream that has come to its end, and the prompt before them."""
    prompt, rate = stream.prompt, stream.prompt.waveform.sample_rate
    assert stream.join is not None
    head = prompt.waveform.samples.copy()
    head[len(head) - len(stream.join) :] = stream.join
    sounds = np.concatenate([beat.stems for beat in beats], axis=1)
    new = Waveform(np.concatenate([beat.waveform.samples for beat in beats]), rate)
    stems = Stems(*(Waveform(np.ascontiguousarray(sound), rate) for sound in sounds))
    whole = Waveform(np.concatenate([head, new.samples]), rate)
    sources = [choice for beat in beats for choice in beat.sources]
    return StemContinuation(
        prompt, whole, new, stems, sources, stream.seed, stream.config, len(beats), sum(b.compute_s for b in beats)
    )
