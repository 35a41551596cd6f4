"""How fast a loop is, where its first beat and its end lie, how it fits the beat grid (docs/explanation/tempo.md)."""

from dataclasses import dataclass, replace
from pathlib import Path

from melformer.audio.grid import (
    GridFit,
    check_beats_per_bar,
    check_bpm,
    check_start,
    fit_to_grid,
    seconds_per_beat,
)
from melformer.audio.tempo.beat_network import BARS, Weights
from melformer.audio.tempo.decoder import TempoEstimate, estimate_bar, estimate_phase, estimate_tempo, whole_span
from melformer.audio.tempo.edges import SoundEdges, find_edges
from melformer.audio.tempo.loop_end import between, find_stop, is_bars
from melformer.audio.tempo.one_shot import is_one_shot, play_hits
from melformer.audio.tempo.tempo_features import COMMON_BAR, AnalysedClip, analyse_clip
from melformer.audio.tempo.tracker_weights import shipped_weights
from melformer.audio.tempo.votes import TempoVote, agrees, is_multiple, read_votes
from melformer.audio.waveform import Waveform
from melformer.errors import TempoError

ONE_SHOT_BPM, ONE_SHOT_BEATS = 120.0, COMMON_BAR
SURE = 0.8  # a detection from here on overrules what is written, and a metre what is usual
_INTEGER_FIT_S = 0.001  # a whole BPM may change the length of the clip by this much, any other by a sample
_UNCHECKED = 0.6  # the confidence of what is written, where the sound neither supports nor contradicts it
_SHORTEST_S = 0.5  # two beats of the fastest loops; less has no tempo
_BOTH_NAMED = ("file name", "file name")  # a name may hold several numbers, of which one was meant


@dataclass(frozen=True)
class Tempo:
    """A loop's tempo, first beat, metre and end, and how sure each but the last is (0..1).

    `source` is "argument", "file name", "metadata", "detected" or "one-shot"; `start_s` is where the first beat is, in
    s; from `stop_s` on only silence or a tail is left (None: the loop goes on to the clip's end). `messages` tell what
    is written otherwise. Beat number `downbeat` after the first begins a bar of `metre`, which has `beats_per_bar`.
    """

    bpm: float
    source: str
    confidence: float
    start_s: float
    start_confidence: float
    stop_s: float | None = None
    messages: tuple[str, ...] = ()
    metre: str = "4/4"
    beats_per_bar: int = COMMON_BAR
    metre_confidence: float = 0.0
    downbeat: int = 0
    downbeat_confidence: float = 0.0

    @property
    def bar(self) -> int:
        """Beats of a bar: those that were found where that is certain (0.8), else four."""
        return self.beats_per_bar if self.metre_confidence >= SURE else COMMON_BAR

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
    weights: Weights | None = None,
) -> Tempo:
    """What is given holds; else the name of `path` and its metadata, where the sound does not contradict; else this.

    Silence around the sound is no part of the loop: its length counts with and without. `beats_per_bar` says, where it
    is known, how long a bar is; else bars of four beats are likelier than others. `whole_s` is the file's length where
    `waveform` is only its beginning, whose own length then says nothing. `weights` are the shipped ones by default.
    Errors: TempoError for an impossible BPM, start or bar, and where no tempo can be found; CheckpointError where the
    weights are missing or damaged.
    """
    if beats_per_bar is not None:
        check_beats_per_bar(beats_per_bar)
    bpm = None if bpm is None else check_bpm(bpm)
    start_s = None if start_s is None else check_start(waveform, start_s)
    if bpm is not None and start_s is not None:  # then there is nothing to listen for
        return Tempo(bpm, "argument", 1.0, start_s, 1.0)
    weights = shipped_weights() if weights is None else weights
    edges = find_edges(waveform)
    sound = between(waveform, edges.start_s, edges.stop_s)
    whole_s = waveform.duration_s if whole_s is None else whole_s
    votes = read_votes(path, whole_s) if path is not None and bpm is None else []
    if bpm is None and is_one_shot(sound):
        return _one_shot(edges, votes, start_s)
    clip = analyse_clip(waveform, weights) if waveform.samples.any() else None
    durations_s = _durations(edges, whole_s)
    if bpm is None:
        estimate = None
        if clip is not None and sound.duration_s >= _SHORTEST_S:
            estimate = estimate_tempo(clip, weights, bool(durations_s), beats_per_bar)
        found = _choose(estimate, votes, beats_per_bar or COMMON_BAR, durations_s, sound.duration_s)
    else:
        found = Tempo(bpm, "argument", 1.0, 0.0, 0.0)
    found = _with_beats(found, clip, start_s, beats_per_bar, weights)
    if start_s is None:
        found = replace(found, messages=found.messages + _late_bar(found))
    bar = beats_per_bar or (found.bar if found.bar > 2 else COMMON_BAR)  # bars of two beats come in pairs
    return replace(found, stop_s=find_stop(waveform, edges, found.bpm, found.start_s, bar))


def fit_loop(waveform: Waveform, tempo: Tempo) -> GridFit:
    """A loop's whole beats, from its first beat to its end; of a single hit, a bar of them. Errors: TempoError."""
    if not tempo.is_one_shot:
        return fit_to_grid(waveform, tempo.bpm, tempo.start_s, tempo.stop_s)
    return GridFit(play_hits(waveform, tempo.bpm, ONE_SHOT_BEATS, tempo.start_s), ONE_SHOT_BEATS, None)


