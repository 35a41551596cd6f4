"""What a file's name and its metadata say of its tempo, weighed against its sound."""

from dataclasses import dataclass
from pathlib import Path

from melformer.audio.grid import MAX_BPM, MIN_BPM, bpm_of
from melformer.audio.metadata import read_tempo_tags
from melformer.audio.tempo.name import bpm_in_name

SAME = 0.005
# In nats of the decoder's scores, by hand: names and tags are right far more often than not, but not always.
_STATED, _BARE, _TAG, _BEATS, _DOUBTED = 6.0, 4.0, 4.0, 5.0, 2.5


@dataclass(frozen=True)
class Vote:
    """A tempo that somebody wrote down: "file name" or "metadata", how much it counts, and what was written."""

    bpm: float
    source: str
    weight: float
    text: str


@dataclass(frozen=True)
class Votes:
    """All that is written about a file: tempi, beats a bar (None: nothing), and whether it is called a single hit."""

    tempi: tuple[Vote, ...] = ()
    beats_per_bar: int | None = None
    is_one_shot: bool = False

    def weight(self, bpm: float) -> float:
        """What is written in favour of a tempo; where name and metadata agree, both count."""
        return sum(max((v.weight for v in self.tempi if v.source == source and agrees(bpm, v.bpm)), default=0.0)
                   for source in ("file name", "metadata"))  # fmt: skip

    def source(self, bpm: float) -> Vote | None:
        """The weightiest vote for a tempo."""
        return max((v for v in self.tempi if agrees(bpm, v.bpm)), key=lambda v: v.weight, default=None)


def agrees(bpm: float, other: float) -> bool:
    """Whether two tempi are one, as people write them down."""
    return abs(bpm / other - 1.0) < SAME


def is_octave(bpm: float, other: float) -> bool:
    """Whether one of two tempi is the other one counted twice or half as fast."""
    return agrees(bpm, 2.0 * other) or agrees(2.0 * bpm, other)


def read_votes(path: str | Path, duration_s: float) -> Votes:
    """Votes of a file that lasts `duration_s`; none where nothing is written."""
    votes: list[Vote] = []
    if named := bpm_in_name(path):
        weight = _STATED if named.is_stated else _BARE
        for rank, bpm in enumerate(named.bpms):
            votes.append(Vote(bpm, "file name", weight - 1.0 * rank, f"its name says {bpm:g} BPM"))
    tags = read_tempo_tags(path)
    by_beats = bpm_of(tags.n_beats, duration_s) if tags.n_beats else 0.0
    if MIN_BPM <= by_beats <= MAX_BPM:
        text = f"its metadata say {tags.n_beats} beats, which makes {by_beats:.6g} BPM"
        votes.append(Vote(by_beats, "metadata", _BEATS, text))
    if tags.bpm:
        doubted = MIN_BPM <= by_beats <= MAX_BPM and not agrees(by_beats, tags.bpm)
        votes.append(Vote(tags.bpm, "metadata", _DOUBTED if doubted else _TAG, f"its metadata say {tags.bpm:g} BPM"))
    return Votes(tuple(votes), tags.beats_per_bar, tags.is_one_shot)


def conflicts(votes: Votes, bpm: float, probability: float) -> list[str]:
    """Sentences about what is written and not followed; the same tempo counted in halves is no conflict."""
    ignored = [v for v in votes.tempi if not agrees(bpm, v.bpm) and not is_octave(bpm, v.bpm)]
    if not ignored or (votes.source(bpm) and all(v.source == votes.source(bpm).source for v in ignored)):  # type: ignore[union-attr]
        return []
    told = "; ".join(dict.fromkeys(v.text for v in ignored))
    return [f"The loop is taken at {bpm:g} BPM ({probability:.0%} sure), though {told}: give the BPM if that is right."]
