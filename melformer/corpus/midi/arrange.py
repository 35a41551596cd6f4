"""A passage out of a score: a stretch of it, in another key and tempo, some players left out, in other sounds."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from melformer.corpus.composition import drumming
from melformer.corpus.composition.compose import streams
from melformer.corpus.composition.frame import pick
from melformer.corpus.midi.score import Player, Score, Stretch
from melformer.corpus.midi.sounds import DRUMS, OTHER_DRUM, draw_player_sound
from melformer.corpus.mixing import console
from melformer.corpus.passage import Event, Part, Passage, Section
from melformer.corpus.styles.table import STYLES
from melformer.corpus.synthesis import kits, soundfont
from melformer.errors import MidiError

LENGTHS_BEATS = (32, 64, 64, 96, 128)
SHORTEST_BEATS = 8
FASTEST, SLOWEST = 220.0, 45.0
SPREAD = 0.2
"""How far the tempo may be from the file's, either way."""
DROP = (0.5, 0.2)
"""Chances that some player is left out, and that it is a whole stem."""
_FAMILIES = ("acoustic", "acoustic", "acoustic", "909", "808", "hard", "brushes", "glitch")


@dataclass(frozen=True)
class Excerpt:
    """Whole bars of a stretch: the first bar's place in quarter notes, and how many bars."""

    stretch: Stretch
    start: float
    n_bars: int

    @property
    def n_beats(self) -> int:
        return self.n_bars * self.stretch.beats_per_bar

    @property
    def stop(self) -> float:
        return self.start + self.n_beats * self.stretch.beat


def arrange(score: Score, seed: int, source: dict[str, str], kinds: frozenset[str]) -> Passage:
    """One passage of a score, decided by the seed: 32 to 128 beats where the score has as many.

    Its grid is exact: one BPM within 20% of the score's. `source` says whose music it is. `kinds` of material to use
    besides synthesis, as in `compose`. Errors: MidiError for a score without eight beats of music in one metre.
    """
    stream = streams(seed)
    excerpt = draw_excerpt(score, stream("excerpt"))
    rng = stream("frame")
    quarters = score.bpm * (1 + float(rng.uniform(-SPREAD, SPREAD)))
    bpm = round(float(np.clip(quarters / excerpt.stretch.beat, SLOWEST, FASTEST)), 2)
    shift = int(rng.integers(-5, 7))
    tracks = _drop_out(_tracks(score, excerpt, shift), stream("drop"))
    parts, master = _dress(tracks, kinds, stream)
    layers = tuple(part.name for part in parts)
    form = (Section("A", 0, excerpt.n_bars, layers),)
    chords: list[list[str]] = [[] for _ in range(excerpt.n_bars)]
    return Passage(seed, f"midi {score.name}", bpm, excerpt.stretch.metre, excerpt.stretch.beats_per_bar,
                   excerpt.n_beats, "", "", chords, form, parts, False, master, source=source)  # fmt: skip


