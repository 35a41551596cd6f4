"""What separation is for: the true next beats made again from a prompt's separated stems.

Sources are chosen by the notes, as the best model could choose, so what is left is the separation's fault. From true
stems the result is near the truth; from bad ones it is no nearer than the prompt played round.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from melformer.audio.waveform import Waveform
from melformer.evaluate.metrics.new_beats import FLOOR_DB, beat_pictures
from melformer.evaluate.metrics.tonality import chroma_cosine

TICKS_PER_BEAT, UNITS_PER_BEAT = 12, 2
TICKS = TICKS_PER_BEAT // UNITS_PER_BEAT
SHIFTS = tuple(range(-7, 8))  # semitones
ONSET, HELD = 2.0, 0.7  # what a tick weighs
N_PITCHES = 256  # MIDI's 128, then sounds without pitch
RUN_BONUS = 0.3  # for going on from the source before: each cut is heard
SHIFT_COST, SEMITONE_COST, OFF_BEAT_COST, IN_ORDER_BONUS = 0.02, 0.004, 0.01, 0.03
ATTACK_S, RELEASE_S = 0.004, 0.008
SAMPLE_RATE = 44_100

Source = tuple[int, int] | None
"""A unit of the prompt and a shift in semitones; None where the stem is silent."""


@dataclass(frozen=True)
class RecombinationScores:
    """Sixteen beats made again against the true ones."""

    mel_db: float  # mean level difference of the beats' mel pictures, lower is better
    chroma_cosine: float


def piano_roll(notes: np.ndarray, n_beats: int) -> np.ndarray:
    """One stem's notes (`onset`, `duration`, `instrument`, `pitch`, `velocity`, 12 ticks a beat) as a picture.

    Float32 (instruments, 256, ticks): an onset weighs 2, a held tick 0.7, times velocity. Each instrument has rows of
    its own, so that a shift along the pitch is a transposition and never another instrument.
    """
    players = sorted(set(notes["instrument"].tolist()))
    roll = np.zeros((max(1, len(players)), N_PITCHES, n_beats * TICKS_PER_BEAT), np.float32)
    for note in notes:
        row = roll[players.index(note["instrument"]), note["pitch"]]
        start, level = int(note["onset"]), note["velocity"] / 127.0
        row[start + 1 : start + int(note["duration"])] += HELD * level
        row[start : start + 1] += ONSET * level
    return roll


def best_sources(roll: np.ndarray, n_prompt: int, n_new: int, shifts: Sequence[int] = SHIFTS) -> list[Source]:
    """For each half beat of the truth, the half beat of the prompt whose notes are nearest, shifted if need be.

    `roll` holds prompt and truth. Runs are preferred to cuts, the loop's order to another, no shift to a shift.
    """
    units = roll.reshape(-1, roll.shape[-1] // TICKS, TICKS).swapaxes(0, 1)  # (units, rows, ticks)
    units = units.reshape(len(units), roll.shape[0], N_PITCHES, TICKS)
    n_old, n_made = n_prompt * UNITS_PER_BEAT, n_new * UNITS_PER_BEAT
    keys = [(unit, shift) for shift in shifts for unit in range(n_old)]
    table = np.concatenate([np.roll(units[:n_old], shift, axis=2) for shift in shifts]).reshape(len(keys), -1)
    unit_of, shift_of = (np.array([key[i] for key in keys]) for i in (0, 1))
    sources: list[Source] = []
    for place in range(n_made):
        truth = units[n_old + place].reshape(-1)
        energy = float(truth @ truth)
        if energy < 1e-9:
            sources.append(None)
            continue
        score = 1.0 - np.square(table - truth).sum(axis=1) / energy
        score -= SHIFT_COST * (shift_of != 0) + SEMITONE_COST * np.abs(shift_of)
        score -= OFF_BEAT_COST * ((unit_of - place) % UNITS_PER_BEAT != 0)
        score += IN_ORDER_BONUS * ((unit_of == place % n_old) & (shift_of == 0))
        before = sources[-1] if sources else None
        if before is not None:
            score += RUN_BONUS * ((unit_of == (before[0] + 1) % n_old) & (shift_of == before[1]))
        sources.append(keys[int(np.argmax(score))])
    return sources


def render_sources(stem: Waveform, sources: Sequence[Source], bpm: float, n_prompt: int) -> np.ndarray:
    """One stem's new half beats from a prompt of whole beats: float32 (samples, channels), joins of a few ms.

    A source that goes on is one piece; one that ends rings out over 8 ms.
    """
    n_units = n_prompt * UNITS_PER_BEAT
    old, new = (_unit_edges(n, bpm, stem.sample_rate) for n in (n_units, len(sources)))
    rise, fall = (_ramp(seconds, stem.sample_rate) for seconds in (ATTACK_S, RELEASE_S))
    out = np.zeros((new[-1] + len(fall), stem.n_channels), np.float32)
    shifted = {shift: _shifted(stem, shift) for shift in sorted({source[1] for source in sources if source})}
    for first, last in _runs(sources, n_units):
        unit, shift = sources[first]  # type: ignore[misc]  # a run has sources
        n_samples = new[last] - new[first]
        piece = shifted[shift][(old[unit] + np.arange(n_samples + len(fall))) % stem.n_samples]
        if first or unit:
            piece[: len(rise)] *= rise
        piece[n_samples:] *= 1.0 - fall
        out[new[first] : new[last] + len(fall)] += piece
    return out[: new[-1]]


def _runs(sources: Sequence[Source], n_units: int) -> Iterator[tuple[int, int]]:
    """Stretches of sources that follow each other in the prompt, as (first, one past the last)."""
    first = 0
    for place in range(1, len(sources) + 1):
        before, now = sources[place - 1], sources[place] if place < len(sources) else None
        if before and now == ((before[0] + 1) % n_units, before[1]):
            continue
        if before:
            yield first, place
        first = place


def _unit_edges(n_units: int, bpm: float, sample_rate: int) -> np.ndarray:
    return np.rint(np.arange(n_units + 1) * 60.0 / bpm / UNITS_PER_BEAT * sample_rate).astype(int)


def _ramp(seconds: float, sample_rate: int) -> np.ndarray:
    return np.sin(np.linspace(0.0, np.pi / 2, round(seconds * sample_rate), dtype=np.float32))[:, None] ** 2


def _shifted(stem: Waveform, semitones: int) -> np.ndarray:
    """The stem transposed at its own tempo (phase vocoder), (samples, channels)."""
    if semitones == 0:
        return stem.samples.copy()
    import librosa

    moved = librosa.effects.pitch_shift(stem.samples.T, sr=stem.sample_rate, n_steps=semitones)
    return np.ascontiguousarray(moved.T[: stem.n_samples], np.float32)


def recombine(
    stems: Mapping[str, Waveform], notes: Mapping[str, np.ndarray], bpm: float, n_prompt: int, n_new: int
) -> Waveform:
    """The next `n_new` beats from the prompt's stems, chosen by the notes of prompt and truth."""
    total: np.ndarray | float = 0.0
    for name in notes:
        shifts = (0,) if name == "drums" else SHIFTS
        sources = best_sources(piano_roll(notes[name], n_prompt + n_new), n_prompt, n_new, shifts)
        total = total + render_sources(stems[name], sources, bpm, n_prompt)
    return Waveform(np.asarray(total, np.float32), next(iter(stems.values())).sample_rate)


def is_loop_again(notes: Mapping[str, np.ndarray], n_prompt: int, n_new: int) -> bool:
    """Whether what follows is the prompt played round, so that nothing can be learnt from it."""
    for stem in notes.values():
        roll = piano_roll(stem, n_prompt + n_new)
        old = n_prompt * TICKS_PER_BEAT
        if not np.array_equal(roll[..., old : 2 * old], roll[..., : min(old, roll.shape[-1] - old)]):
            return False
    return True


def score_recombination(truth: Waveform, made: Waveform, bpm: float, n_new: int) -> RecombinationScores:
    """Both mono or stereo, `n_new` beats from their start on, at 44.1 kHz."""
    true, new = (w.mono().samples[:, 0] for w in (truth, made))
    n_samples = min(len(true), len(new))
    pictures = [np.maximum(beat_pictures(x, bpm, n_new), FLOOR_DB) for x in (true, new)]
    return RecombinationScores(
        mel_db=float(np.abs(pictures[0] - pictures[1]).mean()),
        chroma_cosine=chroma_cosine(true[:n_samples], new[:n_samples], truth.sample_rate),
    )
