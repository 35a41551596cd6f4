"""How fast a loop is, where its beats and bars begin, where it ends, and how sure all that is (docs/tempo.md)."""

from dataclasses import dataclass, replace
from pathlib import Path

from melformer.audio.grid import GridFit, beat_edges, check_bpm, check_start, fit_to_grid, seconds_per_beat
from melformer.audio.one_shot import play_hits
from melformer.audio.tempo.beat_tracker import load_weights
from melformer.audio.tempo.clip_features import Clip, take_apart
from melformer.audio.tempo.decode import Detection, decode
from melformer.audio.tempo.ending import find_stop, is_one_shot
from melformer.audio.tempo.votes import Votes, agrees, conflicts, read_votes
from melformer.audio.waveform import Waveform
from melformer.errors import RequestError, TempoError

__all__ = [
    "GridFit",
    "Tempo",
    "beat_edges",
    "check_beats_per_bar",
    "check_bpm",
    "find_tempo",
    "fit_loop",
    "fit_to_grid",
]

ONE_SHOT_BPM = 120.0
MAX_BEATS_PER_BAR = 16
_INTEGER_FIT_S = 0.001  # a whole BPM may change the length of the clip by this much, any other by a sample
_SHORTEST_S = 0.25


@dataclass(frozen=True)
class Tempo:
    """The grid of a loop, and how sure each part of it is (0 to 1).

    `source` is "argument", "file name", "metadata", "detected" or "one-shot"; the first beat is at `start_s`, the beat
    numbered `downbeat` from there begins a bar, and the last bar ends at `stop_s`, behind which only silence or a tail
    is left. `messages` tell what was written otherwise.
    """

    bpm: float
    source: str
    confidence: float
    start_s: float
    start_confidence: float
    metre: str = "4/4"
    beats_per_bar: int = 4
    metre_confidence: float = 0.0
    downbeat: int = 0
    downbeat_confidence: float = 0.0
    stop_s: float | None = None
    messages: tuple[str, ...] = ()

    @property
    def bar(self) -> int:
        """Beats a bar to go on with: those found, or 4 where that is less than even odds."""
        return self.beats_per_bar if self.metre_confidence >= 0.5 else 4

    @property
    def is_one_shot(self) -> bool:
        """Whether the clip is a single hit, no loop."""
        return self.source == "one-shot"


