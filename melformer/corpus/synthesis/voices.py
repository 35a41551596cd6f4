"""Pitched voices: each turns a note and a dict of settings into sound, its attack at sample 0.

A voice returns float32 (n,) or (2, n), near 1 at its peak for full velocity, release included.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from melformer.corpus.synthesis.wavetable import (
    Floats,
    Route,
    adsr,
    filter_levels,
    harmonic_levels,
    make_tables,
    n_harmonics,
    route_through,
    scan,
    sine,
)

_CUTOFFS = np.geomspace(60.0, 18_000.0, 20)
_MOMENTS: NDArray[np.float64] = np.concatenate([[0.0], np.geomspace(0.01, 6.0, 19)])  # seconds into a plucked note
_PHASORS = np.exp(2j * np.pi * np.arange(4096) / 4096).astype(np.complex64)
Params = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """What a voice is asked for: MIDI `pitch`, samples held, velocity 0 to 1, rate, where a glide begins."""

    pitch: float
    n_held: int
    velocity: float
    sample_rate: int
    bend: float = 0.0

    def n(self, release_s: float) -> int:
        """Samples in all, with a release of so many seconds."""
        return self.n_held + int(release_s * self.sample_rate)

    def envelope(self, attack: float, decay: float, sustain: float, release: float) -> Floats:
        """An `adsr` envelope of this note, times in seconds."""
        return adsr(self.n(release), self.n_held, self.sample_rate, attack, decay, sustain, release)

    def time(self, n: int) -> Floats:
        """Seconds since the attack, (n,)."""
        return np.arange(n, dtype=np.float32) / np.float32(self.sample_rate)


Voice = Callable[[Note, Params], Floats]


def hertz(pitch: float) -> float:
    """Frequency of a MIDI number, A4 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def _phase(note: Note, n: int, p: Params, detune: float = 0.0) -> NDArray[np.float64]:
    """Turns of an oscillator `detune` semitones off, gliding into its pitch, with a late vibrato, (n,)."""
    step = hertz(note.pitch + detune) / note.sample_rate
    vibrato = p.get("vibrato", 0.0)
    if note.bend == 0.0 and vibrato == 0.0:
        return np.arange(n, dtype=np.float64) * step
    t = np.arange(n) / note.sample_rate
    semitones = note.bend * np.exp(-t / max(p.get("glide_s", 0.08), 1e-3) * 3)
    if vibrato:
        semitones = semitones + vibrato * np.minimum(t / 0.4, 1) ** 2 * np.sin(2 * np.pi * 5.3 * t)
    return np.cumsum(step * 2.0 ** (semitones / 12)) - step


@lru_cache(maxsize=64)
def _filtered_tables(shape: str, width: float, resonance: float, harmonics: int, frequency: float) -> Floats:
    levels = harmonic_levels(shape, harmonics, width)
    return make_tables(levels[None, :] * filter_levels(frequency, harmonics, _CUTOFFS, resonance))


def subtractive(note: Note, p: Params) -> Floats:
    """Detuned oscillators through a resonant low-pass with its own envelope and an optional wobble."""
    release = p.get("release", 0.08)
    n = note.n(release)
    frequency = round(hertz(round(note.pitch)), 3)
    harmonics = n_harmonics(frequency, note.sample_rate)
    shape, width, resonance = p.get("shape", "saw"), p.get("width", 0.5), p.get("resonance", 0.2)
    tables = _filtered_tables(shape, width, resonance, harmonics, frequency)
    tables, route = _filter_route(tables, note, n, p)
    sides = [np.zeros(n, np.float32), np.zeros(n, np.float32)]
    spread = _detunes(int(p.get("unison", 1)), p.get("detune", 0.1))
    for i, semitones in enumerate(spread):
        sides[i % 2] += scan(tables, _phase(note, n, p, semitones) + 0.37 * i, route)
    if p.get("sub", 0.0):
        sides[0] += sine(_phase(note, n, p, -12.0)) * np.float32(p["sub"])
    amplitude = note.envelope(p.get("attack", 0.003), p.get("decay", 0.3), p.get("sustain", 0.8), release)
    amplitude *= np.float32(note.velocity)
    if len(spread) == 1:
        return sides[0] * amplitude
    left, right = sides
    both = np.stack([0.8 * left + 0.2 * right, 0.2 * left + 0.8 * right])
    return both * (amplitude * np.float32(1.6 / np.sqrt(len(spread))))


