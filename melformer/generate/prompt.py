"""A musician's loop, fitted to its beat grid and written in codes."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch

from melformer.audio.grid import BeatGrid, GridFit, check_beats_per_bar, check_bpm
from melformer.audio.inputs import AudioInput, open_audio
from melformer.audio.io import Waveform
from melformer.audio.tempo import Tempo, find_tempo, fit_loop
from melformer.audio.tempo.beat_network import Weights
from melformer.codec.codec import Codec
from melformer.errors import RequestError
from melformer.stems.stems import Stems
from melformer.stems.units import UNITS_PER_BEAT

MIN_BEATS, MAX_BEATS = 2, 64


@dataclass(frozen=True)
class Prompt:
    """A loop ready to be continued.

    `waveform` is the user's own samples, whole beats of them, at their own rate. `codes` is int64 (model beats,
    frames, n_codebooks): the model's tempo lies in [90, 180) BPM, so a beat is `model_beats_per_beat` (1/2, 1, 2 or
    4) model beats. `messages` tell the user what was found and changed. `beats` (model beats, samples_per_beat) are its
    mono mix on the codec's grid, where they are at hand. `stems` are the player's own, where they were given.
    """

    waveform: Waveform
    bpm: float
    tempo: Tempo
    n_beats: int
    beats_per_bar: int
    codes: np.ndarray
    messages: list[str]
    name: str
    beats: np.ndarray | None = field(default=None, repr=False, compare=False)
    stems: Stems | None = field(default=None, repr=False, compare=False)
    ready: WeakKeyDictionary[object, object] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )
    """What continuing it needs to know, by the separator that found it (`melformer.generate.stream.LoopStems`)."""

    @cached_property
    def grid(self) -> BeatGrid:
        """Where its beats lie in samples."""
        return BeatGrid(self.bpm, self.waveform.sample_rate)

    @property
    def model_bpm(self) -> float:
        """The tempo that the model sees."""
        return self.grid.model_bpm

    @property
    def model_beats_per_beat(self) -> float:
        """Model beats in one beat: 1/2, 1, 2 or 4."""
        return self.grid.model_beats_per_beat

    @property
    def n_units(self) -> int:
        """Half model beats in the prompt: what a stem's new half beats are taken from."""
        return int(self.n_beats * self.model_beats_per_beat * UNITS_PER_BEAT)

    @property
    def n_model_beats(self) -> float:
        """Where the prompt ends, in model beats: a half is possible above 180 BPM."""
        return self.n_beats * self.model_beats_per_beat


def make_prompt(
    codec: Codec,
    loop: AudioInput | Mapping[str, AudioInput],
    bpm: float | None = None,
    start_s: float | None = None,
    beats_per_bar: int | None = None,
    fold_tail: bool = False,
    tempo: Tempo | None = None,
    tracker: Weights | None = None,
) -> Prompt:
    """Read, find the tempo, fit to the grid, encode.

    `beats_per_bar` is found where it is not given, and 4 where that is not certain. `tempo` is what `find_tempo` said
    of this loop before; else it is found with the weights `tracker`, by default the embedded ones. `fold_tail` lays
    what rings on behind the last bar over the beginning, as it sounds when the loop is played round.
    Errors: AudioError and TempoError of the reading, and for a bar of less than 1 or more than 16 beats; RequestError
    for a loop under two beats or of more than two channels.
    """
    if beats_per_bar is not None:
        check_beats_per_bar(beats_per_bar)
    if bpm is not None:
        check_bpm(bpm)
    own = None
    if isinstance(loop, Mapping):
        own, path = open_stems(loop)
        waveform = own.mix()
    else:
        with open_audio(loop) as (waveform, path):
            pass
    if waveform.n_channels > 2:
        raise RequestError(f"The loop has {waveform.n_channels} channels; at most 2 are possible: mix it down first.")
    if tempo is None:
        tempo = find_tempo(
            waveform, path=path, bpm=bpm, start_s=start_s, beats_per_bar=beats_per_bar, weights=tracker
        )  # fmt: skip
    bar = beats_per_bar or tempo.bar
    fit = fit_loop(waveform, tempo)
    messages = [*tempo.messages, *([fit.message] if fit.message else [])]
    if fit.n_beats < MIN_BEATS:
        raise RequestError(
            f"The loop has {fit.n_beats} beat{'s' if fit.n_beats != 1 else ''} at {tempo.bpm:g} BPM; it must have at "
            f"least {MIN_BEATS}. Give a longer loop, or check the BPM."
        )
    n_beats, start = fit.n_beats, 0
    edges = BeatGrid(tempo.bpm, waveform.sample_rate).edges(n_beats)
    if n_beats > MAX_BEATS:
        n_beats = MAX_BEATS // bar * bar
        start = int(edges[fit.n_beats - n_beats])
        messages.append(f"The loop has {fit.n_beats} beats; its last {n_beats} are continued.")

    def cut(fitted: GridFit) -> Waveform:
        whole = fitted.folded() if fold_tail else fitted.waveform
        return whole.slice(start, int(edges[-1])) if start else whole

    if own is not None:
        own = Stems(*(cut(fit_loop(stem, tempo)) for stem in own))
    waveform = cut(fit) if own is None else own.mix()
    grid = BeatGrid(tempo.bpm, waveform.sample_rate)
    beats = grid.model_beats(waveform, n_beats, codec.config.samples_per_beat)
    name = path.stem if path else "loop"
    return Prompt(waveform, tempo.bpm, tempo, n_beats, bar, encode_beats(codec, beats), messages, name, beats, own)


def open_stems(files: Mapping[str, AudioInput]) -> tuple[Stems, Path | None]:
    """The player's own stems, any of the three, and the file of the first. Errors: AudioError."""
    waveforms, first = {}, None
    for name, audio in files.items():
        with open_audio(audio) as (waveform, path):
            waveforms[name] = waveform
            first = first or path
    return Stems.from_mapping(waveforms), first


def encode_beats(codec: Codec, beats: np.ndarray) -> np.ndarray:
    """`Codec.encode` in two threads: beats (n, samples_per_beat) → codes int64 (n, frames, n_codebooks).

    Not torch's own threads: those share the work inside an operation, and wait for each other at the end of every one.
    """
    halves = torch.from_numpy(beats).tensor_split(min(2, len(beats)))
    if len(halves) < 2:
        return codec.encode(halves[0]).numpy()
    with ThreadPoolExecutor(len(halves)) as pool:
        return torch.cat(list(pool.map(codec.encode, halves))).numpy()
