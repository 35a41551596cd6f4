"""A stand-in for the model in the page's tests: the same interface, beats from arithmetic, at any pace.

A test that needs something to happen in the middle of a run sets `Model.held_at`: no beat from there on is made until
it is None again. So no test depends on how fast the machine is.
"""

import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from melformer.audio.grid import BeatGrid, fit_to_grid
from melformer.audio.io import Waveform
from melformer.generate import GenerationConfig
from melformer.stems import Stems
from melformer.stems.units import UnitChoice

FRAMES, CODEBOOKS = 16, 8


@dataclass(frozen=True)
class Prompt:
    """As much of the model's prompt as the page reads."""

    waveform: Waveform
    bpm: float
    n_beats: int
    codes: np.ndarray
    messages: list[str]
    stems: Any = None


def codes_of(seed: int, n_beats: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1024, (n_beats, FRAMES, CODEBOOKS))


def parts_of(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Drums are the loud samples, bass half of the rest: no separation, but parts that add up."""
    drums = np.where(np.abs(samples) > 0.25, samples, 0).astype(np.float32)
    bass = ((samples - drums) * 0.5).astype(np.float32)
    return {"drums": drums, "bass": bass, "other": samples - drums - bass}


@dataclass(frozen=True)
class State:
    """Where a stream stands: enough to go on bit for bit."""

    prompt: Any
    seed: int
    index: int
    config: Any

    def save(self, path: Path) -> None:
        path.write_bytes(pickle.dumps(self))


@dataclass
class Stream:
    """Beat k is the prompt's beat k, turned down by its seed, with noise as strong as the variation."""

    prompt: Any
    seed: int
    n_beats: int | None
    config: Any
    model: "Model"
    index: int = 0
    join: np.ndarray | None = None
    n_made: int = 0

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> SimpleNamespace:
        if self.n_beats is not None and self.n_made >= self.n_beats:
            raise StopIteration
        self.model.work(self.index)
        prompt, k = self.prompt, self.index
        rate = prompt.waveform.sample_rate
        edges = BeatGrid(prompt.bpm, rate).edges(prompt.n_beats + k + 1)
        samples = self._samples(k, int(edges[-1] - edges[-2]))
        if k == 0:
            n = round(0.03 * rate)
            fade = np.linspace(1, 0, n, dtype=np.float32)[:, None]
            self.join = prompt.waveform.samples[-n:] * fade + 0.1 * (1 - fade)
        self.index += 1
        self.n_made += 1
        codes = codes_of(1000 * self.seed + k, 1)
        cost_s = self.model.told_s or self.model.compute_s + 1e-4
        stems = np.stack(list(parts_of(samples).values()))
        beat = SimpleNamespace(index=k, waveform=Waveform(samples, rate), codes=codes, compute_s=cost_s, stems=stems)
        if self.model.tells_sources:
            own = [UnitChoice(2 * (k % prompt.n_beats) + half) for half in range(2)]
            bass = [UnitChoice(10 + half, 2) for half in range(2)] if k % 2 else own
            beat.sources = [(own[half], bass[half], own[half]) for half in range(2)]
        return beat

    def _samples(self, k: int, n: int) -> np.ndarray:
        prompt = self.prompt
        edges = BeatGrid(prompt.bpm, prompt.waveform.sample_rate).edges(prompt.n_beats)
        b = k % prompt.n_beats
        source = prompt.waveform.samples[edges[b] : edges[b + 1]]
        noise = np.random.default_rng([self.seed, k]).standard_normal((n, source.shape[1]))
        quiet = 0.5 + 0.4 * ((self.seed * 7 + k) % 11) / 11
        tone = np.resize(source, (n, source.shape[1])) * quiet
        return (tone + 0.02 * self.config.variation * noise).astype(np.float32)

    def state(self) -> State:
        return State(self.prompt, self.seed, self.index, self.config)


@dataclass(frozen=True)
class StandInStems:
    """Three waveforms, and which of them sound."""

    drums: Waveform
    bass: Waveform
    other: Waveform
    present: tuple[str, ...]

    def __getitem__(self, name: str) -> Waveform:
        return getattr(self, name)


@dataclass
class Model:
    """The public methods that the page uses. `compute_s`: how long a beat takes; `told_s`: how long it claims to take;
    `held_at`: the first beat that has to wait; `stems_held`: stems have to wait; `tells_sources`: each beat says that
    it is the loop's own, but for the bass of every second one, which comes from beat 5, two semitones up."""

    compute_s: float = 0.01
    tracker: None = None  # the embedded one
    told_s: float | None = None
    held_at: int | None = None
    n_streams: int = 0
    n_closed: int = 0
    fail_at: int | None = None
    stems_held: bool = False
    present: tuple[str, ...] = ("drums", "bass", "other")
    tells_sources: bool = False
    streams: list[Stream] = field(default_factory=list)
    varied: list[list[str]] = field(default_factory=list)
    redone: list[Any] = field(default_factory=list)

    def work(self, beat: int) -> None:
        """Make a beat: take the time for it, and wait while it is held."""
        time.sleep(self.compute_s)
        while self.held_at is not None and beat >= self.held_at:
            time.sleep(0.01)

    def prompt(self, loop: Any, *, bpm: float, start_s: float | None = None, beats_per_bar: int = 4) -> Any:
        stems = None
        if isinstance(loop, dict):
            stems = Stems(*(fit_to_grid(one, bpm, start_s or 0.0).waveform for one in loop.values()))
            loop = Stems(*loop.values()).mix()
        fit = fit_to_grid(loop, bpm, start_s or 0.0)
        messages = [fit.message] if fit.message else []
        codes = codes_of(fit.n_beats, fit.n_beats)
        return Prompt(fit.waveform, bpm, fit.n_beats, codes, messages, stems)

    def stream(
        self, prompt: Any, n_beats: int | None = None, seed: int = 0, config: Any = None, close_loop: bool = False
    ) -> Stream:
        self.n_closed += close_loop
        stream = Stream(prompt, seed, n_beats, config or GenerationConfig(), self)
        self.streams.append(stream)
        return stream

    def stems(self, loop: Any, bpm: float | None = None) -> Any:
        while self.stems_held:
            time.sleep(0.01)
        if getattr(loop, "stems", None) is not None:
            return loop.stems
        waveform = loop if isinstance(loop, Waveform) else loop.waveform
        parts = (Waveform(part, waveform.sample_rate) for part in parts_of(waveform.samples).values())
        return StandInStems(*parts, self.present)

    def vary(
        self, state: State | Path, stems: list[str], n_beats: int | None = None, seed: int = 0, config: Any = None
    ) -> Stream:
        self.varied.append(stems)
        return self.stream(self.resume(state).prompt, n_beats, seed, config)

    def redo(self, take: Any, beats: tuple[int, int], stems: list[str] | None = None, seed: int = 0) -> Any:
        """Those beats once more, half as loud, with other codes; all else stays."""
        self.redone.append((beats, stems))
        prompt, new = take.prompt, take.new.samples.copy()
        edges = BeatGrid(prompt.bpm, take.new.sample_rate).edges(prompt.n_beats + take.n_beats)[prompt.n_beats :]
        edges = edges - edges[0]
        new[edges[beats[0]] : edges[beats[1]]] *= np.float32(0.5)
        whole = np.concatenate([take.waveform.samples[: prompt.waveform.n_samples], new])
        return SimpleNamespace(
            prompt=prompt,
            new=Waveform(new, take.new.sample_rate),
            waveform=Waveform(whole, take.new.sample_rate),
            beats=[SimpleNamespace(codes=codes_of(1000 * seed + k, 1)) for k in range(take.n_beats)],
            state=take.state,
        )

    def new_stems(self, state: State | Path) -> StandInStems:
        stream = self.resume(state)
        again = Stream(stream.prompt, stream.seed, stream.index, stream.config, Model(compute_s=0.0))
        samples = np.concatenate([beat.waveform.samples for beat in again])
        return self.stems(Waveform(samples, stream.prompt.waveform.sample_rate))

    def resume(self, state: State | Path, n_beats: int | None = None) -> Stream:
        if isinstance(state, Path):
            state = pickle.loads(state.read_bytes())
        assert isinstance(state, State)
        stream = Stream(state.prompt, state.seed, n_beats, state.config, self, state.index)
        self.streams.append(stream)
        return stream

    def stream_takes(
        self, prompt: Any, n_beats: int, seeds: list[int], config: Any = None, close_loop: bool = False
    ) -> "Batch":
        return Batch([self.stream(prompt, n_beats, seed, config, close_loop) for seed in seeds])

    def ranked(self, takes: list[Any]) -> list[Any]:
        return takes[::-1]

    @staticmethod
    def whole(stream: Stream, beats: list[Any]) -> Any:
        prompt = stream.prompt.waveform
        new = np.concatenate([beat.waveform.samples for beat in beats])
        assert stream.join is not None
        whole = np.concatenate([prompt.samples[: -len(stream.join)], stream.join, new])
        return SimpleNamespace(
            prompt=stream.prompt,
            waveform=Waveform(whole, prompt.sample_rate),
            new=Waveform(new, prompt.sample_rate),
            codes=np.concatenate([beat.codes for beat in beats]),
            seed=stream.seed,
            config=stream.config,
            n_beats=len(beats),
            state=None,
            ending=None,
            beats=beats,
        )

    def reconstruct(self, waveform: Waveform, bpm: float, n_codebooks: int | None = None) -> Waveform:
        return Waveform(waveform.samples * np.float32((n_codebooks or CODEBOOKS) / CODEBOOKS), waveform.sample_rate)

    def decode_codes(self, prompt: Any, codes: np.ndarray) -> Waveform:
        return Waveform(prompt.waveform.samples * np.float32(0.5), prompt.waveform.sample_rate)


class Batch:
    """Several takes, a beat of each at a time."""

    def __init__(self, streams: list[Stream]) -> None:
        self.streams = streams
        self.beats: list[list[Any]] = []

    def __iter__(self) -> "Batch":
        return self

    def __next__(self) -> list[Any]:
        self.beats.append([next(stream) for stream in self.streams])
        return self.beats[-1]

    def continuations(self) -> list[Any]:
        return [Model.whole(stream, list(beats)) for stream, beats in zip(self.streams, zip(*self.beats))]


def loop_samples(n_beats: int = 8, bpm: float = 120.0, rate: int = 44_100, n_channels: int = 2) -> Waveform:
    """A loop that tells its beats apart: a burst on each, and a note that climbs."""
    edges = BeatGrid(bpm, rate).edges(n_beats)
    samples = np.zeros((int(edges[-1]), n_channels), np.float32)
    for k in range(n_beats):
        t = np.arange(edges[k + 1] - edges[k]) / rate
        tone = 0.3 * np.sin(2 * np.pi * (110 * 2 ** ((k * 3 % 12) / 12)) * t) * np.exp(-3 * t)
        click = 0.4 * np.exp(-t * 60) * np.random.default_rng(k).standard_normal(len(t))
        samples[edges[k] : edges[k + 1]] = (tone + click)[:, None] * np.linspace(0.8, 1.0, n_channels)
    return Waveform(np.clip(samples, -1, 1), rate)