def _filter_route(tables: Floats, note: Note, n: int, p: Params) -> tuple[Floats, Route | None]:
    """Where the cutoff stands in the stack of tables: its base, its envelope, its wobble.

    For a filter that never moves, one table between two, and no route.
    """
    per_octave = (len(_CUTOFFS) - 1) / math.log2(_CUTOFFS[-1] / _CUTOFFS[0])
    base = math.log2(p.get("cutoff", 800.0) / _CUTOFFS[0])
    amount = p.get("f_amount", 2.0) * (0.4 + 0.6 * note.velocity)
    if not amount and not p.get("wobble_hz", 0.0):
        place = min(max(base * per_octave, 0.0), len(tables) - 1.001)
        part = np.float32(place % 1.0)
        return ((1 - part) * tables[int(place)] + part * tables[int(place) + 1])[None], None
    octaves = adsr(
        n, note.n_held, note.sample_rate, p.get("f_attack", 0.001), p.get("f_decay", 0.2), p.get("f_sustain", 0.3),
        p.get("release", 0.08),
    )  # fmt: skip
    octaves *= amount
    if p.get("wobble_hz", 0.0):
        turns = 2 * np.pi * p["wobble_hz"] * note.time(n)
        octaves -= p.get("wobble_depth", 2.0) * (0.5 + 0.5 * np.cos(turns))
    octaves += base
    octaves *= per_octave
    return tables, route_through(tables, octaves)


def _detunes(count: int, width: float) -> list[float]:
    if count == 1:
        return [0.0]
    return [float(width * x * abs(x) ** 0.3) for x in np.linspace(-1, 1, count)]


def fm(note: Note, p: Params) -> Floats:
    """Two-operator frequency modulation, the index falling as the note rings: electric pianos, bells, basses."""
    release = p.get("release", 0.15)
    phase = _phase(note, note.n(release), p)
    index = note.envelope(0.001, p.get("i_decay", 0.4), p.get("i_sustain", 0.15), release)
    index *= p.get("index", 2.0) * (0.25 + 0.75 * note.velocity) * min(1.0, 2.0 ** ((72 - note.pitch) / 24))
    modulator = sine(phase * p.get("ratio", 1.0))
    wave = np.sin(np.float32(2 * np.pi) * (phase - np.floor(phase)).astype(np.float32) + index * modulator)
    if p.get("tine", 0.0):
        wave += np.float32(p["tine"] * note.velocity) * note.envelope(0.001, 0.25, 0.0, release) * sine(phase * 14.0)
    amplitude = note.envelope(p.get("attack", 0.002), p.get("decay", 1.2), p.get("sustain", 0.0), release)
    return wave * amplitude * np.float32(note.velocity)


def pluck(note: Note, p: Params) -> Floats:
    """A plucked string: harmonics that die faster the higher they are, with a comb from the plucking point."""
    release = p.get("release", 0.12)
    n = note.n(release)
    frequency = hertz(round(note.pitch))
    bright = p.get("bright", 0.5) * (0.5 + 0.5 * note.velocity)
    count = n_harmonics(frequency, note.sample_rate)
    place, damping, scatter = p.get("place", 0.18), p.get("damping", 0.5), p.get("scatter", 0.0)
    tables = _string_tables(frequency, count, bright, place, damping, scatter)
    position = np.interp(note.time(n), _MOMENTS, np.arange(20.0)).astype(np.float32)
    wave = scan(tables, _phase(note, n, p), route_through(tables, position)) * note.envelope(0.0015, 1.0, 1.0, release)
    return wave * np.float32(note.velocity * 1.1 / max(1e-6, float(np.abs(tables[0]).max())))


@lru_cache(maxsize=32)
def _string_tables(frequency: float, count: int, bright: float, place: float, damping: float, scatter: float) -> Floats:
    """The cycles of a plucked string at the `_MOMENTS` of its decay."""
    k = np.arange(1, count + 1, dtype=np.float64)
    levels = np.abs(np.sin(np.pi * k * place)) / k ** (2.2 - 1.4 * bright)
    rates = (0.35 + damping) * (1 + 0.02 * k ** (1.0 + 0.5 * damping) * frequency / 110)
    rates *= 1.6 * (frequency / 220) ** 0.4
    return make_tables(levels * np.exp(-_MOMENTS[:, None] * rates), k * 0.618 % 1.0 * scatter - 0.25)


