"""How fast a loop is, where its first beat lies, and how it fits the beat grid (docs/tempo.md)."""

import math
from dataclasses import dataclass
from pathlib import Path

from melformer.audio.detect import Detection, detect
from melformer.audio.first_beat import find_first_beat
from melformer.audio.grid import BeatGrid, GridFit, check_bpm, check_start, fit_to_grid, seconds_per_beat
from melformer.audio.metadata import read_bpm_tag
from melformer.audio.onsets import Onsets, find_onsets
from melformer.audio.tempo_name import bpm_in_name
from melformer.audio.waveform import Waveform
from melformer.errors import TempoError

__all__ = ["GridFit", "Tempo", "check_bpm", "find_tempo", "fit_to_grid"]

_INTEGER_FIT_S = 0.001  # a whole BPM may change the length of the clip by this much, any other by a sample
_SURE = 0.8  # a detection from here on overrules a bare number in a file's name


@dataclass(frozen=True)
class Tempo:
    """A loop's tempo and first beat, and how sure they are (0..1).

    `source` is "argument", "file name", "metadata" or "detected"; `start_s` is where the first beat is, in s.
    """

    bpm: float
    source: str
    confidence: float
    start_s: float
    start_confidence: float


def find_tempo(
    waveform: Waveform,
    *,
    path: str | Path | None = None,
    bpm: float | None = None,
    start_s: float | None = None,
) -> Tempo:
    """The tempo as given, else by the name of `path`, else by its metadata, else detected; and the first beat.

    A bare number in the name (`hats_130.wav`) is checked against the sound: where the clip is no whole number
    of such beats and the sound clearly has another tempo, the sound counts.
    Errors: TempoError for an impossible BPM or start, and where no tempo can be found.
    """
    if bpm is not None and start_s is not None:  # then there is nothing to listen for
        return Tempo(check_bpm(bpm), "argument", 1.0, check_start(waveform, start_s), 1.0)
    onsets = find_onsets(waveform)
    bpm, source, confidence = _find_bpm(waveform, onsets, path, bpm)
    if start_s is not None:
        return Tempo(bpm, source, confidence, check_start(waveform, start_s), 1.0)
    return Tempo(bpm, source, confidence, *find_first_beat(waveform, onsets, bpm))


def _find_bpm(
    waveform: Waveform, onsets: Onsets, path: str | Path | None, bpm: float | None
) -> tuple[float, str, float]:
    if bpm is not None:
        return check_bpm(bpm), "argument", 1.0
    named = bpm_in_name(path) if path is not None else None
    if named and (named[1] or _is_whole(waveform, named[0])):
        return named[0], "file name", 0.98 if named[1] else 0.9
    tagged = read_bpm_tag(path) if path is not None else None
    if tagged and not named:
        return tagged, "metadata", 0.9
    detected = detect(waveform, onsets)
    if named and (detected is None or detected.probability < _SURE or _is_multiple(detected.bpm, named[0])):
        return named[0], "file name", 0.6
    if detected is None:
        seconds = f"{waveform.duration_s:.2f} s"
        raise TempoError(f"can't find a tempo in {seconds} of audio: use at least a bar, or give its BPM")
    return _rounder(detected, waveform), "detected", detected.probability


def _is_whole(waveform: Waveform, bpm: float) -> bool:
    """Whether the clip lasts a whole number of beats, within 1% of a beat for each of them and 10% in all."""
    n_beats = BeatGrid(bpm, waveform.sample_rate).beats_in(waveform.n_samples)
    return n_beats > 0.9 and abs(n_beats - round(n_beats)) < min(0.1, 0.01 * n_beats)


def _is_multiple(bpm: float, other: float) -> bool:
    return any(math.isclose(bpm * factor, other, rel_tol=0.02) for factor in (0.5, 1, 2))


def _rounder(detected: Detection, waveform: Waveform) -> float:
    """The roundest BPM that says the same: loops are made at 120, not at 119.997."""
    for digits in range(6):
        bpm = round(detected.bpm, digits)
        if detected.n_beats:
            allowed_s = 1 / waveform.sample_rate if digits else _INTEGER_FIT_S
            fits = abs(detected.n_beats * seconds_per_beat(bpm) - waveform.duration_s) <= allowed_s
        else:
            fits = abs(bpm / detected.bpm - 1) < 5e-4  # as exact as onsets tell
        if fits:
            return bpm
    return round(detected.bpm, 6)
