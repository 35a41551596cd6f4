"""The frame of a passage: tempo, metre, length, key and the chords of a phrase."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from melformer.corpus.styles.style import Style
from melformer.corpus.theory.harmony import SCALES, Chord, parse_chord

Choice = TypeVar("Choice")
SONG_BEATS = 48
"""The shortest passage that has sections, as a song has."""
METRES = {"4/4": 4, "3/4": 3, "5/4": 5, "7/8": 7, "6/8": 2}


@dataclass(frozen=True)
class Span:
    """A chord and where it holds, in beats from the phrase's start."""

    start_beats: float
    stop_beats: float
    chord: Chord


@dataclass(frozen=True)
class Frame:
    """What every player agrees on before the first note. `bar_beats` is the length of a bar.

    `restless` players seldom do the same thing twice; `free` ones keep no time together either (see `wandering`).
    """

    style: Style
    bpm: float
    metre: str
    n_beats: int
    tonic: int
    mode: str
    phrase_bars: int
    restless: bool = False
    free: bool = False

    @property
    def bar_beats(self) -> int:
        """Beats in a bar; 6/8 counts two dotted quarters, 7/8 counts seven eighths."""
        return METRES[self.metre]

    @property
    def n_bars(self) -> int:
        """Bars begun."""
        return -(-self.n_beats // self.bar_beats)

    @property
    def scale(self) -> tuple[int, ...]:
        """Semitones of the mode above the tonic."""
        return SCALES[self.mode]

    @property
    def is_song(self) -> bool:
        """Whether it is long enough for sections that come back."""
        return self.n_beats >= SONG_BEATS

    @property
    def phrase_beats(self) -> int:
        """Length of a phrase in beats."""
        return self.phrase_bars * self.bar_beats


def pick(rng: np.random.Generator, options: Sequence[Choice]) -> Choice:
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def draw_frame(style: Style, n_beats: int | None, long: float, rng: np.random.Generator) -> Frame:
    """Draw tempo, metre, length and key for a style; `long` is the chance of a passage over a short loop."""
    metre = str(rng.choice(list(style.metres), p=np.array(list(style.metres.values())) / sum(style.metres.values())))
    bpm = float(rng.uniform(*style.bpm))
    bpm = round(bpm) if rng.random() < 0.75 else round(bpm, 2)
    if metre == "7/8":  # the beat is an eighth: keep it a countable tempo
        bpm = min(bpm * 2, 200.0) if bpm < 110 else min(bpm * 1.5, 200.0)
    bar = METRES[metre]
    if n_beats is None:
        if rng.random() < long:
            n_bars = max(4, int(pick(rng, (16, 24, 32, 32, 48, 64, 64, 96, 128))) // bar // 4 * 4)
        else:
            n_bars = int(rng.choice([1, 2, 4, 8], p=[0.06, 0.24, 0.4, 0.3]))
        n_beats = n_bars * bar
    n_bars = -(-n_beats // bar)
    phrase = int(rng.choice([1, 2, 4, 8], p=[0.08, 0.3, 0.47, 0.15] if n_bars <= 8 else [0.0, 0.15, 0.5, 0.35]))
    while phrase > n_bars:
        phrase //= 2
    tonic, mode = int(rng.integers(12)), str(pick(rng, style.modes))
    restless = bool(rng.random() < (0.06 if n_bars <= 8 else 0.2))
    return Frame(style, float(bpm), metre, n_beats, tonic, mode, phrase, restless)


def draw_chords(frame: Frame, rng: np.random.Generator) -> list[Span]:
    """Chords over one phrase: a progression of the style, cycled to fill it."""
    numerals = pick(rng, frame.style.progressions).split()
    chords = [parse_chord(numeral, frame.tonic) for numeral in numerals]
    length = frame.bar_beats * float(pick(rng, frame.style.bars_per_chord))
    if length != int(length) or length < 1:
        length = float(frame.bar_beats)
    if len(chords) * length > frame.phrase_beats >= len(chords) and frame.phrase_beats % len(chords) == 0:
        length = frame.phrase_beats / len(chords)  # the whole progression in a short phrase
    spans, start, i = [], 0.0, 0
    while start < frame.phrase_beats:
        stop = min(start + length, float(frame.phrase_beats))
        spans.append(Span(start, stop, chords[i % len(chords)]))
        start, i = stop, i + 1
    return lead_on(spans, frame, rng) if rng.random() < 0.3 else spans


def lead_on(spans: list[Span], frame: Frame, rng: np.random.Generator) -> list[Span]:
    """Let one or two chords of two beats and more lead on in their second half: hold back a third, or pull to the next.

    The pull (its dominant, or a diminished chord a half step below it) is only for styles that have sevenths.
    """
    rich = any("7" in numerals for numerals in frame.style.progressions)
    chosen = {int(rng.integers(len(spans))), len(spans) - 1}
    out = []
    for i, span in enumerate(spans):
        after = spans[(i + 1) % len(spans)].chord
        middle = (span.start_beats + span.stop_beats) / 2
        if i not in chosen or span.stop_beats - span.start_beats < 2:
            out.append(span)
            continue
        ways = [Chord(span.chord.root, "sus4"), Chord(span.chord.root, "sus2")]
        if rich and after != span.chord:
            dominant, below = (after.root + 7) % 12, (after.root - 1) % 12
            ways += [Chord(dominant, "7"), Chord(dominant, "7sus4"), Chord(below, "dim7")]
        out += [Span(span.start_beats, middle, span.chord), Span(middle, span.stop_beats, pick(rng, ways))]
    return out


def chord_at(spans: list[Span], beat: float) -> Span:
    """The span that holds at a beat of the phrase (the last one for beats past its end)."""
    for span in spans:
        if beat < span.stop_beats - 1e-6:
            return span
    return spans[-1]


def chord_after(spans: list[Span], beat: float) -> Chord:
    """The next chord after the one that holds at `beat`, the phrase taken as a circle."""
    index = spans.index(chord_at(spans, beat))
    return spans[(index + 1) % len(spans)].chord
