"""The loop that is to be continued: from a file, cropped, at another tempo, or a take used as a prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from melformer.audio.grid import MAX_BPM, MIN_BPM, BeatGrid, beats_per_second, bpm_of, check_bpm, seconds_per_beat
from melformer.audio.io import Waveform, read_beginning
from melformer.audio.tempo import Tempo, find_tempo, fit_loop
from melformer.errors import AudioError, RequestError, TempoError
from melformer.stems import STEMS, Stems
from melformer.ui.host.limits import Limits

BEATS_PER_BAR = (2, 3, 4, 5, 6, 7, 8, 9, 12)
READ_AT_MOST_S = 600.0
SHORT_S = 1.0  # of less, nobody wants to hear at which tempo it is no whole beat
MAX_VALUES_PER_S = 400_000
"""Samples of all channels in a second: stereo at 192 kHz. More would make a beat too large to send."""


@dataclass(frozen=True, eq=False)
class PromptLoop:
    """A prompt, the audio it was cut from (`start_s` in, for cutting it anew), and what the user is told.

    `example`: the name of the example that it is, as a whole. `stems`: those of the audio, where they were given.
    """

    name: str
    raw: Waveform
    prompt: Any
    beats_per_bar: int
    source: str
    confidence: float
    messages: tuple[str, ...]
    start_s: float = 0.0
    example: str = ""
    stems: Stems | None = None
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


def check_beats_per_bar(value: Any) -> int | None:
    """The beats of a bar, None where they are to be found. Errors: RequestError."""
    if value is None:
        return None
    if value not in BEATS_PER_BAR:
        raise RequestError(f"Beats per bar can be {', '.join(map(str, BEATS_PER_BAR))}, not {str(value)[:40]}.")
    return int(value)


def open_loop(
    model: Any, path: Path, limits: Limits, beats_per_bar: int | None = None, bpm: float | None = None,
    start_s: float | None = None,
) -> PromptLoop:  # fmt: skip
    """Read a file and make it a prompt, at a given tempo and metre and from a given first beat, or else those found.

    Errors: AudioError, TempoError.
    """
    raw, whole_s = _read(path, limits, limits.prompt_values)
    return _open(model, Opened(path.stem, path, raw, whole_s), limits, beats_per_bar, bpm, start_s)


def open_stems(
    model: Any, paths: Mapping[str, Path], name: str, limits: Limits, beats_per_bar: int | None = None
) -> PromptLoop:  # fmt: skip
    """The player's own stems, a file each, as one loop. What is shorter ends in silence.

    Errors: AudioError, TempoError.
    """
    read = {stem: _read(path, limits, limits.prompt_values // len(paths)) for stem, path in paths.items()}
    waveforms = {stem: raw for stem, (raw, _) in read.items()}
    if len({raw.sample_rate for raw in waveforms.values()}) > 1:
        rates = ", ".join(f"{paths[stem].name} {raw.sample_rate:,} Hz" for stem, raw in waveforms.items())
        raise AudioError(f"The stems have different sample rates ({rates}). Export them all at the same rate.")
    n_samples, n_channels = (max(raw.samples.shape[axis] for raw in waveforms.values()) for axis in (0, 1))
    cut = [raw.n_samples for raw, seconds in read.values() if seconds > raw.duration_s]  # all end where one was cut
    n_samples = min([n_samples, *cut])
    stems = Stems.from_mapping({stem: _padded(raw, n_samples, n_channels) for stem, raw in waveforms.items()})
    whole_s = max(seconds for _, seconds in read.values())
    opened = Opened(name, next(iter(paths.values())), stems.mix(), whole_s, stems)
    return _open(model, opened, limits, beats_per_bar)


@dataclass(frozen=True, eq=False)
class Opened:
    """What was read: the beginning of a file that lasts `whole_s` seconds, or of several and their mix."""

    name: str
    path: Path
    raw: Waveform
    whole_s: float
    stems: Stems | None = None


def _read(path: Path, limits: Limits, kept_values: int) -> tuple[Waveform, float]:
    """A file's beginning and how long it lasts, in seconds. Errors: AudioError."""
    raw, whole_s = read_beginning(path, max_s=READ_AT_MOST_S, kept_s=limits.prompt_s, kept_values=kept_values)
    if raw.sample_rate * raw.n_channels > MAX_VALUES_PER_S:
        raise AudioError(
            f"{path.name} has {raw.n_channels} channels at {raw.sample_rate:,} Hz, more than a page can play: "
            "export it as stereo at 44,100 or 48,000 Hz."
        )
    return raw, whole_s


