"""The notes of a passage by stem, on a grid of 12 ticks a beat: what labels and statistics are read from."""

import numpy as np
from numpy.typing import NDArray

from melformer.corpus.passage import Event, Part, Passage, stem_of
from melformer.corpus.synthesis.kits import DRUM_SOUNDS
from melformer.errors import RequestError
from melformer.stems import STEMS

TICKS_PER_BEAT = 12
UNPITCHED = 128
"""First number of a sound without pitch; below it stand MIDI pitches."""
SOUND_NAMES = (*DRUM_SOUNDS, "fall", "impact", "reverse", "riser")
"""Sound `i` has the number `UNPITCHED + i`."""
NOTE = np.dtype([("onset", "<i4"), ("duration", "<i4"), ("instrument", "<i2"), ("pitch", "<i2"), ("velocity", "<i2")])
_NUMBERS = {name: UNPITCHED + i for i, name in enumerate(SOUND_NAMES)}


def passage_notes(passage: Passage) -> dict[str, NDArray[np.void]]:
    """For each of `STEMS` its notes in order of onset, an array of dtype `NOTE`, empty where the stem is silent.

    `onset` and `duration` (at least 1) count ticks and are as written: swing and a hand's unevenness, which a listener
    takes for the same music, are left out. `instrument` is the part's index in `passage.parts`; `pitch` is a MIDI
    number, or `UNPITCHED` and more for a drum or a noise; `velocity` is 1 to 127. The crackle of a record is no note.
    """
    rows: dict[str, list[tuple[int, int, int, int, int]]] = {stem: [] for stem in STEMS}
    for index, part in enumerate(passage.parts):
        rows[stem_of(part)] += [_row(event, part, index) for event in part.events if event.sound != "record"]
    return {stem: np.array(sorted(notes), dtype=NOTE) for stem, notes in rows.items()}


def _row(event: Event, part: Part, index: int) -> tuple[int, int, int, int, int]:
    written = event.start_beats if event.written_beats is None else event.written_beats
    pitch = _NUMBERS[event.sound] if event.sound else event.pitch
    length = 1 if part.instrument == "drums" else max(1, ticks(event.duration_beats))  # a hit rings as long as it rings
    return ticks(written), length, index, pitch, min(127, max(1, round(127 * event.velocity)))


def ticks(beats: float) -> int:
    """The nearest tick; a half goes up, in every beat alike."""
    return int(np.floor(beats * TICKS_PER_BEAT + 0.5 + 1e-4))


def notes_to_json(notes: dict[str, NDArray[np.void]]) -> dict[str, list[list[int]]]:
    """Notes as lists of [onset, duration, instrument, pitch, velocity], for a line of an index."""
    return {stem: [list(map(int, note)) for note in rows] for stem, rows in notes.items()}


def notes_from_json(lists: dict[str, list[list[int]]]) -> dict[str, NDArray[np.void]]:
    """What `notes_to_json` was given. Errors: RequestError where it is anything else."""
    try:
        return {stem: np.array([tuple(row) for row in lists[stem]], dtype=NOTE) for stem in STEMS}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"notes must list {NOTE.names} for each of {STEMS} ({error})") from error
