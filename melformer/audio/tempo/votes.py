"""What a file's name and its metadata say of its tempo."""

from dataclasses import dataclass
from pathlib import Path

from melformer.audio.grid import MAX_BPM, MIN_BPM, bpm_of
from melformer.audio.metadata import read_tempo_tags
from melformer.audio.tempo.name import bpm_in_name

SAME = 0.005
_STATED, _WRITTEN = 0.98, 0.9  # how far it is believed where the sound does not contradict


@dataclass(frozen=True)
class TempoVote:
    """A tempo that somebody wrote down: in the "file name" or the "metadata", how sure it is, and what stands there."""

    bpm: float
    source: str
    confidence: float
    text: str


def read_votes(path: str | Path, duration_s: float) -> list[TempoVote]:
    """What is written about a file of this length, the likeliest first.

    A name that says BPM comes before the metadata, a bare number in it as well; of the metadata, a number of beats
    comes before a tempo, which many programs fill in without looking.
    """
    votes: list[TempoVote] = []
    if named := bpm_in_name(path):
        sure = _STATED if named.is_stated else _WRITTEN
        votes += [TempoVote(bpm, "file name", sure, f"its name says {bpm:g} BPM") for bpm in named.bpms]
    tags = read_tempo_tags(path)
    by_beats = bpm_of(tags.n_beats, duration_s) if tags.n_beats else 0.0
    beats_fit = MIN_BPM <= by_beats <= MAX_BPM
    tagged = (
        [] if tags.bpm is None else [TempoVote(tags.bpm, "metadata", _WRITTEN, f"its metadata say {tags.bpm:g} BPM")]
    )
    if beats_fit and not (tags.bpm and agrees(by_beats, tags.bpm)):
        text = f"its metadata say {tags.n_beats} beats, which makes {by_beats:.6g} BPM"
        tagged.insert(0, TempoVote(by_beats, "metadata", _WRITTEN, text))
    return votes + tagged


def agrees(bpm: float, other: float) -> bool:
    """Whether two tempi are one, as people write them down."""
    return abs(bpm / other - 1.0) < SAME


def is_multiple(bpm: float, other: float) -> bool:
    """Whether they are one, or one of them is the other counted twice or half as fast."""
    return any(abs(bpm * factor / other - 1.0) < 4 * SAME for factor in (0.5, 1, 2))
