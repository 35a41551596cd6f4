"""Loud and soft over a passage: how hard everybody plays at each beat."""

from collections.abc import Callable

import numpy as np

from melformer.corpus.frame import Frame
from melformer.corpus.passage import Section

Dynamics = Callable[[float], float]
_HUMAN_MS = 3.0
"""Styles played by hand, whose timing spreads this far, swell and fade more often than those of machines."""


def draw_dynamics(frame: Frame, sections: tuple[Section, ...], rng: np.random.Generator) -> Dynamics:
    """A factor above 0 up to 1 for each beat: 1 throughout, or a line that grows, falls or jumps with the sections."""
    by_hand = frame.style.human_ms >= _HUMAN_MS
    if rng.random() > (0.45 if by_hand else 0.12):
        return lambda beat: 1.0
    softest = float(rng.uniform(0.2, 0.7))
    beats: list[float] = []
    levels: list[float] = []
    level = float(rng.uniform(softest, 1.0))
    for section in sections:
        start = section.start_bar * frame.bar_beats
        if rng.random() < 0.35:  # suddenly
            level = float(rng.uniform(softest, 1.0))
        beats.append(start)
        levels.append(level)
        level = float(rng.uniform(softest, 1.0)) if rng.random() < 0.7 else level
        beats.append(start + section.n_bars * frame.bar_beats - 0.01)
        levels.append(level)
    return lambda beat: float(np.interp(beat, beats, levels))
