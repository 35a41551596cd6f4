"""How fast a loop is, where its first beat and its end lie, how it fits the beat grid (docs/explanation/tempo.md)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from melformer.audio.grid import (
    GridFit,
    beat_edges,
    check_beats_per_bar,
    check_bpm,
    check_start,
    fit_to_grid,
    seconds_per_beat,
)
from melformer.audio.tempo.detect import Detection, detect
from melformer.audio.tempo.edges import SoundEdges, attack_times, find_edges
from melformer.audio.tempo.first_beat import find_first_beat
from melformer.audio.tempo.one_shot import is_one_shot, play_hits
from melformer.audio.tempo.onsets import Onsets, find_onsets
from melformer.audio.tempo.votes import TempoVote, agrees, is_multiple, read_votes
from melformer.audio.waveform import Waveform
from melformer.errors import TempoError

__all__ = ["GridFit", "Tempo", "beat_edges", "check_bpm", "find_tempo", "fit_loop", "fit_to_grid"]

COMMON_BAR = 4  # beats of a bar, where nothing else is known
ONE_SHOT_BPM, ONE_SHOT_BEATS = 120.0, COMMON_BAR
_INTEGER_FIT_S = 0.001  # a whole BPM may change the length of the clip by this much, any other by a sample
_SURE = 0.8  # a detection from here on overrules what is written
_UNCHECKED = 0.6  # the confidence of what is written, where the sound neither supports nor contradicts it
_TAIL_DB = -12.0
_EXACT_S = 0.01
_BOTH_NAMED = ("file name", "file name")  # a name may hold several numbers, of which one was meant


@dataclass(frozen=True)
class Tempo:
    """A loop's tempo, first beat and end, and how sure the first two are (0..1).

    `source` is "argument", "file name", "metadata", "detected" or "one-shot"; `start_s` is where the first beat is, in
    s; from `stop_s` on only silence or a tail is left (None: the loop goes on to the clip's end). `messages` tell what
    is written otherwise.
    """

    bpm: float
    source: str
    confidence: float
    start_s: float
    start_confidence: float
    stop_s: float | None = None
    messages: tuple[str, ...] = ()

    @property
    def is_one_shot(self) -> bool:
        """Whether the clip is a single hit, no loop."""
        return self.source == "one-shot"


def find_tempo(
    waveform: Waveform,
    *,
    path: str | Path | None = None,
    bpm: float | None = None,
    start_s: float | None = None,
    beats_per_bar: int | None = None,
    whole_s: float | None = None,
) -> Tempo:
    """What is given holds; else the name of `path` and its metadata, where the sound does not contradict; else this.

    Silence around the sound is no part of the loop: its length counts with and without. `beats_per_bar` says, where it
    is known, how long a bar is; else bars of four beats are likelier than others. `whole_s` is the file's length where
    `waveform` is only its beginning, whose own length then says nothing.
    Errors: TempoError for an impossible BPM, start or bar, and where no tempo can be found.
    """
    if beats_per_bar is not None:
        check_beats_per_bar(beats_per_bar)
    bpm = None if bpm is None else check_bpm(bpm)
    start_s = None if start_s is None else check_start(waveform, start_s)
    if bpm is not None and start_s is not None:  # then there is nothing to listen for
        return Tempo(bpm, "argument", 1.0, start_s, 1.0)
    edges = find_edges(waveform)
    sound = _between(waveform, edges.start_s, edges.stop_s)
    onsets = find_onsets(sound)
    whole_s = waveform.duration_s if whole_s is None else whole_s
    votes = read_votes(path, whole_s) if path is not None and bpm is None else []
    if bpm is None and is_one_shot(sound):
        return _one_shot(edges, votes, start_s)
    found = (
        _find_bpm(sound, onsets, votes, beats_per_bar, _durations(edges, whole_s))
        if bpm is None
        else Tempo(bpm, "argument", 1.0, 0.0, 0.0)
    )
    if start_s is None:
        span = _span_of(edges, found.bpm)
        first = _between(waveform, *span)
        near_s, sure = find_first_beat(
            first, onsets if first.n_samples == sound.n_samples else find_onsets(first), found.bpm
        )
        found = replace(found, start_s=span[0] + near_s, start_confidence=sure)
    else:
        found = replace(found, start_s=start_s, start_confidence=1.0)
    return replace(found, stop_s=_find_stop(waveform, edges, found, beats_per_bar or COMMON_BAR))


def fit_loop(waveform: Waveform, tempo: Tempo) -> GridFit:
    """A loop's whole beats, from its first beat to its end; of a single hit, a bar of them. Errors: TempoError."""
    if not tempo.is_one_shot:
        return fit_to_grid(waveform, tempo.bpm, tempo.start_s, tempo.stop_s)
    return GridFit(play_hits(waveform, tempo.bpm, ONE_SHOT_BEATS, tempo.start_s), ONE_SHOT_BEATS, None)


def _between(waveform: Waveform, start_s: float, stop_s: float) -> Waveform:
    start, stop = round(start_s * waveform.sample_rate), round(stop_s * waveform.sample_rate)
    return waveform if (start, stop) == (0, waveform.n_samples) else waveform.slice(start, max(start + 1, stop))


def _one_shot(edges: SoundEdges, votes: list[TempoVote], start_s: float | None) -> Tempo:
    bpm = votes[0].bpm if votes else ONE_SHOT_BPM
    why = f"as {votes[0].text}" if votes else "give another BPM if you like"
    message = f"This is a single hit, not a loop: it is played once a beat at {bpm:g} BPM ({why})."
    return Tempo(bpm, "one-shot", 1.0, edges.start_s if start_s is None else start_s, 1.0, None, (message,))


def _find_bpm(
    sound: Waveform, onsets: Onsets, votes: list[TempoVote], beats_per_bar: int | None, durations_s: list[float]
) -> Tempo:
    """The tempo by what is written and by the sound, its start still to be found. Errors: TempoError."""
    detected = detect(sound, onsets, durations_s, beats_per_bar)
    for vote in votes:
        whole = any(_is_bars(duration_s, vote.bpm, beats_per_bar or COMMON_BAR) for duration_s in durations_s)
        supported = whole or (detected is not None and is_multiple(detected.bpm, vote.bpm))
        if supported or detected is None or detected.probability < _SURE:
            sure = vote.confidence if whole else min(vote.confidence, _sureness(vote, detected))
            others = [v for v in votes if not is_multiple(v.bpm, vote.bpm) and (v.source, vote.source) != _BOTH_NAMED]
            return Tempo(vote.bpm, vote.source, sure, 0.0, 0.0, None, _told(vote.bpm, others))
    if detected is None:
        seconds = f"{sound.duration_s:.{1 if sound.duration_s >= 1 else 2}f} s"
        raise TempoError(f"can't find a tempo in {seconds} of audio: use at least a bar, or give its BPM")
    bpm = _rounder(detected, durations_s)
    return Tempo(bpm, "detected", detected.probability, 0.0, 0.0, None, _told(bpm, votes))


def _durations(edges: SoundEdges, whole_s: float) -> list[float]:
    """The lengths that may hold whole bars: with and without silence; none where only the file's beginning is known."""
    return [] if whole_s > edges.duration_s + 1e-6 else [stop - start for start, stop in edges.spans]


def _sureness(vote: TempoVote, detected: Detection | None) -> float:
    """How far a tempo is believed that the clip's length does not confirm."""
    if detected is not None and agrees(detected.bpm, vote.bpm):
        return max(_UNCHECKED, detected.probability)
    return _UNCHECKED


def _told(bpm: float, ignored: list[TempoVote]) -> tuple[str, ...]:
    """What is written and not followed, in a sentence."""
    if not ignored:
        return ()
    return (
        f"The loop is taken at {bpm:g} BPM, though {'; '.join(v.text for v in ignored)}: give the BPM to change it.",
    )


def _span_of(edges: SoundEdges, bpm: float) -> tuple[float, float]:
    """The stretch that is nearest to a whole number of beats, of those that are one; else the sound's own."""
    spans = [span for span in edges.spans if _is_whole(span[1] - span[0], bpm)]
    return min(spans, key=lambda span: _missing_s(span[1] - span[0], bpm), default=(edges.start_s, edges.stop_s))


def _missing_s(duration_s: float, bpm: float) -> float:
    beat_s = seconds_per_beat(bpm)
    return abs(duration_s - round(duration_s / beat_s) * beat_s)


def _is_whole(duration_s: float, bpm: float) -> bool:
    """Whether this is a whole number of beats, within 1% of a beat for each of them and 10% in all."""
    n_beats = duration_s / seconds_per_beat(bpm)
    return n_beats > 0.9 and abs(n_beats - round(n_beats)) < min(0.1, 0.01 * n_beats)


def _is_bars(duration_s: float, bpm: float, beats_per_bar: int) -> bool:
    """Whether this is a whole number of bars to 10 ms, which hardly happens by chance."""
    n_beats = round(duration_s / seconds_per_beat(bpm))
    return n_beats > 0 and n_beats % beats_per_bar == 0 and _missing_s(duration_s, bpm) < _EXACT_S


def _find_stop(waveform: Waveform, edges: SoundEdges, tempo: Tempo, beats_per_bar: int) -> float | None:
    """Where the loop ends, None at the clip's end: silence behind its last bar is left out, and so is a tail.

    A tail is what follows the last bar line behind the last attack, gets softer all the time and is no whole beats long
    with the rest.
    """
    beat_s = seconds_per_beat(tempo.bpm)
    bar_s, length_s = beats_per_bar * beat_s, edges.stop_s - tempo.start_s
    silent_s, whole_s = edges.duration_s - edges.stop_s, edges.duration_s - tempo.start_s
    if silent_s < bar_s and _is_bars(whole_s, tempo.bpm, beats_per_bar):
        return None  # a pattern may end in a rest
    stop_s = edges.duration_s
    if silent_s > beat_s / 4:
        stop_s = min(tempo.start_s + _up_to(length_s, bar_s, whole_s, beat_s), edges.duration_s)
    if _missing_s(whole_s, tempo.bpm) < 0.02 * beat_s and stop_s == edges.duration_s:
        return None
    attacks_s = attack_times(waveform)
    last_s = float(attacks_s[-1]) if len(attacks_s) else 0.0
    end_s = tempo.start_s + float(np.ceil((last_s - tempo.start_s + 0.02) / bar_s)) * bar_s
    if beat_s / 4 < edges.stop_s - end_s < length_s / 2 and _fades(waveform, end_s, edges.stop_s):
        return end_s
    return None if stop_s == edges.duration_s else stop_s


def _up_to(length_s: float, bar_s: float, most_s: float, beat_s: float) -> float:
    """The whole bars that hold so many seconds, or the whole beats where bars would be more than there is."""
    bars_s = float(np.ceil((length_s - 0.05 * beat_s) / bar_s)) * bar_s
    return bars_s if bars_s < most_s + _EXACT_S else float(np.ceil(length_s / beat_s - 0.05)) * beat_s


def _fades(waveform: Waveform, start_s: float, stop_s: float) -> bool:
    """Whether a stretch is softer in its last third than in its first by 12 dB."""
    part = _between(waveform, start_s, stop_s).samples
    thirds = [float(np.square(third).mean()) for third in np.array_split(part, 3) if len(third)]
    return len(thirds) == 3 and 10 * np.log10(thirds[2] / max(thirds[0], 1e-20) + 1e-12) < _TAIL_DB


def _rounder(detected: Detection, durations_s: list[float]) -> float:
    """The roundest BPM that says the same: loops are made at 120, not at 119.997."""
    for digits in range(6):
        bpm = round(detected.bpm, digits)
        if detected.n_beats:
            allowed_s = 2e-5 if digits else _INTEGER_FIT_S  # a sample, or a millisecond
            fits = abs(detected.n_beats * seconds_per_beat(bpm) - durations_s[detected.duration]) <= allowed_s
        else:
            fits = abs(bpm / detected.bpm - 1) < (5e-4 if digits else 1e-3)  # as exact as onsets tell
        if fits:
            return bpm
    return round(detected.bpm, 6)
