"""Melodies made of one motif that is repeated, moved, answered and varied."""

from dataclasses import dataclass, replace

import numpy as np

from melformer.corpus.frame import Frame, Span, chord_at, pick
from melformer.corpus.passage import Event
from melformer.corpus.theory import nearest_degree, scale_pitch

# Melodies mostly step; a leap is rare.
_MOVES = (-4, -3, -2, -1, 0, 1, 2, 3, 4)
_MOVE_CHANCES = (0.02, 0.05, 0.12, 0.27, 0.1, 0.25, 0.12, 0.05, 0.02)
# What becomes of the motif each time it is due.
_PLANS = (
    "same same same end", "same move same end", "same answer same answer", "same rest same end", "same move move rest",
    "same same invert end", "same thin same answer", "same move answer end",
)  # fmt: skip


@dataclass(frozen=True)
class Tone:
    """A note of a motif: place and length in beats, and its scale step."""

    start_beats: float
    duration_beats: float
    degree: int


def draw_motif(frame: Frame, length_beats: float, rng: np.random.Generator) -> list[Tone]:
    """A rhythm of the style's note lengths with rests, and a line that mostly steps and sometimes leaps back."""
    unit = 1 / 3 if frame.metre == "6/8" else 1.0
    tones: list[Tone] = []
    start = float(pick(rng, (0.0, 0.0, 0.0, 0.5, 0.25))) * unit
    degree = int(rng.integers(-1, 6))
    density = float(rng.uniform(0.55, 0.95))
    while start < length_beats - 0.2:
        duration = min(float(pick(rng, frame.style.note_beats)) * unit, length_beats - start)
        if rng.random() < density:
            tones.append(Tone(round(start, 6), duration, degree))
            move = int(rng.choice(_MOVES, p=_MOVE_CHANCES))
            degree += move if -4 < degree + move < 9 else -move
        start += duration
    return tones


def _vary(motif: list[Tone], how: str, rng: np.random.Generator) -> list[Tone]:
    """The motif again: moved by steps, its end changed, turned upside down, or thinned."""
    if not motif or how == "same":
        return motif
    if how == "move":
        shift = int(pick(rng, (-3, -2, -1, 1, 2, 3)))
        return [replace(t, degree=t.degree + shift) for t in motif]
    if how == "end":
        cut = max(1, len(motif) * 2 // 3)
        return motif[:cut] + [replace(t, degree=t.degree + int(rng.integers(-3, 4))) for t in motif[cut:]]
    if how == "invert":
        return [replace(t, degree=2 * motif[0].degree - t.degree) for t in motif]
    kept = [t for t in motif if rng.random() > 0.3]
    return kept or motif[:1]


def play_lead(frame: Frame, spans: list[Span], rng: np.random.Generator) -> list[Event]:
    """A phrase of melody: motif, its repeats and answers; strong beats land on chord tones."""
    length = float(pick(rng, (frame.bar_beats, min(2 * frame.bar_beats, frame.phrase_beats))))
    motif = draw_motif(frame, length, rng)
    answer = draw_motif(frame, length, rng)
    plan = pick(rng, _PLANS).split()
    octave = int(pick(rng, (4, 4, 5)))
    legato = float(rng.uniform(0.6, 1.0))
    events: list[Event] = []
    for i in range(round(frame.phrase_beats / length)):
        how = plan[i % len(plan)]
        tones = [] if how == "rest" else answer if how == "answer" else _vary(motif, how, rng)
        for tone in tones:
            start = i * length + tone.start_beats
            pitch = _settle(tone, start, frame, spans, octave)
            velocity = round(0.9 - 0.2 * (start % 1 != 0) + float(rng.uniform(-0.05, 0.05)), 3)
            events.append(Event(round(start, 6), round(tone.duration_beats * legato, 4), pitch, velocity))
    return events


def _settle(tone: Tone, start: float, frame: Frame, spans: list[Span], octave: int) -> int:
    """The tone's pitch; on a beat, or when long, the nearest tone of the chord."""
    pitch = scale_pitch(tone.degree, frame.tonic, frame.scale, octave)
    if start % 1 > 0.01 and tone.duration_beats < 0.9:
        return pitch
    chord = chord_at(spans, start).chord
    classes = {(chord.root + i) % 12 for i in chord.intervals}
    near = min(range(pitch - 6, pitch + 7), key=lambda p: (p % 12 not in classes, abs(p - pitch)))
    if near % 12 not in {(frame.tonic + s) % 12 for s in frame.scale} and abs(near - pitch) > 2:
        return scale_pitch(nearest_degree(near, frame.tonic, frame.scale, octave), frame.tonic, frame.scale, octave)
    return near
