"""The beat grid in samples: where beats start, and how a loop is fitted to whole beats."""

import math
import operator
from dataclasses import dataclass

import numpy as np

from melformer.audio.extend import extend_ends
from melformer.audio.waveform import Waveform, check_sample_rate
from melformer.errors import TempoError

MIN_BPM, MAX_BPM = 40.0, 240.0
MAX_BEATS = 1_000_000
PAD_AT_MOST_BEATS = 0.25  # a longer gap before the continuation would be heard as a hole


def check_bpm(bpm: float) -> float:
    """Give the BPM as a float. Errors: TempoError when it is no number or outside 40..240."""
    try:
        value = float(bpm)
    except (TypeError, ValueError, OverflowError):
        raise TempoError(f"the BPM must be a number, got {bpm!r}") from None
    if not MIN_BPM <= value <= MAX_BPM:
        raise TempoError(
            f"{value:g} BPM is outside {MIN_BPM:g}..{MAX_BPM:g}: give the beats per minute of the loop, "
            "doubled or halved if need be"
        )
    return value


def beat_edges(n_beats: int, bpm: float, sample_rate: int) -> np.ndarray:
    """Where beats start: int64 (n_beats + 1,), edge k = round(k · 60 · sample_rate / bpm) samples.

    Every edge is rounded by itself, never a sum of rounded durations, so that no drift can build up.
    Errors: TempoError, AudioError for a BPM or a rate out of range.

    >>> beat_edges(3, 140, 44_100).tolist()
    [0, 18900, 37800, 56700]
    """
    try:
        count = operator.index(n_beats)
    except TypeError:
        raise TempoError(f"the number of beats must be a whole number, got {n_beats!r}") from None
    if not 0 <= count <= MAX_BEATS:
        raise TempoError(f"{count:,} beats are outside 0..{MAX_BEATS:,}")
    rate, bpm = check_sample_rate(sample_rate), check_bpm(bpm)
    return np.rint(np.arange(count + 1) * (60.0 * rate) / bpm).astype(np.int64)


def beats_in(n_samples: int, bpm: float, sample_rate: int) -> float:
    """How many beats `n_samples` last."""
    return n_samples * bpm / (60.0 * sample_rate)


@dataclass(frozen=True, eq=False)
class GridFit:
    """A waveform of exactly `n_beats` whole beats, and what was done to it (None: nothing worth telling)."""

    waveform: Waveform
    n_beats: int
    message: str | None


def fit_to_grid(waveform: Waveform, bpm: float, start_s: float = 0.0) -> GridFit:
    """Begin the waveform at `start_s` seconds and trim or pad its end to whole beats.

    The end is padded when less than a quarter of a beat is missing, else trimmed; what stays is unchanged.
    Errors: TempoError when less than three quarters of a beat is left, or `start_s` is outside the clip.
    """
    bpm = check_bpm(bpm)
    start = round(check_start(waveform, start_s) * waveform.sample_rate)
    n_left, rate = waveform.n_samples - start, waveform.sample_rate
    n_beats = math.floor(beats_in(n_left, bpm, rate) + PAD_AT_MOST_BEATS)
    if n_beats < 1:
        raise TempoError(
            f"{n_left / rate:.2f} s of audio are no whole beat at {bpm:g} BPM ({60 / bpm:.2f} s): "
            "give a longer loop or a higher BPM"
        )
    n_samples = int(beat_edges(n_beats, bpm, rate)[-1])
    samples = waveform.samples[start : start + n_samples]
    if n_samples > n_left:
        samples = extend_ends(samples, 0, n_samples - n_left)
    fitted = Waveform(samples, rate)
    return GridFit(fitted, n_beats, _fit_message(n_samples - n_left, start, n_beats, bpm, rate))


def check_start(waveform: Waveform, start_s: float) -> float:
    """Give the time of the first beat in seconds. Errors: TempoError when it lies outside the clip."""
    try:
        value = float(start_s)
    except (TypeError, ValueError, OverflowError):
        raise TempoError(f"the start must be a number of seconds, got {start_s!r}") from None
    if not 0 <= value < waveform.duration_s:
        raise TempoError(f"the start {value:g} s is outside the clip of {waveform.duration_s:.2f} s")
    return value


def _fit_message(n_added: int, start: int, n_beats: int, bpm: float, rate: int) -> str | None:
    beats = f"{n_beats} beat{'s' if n_beats > 1 else ''} at {bpm:g} BPM"
    parts = [f"started {start / rate:.3f} s into the clip"] if start else []
    if abs(n_added) > 1:  # one sample is the rounding of an edge
        amount = f"{abs(n_added) / rate:.3f} s" if abs(n_added) >= rate / 1000 else f"{abs(n_added)} samples"
        parts.append(f"{'padded with' if n_added > 0 else 'trimmed by'} {amount} at the end to {beats}")
    return ("The loop was " + " and ".join(parts) + ".") if parts else None