def additive(note: Note, p: Params) -> Floats:
    """Struck bars and bells: a few partials at the given ratios, the upper ones fading first."""
    release = p.get("release", 0.3)
    n = note.n(release)
    t, phase = note.time(n), _phase(note, n, p)
    wave = np.zeros(n, np.float32)
    for i, (ratio, level) in enumerate(zip(p["ratios"], p["levels"], strict=True)):
        if hertz(note.pitch) * ratio > 0.45 * note.sample_rate:
            continue
        fade = np.exp(-t * (3.0 / p.get("ring", 1.0)) * (1 + p.get("tilt", 0.6) * i))
        wave += np.float32(level * (note.velocity if i else 1.0)) * fade * sine(phase * ratio)
    gain = 1.4 * note.velocity / sum(p["levels"])
    return wave * note.envelope(0.001, 1.0, 1.0, release) * np.float32(gain)


@lru_cache(maxsize=64)
def _pad_cycle(pitch: int, shape: str, spread: float, dark: float, sample_rate: int, seed: int) -> Floats:
    """A few seconds of ensemble that repeat without a seam: every harmonic smeared, with random phases."""
    n = 1 << 17
    rng = np.random.default_rng([seed, pitch])
    frequency = hertz(pitch)
    count = n_harmonics(frequency, sample_rate)
    levels = harmonic_levels(shape, count) / (1 + (frequency * np.arange(1, count + 1) / dark) ** 2)
    magnitude = np.zeros(n // 2 + 1)
    for k, level in enumerate(levels, 1):
        centre = k * frequency / sample_rate * n
        width = max(1.2, spread * centre)
        low, high = int(max(1, centre - 4 * width)), int(min(n // 2, centre + 4 * width)) + 1
        bins = np.arange(low, high)
        magnitude[low:high] += level * np.exp(-0.5 * ((bins - centre) / width) ** 2) / np.sqrt(width)
    turned = _PHASORS.take(rng.integers(len(_PHASORS), size=len(magnitude), dtype=np.uint16))
    cycle = scipy.fft.irfft(magnitude.astype(np.float32) * turned, n)
    return cycle / (4 * np.std(cycle))


def pad(note: Note, p: Params) -> Floats:
    """Strings, choirs and wide pads by smeared harmonics (after Nasca's PADsynth), stereo from two places."""
    release = p.get("release", 0.5)
    n = note.n(release)
    pitch = round(note.pitch)
    shape, spread, dark = p.get("shape", "saw"), p.get("spread", 0.004), p.get("dark", 2500.0)
    cycle = _pad_cycle(pitch, shape, spread, dark, note.sample_rate, p.get("seed", 0))
    start = pitch * 7919
    both = np.stack([_around(cycle, start, n), _around(cycle, start + 65_536, n)])
    amplitude = note.envelope(p.get("attack", 0.15), 1.0, p.get("sustain", 1.0), release)
    return both * (amplitude * np.float32(note.velocity))


def _around(cycle: Floats, start: int, n: int) -> Floats:
    """`n` samples of a cycle that repeats, from `start`."""
    start %= len(cycle)
    return np.tile(cycle, 1 + (start + n) // len(cycle))[start : start + n]


def bass808(note: Note, p: Params) -> Floats:
    """A long sine with a punch of pitch at its start, pushed into soft clipping."""
    release = p.get("release", 0.06)
    t = np.arange(note.n(release)) / note.sample_rate
    semitones = note.bend * np.exp(-t / 0.05) + p.get("punch", 18.0) * np.exp(-t / 0.012)
    step = hertz(note.pitch) / note.sample_rate * 2.0 ** (semitones / 12)
    drive = np.float32(p.get("drive", 1.5))
    wave = np.tanh(drive * sine(np.cumsum(step) - step[0])) / np.tanh(drive)
    return wave * note.envelope(0.001, p.get("decay", 1.4), p.get("sustain", 0.1), release) * np.float32(note.velocity)


VOICES: dict[str, Voice] = {
    "subtractive": subtractive, "fm": fm, "pluck": pluck, "additive": additive, "pad": pad, "bass808": bass808,
}  # fmt: skip
