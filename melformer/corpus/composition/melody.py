"""Melodies made of one motif that is repeated, moved, answered and varied."""

from dataclasses import dataclass, replace

import numpy as np

from melformer.corpus.composition.frame import Frame, Span, chord_at, pick
from melformer.corpus.passage import Event
from melformer.corpus.theory.harmony import nearest_degree, scale_pitch

# Melodies mostly step; a leap is rare.
_MOVES = (-4, -3, -2, -1, 0, 1, 2, 3, 4)
_MOVE_CHANCES = (0.02, 0.05, 0.12, 0.27, 0.1, 0.25, 0.12, 0.05, 0.02)
# What becomes of the motif each time it is due.
_PLANS = (
    "same same same end", "same move same end", "same answer same answer", "same rest same end", "same move move rest",
    "same same invert end", "same thin same answer", "same move answer end", "same climb climb cadence",
    "same fall fall cadence", "same ornament answer cadence", "same augment end rest", "same diminish move cadence",
    "same late same cadence", "same tail ornament cadence", "rest same rest answer", "same swap same swap",
)  # fmt: skip
_CLIMB = {"climb": 1, "fall": -1}


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
    """The motif again: moved by steps, its end changed, turned upside down, reshaped, or thinned."""
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
    if how in _RESHAPED:
        return _RESHAPED[how](motif, rng)
    kept = [t for t in motif if rng.random() > 0.3]
    return kept or motif[:1]


def _augment(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """The first half at half the pace."""
    first = motif[: max(1, len(motif) // 2)]
    return [Tone(2 * t.start_beats, 2 * t.duration_beats, t.degree) for t in first]


def _diminish(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Twice at double pace, the second time a step or two away."""
    length = max(t.start_beats + t.duration_beats for t in motif)
    half = -(-length // 1) / 2
    quick = [Tone(t.start_beats / 2, max(0.125, t.duration_beats / 2), t.degree) for t in motif]
    shift = int(pick(rng, (-2, -1, 0, 1, 2)))
    return quick + [Tone(half + t.start_beats, t.duration_beats, t.degree + shift) for t in quick]


def _ornament(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Long tones split: a neighbour, then home."""
    out: list[Tone] = []
    for tone in motif:
        if tone.duration_beats < 0.5 or rng.random() < 0.4:
            out.append(tone)
            continue
        short = tone.duration_beats / 4
        neighbour = tone.degree + int(pick(rng, (-1, 1, 1, 2)))
        lengths = ((0.0, 2 * short, tone.degree), (2 * short, short, neighbour), (3 * short, short, tone.degree))
        out += [Tone(round(tone.start_beats + late, 6), length, degree) for late, length, degree in lengths]
    return out


def _late(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Off the beat by an eighth."""
    return [replace(t, start_beats=t.start_beats + 0.5) for t in motif]


def _tail(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Only how it ended, twice over."""
    last = motif[len(motif) // 2 :]
    early = [replace(t, start_beats=t.start_beats - last[0].start_beats) for t in last]
    return early + last if early[-1].start_beats + early[-1].duration_beats <= last[0].start_beats + 1e-6 else last


def _swap(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Its rhythm with its line backwards."""
    return [replace(t, degree=other.degree) for t, other in zip(motif, reversed(motif), strict=True)]


def _cadence(motif: list[Tone], rng: np.random.Generator) -> list[Tone]:
    """Half of it, then a step down or up to the tonic, which is held."""
    kept = motif[: max(1, len(motif) // 2)]
    last = kept[-1]
    home = 7 * round(last.degree / 7)
    approach = Tone(last.start_beats + last.duration_beats, 0.5, home + int(pick(rng, (-1, 1))))
    return [*kept, approach, Tone(approach.start_beats + 0.5, 1.5, home)]


_RESHAPED = {
    "augment": _augment, "diminish": _diminish, "ornament": _ornament, "late": _late, "tail": _tail, "swap": _swap,
    "cadence": _cadence,
}  # fmt: skip


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
        if frame.restless and i:
            motif = draw_motif(frame, length, rng)
        if how in _CLIMB:  # a sequence: from here on it stays where it has gone
            step = _CLIMB[how] * int(rng.integers(1, 3))
            motif = [replace(t, degree=t.degree + step) for t in motif]
            how = "same"
        tones = [] if how == "rest" else answer if how == "answer" else _vary(motif, how, rng)
        swell = float(rng.uniform(0.0, 0.2))
        for tone in tones:
            if tone.start_beats > length - 0.1:
                continue
            start = i * length + tone.start_beats
            held = min(tone.duration_beats, length - tone.start_beats)
            pitch = _settle(tone, start, frame, spans, octave)
            arch = swell * np.sin(np.pi * tone.start_beats / length)
            velocity = round(0.85 + arch - 0.2 * (start % 1 != 0) + float(rng.uniform(-0.05, 0.05)), 3)
            events.append(Event(round(start, 6), round(held * legato, 4), pitch, min(velocity, 1.0)))
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