def draw_excerpt(score: Score, rng: np.random.Generator) -> Excerpt:
    """A run of bars that begins at a multiple of four bars where it can, half of them at least with notes.

    Errors: MidiError where the score has no eight beats of music.
    """
    choices = [s for s in score.stretches if (s.stop - s.start) / s.beat >= SHORTEST_BEATS]
    if choices:
        weights = np.array([stretch.stop - stretch.start for stretch in choices])
        stretch = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
        bar = stretch.beats_per_bar * stretch.beat
        n_all = round((stretch.stop - stretch.start) / bar)
        n_bars = min(n_all, -(-int(pick(rng, LENGTHS_BEATS)) // stretch.beats_per_bar))
        sounding = np.zeros(n_all, bool)
        for note in (note for player in score.players for note in player.notes):
            if stretch.start <= note.start < stretch.stop:
                sounding[int((note.start - stretch.start) / bar + 1e-6)] = True
        starts = [
            i for i in (*range(0, n_all - n_bars + 1, 4), n_all - n_bars) if sounding[i : i + n_bars].mean() >= 0.5
        ]
        if starts:
            return Excerpt(stretch, stretch.start + int(pick(rng, starts)) * bar, n_bars)
    raise MidiError(f"{score.name} has no {SHORTEST_BEATS} beats of music in one metre; give a longer file.")


@dataclass(frozen=True)
class _Track:
    """Events of one part to be: the name of its part, its role on the desk, and the program (None for drums)."""

    name: str
    role: str
    program: int | None
    events: list[Event]

    @property
    def chords(self) -> bool:
        starts = [event.start_beats for event in self.events]
        return len(set(starts)) < 0.9 * len(starts)


def _tracks(score: Score, excerpt: Excerpt, shift: int) -> list[_Track]:
    """The excerpt's parts: drums by the part that a drum belongs to, each other player by itself."""
    drums: dict[str, list[Event]] = defaultdict(list)
    tracks, counts = [], dict.fromkeys(("bass", "comp", "pad", "arp", "lead"), 0)
    for player in score.players:
        events = _events(player, excerpt, shift)
        if player.is_drums:
            for event in events:
                drums[drumming.role_of(event.sound)].append(event)
        elif events:
            role = "bass" if player.is_bass else _role(events)
            counts[role] += 1
            name = role if counts[role] == 1 else f"{role} {counts[role]}"
            tracks.append(_Track(name, role, player.program, events))
    return [_Track(role, role, None, events) for role, events in sorted(drums.items())] + tracks


def _events(player: Player, excerpt: Excerpt, shift: int) -> list[Event]:
    """A player's notes in the excerpt, in beats from its start; what is struck twice at once is struck once."""
    beat = excerpt.stretch.beat
    found: dict[tuple[float, str | int], Event] = {}
    for note in player.notes:
        if not excerpt.start - 1e-6 <= note.start < excerpt.stop - 1e-6:
            continue
        start = max(0.0, round((note.start - excerpt.start) / beat, 6))
        length = round(min(note.length, excerpt.stop - note.start) / beat, 4)
        velocity = round(note.velocity / 127, 3)
        if player.is_drums:
            sound = DRUMS.get(note.pitch, OTHER_DRUM)
            event = Event(start, max(length, 0.05), 60, velocity, sound)
        else:
            event = Event(start, max(length, 0.05), _folded(note.pitch + shift), velocity)
        key = (start, event.sound or event.pitch)
        if key not in found or found[key].velocity < velocity:
            found[key] = event
    return sorted(found.values(), key=lambda e: (e.start_beats, e.pitch, e.sound))


def _folded(pitch: int) -> int:
    """A pitch between 12 and 119, an octave away where it has to be."""
    return pitch + 12 * (pitch < 12) - 12 * (pitch > 119)


def _role(events: list[Event]) -> str:
    """What a player does: holds chords, strikes them, runs, or sings."""
    starts = {event.start_beats for event in events}
    length = float(np.mean([event.duration_beats for event in events]))
    if length >= 2.0:
        return "pad"
    if len(events) >= 1.6 * len(starts):
        return "comp"
    span = max(starts) - min(starts)
    return "arp" if len(starts) > 2.5 * max(span, 1.0) else "lead"


def _drop_out(tracks: list[_Track], rng: np.random.Generator) -> list[_Track]:
    """Some players or a whole stem left out, never all. Errors: none; a single track stays as it is."""
    drop, whole = rng.random() < DROP[0], rng.random() < DROP[1]
    stems = ["drums" if t.program is None else "bass" if t.role == "bass" else "other" for t in tracks]
    if not drop or len(tracks) < 2:
        return tracks
    if whole and len(set(stems)) > 1:
        gone = str(pick(rng, sorted(set(stems))))
        return [track for track, stem in zip(tracks, stems) if stem != gone]
    n_gone = int(rng.integers(1, max(2, len(tracks) // 2 + 1)))
    gone_tracks = set(rng.choice(len(tracks), n_gone, replace=False).tolist())
    return [track for i, track in enumerate(tracks) if i not in gone_tracks]


def _dress(
    tracks: list[_Track], kinds: frozenset[str], stream: console.Streams
) -> tuple[tuple[Part, ...], dict[str, float]]:
    """Sounds, levels, places and the master, in the manner of some style of the engine."""
    rng = stream("desk")
    style = STYLES[str(pick(rng, tuple(STYLES)))]
    raw = bool(rng.random() < 0.12)
    breadth = float(pick(rng, (1.0, 1.0, 1.0, 1.6, 2.2)))
    family = str(pick(rng, _FAMILIES))
    installed = sorted(soundfont.fonts()) if "soundfont" in kinds else []
    font = str(pick(rng, installed)) if installed else None
    master = console.draw_master(style, raw, rng)
    sounds = {event.sound for track in tracks if track.program is None for event in track.events}
    kit = kits.draw_kit(family, sounds, stream("kit"), kinds)
    kit = {name: {**drum, "font": font} if "preset" in drum else drum for name, drum in kit.items()}
    parts = []
    for track in tracks:
        own = stream(f"part {track.name}")
        if track.program is None:
            sound = ("drums", {"kit": {name: kit[name] for name in sorted({e.sound for e in track.events})}})
        else:
            sound = draw_player_sound(track.program, track.chords, font, own)
        parts.append(console.dress(track.name, track.role, sound, track.events, style, raw, breadth, own))
    return tuple(parts), master