def check_beats_per_bar(value: object) -> int:
    """Give the beats of a bar. Errors: RequestError for what is no whole number of 1 to 16."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_BEATS_PER_BAR:
        raise RequestError(f"beats_per_bar is {value!r}; a bar has 1 to {MAX_BEATS_PER_BAR} beats.")
    return value


def find_tempo(
    waveform: Waveform,
    *,
    path: str | Path | None = None,
    bpm: float | None = None,
    start_s: float | None = None,
    beats_per_bar: int | None = None,
) -> Tempo:
    """The grid of a loop: what is given holds; name, metadata, length and sound vote on the rest.

    Errors: TempoError for an impossible BPM or start, and where no tempo can be found; RequestError for an impossible
    bar; CheckpointError where the tracker's weights are missing.
    """
    bpm = None if bpm is None else check_bpm(bpm)
    start_s = None if start_s is None else check_start(waveform, start_s)
    bar = None if beats_per_bar is None else check_beats_per_bar(beats_per_bar)
    if bpm is not None and start_s is not None:  # then there is nothing to listen for
        return _given(bpm, start_s, bar)
    silent = not waveform.samples.any()
    if silent or waveform.duration_s < _SHORTEST_S / 10:
        return _unheard(waveform, bpm, start_s, bar)
    votes = read_votes(path, waveform.duration_s) if path is not None else Votes()
    weights = load_weights()
    clip = take_apart(waveform, weights)
    if is_one_shot(waveform, clip) and bpm is None:
        return _one_shot(clip, votes, start_s, bar)
    found = decode(clip, weights, bpm=bpm, votes=votes, bar=bar or votes.beats_per_bar)
    if found is None:
        return _unheard(waveform, bpm, start_s, bar)
    return _tempo(waveform, clip, found, votes, bpm, start_s, bar)


def fit_loop(waveform: Waveform, tempo: Tempo) -> GridFit:
    """A loop's whole beats, from its first beat to its last bar's end; of a single hit, a bar of them.

    Errors: TempoError as for `fit_to_grid`.
    """
    if not tempo.is_one_shot:
        return fit_to_grid(waveform, tempo.bpm, tempo.start_s, tempo.stop_s)
    n_beats = max(2, tempo.bar)
    return GridFit(play_hits(waveform, tempo.bpm, n_beats, tempo.start_s), n_beats, None)


def _given(bpm: float, start_s: float, bar: int | None) -> Tempo:
    sure = 0.0 if bar is None else 1.0
    return Tempo(bpm, "argument", 1.0, start_s, 1.0, _metre_name(bar or 4), bar or 4, sure, 0, 0.0)


def _metre_name(beats_per_bar: int) -> str:
    return {2: "2/4", 3: "3/4", 4: "4/4", 5: "5/4", 6: "6/8", 7: "7/8"}.get(beats_per_bar, f"{beats_per_bar}/4")


def _unheard(waveform: Waveform, bpm: float | None, start_s: float | None, bar: int | None) -> Tempo:
    """Nothing to hear. Errors: TempoError without a BPM."""
    if bpm is None:
        raise TempoError(f"no tempo can be heard in {waveform.duration_s:.2f} s of audio: give its BPM")
    return replace(_given(bpm, start_s or 0.0, bar), start_confidence=0.0 if start_s is None else 1.0)


def _one_shot(clip: Clip, votes: Votes, start_s: float | None, bar: int | None) -> Tempo:
    written = max(votes.tempi, key=lambda v: v.weight, default=None)
    bpm = written.bpm if written else ONE_SHOT_BPM
    start = clip.edges.onset_s if start_s is None else start_s
    given = f"as {written.text}" if written else "give another BPM if you like"
    message = f"This is a single hit, not a loop: it is played once a beat at {bpm:g} BPM ({given})."
    return Tempo(bpm, "one-shot", 0.0, start, 1.0, _metre_name(bar or 4), bar or 4, float(bar is not None), 0, 1.0,
                 messages=(message,))  # fmt: skip


def _tempo(
    waveform: Waveform,
    clip: Clip,
    found: Detection,
    votes: Votes,
    bpm: float | None,
    start_s: float | None,
    bar: int | None,
) -> Tempo:
    """What was detected, with what was given and what is written in its place."""
    written = None if bpm else votes.source(found.bpm)
    value = bpm or (written.bpm if written and not _is_exact(found, written.bpm) else _rounder(found, waveform))
    source = "argument" if bpm else (written.source if written else "detected")
    start = found.start_s if start_s is None else start_s
    downbeat = found.downbeat
    if start_s is not None:  # the same downbeat, counted from another beat
        downbeat = round((found.start_s - start_s) / seconds_per_beat(value) + downbeat) % found.beats_per_bar
    stop = find_stop(clip, value, start, found.beats_per_bar)
    messages = () if bpm else tuple(conflicts(votes, value, found.probability))
    return Tempo(
        value, source, 1.0 if bpm else found.probability, start,
        1.0 if start_s is not None else found.start_probability,
        found.metre if bar is None else _metre_name(bar), found.beats_per_bar, 1.0 if bar else found.metre_probability,
        downbeat, found.downbeat_probability, stop, messages,
    )  # fmt: skip


def _is_exact(found: Detection, written_bpm: float) -> bool:
    """Whether the clip's own length says better how fast it is than what is written, which is often rounded."""
    if found.span is None or not agrees(found.bpm, written_bpm):
        return False
    duration_s = found.span[1] - found.span[0]
    n_beats = round(duration_s / seconds_per_beat(found.bpm))
    return n_beats % 4 == 0 and abs(n_beats * seconds_per_beat(written_bpm) - duration_s) > 2 * _INTEGER_FIT_S


def _rounder(found: Detection, waveform: Waveform) -> float:
    """The roundest BPM that says the same: loops are made at 120, not at 119.997."""
    for digits in range(6):
        bpm = round(found.bpm, digits)
        if not 40.0 <= bpm <= 240.0:
            continue
        if found.span:
            allowed_s = 1.0 / waveform.sample_rate if digits else _INTEGER_FIT_S
            duration_s = found.span[1] - found.span[0]
            n_beats = round(duration_s / seconds_per_beat(found.bpm))
            fits = abs(n_beats * seconds_per_beat(bpm) - duration_s) <= allowed_s
        else:
            n_beats = waveform.duration_s / seconds_per_beat(found.bpm)
            fits = (
                abs(bpm / found.bpm - 1.0) * n_beats * seconds_per_beat(bpm) < 0.012
                or abs(bpm / found.bpm - 1.0) < 3e-4
            )
        if fits:
            return bpm
    return round(found.bpm, 6)