def _padded(waveform: Waveform, n_samples: int, n_channels: int) -> Waveform:
    samples = np.zeros((n_samples, n_channels), np.float32)
    samples[: waveform.n_samples] = waveform.samples[:n_samples]
    return Waveform(samples, waveform.sample_rate)


def _open(
    model: Any, opened: Opened, limits: Limits, beats_per_bar: int | None, bpm: float | None = None,
    start_s: float | None = None,
) -> PromptLoop:  # fmt: skip
    raw, whole_s = opened.raw, opened.whole_s
    try:
        tempo = find_tempo(
            raw, path=opened.path, bpm=bpm, start_s=start_s, beats_per_bar=beats_per_bar, whole_s=whole_s,
            weights=model.tracker,
        )  # fmt: skip
        return _on_grid(model, opened, tempo, limits, beats_per_bar or tempo.bar)
    except TempoError:
        if raw.duration_s >= SHORT_S:
            raise
        raise TempoError(f"Too short ({raw.duration_s:.2f} s): use at least a beat, ideally a bar.") from None


def _on_grid(model: Any, opened: Opened, tempo: Tempo, limits: Limits, beats_per_bar: int) -> PromptLoop:
    raw, stems, whole_s = opened.raw, opened.stems, opened.whole_s
    messages = list(tempo.messages)
    if whole_s > raw.duration_s:
        messages.append(f"Using the first {raw.duration_s:.0f} s of {whole_s:.0f} s.")
    if tempo.is_one_shot or tempo.stop_s is not None:  # without silence and tail, or made of a hit, it is the loop
        fit = fit_loop(raw, tempo)
        stems = _each(stems, lambda stem: fit_loop(stem, tempo).waveform)
        raw, tempo = fit.waveform, replace(tempo, start_s=0.0)
        messages += [fit.message] if fit.message else []
    prompt = _prompt(model, raw, stems, tempo.bpm, tempo.start_s, beats_per_bar)
    told = (*messages, *prompt.messages)
    source, confidence = tempo.source, tempo.confidence
    loop = PromptLoop(
        opened.name, raw, prompt, beats_per_bar, source, confidence, told, tempo.start_s, stems=stems
    )  # fmt: skip
    return shorten(model, loop, limits)


def _prompt(
    model: Any, raw: Waveform, stems: Stems | None, bpm: float, start_s: float, beats_per_bar: int
) -> Any:  # fmt: skip
    audio = raw if stems is None else dict(zip(STEMS, stems))
    return model.prompt(audio, bpm=bpm, start_s=start_s, beats_per_bar=beats_per_bar)


def _each(stems: Stems | None, change: Callable[[Waveform], Waveform]) -> Stems | None:
    return None if stems is None else Stems(*map(change, stems))