def _durations(edges: SoundEdges, whole_s: float) -> list[float]:
    """The lengths that may hold whole bars: with and without silence; none where only the file's beginning is known."""
    return [] if whole_s > edges.duration_s + 1e-6 else [stop - start for start, stop in edges.spans]


def _with_beats(
    found: Tempo, clip: AnalysedClip | None, start_s: float | None, beats_per_bar: int | None, weights: Weights
) -> Tempo:
    """The tempo with its first beat, where none is given, and its metre."""
    if clip is None:
        return replace(found, start_s=start_s or 0.0, start_confidence=0.0 if start_s is None else 1.0)
    span, before_s = whole_span(clip.edges, found.bpm), clip.edges.before_s
    first_s, sure = estimate_phase(clip, found.bpm, span, weights) if start_s is None else (start_s - before_s, 1.0)
    found = replace(found, start_s=first_s + before_s, start_confidence=sure)
    n_beats = 0 if span is None else round((span[1] - span[0]) / seconds_per_beat(found.bpm))
    if beats_per_bar is not None and beats_per_bar not in BARS:
        return replace(found, metre=f"{beats_per_bar}/4", beats_per_bar=beats_per_bar, metre_confidence=1.0)
    bar = estimate_bar(clip, found.bpm, max(0.0, first_s), n_beats, weights, beats_per_bar)
    metre = "2/4" if beats_per_bar == 2 else bar.metre  # two beats of a quarter, not of 6/8
    return replace(
        found, metre=metre, beats_per_bar=bar.beats_per_bar, metre_confidence=bar.metre_probability,
        downbeat=bar.downbeat, downbeat_confidence=bar.downbeat_probability,
    )  # fmt: skip


def _late_bar(found: Tempo) -> tuple[str, ...]:
    """Where bars begin, in a sentence, if it is certainly not with the first beat: bars are counted from there."""
    if not found.downbeat or found.downbeat_confidence < SURE:
        return ()
    bar_s = found.start_s + found.downbeat * seconds_per_beat(found.bpm)
    return (
        f"The loop seems to begin {found.downbeat} beat{'s' if found.downbeat > 1 else ''} before a bar: give "
        f"{bar_s:.3f} s as its start to count bars from there.",
    )


def _one_shot(edges: SoundEdges, votes: list[TempoVote], start_s: float | None) -> Tempo:
    bpm = votes[0].bpm if votes else ONE_SHOT_BPM
    why = f"as {votes[0].text}" if votes else "give another BPM if you like"
    message = f"This is a single hit, not a loop: it is played once a beat at {bpm:g} BPM ({why})."
    return Tempo(bpm, "one-shot", 1.0, edges.start_s if start_s is None else start_s, 1.0, None, (message,))


def _choose(
    detected: TempoEstimate | None, votes: list[TempoVote], bar: int, durations_s: list[float], sound_s: float
) -> Tempo:
    """The tempo by what is written and by the sound, its start still to be found. Errors: TempoError."""
    for vote in votes:
        whole = any(is_bars(duration_s, vote.bpm, bar) for duration_s in durations_s)
        supported = whole or (detected is not None and is_multiple(detected.bpm, vote.bpm))
        if supported or detected is None or detected.probability < SURE:
            sure = vote.confidence if whole else min(vote.confidence, _sureness(vote, detected))
            others = [v for v in votes if not is_multiple(v.bpm, vote.bpm) and (v.source, vote.source) != _BOTH_NAMED]
            return Tempo(vote.bpm, vote.source, sure, 0.0, 0.0, None, _told(vote.bpm, others))
    if detected is None:
        seconds = f"{sound_s:.{1 if sound_s >= 1 else 2}f} s"
        raise TempoError(f"can't find a tempo in {seconds} of audio: use at least a bar, or give its BPM")
    bpm = _rounder(detected)
    return Tempo(bpm, "detected", detected.probability, 0.0, 0.0, None, _told(bpm, votes))


def _told(bpm: float, ignored: list[TempoVote]) -> tuple[str, ...]:
    """What is written and not followed, in a sentence."""
    if not ignored:
        return ()
    return (
        f"The loop is taken at {bpm:g} BPM, though {'; '.join(v.text for v in ignored)}: give the BPM to change it.",
    )


def _sureness(vote: TempoVote, detected: TempoEstimate | None) -> float:
    """How far a tempo is believed that the clip's length does not confirm."""
    if detected is not None and agrees(detected.bpm, vote.bpm):
        return max(_UNCHECKED, detected.probability)
    return _UNCHECKED


def _rounder(detected: TempoEstimate) -> float:
    """The roundest BPM that says the same: loops are made at 120, not at 119.997."""
    n_beats, length_s = detected.candidate.exact_length
    for digits in range(6):
        bpm = round(detected.bpm, digits)
        if n_beats:
            allowed_s = 2e-5 if digits else _INTEGER_FIT_S  # a sample, or a millisecond
            fits = abs(n_beats * seconds_per_beat(bpm) - length_s) <= allowed_s
        else:
            fits = abs(bpm / detected.bpm - 1) < (5e-4 if digits else 1e-3)  # as exact as onsets tell
        if fits:
            return bpm
    return round(detected.bpm, 6)
