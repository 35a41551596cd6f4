#!/usr/bin/env python3
"""How music goes on after 16 beats, from notes: people's MIDI files beside our engine.

    python tools/development_report.py --midi FREEDOOM_MIDI -o melformer/evaluate/people.json
    python tools/development_report.py --midi FREEDOOM_MIDI --engine 200 -o docs/results/development.json

FREEDOOM_MIDI is written by tools/fetch_freedoom.py. Only files in 4/4 count. `melformer evaluate` compares a system's
sources with people.json.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from melformer.evaluate.metrics.development import CLASSES, TICKS_PER_BEAT, class_distance, class_shares, classify_notes
from melformer.evaluate.results import write_results
from melformer.evaluate.tables import table

NOTE = np.dtype([("onset", "<i4"), ("instrument", "<i2"), ("pitch", "<i2")])
STEMS = ("drums", "bass", "other")
N_HEARD, N_NEW = 16, 16
DRUM_CHANNEL, BASS_PROGRAMS = 9, range(32, 40)


def midi_pieces(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Each file in 4/4 as notes by stem: channel 10 is drums, General MIDI's basses are bass, the rest is other."""
    import mido

    for path in sorted(folder.rglob("*.mid")):
        midi = mido.MidiFile(path)
        events = [(tick, event) for track in midi.tracks for tick, event in _with_ticks(track)]
        metres = {(e.numerator, e.denominator) for _, e in events if e.type == "time_signature"}
        if metres <= {(4, 4), (2, 2), (2, 4)}:
            yield _stems_of(sorted(events, key=lambda pair: pair[0]), midi.ticks_per_beat)


def _with_ticks(track: Iterable) -> Iterator[tuple[int, object]]:
    now = 0
    for event in track:
        now += event.time
        yield now, event


def _stems_of(events: list, ticks_per_beat: int) -> dict[str, np.ndarray]:
    programs = [0] * 16
    rows: dict[str, list[tuple[int, int, int]]] = {stem: [] for stem in STEMS}
    for tick, event in events:
        if event.type == "program_change":
            programs[event.channel] = event.program
        elif event.type == "note_on" and event.velocity > 0:
            onset = round(tick / ticks_per_beat * TICKS_PER_BEAT)
            if event.channel == DRUM_CHANNEL:
                rows["drums"].append((onset, 0, 128 + event.note))
            else:
                stem = "bass" if programs[event.channel] in BASS_PROGRAMS else "other"
                rows[stem].append((onset, programs[event.channel], event.note))
    return {stem: np.array(notes, NOTE) for stem, notes in rows.items()}


def engine_pieces(n_pieces: int) -> Iterator[dict[str, np.ndarray]]:
    """Held-out passages of the engine, 64 beats each."""
    from melformer.corpus import compose
    from melformer.corpus.notes import passage_notes
    from melformer.evaluate.sets import FIRST_HELD_OUT_SEED

    for seed in range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + n_pieces):
        yield passage_notes(compose(seed, n_beats=64))


def development(pieces: Iterable[dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Shares of classes by stem over all stretches of 16 beats heard and 16 to come; silent stems do not count."""
    classes: dict[str, list[str]] = {stem: [] for stem in STEMS}
    for piece in pieces:
        n_beats = (
            max((int(notes["onset"].max()) for notes in piece.values() if len(notes)), default=0) // TICKS_PER_BEAT + 1
        )
        for start in range(0, n_beats - N_HEARD - N_NEW + 1, N_NEW):
            for stem, notes in piece.items():
                ticks = notes["onset"] - start * TICKS_PER_BEAT
                if ((ticks >= 0) & (ticks < (N_HEARD + N_NEW) * TICKS_PER_BEAT)).any():
                    classes[stem] += classify_notes(notes, N_HEARD, N_NEW, start)
    return {stem: class_shares(found) for stem, found in classes.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--midi", type=Path, required=True, metavar="DIR", help="people's MIDI files")
    parser.add_argument("--engine", type=int, default=0, metavar="N", help="also N passages of the engine")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    found = {"people": development(midi_pieces(arguments.midi))}
    if arguments.engine:
        found["engine"] = development(engine_pieces(arguments.engine))
    rows = []
    for name, stems in found.items():
        for stem, shares in stems.items():
            distance = class_distance(shares, found["people"][stem])
            rows.append([f"{name}, {stem}", *(f"{shares[c]:.1%}" for c in CLASSES), distance])
    print(table(["who", *CLASSES, "from people's"], rows))
    if arguments.output:
        command = f"python tools/development_report.py --midi DIR --engine {arguments.engine}"
        write_results(arguments.output, command, found)


if __name__ == "__main__":
    main()
