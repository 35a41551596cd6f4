"""Scales, chords by Roman numeral, and voicings that move as little as possible."""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian dominant": (0, 1, 4, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
QUALITIES = {
    "": (0, 4, 7), "m": (0, 3, 7), "dim": (0, 3, 6), "aug": (0, 4, 8), "5": (0, 7), "sus2": (0, 2, 7),
    "sus4": (0, 5, 7), "6": (0, 4, 7, 9), "m6": (0, 3, 7, 9), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10), "m7b5": (0, 3, 6, 10), "dim7": (0, 3, 6, 9), "7sus4": (0, 5, 7, 10), "add9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14), "9": (0, 4, 7, 10, 14), "maj9": (0, 4, 7, 11, 14), "m9": (0, 3, 7, 10, 14),
    "m11": (0, 3, 7, 10, 17),
    "13": (0, 4, 10, 14, 21), "7b9": (0, 4, 7, 10, 13), "7#9": (0, 4, 7, 10, 15), "69": (0, 4, 7, 9, 14),
}  # fmt: skip
_NUMERAL = re.compile(r"^([b#]?)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(.*)$")
_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}


@dataclass(frozen=True)
class Chord:
    """A root (pitch class 0..11) and the intervals above it, in semitones."""

    root: int
    quality: str

    @property
    def intervals(self) -> tuple[int, ...]:
        """Semitones above the root, ascending from 0."""
        return QUALITIES[self.quality]

    @property
    def name(self) -> str:
        """As on a lead sheet: "Dm7"."""
        return NOTE_NAMES[self.root] + self.quality

    def third(self) -> int:
        """The interval that stands in for the third: third, else second, fourth or fifth."""
        return next((i for i in (3, 4, 2, 5) if i in self.intervals), 7)

    def fifth(self) -> int:
        """Perfect, else flat or sharp, as the quality has it."""
        return next((i for i in (7, 6, 8) if i in self.intervals), 7)

    def seventh(self) -> int:
        """The seventh or sixth, else the octave."""
        return next((i for i in (10, 11, 9) if i in self.intervals), 12)


def parse_chord(numeral: str, tonic: int) -> Chord:
    """Read "iim7", "bVII", "Vsus4" relative to the major scale on `tonic`; lower case means a minor third.

    Flats are written out ("bVI" in minor). Errors: ValueError for a numeral or a quality that does not exist.
    """
    match = _NUMERAL.match(numeral)
    if match is None:
        raise ValueError(f"no chord numeral in {numeral!r}")
    accidental, letters, quality = match.groups()
    if letters.islower() and not quality.startswith(("m", "dim", "sus", "5")):
        quality = "m" + quality
    if quality not in QUALITIES:
        raise ValueError(f"unknown chord quality {quality!r} in {numeral!r}")
    offset = _DEGREES[letters.upper()] + {"": 0, "b": -1, "#": 1}[accidental]
    return Chord((tonic + offset) % 12, quality)


def scale_pitch(degree: int, tonic: int, scale: tuple[int, ...], octave: int = 4) -> int:
    """MIDI number of a scale step counted from the tonic; negative steps go down."""
    turns, step = divmod(degree, len(scale))
    return 12 * (octave + 1 + turns) + tonic + scale[step]


def nearest_degree(pitch: int, tonic: int, scale: tuple[int, ...], octave: int = 4) -> int:
    """The scale step whose pitch is nearest to a MIDI number."""
    base = len(scale) * ((pitch - tonic) // 12 - octave - 1)
    degrees = range(base - 1, base + len(scale) + 1)
    return min(degrees, key=lambda d: abs(scale_pitch(d, tonic, scale, octave) - pitch))


@lru_cache(maxsize=4096)
def voice(chord: Chord, previous: tuple[int, ...] | None, centre: int = 60, n_voices: int = 4) -> tuple[int, ...]:
    """Choose the voicing near `centre` that moves least from the previous one.

    Every inversion, close and dropped (second voice from the top an octave down), is weighed; the upper notes of
    rich chords come first, since the bass has the root.
    """
    intervals = list(chord.intervals)
    if len(intervals) > n_voices:
        intervals = [i for i in intervals if i not in (0, 7)][: n_voices - 1] + [7 if n_voices > 3 else 0]
    classes = sorted({(chord.root + i) % 12 for i in intervals})
    best: tuple[int, ...] = ()
    best_cost = np.inf
    for turn in range(len(classes)):
        for octave in range(3, 7):
            notes = _stack(classes[turn:] + classes[:turn], 12 * octave)
            for candidate in (notes, _drop_two(notes)):
                cost = _voicing_cost(candidate, previous, centre)
                if cost < best_cost:
                    best, best_cost = candidate, cost
    return best


def _stack(classes: list[int], floor: int) -> tuple[int, ...]:
    notes, last = [], floor - 1
    for pitch_class in classes:
        last += 1 + (pitch_class - last - 1) % 12
        notes.append(last)
    return tuple(notes)


def _drop_two(notes: tuple[int, ...]) -> tuple[int, ...]:
    if len(notes) < 4:
        return notes
    return tuple(sorted((*notes[:-2], notes[-2] - 12, notes[-1])))


def _voicing_cost(notes: tuple[int, ...], previous: tuple[int, ...] | None, centre: int) -> float:
    cost = 0.35 * abs(sum(notes) / len(notes) - centre)
    if min(notes) < 50:  # thirds that low are mud
        cost += 2.0 * (50 - min(notes))
    if previous:
        cost += sum(min(abs(note - old) for old in previous) for note in notes)
    return cost
