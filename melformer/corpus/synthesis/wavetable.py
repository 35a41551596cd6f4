"""Oscillators read from tables whose harmonics we choose, so that nothing aliases and filters cost nothing.

A filter on a periodic wave only changes its harmonics' levels. So a voice is a stack of single-cycle tables, one
for each cutoff (or vowel, or moment of a decay), and a position that moves through the stack as the note sounds.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_TOP_HZ = 18_000.0


def n_harmonics(frequency: float, sample_rate: int) -> int:
    """How many harmonics stay below 18 kHz and the Nyquist frequency."""
    return max(1, int(min(_TOP_HZ, 0.47 * sample_rate) / frequency))


def make_tables(levels: NDArray[np.float64], phases: NDArray[np.float64] | None = None) -> Floats:
    """Turn harmonic levels (n_frames, n_harmonics) into single cycles (n_frames, size + 1)."""
    size = _table_size(levels)
    spectrum = np.zeros((levels.shape[0], size // 2 + 1), np.complex64)
    turns = np.full(levels.shape[1], -0.25) if phases is None else phases
    spectrum[:, 1 : levels.shape[1] + 1] = levels * np.exp(2j * np.pi * turns) * (size / 2)
    cycle = scipy.fft.irfft(spectrum, size, axis=1)
    return np.concatenate([cycle, cycle[:, :1]], axis=1)


def _table_size(levels: NDArray[np.float64]) -> int:
    """The least power of two in which straight interpolation stays 70 dB clean in every frame.

    A straight line misses a harmonic k by its level times (k / size)² / 4: a loud one needs 28 points, a faint one few.
    """
    k = np.arange(1, levels.shape[1] + 1)
    loud = np.sqrt(np.sum(levels**2, axis=1)).max()
    missed = np.sqrt(np.sum((levels * k**2) ** 2, axis=1)).max()
    size = max(64.0, 2.0 * len(k) + 2, 28.0 * np.sqrt(missed / max(loud, 1e-9)))
    return 1 << int(np.ceil(np.log2(size)))


@dataclass(frozen=True)
class Route:
    """A way through a stack of tables: the frame below every sample and how far it is to the next, (n,) each."""

    below: NDArray[np.intp]
    blend: Floats


def route_through(tables: Floats, position: Floats) -> Route:
    """The route of a `position` from 0 to n_frames − 1 (clipped to that), (n,)."""
    frame = np.clip(position, 0, len(tables) - 1.001)
    below = frame.astype(np.intp)
    return Route(below * tables.shape[1], frame - below.astype(np.float32))  # an integer would make it float64


def scan(tables: Floats, phase: NDArray[np.float64], route: Route | None = None) -> Floats:
    """Read tables at `phase` (turns, any size) along a route through the stack; without a route, the first table."""
    size = tables.shape[1] - 1
    place = phase - np.floor(phase)  # `%` takes ten times as long
    place *= size
    left = place.astype(np.intp)
    part = (place - left).astype(np.float32)
    if route is None:
        return _between(tables.ravel(), left, part)
    left += route.below
    low = _between(tables.ravel(), left, part)
    left += size + 1
    high = _between(tables.ravel(), left, part)
    high -= low
    high *= route.blend
    low += high
    return low


def _between(flat: Floats, left: NDArray[np.intp], part: Floats) -> Floats:
    """Straight lines between neighbours: the value `part` of the way from `left` on, (n,)."""
    near = flat.take(left)
    far = flat[1:].take(left)
    far -= near
    far *= part
    near += far
    return near


def sine(phase: NDArray[np.float64]) -> Floats:
    """A sine at `phase` (turns, any size)."""
    return np.sin(np.float32(2 * np.pi) * (phase - np.floor(phase)).astype(np.float32))


def harmonic_levels(shape: str, count: int, width: float = 0.5) -> NDArray[np.float64]:
    """Levels of "saw", "square", "pulse" (of `width`), "triangle", "organ", "hollow" or "sine", (count,)."""
    k = np.arange(1, count + 1, dtype=np.float64)
    odd = k % 2
    if shape == "saw":
        return 0.6 / k
    if shape == "square":
        return 0.8 * odd / k
    if shape == "pulse":
        return 0.8 * np.abs(np.sin(np.pi * k * width)) / k
    if shape == "triangle":
        return odd / k**2
    if shape == "hollow":
        return 0.9 * odd / k**1.5
    if shape == "organ":
        bars = {1: 0.6, 2: 0.5, 3: 0.35, 4: 0.3, 6: 0.2, 8: 0.2, 10: 0.06, 12: 0.05, 16: 0.06}
        return np.array([bars.get(int(i), 0.0) for i in k])
    return (k == 1).astype(np.float64)


def filter_levels(frequency: float, count: int, cutoffs: NDArray[np.float64], resonance: float) -> NDArray[np.float64]:
    """Gain of a resonant 24 dB/octave low-pass at each harmonic, (n_cutoffs, count); `resonance` 0 to 1."""
    ratio = frequency * np.arange(1, count + 1)[None, :] / cutoffs[:, None]
    q = 0.6 + 7.0 * resonance**2
    two_poles = 1.0 / np.sqrt((1 - ratio**2) ** 2 + (ratio / q) ** 2)
    return np.minimum(two_poles, 8.0) / (1.0 + ratio**2)


def adsr(n: int, n_held: int, sample_rate: int, attack: float, decay: float, sustain: float, release: float) -> Floats:
    """An envelope of `n` samples (times in seconds): exponential decay while held, exponential release after."""
    n_attack = max(attack, 0.0005) * sample_rate
    rising = min(n, int(n_attack) + 1)
    envelope = np.ones(n, np.float32)
    envelope[:rising] = np.arange(rising, dtype=np.float32) / np.float32(n_attack)
    if sustain != 1:
        step = 3 / (max(decay, 1e-3) * sample_rate)
        envelope[rising:] = (1 - sustain) * decay_curve(n - rising, step, (rising - n_attack) * step) + sustain
    if n_held < n:
        step = 4.5 / (max(release, 1e-3) * sample_rate)
        envelope[n_held:] = envelope[max(n_held - 1, 0)] * decay_curve(n - n_held, step, step)
        fade = min(n - n_held, int(0.005 * sample_rate))
        envelope[n - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return envelope


def decay_curve(n: int, step: float, first: float = 0.0) -> Floats:
    """exp(−first), exp(−first − step), exp(−first − 2 step), …, (n,)."""
    exponent = np.arange(n, dtype=np.float32)
    exponent *= np.float32(-step)
    exponent -= np.float32(first)
    return np.exp(exponent, out=exponent)


def white(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """White noise of unit variance, evenly spread: a quarter of the time that normal noise takes, and no spikes."""
    noise = rng.random(shape, dtype=np.float32)
    noise -= np.float32(0.5)
    noise *= np.float32(12**0.5)
    return noise
