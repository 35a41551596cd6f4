"""MIDI files for tests, written by mido: a small band, and files that are odd in one way each."""

from collections.abc import Sequence
from pathlib import Path

from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo

TICKS = 96
Note = tuple[float, float, int, int]
"""Onset and length in quarter notes, pitch, velocity."""


def write_midi(
    path: Path, players: dict[tuple[int, int], Sequence[Note]], marks: Sequence[tuple[float, MetaMessage]] = (),
    *, ticks: int = TICKS, kind: int = 1,
) -> Path:  # fmt: skip
    """Write the notes of each (channel, program) as a track, and the `marks` as the first one."""
    midi = MidiFile(type=kind, ticks_per_beat=ticks)
    midi.tracks.append(_track([(round(at * ticks), mark) for at, mark in marks]))
    for (channel, program), notes in players.items():
        events = [(0, Message("program_change", channel=channel, program=program))]
        for start, length, pitch, velocity in notes:
            events.append((round(start * ticks), Message("note_on", channel=channel, note=pitch, velocity=velocity)))
            events.append(
                (round((start + length) * ticks), Message("note_on", channel=channel, note=pitch, velocity=0))
            )
        midi.tracks.append(_track(events))
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.save(path)
    return path


def _track(events: list) -> MidiTrack:
    track, last = MidiTrack(), 0
    for now, message in sorted(events, key=lambda e: (e[0], getattr(e[1], "velocity", 0) > 0)):
        track.append(message.copy(time=now - last))
        last = now
    return track


def tempo(bpm: float) -> MetaMessage:
    return MetaMessage("set_tempo", tempo=bpm2tempo(bpm))


def metre(above: int, below: int) -> MetaMessage:
    return MetaMessage("time_signature", numerator=above, denominator=below)


def band(n_quarters: int = 64) -> dict[tuple[int, int], list[Note]]:
    """Kick and hat, a bass line, chords of three and a tune."""
    drums = [(float(q), 0.1, 36, 100) for q in range(n_quarters)]
    drums += [(q + 0.5, 0.1, 42, 70) for q in range(n_quarters)]
    bass = [(float(q), 0.9, 33 + q % 4, 110) for q in range(n_quarters)]
    chords = [(float(q), 1.5, p, 64) for q in range(0, n_quarters, 2) for p in (60, 64, 67)]
    tune = [(q + 0.25, 0.5, 72 + q % 5, 90) for q in range(n_quarters)]
    return {(9, 0): drums, (0, 33): bass, (1, 0): chords, (2, 80): tune}