def shorten(model: Any, loop: PromptLoop, limits: Limits) -> PromptLoop:
    """Keep the last whole bars of a loop that is longer than the host allows."""
    n_beats = loop.prompt.n_beats
    if n_beats <= limits.prompt_beats:
        return loop
    kept = max(1, limits.prompt_beats // loop.beats_per_bar) * loop.beats_per_bar
    whole = n_beats % loop.beats_per_bar == 0 == kept % loop.beats_per_bar
    last = str(kept // loop.beats_per_bar) if whole else length_words(kept, loop.beats_per_bar)
    note = f"Using the last {last} of {length_words(n_beats, loop.beats_per_bar)}."
    return crop_loop(model, loop, n_beats - kept, n_beats, note)


def crop_loop(model: Any, loop: PromptLoop, first: int, last: int, note: str | None = None) -> PromptLoop:
    """Keep beats [first, last). Errors: RequestError when nothing or too much is asked for."""
    if not 0 <= first < last <= loop.prompt.n_beats:
        raise RequestError(f"Beats {first + 1} to {last} aren't in the loop; it has {loop.prompt.n_beats}.")
    edges = loop.edges()
    raw = loop.prompt.waveform.slice(int(edges[first]), int(edges[last]))
    stems = (
        None if loop.stems is None else _each(loop.prompt.stems, lambda s: s.slice(int(edges[first]), int(edges[last])))
    )
    prompt = _prompt(model, raw, stems, loop.prompt.bpm, 0.0, loop.beats_per_bar)
    told = (*loop.messages, note) if note else (f"Cropped to {range_words(first, last, loop.beats_per_bar)}.",)
    return PromptLoop(loop.name, raw, prompt, loop.beats_per_bar, loop.source, loop.confidence, told, stems=stems)


def retime_loop(
    model: Any, loop: PromptLoop, bpm: float, beats_per_bar: int, limits: Limits, shift_s: float = 0.0
) -> PromptLoop:
    """The same audio on another grid, which begins `shift_s` later. Errors: TempoError, RequestError."""
    bpm = check_bpm(bpm)
    start_s = loop.start_s + shift_s
    if start_s < -1e-9:
        raise RequestError("The grid already starts at the beginning of the file.")
    start_s = max(0.0, start_s)
    same = abs(bpm - loop.prompt.bpm) < 1e-9 and not shift_s
    prompt = _prompt(model, loop.raw, loop.stems, bpm, start_s, beats_per_bar)
    source, confidence = (loop.source, loop.confidence) if same else ("you", 1.0)
    told = tuple(prompt.messages)
    example = "" if shift_s else loop.example
    again = replace(
        loop, prompt=prompt, beats_per_bar=beats_per_bar, source=source, confidence=confidence, messages=told,
        start_s=start_s, example=example, key=uuid4().hex,
    )  # fmt: skip
    return shorten(model, again, limits)


def bpm_of_bars(loop: PromptLoop, n_bars: int, beats_per_bar: int) -> float:
    """The tempo at which the whole file, from its first beat on, has so many bars. Errors: RequestError."""
    seconds = loop.raw.duration_s - loop.start_s
    bpm = 60.0 * n_bars * beats_per_bar / seconds
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise RequestError(
            f"{n_bars} bars of {beats_per_bar} in {seconds:.1f} s would be {bpm:.0f} BPM; "
            f"the tempo must be {MIN_BPM:g}–{MAX_BPM:g} BPM."
        )
    return bpm


def snap_bpm(bpm: float, seconds: float, beats_per_bar: int, most_beats: int) -> float:
    """The tempo nearest to a tapped one at which `seconds` are whole bars, or else whole beats.

    Fingers are some percent off, so a bar line within 6% and a beat within 2.5% are taken for what was meant; in a
    recording of more than `most_beats` every tempo is near some beat, which says nothing.
    """
    beats = seconds * beats_per_second(bpm)
    if beats > most_beats:
        return bpm
    for step, tolerance in ((beats_per_bar, 0.06), (1, 0.025)):
        n_beats = step * round(beats / step)
        if n_beats and abs(n_beats / beats - 1) <= tolerance:
            return bpm_of(n_beats, seconds)
    return bpm


def length_words(n_beats: int, beats_per_bar: int) -> str:
    """`4 bars`, or `15 beats` where they are no whole bars."""
    whole = n_beats % beats_per_bar == 0
    number, unit = (n_beats // beats_per_bar, "bar") if whole else (n_beats, "beat")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def range_words(first: int, last: int, beats_per_bar: int) -> str:
    if first % beats_per_bar or last % beats_per_bar:
        return f"beats {first + 1}–{last}"
    first, last = first // beats_per_bar + 1, last // beats_per_bar
    return f"bar {first}" if first == last else f"bars {first}–{last}"


def loop_of_take(model: Any, loop: PromptLoop, whole: Waveform, number: int, limits: Limits) -> PromptLoop:
    """A take, prompt and new beats together, as the loop to continue from."""
    prompt = model.prompt(whole, bpm=loop.prompt.bpm, start_s=0.0, beats_per_bar=loop.beats_per_bar)
    note = f"Take {number} is now your loop."
    again = PromptLoop(loop.name, whole, prompt, loop.beats_per_bar, loop.source, loop.confidence, (note,))
    return shorten(model, again, limits)
