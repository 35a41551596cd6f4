"""Pitched voices. Each takes a note and a dict of settings and returns the sound, attack at sample 0.

Signature: `(pitch, n_held, velocity, sample_rate, params, bend) -> float32 (n,) or (2, n)`, peak near 1 at full
velocity; the release is added after `n_held` samples.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from melformer.corpus.wavetable import Floats, adsr, filter_levels, harmonic_levels, make_tables, n_harmonics, scan

Voice = Callable[[float, int, float, int, dict[str, Any], float], Floats]
_CUTOFFS = np.geomspace(60.0, 18_000.0, 20)


def hertz(pitch: float) -> float:
    """Frequency of a MIDI number, A4 = 440 Hz."""
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _phase(pitch: float, n: int, sample_rate: int, bend: float = 0.0, glide_s: float = 0.08, vibrato: float = 0.0):
    """Turns of an oscillator that glides from `bend` semitones into its pitch, with a late vibrato, (n,)."""
    step = hertz(pitch) / sample_rate
    if bend == 0.0 and vibrato == 0.0:
        return np.arange(n, dtype=np.float64) * step
    t = np.arange(n) / sample_rate
    semitones = bend * np.exp(-t / max(glide_s, 1e-3) * 3)
    if vibrato:
        semitones = semitones + vibrato * np.minimum(t / 0.4, 1) ** 2 * np.sin(2 * np.pi * 5.3 * t)
    return np.cumsum(step * 2.0 ** (semitones / 12)) - step


@lru_cache(maxsize=512)
def _filtered_tables(shape: str, width: float, resonance: float, harmonics: int, frequency: float) -> Floats:
    levels = harmonic_levels(shape, harmonics, width)
    return make_tables(levels[None, :] * filter_levels(frequency, harmonics, _CUTOFFS, resonance))


def subtractive(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """Detuned oscillators through a resonant low-pass with its own envelope and an optional beat-locked wobble."""
    release = p.get("release", 0.08)
    n = n_held + int(release * sample_rate)
    frequency = round(hertz(round(pitch)), 3)
    harmonics = n_harmonics(frequency, sample_rate)
    tables = _filtered_tables(p.get("shape", "saw"), p.get("width", 0.5), p.get("resonance", 0.2), harmonics, frequency)
    sweep = adsr(n, n_held, sample_rate, p.get("f_attack", 0.001), p.get("f_decay", 0.2), p.get("f_sustain", 0.3), release)
    octaves = np.log2(p.get("cutoff", 800.0) / 60.0) + p.get("f_amount", 2.0) * sweep * (0.4 + 0.6 * velocity)
    if p.get("wobble_hz", 0.0):
        t = np.arange(n, dtype=np.float32) / sample_rate
        octaves = octaves - p.get("wobble_depth", 2.0) * (0.5 + 0.5 * np.cos(2 * np.pi * p["wobble_hz"] * t))
    position = (octaves / np.log2(300.0) * (len(_CUTOFFS) - 1)).astype(np.float32)
    amplitude = adsr(n, n_held, sample_rate, p.get("attack", 0.003), p.get("decay", 0.3), p.get("sustain", 0.8), release)
    amplitude *= velocity
    sides = [np.zeros(n, np.float32), np.zeros(n, np.float32)]
    spread = _detunes(int(p.get("unison", 1)), p.get("detune", 0.1))
    for i, cents in enumerate(spread):
        phase = _phase(pitch + cents, n, sample_rate, bend, p.get("glide_s", 0.08), p.get("vibrato", 0.0))
        sides[i % 2] += scan(tables, phase + 0.37 * i * (len(spread) > 1), position)
    if p.get("sub", 0.0):
        sub = np.sin((2 * np.pi) * (_phase(pitch - 12, n, sample_rate, bend) % 1.0).astype(np.float32)) * p["sub"]
        sides[0] += sub
    if len(spread) == 1:
        return sides[0] * amplitude
    left, right, scale = *sides, 0.8 / np.sqrt(len(spread))
    return np.stack([(0.8 * left + 0.2 * right), (0.2 * left + 0.8 * right)]) * (scale * 2 * amplitude)


def _detunes(count: int, width: float) -> list[float]:
    if count == 1:
        return [0.0]
    return [float(width * x * abs(x) ** 0.3) for x in np.linspace(-1, 1, count)]


def fm(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """Two-operator frequency modulation, the index falling as the note rings: electric pianos, bells, basses."""
    release = p.get("release", 0.15)
    n = n_held + int(release * sample_rate)
    phase = _phase(pitch, n, sample_rate, bend, vibrato=p.get("vibrato", 0.0))
    index = adsr(n, n_held, sample_rate, 0.001, p.get("i_decay", 0.4), p.get("i_sustain", 0.15), release)
    index *= p.get("index", 2.0) * (0.25 + 0.75 * velocity) * min(1.0, 2.0 ** ((72 - pitch) / 24))
    modulator = np.sin((2 * np.pi) * ((phase * p.get("ratio", 1.0)) % 1.0).astype(np.float32))
    wave = np.sin((2 * np.pi) * (phase % 1.0).astype(np.float32) + index * modulator)
    if p.get("tine", 0.0):
        ping = adsr(n, n_held, sample_rate, 0.001, 0.25, 0.0, release)
        wave += p["tine"] * velocity * ping * np.sin((2 * np.pi) * ((phase * 14.0) % 1.0).astype(np.float32))
    amplitude = adsr(n, n_held, sample_rate, p.get("attack", 0.002), p.get("decay", 1.2), p.get("sustain", 0.0), release)
    return wave * amplitude * velocity


def pluck(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """A plucked string: harmonics that die faster the higher they are, with a comb from the plucking point."""
    release = p.get("release", 0.12)
    n = n_held + int(release * sample_rate)
    frequency = hertz(round(pitch))
    k = np.arange(1, n_harmonics(frequency, sample_rate) + 1)
    bright = p.get("bright", 0.5) * (0.5 + 0.5 * velocity)
    levels = np.abs(np.sin(np.pi * k * p.get("place", 0.18))) / k ** (2.2 - 1.4 * bright)
    damping = p.get("damping", 0.5)
    rates = (0.35 + damping) * (1 + 0.02 * k ** (1.0 + 0.5 * damping) * frequency / 110) * (frequency / 220) ** 0.4 * 1.6
    moments = np.concatenate([[0.0], np.geomspace(0.01, 6.0, 19)])
    tables = make_tables(levels * np.exp(-moments[:, None] * rates), (k * 0.618) % 1.0 * p.get("scatter", 0.0) - 0.25)
    t = np.arange(n, dtype=np.float32) / sample_rate
    position = np.interp(t, moments, np.arange(20.0)).astype(np.float32)
    wave = scan(tables, _phase(pitch, n, sample_rate, bend), position)
    wave *= adsr(n, n_held, sample_rate, 0.0015, 1.0, 1.0, release)
    return wave * (velocity * 1.1 / max(1e-6, float(np.abs(tables[0]).max())))


def additive(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """Struck bars and bells: a few partials at the given ratios, the upper ones fading first."""
    release = p.get("release", 0.3)
    n = n_held + int(release * sample_rate)
    t = np.arange(n, dtype=np.float32) / sample_rate
    wave = np.zeros(n, np.float32)
    for i, (ratio, level) in enumerate(zip(p["ratios"], p["levels"], strict=True)):
        if hertz(pitch) * ratio > 0.45 * sample_rate:
            continue
        fade = np.exp(-t * (3.0 / p.get("ring", 1.0)) * (1 + p.get("tilt", 0.6) * i))
        phase = ((_phase(pitch, n, sample_rate, bend) * ratio) % 1.0).astype(np.float32)
        wave += (level * (velocity if i else 1.0)) * fade * np.sin((2 * np.pi) * phase)
    return wave * adsr(n, n_held, sample_rate, 0.001, 1.0, 1.0, release) * velocity / sum(p["levels"]) * 1.4


@lru_cache(maxsize=96)
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
    cycle = np.fft.irfft(magnitude * np.exp(2j * np.pi * rng.random(len(magnitude))), n)
    return (cycle / (4.0 * np.std(cycle))).astype(np.float32)


def pad(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """Strings, choirs and wide pads by smeared harmonics (after Nasca's PADsynth), stereo from two places of a cycle."""
    release = p.get("release", 0.5)
    n = n_held + int(release * sample_rate)
    cycle = _pad_cycle(round(pitch), p.get("shape", "saw"), p.get("spread", 0.004), p.get("dark", 2500.0), sample_rate, p.get("seed", 0))
    start = round(pitch) * 7919
    both = np.stack([_around(cycle, start, n), _around(cycle, start + 65_536, n)])
    amplitude = adsr(n, n_held, sample_rate, p.get("attack", 0.15), 1.0, p.get("sustain", 1.0), release)
    return both * (amplitude * velocity)


def _around(cycle: Floats, start: int, n: int) -> Floats:
    """`n` samples of a cycle that repeats, from `start`."""
    start %= len(cycle)
    return np.tile(cycle, 1 + (start + n) // len(cycle))[start : start + n]


def bass808(pitch: float, n_held: int, velocity: float, sample_rate: int, p: dict[str, Any], bend: float) -> Floats:
    """A long sine with a punch of pitch at its start, pushed into soft clipping."""
    release = p.get("release", 0.06)
    n = n_held + int(release * sample_rate)
    t = np.arange(n) / sample_rate
    semitones = bend * np.exp(-t / 0.05) + p.get("punch", 18.0) * np.exp(-t / 0.012)
    phase = np.cumsum(hertz(pitch) / sample_rate * 2.0 ** (semitones / 12))
    wave = np.sin((2 * np.pi) * (phase % 1.0).astype(np.float32))
    drive = p.get("drive", 1.5)
    wave = np.tanh(drive * wave) / np.tanh(drive)
    return wave * adsr(n, n_held, sample_rate, 0.001, p.get("decay", 1.4), p.get("sustain", 0.1), release) * velocity


VOICES: dict[str, Voice] = {
    "subtractive": subtractive, "fm": fm, "pluck": pluck, "additive": additive, "pad": pad, "bass808": bass808,
}  # fmt: skip
