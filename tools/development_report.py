#!/usr/bin/env python3
"""How music goes on after 8, 16 and 32 beats, from notes: people's MIDI files beside our engine, or beside a corpus.

    python tools/development_report.py --midi FREEDOOM_MIDI -o melformer/evaluate/people.json
    python tools/development_report.py --midi FREEDOOM_MIDI --engine 200 -o docs/results/development.json
    python tools/development_report.py --midi FREEDOOM_MIDI --corpus FOLDER

FREEDOOM_MIDI is written by tools/fetch_freedoom.py, FOLDER by `melformer corpus build`. Only pieces in 4/4 count.
`melformer evaluate` compares a system's sources, 16 beats heard, with people.json.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from melformer.corpus.build import allowed_styles, nth_passage
from melformer.corpus.midi.folder import midi_files
from melformer.corpus.midi.score import Score, read_score
from melformer.corpus.notes import NOTE, TICKS_PER_BEAT, UNPITCHED, notes_from_json, passage_notes, ticks
from melformer.data.listing import read_entries
from melformer.errors import MidiError
from melformer.evaluate.metrics.development import (
    CLASSES,
    HALVES,
    HALVES_TRANSPOSED,
    IN_ORDER,
    KNOWN,
    NEW,
    OTHER_BEAT,
    QUARTERS,
    QUARTERS_TRANSPOSED,
    SILENT,
    TRANSPOSED,
    class_distance,
    class_shares,
)  # fmt: skip
from melformer.evaluate.results import write_results
from melformer.evaluate.tables import table
from melformer.stems import STEMS

N_HEARD, N_NEW = (8, 16, 32), 16
SHORTEST_BEATS = 24
Piece = dict[str, np.ndarray]
"""Notes by stem, with the fields of `melformer.corpus.notes.NOTE`."""
Unit = frozenset[tuple[int, int, int]]
"""A stretch's notes: (tick within it, instrument, pitch)."""


def classify_notes(notes: np.ndarray, n_prompt: int, n_new: int, first_beat: int = 0) -> list[str]:
    """The class of each of `n_new` beats after `n_prompt` beats from `first_beat` on.

    `notes` has fields `onset` (12 ticks a beat), `instrument` and `pitch`; lengths and velocities do not count.
    """
    stop = first_beat + n_prompt + n_new
    beats, halves, quarters = (_units(notes, first_beat, stop, n) for n in (1, 2, 4))
    heard = [set(beats[:n_prompt]), set(halves[: 2 * n_prompt]), set(quarters[: 4 * n_prompt])]
    shapes = [{_shape(unit) for unit in known} for known in heard]
    single = {note[1:] for unit in heard[0] for note in unit}
    classes = []
    for i in range(n_prompt, n_prompt + n_new):
        parts = ([beats[i]], halves[2 * i : 2 * i + 2], quarters[4 * i : 4 * i + 4])
        if beats[i] == beats[(i - n_prompt) % n_prompt]:
            classes.append(IN_ORDER)
        elif not beats[i]:
            classes.append(SILENT)
        else:
            classes.append(_class_of(parts, heard, shapes, single))
    return classes


def _class_of(
    parts: Sequence[Sequence[Unit]],
    heard: Sequence[set[Unit]],
    shapes: Sequence[set[Unit]],
    single: set[tuple[int, int]],
) -> str:
    names = ((OTHER_BEAT, TRANSPOSED), (HALVES, HALVES_TRANSPOSED), (QUARTERS, QUARTERS_TRANSPOSED))
    for (same, moved), units, known, shape in zip(names, parts, heard, shapes, strict=True):
        if all(unit in known for unit in units):
            return same
        if all(_shape(unit) in shape for unit in units):
            return moved
    return KNOWN if all(note[1:] in single for note in parts[0][0]) else NEW


