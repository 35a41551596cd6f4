"""The pattern language: a bar written as a string, one character a step.

Drums: `X` accent, `x` hit, `o` soft, `g` ghost, `r` two-stroke roll, `t` three-stroke roll, `.` rest.
Chords: `X x o` strike, `-` hold, `.` silence.
Bass: `R` root, `r` soft root, `L` root an octave down, `8` octave, `5` fifth, `3` third, `7` seventh, `6` sixth,
`a` approach to the next chord (a half step below), `b` the same from above, `-` hold, `.` silence.
Spaces only help the eye. A bar may have any number of steps: their length follows from the bar's.
"""

from dataclasses import dataclass

import numpy as np

VELOCITIES = {"X": 1.0, "x": 0.8, "o": 0.55, "g": 0.32, "r": 0.7, "t": 0.65}


@dataclass(frozen=True)
class Step:
    """One struck step: where it starts and how long it lasts in beats of the bar, and its character."""

    start_beats: float
    duration_beats: float
    mark: str


def clean(pattern: str) -> str:
    """The pattern without its spaces and bar lines."""
    return pattern.replace(" ", "").replace("|", "")


def read_steps(pattern: str, bar_beats: int) -> list[Step]:
    """Struck steps of a bar of `bar_beats` beats; holds (`-`) lengthen the step before them."""
    marks = clean(pattern)
    step = bar_beats / len(marks)
    steps: list[Step] = []
    for i, mark in enumerate(marks):
        if mark in ".-":
            continue
        length = 1
        while i + length < len(marks) and marks[i + length] == "-":
            length += 1
        steps.append(Step(i * step, length * step, mark))
    return steps


def fit_metre(pattern: str, metre: str) -> str:
    """Cut or extend a 16-step bar of 4/4 to another metre; patterns of other lengths are left as they are.

    In 6/8 (two dotted quarters) half the bar is kept, each group of four steps squeezed into three.
    """
    marks = clean(pattern)
    if len(marks) != 16 or metre == "4/4":
        return marks
    if metre == "6/8":
        return "".join(_three(marks[i : i + 4]) for i in (0, 4))
    return (marks + marks[8:])[: {"3/4": 12, "7/8": 14, "5/4": 20}[metre]]


def _three(group: str) -> str:
    last = group[3] if group[2] in ".-" and group[3] not in ".-" else group[2]
    return group[:2] + last


def swing(start_beats: float, amount: float, step_beats: float) -> float:
    """Delay every second step of `step_beats`: amount 0 is straight, 1/3 of a pair is a triplet feel (amount 1)."""
    pair = 2 * step_beats
    whole, rest = divmod(start_beats + 1e-9, pair)
    late = step_beats * (1 + amount / 3)
    if rest < step_beats:
        rest = rest * late / step_beats
    else:
        rest = late + (rest - step_beats) * (pair - late) / step_beats
    return whole * pair + rest - 1e-9


def mutate(pattern: str, rng: np.random.Generator, amount: float = 0.08, marks: str = "og") -> str:
    """Add ghosts on empty steps and drop weak hits, each with probability `amount`; accents always stay."""
    out = []
    for mark in clean(pattern):
        draw = rng.random()
        if mark == "." and draw < amount / 2:
            mark = str(rng.choice(list(marks)))
        elif mark in "og" and draw < amount:
            mark = "."
        out.append(mark)
    return "".join(out)
