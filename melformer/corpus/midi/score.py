"""Read a MIDI file as a score: who plays which notes, in quarter notes from the start, and the metre."""

import statistics
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import mido

from melformer.errors import MidiError

MAX_BYTES = 4_000_000
MAX_MINUTES = 30.0
DRUM_CHANNEL = 9
SHORTEST_QUARTERS = 1 / 48
# What mido raises for files that are damaged in one way or another.
_BROKEN = (OSError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError)


@dataclass(frozen=True)
class ScoreNote:
    """A note or a hit: onset and length in quarter notes, MIDI pitch (or drum key), velocity 1 to 127."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Player:
    """All notes of one channel and program, in order of onset."""

    channel: int
    program: int
    notes: tuple[ScoreNote, ...]

    @property
    def is_drums(self) -> bool:
        return self.channel == DRUM_CHANNEL

    @property
    def is_bass(self) -> bool:
        return not self.is_drums and 32 <= self.program < 40


@dataclass(frozen=True)
class Stretch:
    """Quarter notes of one metre, which begin on a bar line; `beat` is the length of a beat in quarter notes."""

    start: float
    stop: float
    metre: str
    beats_per_bar: int
    beat: float


@dataclass(frozen=True)
class Score:
    """A MIDI file: its players, its stretches of one metre, and the BPM, in quarter notes, that most of it has."""

    name: str
    players: tuple[Player, ...]
    stretches: tuple[Stretch, ...]
    bpm: float


def read_score(path: str | Path) -> Score:
    """Read a MIDI file of format 0 or 1, up to 4 MB and half an hour.

    Its tempo changes are left out, since notes are read by their ticks: whoever renders it has one tempo and an exact
    grid. Errors: MidiError that names the file, for what is damaged, too long, silent, or counts no beats.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise MidiError(f"{path} has {size:,} bytes; a MIDI file may have {MAX_BYTES:,}. Cut it into pieces.")
        midi = mido.MidiFile(path, clip=True)
    except FileNotFoundError:
        raise MidiError(f"{path} does not exist; give a MIDI file.") from None
    except MidiError:
        raise
    except _BROKEN as error:
        raise MidiError(f"{path} is no MIDI file, or a damaged one ({error or 'it ends too soon'}).") from error
    return _score(path, midi)


def _score(path: Path, midi: mido.MidiFile) -> Score:
    if midi.type == 2:
        raise MidiError(f"{path} is of format 2 (tracks that do not sound together); save it as format 0 or 1.")
    if midi.ticks_per_beat <= 0:
        raise MidiError(f"{path} counts time in SMPTE frames, not in beats; save it with ticks per quarter note.")
    events = _merged(midi)
    players = _players(events, midi.ticks_per_beat)
    if not players:
        raise MidiError(f"{path} has no notes; give a file that has some.")
    stop = max(note.start + note.length for player in players for note in player.notes)
    bpm, minutes = _tempo(events, midi.ticks_per_beat, stop)
    if minutes > MAX_MINUTES:
        raise MidiError(f"{path} lasts {minutes:.0f} minutes; the limit is {MAX_MINUTES:.0f}. Cut it into pieces.")
    return Score(path.stem, players, _stretches(events, midi.ticks_per_beat, stop), bpm)


def _merged(midi: mido.MidiFile) -> list[tuple[int, mido.Message]]:
    """The events of all tracks with absolute ticks; where several stand at one tick, in the order of the tracks."""
    events = []
    for track in midi.tracks:
        now = 0
        for message in track:
            now += message.time
            events.append((now, message))
    return sorted(events, key=lambda event: event[0])


def _players(events: list[tuple[int, mido.Message]], ticks: int) -> tuple[Player, ...]:
    program: dict[int, int] = defaultdict(int)
    open_notes: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    notes: dict[tuple[int, int], list[ScoreNote]] = defaultdict(list)

    def close(channel: int, pitch: int, now: int) -> None:
        start, velocity, played_by = open_notes[channel, pitch].pop(0)
        length = max((now - start) / ticks, SHORTEST_QUARTERS)
        notes[channel, played_by].append(ScoreNote(start / ticks, length, pitch, velocity))

    now = 0
    for now, message in events:
        if message.type == "program_change":
            program[message.channel] = 0 if message.channel == DRUM_CHANNEL else message.program
        elif message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if message.type == "note_on" and message.velocity > 0:
                open_notes[key].append((now, message.velocity, program[message.channel]))
            elif open_notes[key]:
                close(*key, now)
    for key, still_open in open_notes.items():  # never ended: a quarter note each
        while still_open:
            close(*key, still_open[0][0] + ticks)
    order = sorted(notes.items())
    return tuple(Player(*key, tuple(sorted(found, key=lambda n: (n.start, n.pitch)))) for key, found in order)


def _tempo(events: list[tuple[int, mido.Message]], ticks: int, stop: float) -> tuple[float, float]:
    """The BPM (quarter notes) that holds in the middle of all beats when they are sorted by tempo, and the minutes."""
    borders, tempi = [0.0], [120.0]
    for now, message in events:
        if message.type == "set_tempo" and message.tempo > 0 and now / ticks < stop:
            if now / ticks == borders[-1]:
                tempi[-1] = mido.tempo2bpm(message.tempo)
            else:
                borders.append(now / ticks)
                tempi.append(mido.tempo2bpm(message.tempo))
    lengths = [after - before for before, after in zip(borders, [*borders[1:], stop])]
    minutes = sum(length / bpm for length, bpm in zip(lengths, tempi))
    left = sum(lengths) / 2
    for length, bpm in sorted(zip(lengths, tempi), key=lambda pair: pair[1]):
        left -= length
        if left <= 0:
            return bpm, minutes
    return statistics.median(tempi), minutes


def _stretches(events: list[tuple[int, mido.Message]], ticks: int, stop: float) -> tuple[Stretch, ...]:
    """Stretches between time signatures, each of whole bars; those whose bars count no whole beats are left out."""
    marks = [(0.0, 4, 4)]
    for now, message in events:
        if message.type == "time_signature" and now / ticks < stop:
            mark = (now / ticks, message.numerator, message.denominator)
            if mark[0] == marks[-1][0]:
                marks[-1] = mark
            elif mark[1:] != marks[-1][1:]:
                marks.append(mark)
    out = []
    for (start, above, below), (end, _, _) in zip(marks, [*marks[1:], (stop, 0, 0)]):
        counted = count_beats(above, below)
        if counted is None:
            continue
        beats_per_bar, beat = counted
        bar = beats_per_bar * beat
        n_bars = int(-(-(end - start) // bar)) if end == stop else int((end - start + 1e-6) // bar)
        if n_bars:
            out.append(Stretch(start, start + n_bars * bar, f"{above}/{below}", beats_per_bar, beat))
    return tuple(out)


def count_beats(above: int, below: int) -> tuple[int, float] | None:
    """Beats in a bar of a time signature, and the length of each in quarter notes; None where it has none.

    6/8, 9/8 and 12/8 count dotted quarters; a bar of whole quarters counts quarters; other bars count eighths.
    """
    if above < 1 or below < 1:
        return None
    bar = Fraction(4 * above, below)
    if below == 8 and above % 3 == 0 and above > 3:
        return above // 3, 1.5
    for beat in (Fraction(1), Fraction(1, 2)):
        if (bar / beat).denominator == 1 and bar / beat <= 64:
            return int(bar / beat), float(beat)
    return None