def _units(notes: np.ndarray, first_beat: int, stop_beat: int, per_beat: int) -> list[Unit]:
    size = TICKS_PER_BEAT // per_beat
    units: list[set[tuple[int, int, int]]] = [set() for _ in range((stop_beat - first_beat) * per_beat)]
    ticks = notes["onset"].astype(int) - first_beat * TICKS_PER_BEAT
    inside = (ticks >= 0) & (ticks < len(units) * size)
    for tick, instrument, pitch in zip(ticks[inside], notes["instrument"][inside], notes["pitch"][inside], strict=True):
        units[tick // size].add((int(tick % size), int(instrument), int(pitch)))
    return [frozenset(unit) for unit in units]


def _shape(unit: Unit) -> Unit:
    """A unit without its pitch level. Sounds without pitch (128 and more) are not moved."""
    low = min((pitch for _, _, pitch in unit if pitch < 128), default=0)
    return frozenset((tick, instrument, pitch - low if pitch < 128 else pitch) for tick, instrument, pitch in unit)


def midi_pieces(folder: Path) -> Iterator[Piece]:
    """Each file that is in 4/4 (or 2/4, 2/2) throughout; what cannot be read is named and left out."""
    for path in midi_files(folder):
        try:
            score = read_score(path)
        except MidiError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if {stretch.metre for stretch in score.stretches} <= {"4/4", "2/4", "2/2"}:
            yield score_notes(score)


def score_notes(score: Score) -> Piece:
    """A whole MIDI file's notes, a quarter note a beat: channel 10 is drums, General MIDI's basses are bass."""
    rows: dict[str, list[tuple[int, int, int, int, int]]] = {stem: [] for stem in STEMS}
    for player in score.players:
        stem = "drums" if player.is_drums else "bass" if player.is_bass else "other"
        base = UNPITCHED if player.is_drums else 0
        for note in player.notes:
            length = max(1, ticks(note.length))
            rows[stem].append((ticks(note.start), length, player.program, base + note.pitch, note.velocity))
    return {stem: np.array(sorted(notes), NOTE) for stem, notes in rows.items()}


def corpus_pieces(folder: Path) -> Iterator[Piece]:
    """The passages in 4/4 that a corpus lists, of 24 beats or more."""
    for entry in read_entries(folder / "index.jsonl", ("notes", "metre", "n_beats")):
        if entry["metre"] == "4/4" and entry["n_beats"] >= SHORTEST_BEATS:
            yield notes_from_json(entry["notes"])


def engine_pieces(n_pieces: int, seed: int) -> Iterator[Piece]:
    """The first longer passages in 4/4 of a corpus, composed and not rendered."""
    names = allowed_styles(None)
    drawn = (nth_passage(seed, index, names, 1.0, frozenset()) for index in count())
    fitting = (passage for passage in drawn if passage.metre == "4/4" and passage.n_beats >= SHORTEST_BEATS)
    return map(passage_notes, islice(fitting, n_pieces))


def development(pieces: Sequence[Piece], n_heard: int) -> dict[str, Any]:
    """Over all stretches of `n_heard` beats heard and 16 to come, from every 16th beat on: shares of classes by stem
    (silent stems do not count), of beats in which so many stems leave the loop, and of stretches that are the loop."""
    classes: dict[str, list[str]] = {stem: [] for stem in STEMS}
    leaving: Counter[int] = Counter()
    n_loops, n_stretches = 0, 0
    for piece in pieces:
        last = max((int(notes["onset"].max()) for notes in piece.values() if len(notes)), default=0)
        for start in range(0, last // TICKS_PER_BEAT + 1 - n_heard - N_NEW + 1, N_NEW):
            found = classify_stretch(piece, start, n_heard)
            if not found:
                continue
            for stem, names in found.items():
                classes[stem] += names
            left = [sum(name != IN_ORDER for name in names) for names in zip(*found.values(), strict=True)]
            leaving.update(left)
            n_stretches += 1
            n_loops += not any(left)
    total = sum(leaving.values()) or 1
    return {
        "shares": {stem: class_shares(names) for stem, names in classes.items()},
        "leaving": {str(n): leaving[n] / total for n in range(len(STEMS) + 1)},
        "loop_again": n_loops / (n_stretches or 1), "n_pieces": len(pieces), "n_stretches": n_stretches,
    }  # fmt: skip


def classify_stretch(piece: Piece, start: int, n_heard: int) -> dict[str, list[str]]:
    """The classes of the beats after `n_heard` from `start` on, for each stem that sounds in the stretch."""
    found = {}
    for stem, notes in piece.items():
        onsets = notes["onset"] - start * TICKS_PER_BEAT
        if ((onsets >= 0) & (onsets < (n_heard + N_NEW) * TICKS_PER_BEAT)).any():
            found[stem] = classify_notes(notes, n_heard, N_NEW, start)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--midi", type=Path, required=True, metavar="DIR", help="people's MIDI files")
    parser.add_argument("--engine", type=int, default=0, metavar="N", help="also N passages of the engine")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the engine's passages")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="also the passages of a corpus")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    pieces = {"people": list(midi_pieces(arguments.midi))}
    if arguments.engine:
        pieces["engine"] = list(engine_pieces(arguments.engine, arguments.seed))
    if arguments.corpus:
        pieces["corpus"] = list(corpus_pieces(arguments.corpus))
    found = {name: {str(n): development(some, n) for n in N_HEARD} for name, some in pieces.items()}
    rows, lines = [], []
    for name, heard in found.items():
        for n, counted in heard.items():
            for stem, shares in counted["shares"].items():
                distance = class_distance(shares, found["people"][n]["shares"][stem])
                rows.append([f"{name}, {n} heard, {stem}", *(f"{shares[c]:.0%}" for c in CLASSES), distance])
            leaving = ", ".join(f"{k}: {share:.0%}" for k, share in counted["leaving"].items())
            lines.append(
                f"{name}, {n} heard: the loop again {counted['loop_again']:.1%}; stems that leave it {leaving}"
            )
    print(table(["who", *CLASSES, "from people's"], rows))
    print("\n".join(lines))
    if arguments.output:
        drawn = f"--engine {arguments.engine} --seed {arguments.seed}"
        command = f"python tools/development_report.py --midi FREEDOOM_MIDI {drawn}"
        after_16 = {name: heard["16"]["shares"] for name, heard in found.items()}
        write_results(arguments.output, command, {**after_16, "by_beats_heard": found})


if __name__ == "__main__":
    main()
