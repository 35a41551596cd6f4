"""A passage of music on paper: every note, every sound setting, nothing rendered yet."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from melformer.audio.grid import seconds_per_beat

_DRUM_PARTS = frozenset({"kick", "snare", "hats", "perc"})


@dataclass(frozen=True)
class Event:
    """One note or hit. Swing and humanising are already in `start_beats`.

    `start_beats` ≥ 0 and `duration_beats` > 0 count beats from the passage's start; `velocity` is in (0, 1];
    `sound` names a drum ("kick"), or is empty for a note at MIDI `pitch`; `bend` is where a glide into the
    pitch begins, in semitones relative to it. `written_beats` is the start before swing and humanising, None where
    there were none.
    """

    start_beats: float
    duration_beats: float
    pitch: int = 60
    velocity: float = 0.8
    sound: str = ""
    bend: float = 0.0
    written_beats: float | None = None


@dataclass(frozen=True)
class Sweep:
    """A filter or a fader that moves in a straight line (log-frequency, or dB) between two beats.

    `kind` is "lowpass" or "highpass" (values in Hz) or "gain" (values in dB); outside its beats it does nothing.
    """

    kind: str
    start_beats: float
    stop_beats: float
    start_value: float
    stop_value: float


@dataclass(frozen=True)
class Part:
    """One player: an instrument, how it is set, what it plays and where it stands in the mix."""

    name: str
    instrument: str
    params: dict[str, Any]
    events: tuple[Event, ...]
    gain_db: float = 0.0
    pan: float = 0.0
    reverb: float = 0.0
    delay: float = 0.0
    duck: float = 0.0
    effects: dict[str, float] = field(default_factory=dict)
    sweeps: tuple[Sweep, ...] = ()


def stem_of(part: Part) -> str:
    """The stem that a part belongs to, one of `STEMS`."""
    if part.name in _DRUM_PARTS or part.instrument == "drums":
        return "drums"
    return "bass" if part.name.split()[0] == "bass" else "other"


@dataclass(frozen=True)
class Section:
    """A stretch of whole bars: its letter, where it starts, how long it is, who plays.

    `phrase_bar` is the bar of its letter's phrase with which it begins.
    """

    label: str
    start_bar: int
    n_bars: int
    layers: tuple[str, ...]
    phrase_bar: int = 0


@dataclass(frozen=True)
class Passage:
    """A whole piece to render; `n_beats` beats at `bpm`, the last bar possibly cut short.

    `chords` holds one entry a bar, each a list of chord names. `loop` says that tails run into the start, as in a
    file made to be looped. `master` holds the settings of the shared effects; `plan` names how layers come and go.
    `source` names whose music it is and its licence, where it is not ours.
    """

    seed: int
    style: str
    bpm: float
    metre: str
    beats_per_bar: int
    n_beats: int
    key: str
    mode: str
    chords: list[list[str]]
    form: tuple[Section, ...]
    parts: tuple[Part, ...]
    loop: bool
    master: dict[str, float]
    plan: str = "steady"
    source: dict[str, str] | None = None

    @property
    def n_bars(self) -> int:
        """Bars begun, counting a last one that is cut short."""
        return -(-self.n_beats // self.beats_per_bar)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_beats * seconds_per_beat(self.bpm)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists, ready for `json.dumps`."""
        return asdict(self)

    def fingerprint(self) -> str:
        """A hash of what is played: drums and notes, when, how long, how hard; not of tempo or timbre."""
        played = [
            (part.name, e.sound or e.pitch, round(e.start_beats, 3), round(e.duration_beats, 3), round(e.velocity, 2))
            for part in self.parts
            for e in part.events
        ]
        text = json.dumps([self.beats_per_bar, self.n_beats, sorted(played, key=str)])
        return hashlib.sha256(text.encode()).hexdigest()
