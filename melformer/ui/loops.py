"""The loop that is to be continued: from a file, cropped, at another tempo, or a take used as a prompt."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from melformer.audio.grid import BeatGrid, check_bpm, seconds_per_beat
from melformer.audio.io import Waveform, read_waveform
from melformer.audio.tempo import find_tempo
from melformer.errors import RequestError
from melformer.ui.limits import Limits

BEATS_PER_BAR = (2, 3, 4, 5, 6, 7, 8, 9, 12)
READ_AT_MOST_S = 600.0


@dataclass(frozen=True)
class PromptLoop:
    """A prompt, the audio it was cut from (`start_s` in, for cutting it anew), and what the user is told."""

    name: str
    raw: Waveform
    prompt: Any
    beats_per_bar: int
    source: str
    confidence: float
    messages: tuple[str, ...]
    start_s: float = 0.0
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def n_bars(self) -> float:
        return self.prompt.n_beats / self.beats_per_bar

    @property
    def beat_s(self) -> float:
        return seconds_per_beat(self.prompt.bpm)

    def edges(self, n_new_beats: int = 0) -> Any:
        """Where beats start, counted from the prompt's first sample: int64 (n_beats + n_new_beats + 1,)."""
        prompt = self.prompt
        return BeatGrid(prompt.bpm, prompt.waveform.sample_rate).edges(prompt.n_beats + n_new_beats)


def check_beats_per_bar(value: Any) -> int:
    if value not in BEATS_PER_BAR:
        raise RequestError(f"A bar has one of {', '.join(map(str, BEATS_PER_BAR))} beats, not {value}.")
    return int(value)


def open_loop(model: Any, path: Path, limits: Limits, beats_per_bar: int = 4) -> PromptLoop:
    """Read a file and make it a prompt. Errors: AudioError, TempoError."""
    raw = read_waveform(path, max_s=READ_AT_MOST_S)
    tempo = find_tempo(raw, path=path, beats_per_bar=beats_per_bar)
    messages = []
    if raw.duration_s > limits.prompt_s:
        messages.append(f"The file lasts {raw.duration_s:.0f} s; its first {limits.prompt_s} s are used.")
        raw = raw.slice(0, round(limits.prompt_s * raw.sample_rate))
    prompt = model.prompt(raw, tempo=tempo)
    if tempo.is_one_shot:  # what was made of the hit is the loop from here on
        raw, tempo = prompt.waveform, replace(tempo, start_s=0.0)
    told = (*messages, *prompt.messages)
    loop = PromptLoop(path.stem, raw, prompt, beats_per_bar, tempo.source, tempo.confidence, told, tempo.start_s)
    return shorten(model, loop, limits)


def shorten(model: Any, loop: PromptLoop, limits: Limits) -> PromptLoop:
    """Keep the last whole bars of a loop that is longer than the host allows."""
    n_beats = loop.prompt.n_beats
    if n_beats <= limits.prompt_beats:
        return loop
    kept = max(1, limits.prompt_beats // loop.beats_per_bar) * loop.beats_per_bar
    note = f"The loop has {n_beats} beats; the last {kept} are used."
    return crop_loop(model, loop, n_beats - kept, n_beats, note)


def crop_loop(model: Any, loop: PromptLoop, first: int, last: int, note: str | None = None) -> PromptLoop:
    """Keep beats [first, last). Errors: RequestError when nothing or too much is asked for."""
    if not 0 <= first < last <= loop.prompt.n_beats:
        raise RequestError(f"Beats {first + 1} to {last} are not in the loop; it has {loop.prompt.n_beats}.")
    edges = loop.edges()
    raw = loop.prompt.waveform.slice(int(edges[first]), int(edges[last]))
    prompt = model.prompt(raw, bpm=loop.prompt.bpm, start_s=0.0, beats_per_bar=loop.beats_per_bar)
    told = (*loop.messages, note) if note else (f"Cropped to beats {first + 1} to {last}.",)
    return PromptLoop(loop.name, raw, prompt, loop.beats_per_bar, loop.source, loop.confidence, told)


def retime_loop(model: Any, loop: PromptLoop, bpm: float, beats_per_bar: int, limits: Limits) -> PromptLoop:
    """The same audio on another grid. Errors: TempoError, RequestError."""
    bpm, beats_per_bar = check_bpm(bpm), check_beats_per_bar(beats_per_bar)
    same = abs(bpm - loop.prompt.bpm) < 1e-9
    prompt = model.prompt(loop.raw, bpm=bpm, start_s=loop.start_s, beats_per_bar=beats_per_bar)
    source, confidence = (loop.source, loop.confidence) if same else ("you", 1.0)
    told = tuple(prompt.messages)
    again = PromptLoop(loop.name, loop.raw, prompt, beats_per_bar, source, confidence, told, loop.start_s)
    return shorten(model, again, limits)


def loop_of_take(model: Any, loop: PromptLoop, whole: Waveform, number: int, limits: Limits) -> PromptLoop:
    """A take, prompt and new beats together, as the loop to continue from."""
    prompt = model.prompt(whole, bpm=loop.prompt.bpm, start_s=0.0, beats_per_bar=loop.beats_per_bar)
    note = f"Take {number} is the loop now."
    again = PromptLoop(loop.name, whole, prompt, loop.beats_per_bar, loop.source, loop.confidence, (note,))
    return shorten(model, again, limits)
