"""Bass, chords, arpeggios and pads of one phrase, following its chords."""

import numpy as np

from melformer.corpus.composition.frame import Frame, Span, chord_after, chord_at, pick
from melformer.corpus.passage import Event
from melformer.corpus.theory.harmony import voice
from melformer.corpus.theory.patterns import VELOCITIES, fit_metre, read_steps


def _bars(frame: Frame, patterns: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """A pattern for each bar: a riff of one or two bars, sometimes with another last bar, or one that never settles."""
    if rng.random() < 0.2 or frame.restless:
        return [mutate_holds(fit_metre(pick(rng, patterns), frame.metre), rng) for _ in range(frame.phrase_bars)]
    first, second = (fit_metre(pick(rng, patterns), frame.metre) for _ in range(2))
    if rng.random() < 0.6:
        second = first
    bars = [(first, second)[i % 2] for i in range(frame.phrase_bars)]
    if frame.phrase_bars >= 2 and rng.random() < 0.35:
        bars[-1] = fit_metre(pick(rng, patterns), frame.metre)
    return bars


def mutate_holds(pattern: str, rng: np.random.Generator) -> str:
    """Now and then leave out a stroke, with what it holds."""
    out, silent = [], False
    for i, mark in enumerate(pattern):
        if mark not in ".-":
            silent = i > 0 and rng.random() < 0.15
        out.append("." if silent else mark)
    return "".join(out)


def play_bass(frame: Frame, spans: list[Span], rng: np.random.Generator) -> list[Event]:
    """A bass line in the register E1 to about G3 from the bass pattern language."""
    events = []
    floor = int(rng.integers(28, 34))
    staccato = float(rng.uniform(0.55, 1.0))
    for bar, pattern in enumerate(_bars(frame, frame.style.bass, rng)):
        for step in read_steps(pattern, frame.bar_beats):
            start = bar * frame.bar_beats + step.start_beats
            span = chord_at(spans, start)
            root = floor + (span.chord.root - floor) % 12
            follow = floor + (chord_after(spans, start).root - floor) % 12
            chord = span.chord
            interval = {"8": 12, "L": -12, "5": chord.fifth(), "3": chord.third(), "7": chord.seventh(), "6": 9}
            pitch = {"a": follow - 1, "b": follow + 1}.get(step.mark, root + interval.get(step.mark, 0))
            pitch = pitch + 12 if pitch < 26 else pitch
            velocity = {"R": 0.95, "r": 0.6, "8": 0.85, "a": 0.75}.get(step.mark, 0.8)
            length = step.duration_beats * (staccato if step.duration_beats <= 0.5 else 0.97)
            bend = -12.0 if step.mark == "8" and frame.style.name == "trap" else 0.0
            events.append(Event(round(start, 6), round(length, 4), pitch, velocity, bend=bend))
    return events


def play_comp(frame: Frame, spans: list[Span], rng: np.random.Generator) -> list[Event]:
    """Chords struck in a pattern, voice-led from one to the next, sometimes strummed."""
    centre, n_voices = int(rng.integers(57, 66)), int(rng.integers(3, 6))
    strum = float(rng.uniform(0.0, 0.015)) if frame.style.human_ms > 2 else 0.0
    voicings = _voicings(spans, centre, n_voices)
    events = []
    for bar, pattern in enumerate(_bars(frame, frame.style.comp, rng)):
        for step in read_steps(pattern, frame.bar_beats):
            start = bar * frame.bar_beats + step.start_beats
            span = chord_at(spans, start + 0.01)
            length = 0.95 * min(step.duration_beats, span.stop_beats - start)
            for i, pitch in enumerate(voicings[spans.index(span)]):
                velocity = round(VELOCITIES[step.mark] * (0.82 + 0.12 * (i % 2)), 3)
                events.append(Event(round(start + strum * i, 6), round(max(length, 0.1), 4), pitch, velocity))
    return events


def _voicings(spans: list[Span], centre: int, n_voices: int) -> list[tuple[int, ...]]:
    voicings: list[tuple[int, ...]] = []
    for span in spans:
        voicings.append(voice(span.chord, voicings[-1] if voicings else None, centre, n_voices))
    return voicings


def play_pad(frame: Frame, spans: list[Span], rng: np.random.Generator) -> list[Event]:
    """Held chords, one for each span."""
    voicings = _voicings(spans, int(rng.integers(55, 68)), int(rng.integers(3, 5)))
    return [
        Event(span.start_beats, round((span.stop_beats - span.start_beats) * 0.98, 4), pitch, 0.7)
        for span, voicing in zip(spans, voicings, strict=True)
        for pitch in voicing
    ]


def play_arp(frame: Frame, spans: list[Span], rng: np.random.Generator) -> list[Event]:
    """Broken chords: up, down, both, or a fixed order with rests, over one or two octaves."""
    steps = (0.25, 0.25, 0.5, 1 / 3, 1 / 6 if frame.bpm < 110 else 0.25)
    step = float(pick(rng, steps)) if frame.metre != "6/8" else float(pick(rng, (1 / 3, 1 / 3, 1 / 6)))
    order = str(pick(rng, ("up", "down", "both", "order", "order")))
    n_voices, octaves = int(rng.integers(3, 5)), int(rng.integers(1, 3))
    voicings = _voicings(spans, int(rng.integers(62, 74)), n_voices)
    length = int(pick(rng, (3, 4, 6, 8, 16)))
    shape = [int(rng.integers(n_voices * octaves)) if rng.random() > 0.15 else -1 for _ in range(length)]
    gate = float(rng.uniform(0.4, 0.95))
    events = []
    for i in range(round(frame.phrase_beats / step)):
        start = i * step
        if frame.restless and start % frame.bar_beats < step / 2:  # another figure in every bar
            order = str(pick(rng, ("up", "down", "both", "order")))
            shape = [int(rng.integers(n_voices * octaves)) for _ in range(length)]
        voicing = voicings[spans.index(chord_at(spans, start))]
        ladder = [p + 12 * octave for octave in range(octaves) for p in voicing]
        place = _arp_place(order, i, len(ladder), shape)
        if place >= 0:
            accent = 0.85 if i % 4 == 0 else 0.62
            events.append(Event(round(start, 6), round(step * gate, 4), ladder[place % len(ladder)], accent))
    return events


def _arp_place(order: str, i: int, size: int, shape: list[int]) -> int:
    if order == "up":
        return i % size
    if order == "down":
        return size - 1 - i % size
    if order == "both":
        turn = max(1, 2 * size - 2)
        return min(i % turn, turn - i % turn)
    return shape[i % len(shape)]
