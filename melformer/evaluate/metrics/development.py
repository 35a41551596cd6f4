"""How music develops after a prompt, stem by stem and beat by beat: what people do, and what a system does.

Each new beat of a stem gets the first class that fits, by which units of the prompt a system took and how they were
moved (`tools/development_report.py` does the same for notes). Unlike a measure on sound, this cannot be fooled by
leakage, gain or shifted bars.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from melformer.errors import RequestError
from melformer.stems import STEMS

if TYPE_CHECKING:
    from melformer.stems.units import UnitChoice  # needs torch

UNITS_PER_BEAT = 2  # of a model's choices
IN_ORDER, SILENT, OTHER_BEAT, TRANSPOSED = "loop order", "silent", "another beat", "transposed"
HALVES, HALVES_TRANSPOSED = "halves", "halves transposed"
QUARTERS, QUARTERS_TRANSPOSED = "quarters", "quarters transposed"
KNOWN, NEW = "known notes", "new"
CLASSES = (
    IN_ORDER, SILENT, OTHER_BEAT, TRANSPOSED, HALVES, HALVES_TRANSPOSED, QUARTERS, QUARTERS_TRANSPOSED, KNOWN, NEW
)  # fmt: skip
SILENT_UNIT, NEW_UNIT = -1, -2
"""Sources that are no unit of the prompt: nothing sounds; the decoder sounds."""


def classify_sources(sources: np.ndarray, shifts: np.ndarray, n_prompt: int, units_per_beat: int = 2) -> list[str]:
    """The class of each new beat from the units that one stem was made of.

    `sources` int (units,): a unit of the prompt, `SILENT_UNIT` or `NEW_UNIT`; `shifts` int (units,) in semitones.
    Errors: RequestError for units outside the prompt or no whole beats.
    """
    n_units = n_prompt * units_per_beat
    if (
        len(sources) != len(shifts)
        or len(sources) % units_per_beat
        or np.any((sources < NEW_UNIT) | (sources >= n_units))
    ):
        raise RequestError(f"sources are units under {n_units}, in whole beats and with as many shifts")
    classes = []
    for beat in range(len(sources) // units_per_beat):
        part = slice(beat * units_per_beat, (beat + 1) * units_per_beat)
        classes.append(_class_of_sources(sources[part], shifts[part], beat % n_prompt, units_per_beat))
    return classes


def _class_of_sources(sources: np.ndarray, shifts: np.ndarray, place: int, units_per_beat: int) -> str:
    if (sources == SILENT_UNIT).all():
        return SILENT
    if (sources == NEW_UNIT).any():
        return NEW
    whole = bool((np.diff(sources) == 1).all() and sources[0] >= 0 and sources[0] % units_per_beat == 0)
    moved = bool((shifts[sources >= 0] != 0).any())
    if whole and moved and (shifts == shifts[0]).all():
        return TRANSPOSED
    if whole and not moved:
        return IN_ORDER if sources[0] // units_per_beat == place else OTHER_BEAT
    if all(_is_intact(half) for half in sources.reshape(2, -1)):
        return HALVES_TRANSPOSED if moved else HALVES
    return QUARTERS_TRANSPOSED if moved else QUARTERS


def _is_intact(half: np.ndarray) -> bool:
    """Whether half a beat is half a beat of the prompt, or silent."""
    if (half == SILENT_UNIT).all():
        return True
    return bool(half[0] >= 0 and half[0] % len(half) == 0 and (np.diff(half) == 1).all())


def classify_choices(choices: Sequence[Sequence["UnitChoice"]], n_units: int) -> dict[str, list[str]]:
    """The classes of each stem's new beats from what was chosen for each half beat (one choice a stem, as `STEMS`).

    `n_units` half beats of the prompt were there to choose from; a last beat that is cut in two is left out.
    """
    whole = len(choices) // UNITS_PER_BEAT * UNITS_PER_BEAT
    classes = {}
    for name, stem in zip(STEMS, zip(*choices[:whole], strict=True), strict=True):
        sources = np.array([half for c in stem for half in ((SILENT_UNIT,) * 2 if c.silent else c.halves)])
        shifts = np.repeat([choice.shift for choice in stem], 2)
        classes[name] = classify_sources(sources, shifts, n_units // UNITS_PER_BEAT, 2 * UNITS_PER_BEAT)
    return classes


def class_shares(classes: Sequence[str]) -> dict[str, float]:
    """Share of each class; NaN without beats. Errors: RequestError for a class that is none."""
    if unknown := sorted(set(classes) - set(CLASSES)):
        raise RequestError(f"{unknown[0]!r} is no class of development; they are {', '.join(CLASSES)}")
    counts = Counter(classes)
    return {name: counts[name] / len(classes) if classes else float("nan") for name in CLASSES}


def class_distance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Total variation distance of two tables of shares: 0 the same, 1 nothing in common."""
    return 0.5 * sum(abs(a.get(name, 0.0) - b.get(name, 0.0)) for name in CLASSES)
