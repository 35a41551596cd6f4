"""How alike the units of a passage are by their notes: what the pointer is taught by."""

from collections.abc import Mapping

import numpy as np

from melformer.stems.stems import STEMS
from melformer.stems.units import UNITS_PER_BEAT

SHIFTS = tuple(range(-7, 8))
"""Semitones by which a source may be transposed."""
TICKS_PER_UNIT = 6
_ONSET, _HELD = 2.0, 0.7
_TRANSPOSABLE_PITCHES = 128


def alikeness(notes: Mapping[str, np.ndarray], n_units: int, n_sources: int) -> tuple[np.ndarray, np.ndarray]:
    """Percent int8 (3, n_units, n_sources, 15) by which unit t sounds as source unit j shifted by `SHIFTS`, and bool
    (3, n_units): where a stem is silent.

    The cosine of two piano rolls in which an onset weighs 2 and a held tick 0.7, times the velocity, less up to a sixth
    where they differ in level. Drums are never shifted: their column of shift 0 alone is filled.
    `notes` are those of `passage_notes` at 12 ticks a model beat.
    """
    table = np.zeros((len(STEMS), n_units, n_sources, len(SHIFTS)), np.int8)
    silent = np.ones((len(STEMS), n_units), bool)
    for k, name in enumerate(STEMS):
        roll, pitched = _roll(notes[name], n_units)
        units = roll.reshape(*roll.shape[:2], n_units, TICKS_PER_UNIT).transpose(2, 0, 1, 3)
        norms = np.sqrt(np.square(units).sum(axis=(1, 2, 3)))
        silent[k] = norms < 1e-3
        if silent[k].all():
            continue
        for s, shift in enumerate(SHIFTS):
            if shift and (k == 0 or not pitched):
                continue
            moved = np.roll(units[:n_sources], shift, axis=2) if shift else units[:n_sources]
            product = units.reshape(n_units, -1) @ moved.reshape(n_sources, -1).T
            largest = np.maximum(norms[:, None], norms[None, :n_sources])
            apart = np.abs(norms[:, None] - norms[None, :n_sources]) / np.maximum(largest, 1e-6)
            cosine = product / np.maximum(norms[:, None] * norms[None, :n_sources], 1e-6)
            table[k, :, :, s] = np.rint(100 * cosine / (1 + 0.2 * apart))
        both = silent[k][:, None] & silent[k][None, :n_sources]
        table[k][both, SHIFTS.index(0)] = 100
    return table, silent


def half_alikeness(drums: np.ndarray, n_units: int) -> np.ndarray:
    """Percent int8 (2 · n_units, 2 · n_units) by which the drums of one half unit sound as those of another, as
    `alikeness` counts it; two silent ones are the same."""
    roll, _ = _roll(drums, n_units)
    halves = roll.reshape(*roll.shape[:2], 2 * n_units, TICKS_PER_UNIT // 2).transpose(2, 0, 1, 3)
    flat = halves.reshape(2 * n_units, -1)
    norms = np.sqrt(np.square(flat).sum(axis=1))
    largest = np.maximum(norms[:, None], norms)
    apart = np.abs(norms[:, None] - norms) / np.maximum(largest, 1e-6)
    table = 100 * (flat @ flat.T) / np.maximum(norms[:, None] * norms, 1e-6) / (1 + 0.2 * apart)
    table[(norms[:, None] < 1e-3) & (norms < 1e-3)] = 100
    return np.rint(table).astype(np.int8)


def _roll(notes: np.ndarray, n_units: int) -> tuple[np.ndarray, bool]:
    """(instruments, pitches, ticks) of one stem; instruments keep their pitches apart."""
    n_ticks = n_units * TICKS_PER_UNIT
    inside = notes[notes["onset"] < n_ticks]
    players = sorted(set(inside["instrument"].tolist()))
    pitched = bool((inside["pitch"] < _TRANSPOSABLE_PITCHES).any())
    roll = np.zeros((max(1, len(players)), 256 if (inside["pitch"] >= 128).any() else 128, n_ticks), np.float32)
    for note in inside:
        row = roll[players.index(note["instrument"]), note["pitch"]]
        start, stop = int(note["onset"]), min(n_ticks, int(note["onset"] + note["duration"]))
        level = note["velocity"] / 127.0
        row[start + 1 : stop] += _HELD * level
        row[start] += _ONSET * level
    return roll, pitched


assert TICKS_PER_UNIT * UNITS_PER_BEAT == 12
