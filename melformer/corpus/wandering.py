"""Playing without keeping time: what a free prelude, a score under a film, or a drone has instead of a groove."""

from dataclasses import replace
from itertools import groupby

import numpy as np

from melformer.corpus.passage import Event

_SHIFTS = (-0.5, -0.25, 0.0, 0.0, 0.25, 0.5)
_REST, _ENTRY = 0.2, 0.5
"""Chances at each stroke that a rest begins, and that one ends."""


def wandering(events: list[Event], rng: np.random.Generator) -> list[Event]:
    """One player's events (in any order) with rests between them, strokes sooner or later by up to half a beat, held
    up to three times as long, loud and soft at will. What is struck together stays together."""
    out: list[Event] = []
    resting = bool(rng.random() < 0.3)
    for start, struck in groupby(sorted(events, key=lambda e: (e.start_beats, e.pitch)), lambda e: e.start_beats):
        resting = rng.random() >= _ENTRY if resting else rng.random() < _REST
        moved = max(0.0, start + float(rng.choice(_SHIFTS)))
        held, loud = float(rng.uniform(1.0, 3.0)), float(rng.uniform(0.25, 1.0))
        if not resting:
            out += [
                replace(e, start_beats=moved, duration_beats=e.duration_beats * held, velocity=e.velocity * loud)
                for e in struck
            ]
    return out
